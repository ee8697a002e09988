"""A weight that is also something else to its kernel: an operand at the end, the image.

A weight lies in blocks, and only the anchor op knows how to read them. What is right is written
out with NumPy in f64.
"""

from __future__ import annotations

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.ir import parse
from cauce.ir.pass_manager import run_passes
from cauce.passes.optimizer_step import add_training_step
from cauce.passes.optimizers import SGD
from cauce.passes.pipelines import PRIMITIVES, TRAINING

from .by_hand import convolved, draw, native, near

# Around the lanes of vectors of any target, and twice and four times those.
COUNTS = (1, 3, 4, 8, 9, 17, 24, 33, 40)


@pytest.mark.parametrize("count", COUNTS)
def test_a_matrix_at_the_end_of_its_product(count: int) -> None:
    x, w = draw(count, count), draw(count, count, seed=1)
    text = """graph g(%x: T) -> (T, T, T, T) {
      @w: T parameter
      %xw = matmul(%x, @w) : T
      %sum = add(%xw, @w) : T
      %again = matmul(%x, @w) : T
      %positive = relu(%again) : T
      %scaled = mul(%positive, @w) : T
      %square = matmul(@w, @w) : T
      %wx = matmul(@w, %x) : T
      %left = sub(%wx, @w) : T
      return %sum, %scaled, %square, %left
    }""".replace("T", f"f64[{count},{count}]")
    found = native(text, x=x, w=w)
    near(found["sum"], x @ w + w)
    near(found["scaled"], np.maximum(x @ w, 0) * w)
    near(found["square"], w @ w)
    near(found["left"], w @ x - w)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("fixed", [True, False])
def test_the_weight_of_a_convolution_at_its_end(count: int, fixed: bool) -> None:
    """A weight that is packed once, and one that changes with each call."""
    x, w = draw(count, count, 3, 3), draw(count, count, 3, 3, seed=1)
    inputs, parameter = ("%x: T", "@w: T parameter") if fixed else ("%x: T, %w: T", "")
    text = f"""graph g({inputs}) -> (T, T, T) {{
      {parameter}
      %conv = conv2d(%x, W) padding=1 : T
      %sum = add(%conv, W) : T
      %own = conv2d(W, W) padding=1 : T
      %scaled = mul(%own, W) : T
      %plain = conv2d(W, W) padding=1 : T
      return %sum, %scaled, %plain
    }}"""
    text = text.replace("T", f"f64[{count},{count},3,3]").replace("W", "@w" if fixed else "%w")
    found = native(text, x=x, w=w)
    near(found["sum"], convolved(x, w) + w)
    near(found["scaled"], convolved(w, w) * w)
    near(found["plain"], convolved(w, w))


@pytest.mark.parametrize("count", [3, 8, 17, 24])
def test_a_step_of_training_of_what_is_image_and_weight(count: int) -> None:
    """The gradient of the loss, the square of conv2d(p, p) - g, by hand: p is convolved with
    itself, so it has a gradient as image and one as weight; both are taken off p in one kernel."""
    p, g = draw(count, count, 3, 3) / count, draw(count, count, 3, 3, seed=1)
    text = """graph g(%g: T) -> f64[] {
      @p: T parameter
      %y = conv2d(@p, @p) padding=1 : T
      %error = sub(%y, %g) : T
      %square = mul(%error, %error) : T
      %loss = sum(%square) : f64[]
      return %loss
    }""".replace("T", f"f64[{count},{count},3,3]")
    graph = parse(text)
    add_training_step(graph, "loss", SGD(0.1), list(graph.inputs[1:]))
    run_passes(graph, (*TRAINING, *PRIMITIVES))
    executable = Executable(compile_program(graph))
    state = executable.new_state({"p": p})
    loss = executable.run({"g": g, "lr": np.float64(0.1)}, state)["loss"]
    error = convolved(p, p) - g
    near(loss, (error**2).sum())
    # As image: the transpose is the convolution with exchanged channels and turned taps. As weight:
    # each tap meets the image that much further on.
    of_image = convolved(error, p.transpose(1, 0, 2, 3)[..., ::-1, ::-1])
    of_weight = convolved(p.transpose(1, 0, 2, 3), error.transpose(1, 0, 2, 3))
    near(state.read()["p"], p - 0.2 * (of_image + of_weight.transpose(1, 0, 2, 3)))
