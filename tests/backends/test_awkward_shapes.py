"""Native code on shapes that do not fit its vectors, tiles and blocks, held to tight bounds.

A sum of products may be wrong by a small part of the sum of the absolute values of what it adds,
|native - exact| <= e * sum|w||x|, which is the op's own reference on absolute values: nothing
tighter can be asked of any order of summation, and what is 0 there must be 0. Other results may be
wrong by a small part of the greatest one. Exact is the reference in f64 on what native code got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cauce
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.schedule import convolution as convolutions
from cauce.backends.llvm.schedule import matmul as products
from cauce.backends.llvm.target import ASSUMED, Target
from cauce.ir import Array, Builder, Graph, Op, Role, TensorType, Value, evaluate, symbol
from cauce.ir.ops.activation import LogSoftmax, Relu, Softmax
from cauce.ir.ops.adaptive_pool import (
    AdaptiveAvgPool2d,
    AdaptiveAvgPool2dBackward,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool2dBackward,
)
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.linear import Linear, MatMul
from cauce.ir.ops.pool import (
    AvgPool2d,
    AvgPool2dBackward,
    MaxPool2d,
    MaxPool2dBackward,
    Pooling,
)
from cauce.ir.ops.reduce import Max, Mean, Sum, Variance
from cauce.ir.ops.shape import Concat

from ..facets.build import graph_in, in_f32, wide
from ..facets.sample import Draw, Sample
from ..guarded import guarded
from .both import both

SUMS = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
OTHERS = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}

EXAMPLES = 2 * settings.default.max_examples
# Around the lanes of vectors, twice that, and their halves.
COUNTS = (1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 48, 65)


@dataclass(frozen=True)
class Applied:
    """An op on arrays, in f32 or f64.

    Attributes:
        batched: the operands whose first axis is the batch: a symbol, or the size it has.
        fixed: the operand that is a parameter, packed beforehand; none where -1.
        sums: whether results are sums of products of elements of the operands.
    """

    op: Op
    operands: tuple[Array, ...]
    batched: tuple[int, ...] = ()
    fixed: int = -1
    sums: bool = True

    def native(self) -> list[Array]:
        """What native code gives."""
        graph = Graph("applied")
        inputs = []
        for i, operand in enumerate(self.operands):
            type_ = TensorType.of(operand)
            if i in self.batched:
                type_ = type_.with_shape((symbol("N"), *type_.shape[1:]))
            role = Role.PARAMETER if i == self.fixed else Role.DATA
            inputs.append(graph.add_input(f"x{i}", type_, role))
        results = Builder(graph).results(self.op, *inputs)
        graph.outputs = {f"y{i}": value for i, value in enumerate(results)}
        arrays = guarded({value.name: array for value, array in zip(inputs, self.operands)})
        executable = Executable(compile_program(graph), arrays)
        return list(executable.run({v.name: arrays[v.name] for v in executable.inputs}).values())

    def hold(self) -> None:
        """Compare native code with the reference."""
        exact = self._reference(lambda array: array)
        scale = self._reference(np.abs) if self.sums else [greatest(y) for y in exact]
        tolerance = (SUMS if self.sums else OTHERS)[self.operands[0].dtype]
        for actual, wanted, size in zip(self.native(), exact, scale, strict=True):
            assert actual.shape == wanted.shape
            with np.errstate(invalid="ignore"):
                near = np.abs(actual - wanted) <= tolerance * size
            wrong = ~(near | (actual == wanted))
            assert not wrong.any(), (np.argwhere(wrong)[:3], actual[wrong][:3], wanted[wrong][:3])

    def _reference(self, change: Callable[[Array], Array]) -> list[Array]:
        op, operands = self.op, [change(array.astype(np.float64)) for array in self.operands]
        results = op.reference(*operands)
        return list(results) if isinstance(results, tuple) else [results]


def greatest(array: Array) -> float:
    """The greatest absolute value; a maximum of nothing but padding is infinite, and left out."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def awkward(sampler: Callable[[Draw], Applied]) -> st.SearchStrategy[Applied]:
    """What a function draws, in either dtype, the batch as a number or as a symbol."""

    @st.composite
    def drawn(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Applied:
        helper = Draw(draw, Op)
        applied = sampler(helper)
        narrow = helper.choice(True, True, False)
        sample = Sample(applied.op, applied.operands)
        sample = in_f32(sample) if narrow else sample
        batched = applied.batched if helper.flag() else ()
        return Applied(sample.op, sample.operands, batched, applied.fixed, applied.sums)

    return drawn()


SAMPLERS: list[Callable[[Draw], Applied]] = []


def shapes(sampler: Callable[[Draw], Applied]) -> Callable[[Draw], Applied]:
    """Decorator: the test runs on what the function draws."""
    SAMPLERS.append(sampler)
    return sampler


# ---- convolution -------------------------------------------------------------------------------


def images(draw: Draw, channels: int, least: Sequence[int], most: int = 2**17) -> tuple[int, ...]:
    """A shape [N, C, H, W] with at least these H and W, one pixel often among them."""
    height, width = (max(1, low) + draw.choice(0, 0, 1, 2, 5, 11) for low in least)
    fitting = [n for n in (1, 2, 3, 7, 33) if n * channels * height * width <= most] or [1]
    return (draw.choice(*fitting), channels, height, width)


def channels_of(draw: Draw) -> tuple[int, int, int]:
    """(groups, inputs of a group, outputs of a group): dense, depthwise and grouped."""
    kind = draw.choice("dense", "depthwise", "grouped")
    if kind == "dense":
        return 1, draw.choice(*COUNTS), draw.choice(*COUNTS)
    if kind == "depthwise":
        return draw.choice(*COUNTS), 1, draw.choice(1, 1, 2)
    return draw.int(2, 4), draw.choice(*COUNTS[:11]), draw.choice(*COUNTS[:11])


def some_conv(draw: Draw) -> tuple[Conv2d, Array, Array]:
    """Any geometry, kernels that are larger than the map among them."""
    groups, inner, outer = channels_of(draw)
    kernel = draw.pair(1, draw.choice(1, 3, 7))
    stride, dilation = draw.pair(1, draw.choice(1, 2, 4)), draw.pair(1, draw.choice(1, 3))
    padding = (draw.pair(0, draw.choice(0, 1, 4)), draw.pair(0, draw.choice(0, 1, 4)))
    least = [d * (k - 1) + 1 - sum(p) for k, d, p in zip(kernel, dilation, padding)]
    # What native code does grows with the outputs and the kernel too.
    most = 2**24 // (outer * kernel[0] * kernel[1])
    x = draw.normal(images(draw, groups * inner, least, most))
    weight = draw.normal((groups * outer, inner, *kernel))
    return Conv2d(stride, padding, dilation, groups), x, weight


@shapes
def conv2d(draw: Draw) -> Applied:
    op, x, weight = some_conv(draw)
    bias = (draw.normal(weight.shape[:1]),) if draw.flag() else ()
    return Applied(op, (x, weight, *bias), batched=(0,), fixed=draw.choice(1, -1))


@shapes
def conv2d_backward_data(draw: Draw) -> Applied:
    op, x, weight = some_conv(draw)
    dy = draw.normal(op.reference(x, weight).shape)
    backward = Conv2dBackwardData(*op.geometry(), size=x.shape[2:])
    return Applied(backward, (dy, weight), batched=(0,), fixed=draw.choice(1, -1))


@shapes
def conv2d_backward_weight(draw: Draw) -> Applied:
    op, x, weight = some_conv(draw)
    dy = draw.normal(op.reference(x, weight).shape)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    backward = Conv2dBackwardWeight(*op.geometry(), kernel=kernel)
    return Applied(backward, (x, dy), batched=(0, 1))


# ---- matrix products ---------------------------------------------------------------------------


@shapes
def matmul(draw: Draw) -> Applied:
    left, right = draw.broadcastable(2, most=2)
    rows, inner, columns = (draw.choice(*COUNTS) for _ in range(3))
    x, y = draw.normal((*left, rows, inner)), draw.normal((*right, inner, columns))
    return Applied(MatMul(), (x, y), fixed=draw.choice(1, -1))


@shapes
def linear(draw: Draw) -> Applied:
    inner, outer = draw.choice(*COUNTS, 130), draw.choice(*COUNTS, 130)
    lead = draw.choice((draw.int(1, 33),), (draw.int(1, 33), draw.int(1, 5)))
    bias = (draw.normal((outer,)),) if draw.flag() else ()
    operands = (draw.normal((*lead, inner)), draw.normal((outer, inner)), *bias)
    return Applied(Linear(), operands, batched=(0,), fixed=draw.choice(1, -1))


@shapes
def long_linear(draw: Draw) -> Applied:
    """Sums so long that they are cut into parts."""
    inner, outer = draw.choice(6200, 9001), draw.choice(*COUNTS)
    bias = (draw.normal((outer,)),) if draw.flag() else ()
    operands = (draw.normal((draw.int(1, 33), inner)), draw.normal((outer, inner)), *bias)
    return Applied(Linear(), operands, batched=(0,), fixed=1)


# ---- pools -------------------------------------------------------------------------------------


def pooled(draw: Draw, op: Pooling, backward: type[Op], least: Sequence[int]) -> Applied:
    """A pool or its backward op on an image that the windows fit in."""
    shape = images(draw, draw.choice(*COUNTS), least, most=2**14)
    average = isinstance(op, (AvgPool2d, AdaptiveAvgPool2d))
    x = draw.normal(shape) if average else draw.distinct(shape)
    if draw.flag():
        return Applied(op, (x,), batched=(0,), sums=average)
    dy = draw.normal(op.reference(x).shape)
    if average:
        return Applied(op.sibling(backward, size=shape[2:]), (dy,), batched=(0,))
    # Not held as a sum: absolute values of x have other maxima.
    return Applied(op.sibling(backward), (x, dy), batched=(0, 1), sums=False)


def windows(draw: Draw) -> dict[str, Any]:
    kernel = draw.pair(1, draw.choice(2, 3, 5))
    return {
        "kernel_size": kernel,
        "stride": draw.choice(None, draw.pair(1, 4)),
        "padding": tuple(draw.pair(0, k - 1) for k in kernel),
        "ceil_mode": draw.flag(),
    }


@shapes
def max_pool2d(draw: Draw) -> Applied:
    op = MaxPool2d(**windows(draw), dilation=draw.pair(1, 2))
    least = [op.extent(axis) - sum(op.padding[axis]) for axis in (0, 1)]
    return pooled(draw, op, MaxPool2dBackward, least)


@shapes
def avg_pool2d(draw: Draw) -> Applied:
    op = AvgPool2d(**windows(draw), count_include_pad=draw.flag())
    least = [op.extent(axis) - sum(op.padding[axis]) for axis in (0, 1)]
    return pooled(draw, op, AvgPool2dBackward, least)


@shapes
def adaptive_pools(draw: Draw) -> Applied:
    size = draw.pair(1, 7)
    if draw.flag():
        return pooled(draw, AdaptiveMaxPool2d(size), AdaptiveMaxPool2dBackward, (1, 1))
    return pooled(draw, AdaptiveAvgPool2d(size), AdaptiveAvgPool2dBackward, (1, 1))


# ---- reductions --------------------------------------------------------------------------------


def any_shape(draw: Draw, least: int = 1, most: int = 4) -> tuple[int, ...]:
    """``least`` to ``most`` sizes that make some thousands of elements at most."""
    shape: tuple[int, ...] = ()
    for _ in range(draw.int(least, most)):
        room = 2**15 // int(np.prod(shape, dtype=int))
        shape += (draw.choice(*[count for count in (*COUNTS, 1000) if count <= room]),)
    return shape


@shapes
def reductions(draw: Draw) -> Applied:
    x = draw.distinct(any_shape(draw))
    axes = draw.subset(range(x.ndim), least=1)
    op = draw.choice(Sum, Mean, Max, Variance)(axes, draw.flag())
    return Applied(op, (x,), sums=isinstance(op, (Sum, Mean)))


@shapes
def softmaxes(draw: Draw) -> Applied:
    x = 3 * draw.normal(any_shape(draw))
    return Applied(draw.choice(Softmax, LogSoftmax)(draw.axis(x.ndim)), (x,), sums=False)


def hold_samples(sampler: Callable[[Draw], Applied]) -> None:
    """Hold many samples."""

    @settings(max_examples=EXAMPLES)
    @given(awkward(sampler))
    def check(applied: Applied) -> None:
        applied.hold()

    check()


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)
def test_native_code_is_the_reference(sampler: Callable[[Draw], Applied]) -> None:
    hold_samples(sampler)


@pytest.mark.parametrize("small", [0, 1 << 20], ids=["whole", "parts"])
@pytest.mark.parametrize("pixels", [1, 1 << 20], ids=["row by row", "at once"])
def test_gradients_of_weights_in_passes(
    pixels: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_SMALL_WEIGHT", small), ("_PIXELS", pixels)):
        monkeypatch.setattr(convolutions, name, value)
    monkeypatch.setitem(Target._defaults, "caches", replace(ASSUMED, first=0))
    hold_samples(conv2d_backward_weight)


# A product with a matrix in row-major order, one with its transpose, and what is fused behind it.
PRODUCTS = """
graph g(%x: f32[M,{k}], %y: f32[{k},{n}], %w: f32[{n},{k}], %b: f32[{n}])
    -> (f32[M,{n}], f32[M,{n}], f32[M,{n}]) {{
  %plain = matmul(%x, %y) : f32[M,{n}]
  %turned = linear(%x, %w) : f32[M,{n}]
  %shifted = linear(%x, %w, %b) : f32[M,{n}]
  %sum = add(%shifted, %plain) : f32[M,{n}]
  %fused = relu(%sum) : f32[M,{n}]
  return %plain, %turned, %fused
}}
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("piece, tasks", [(1, 8), (3, 1), (1 << 20, 1)])
@pytest.mark.parametrize("n, k", [(1, 1), (7, 130), (37, 20), (130, 33), (260, 70)])
def test_products_with_large_matrices(
    n: int, k: int, piece: int, tasks: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In short passes and in one, in many tasks and in few."""
    for name, value in (("_ROWS", piece), ("_PIECE", piece), ("_TASKS", tasks)):
        monkeypatch.setattr(products, name, value)
    monkeypatch.setitem(Target._defaults, "caches", replace(ASSUMED, second=2))  # all are large
    text = PRODUCTS.format(n=n, k=k)
    text = text if dtype is np.float32 else text.replace("f32", "f64")
    free, fixed = (
        Executable(compile_program(cauce.parse(text.replace("M", rows)), threads=2))
        for rows in ("M", "33")
    )
    rng = np.random.default_rng(n)
    y, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((k, n), (n, k), (n,)))
    for m in (0, 1, 5, 16, 33):
        x = rng.standard_normal((m, k)).astype(dtype)
        feeds = guarded({"x": x, "y": y, "w": w, "b": b})
        plain, turned, fused = free(**feeds)
        if m == 33:
            np.testing.assert_array_equal(np.concatenate(fixed(**feeds)), [*plain, *turned, *fused])
        exact = [array.astype(np.float64) for array in (x, y, w, b)]
        first, second = exact[0] @ exact[1], exact[0] @ exact[2].T
        most = SUMS[np.dtype(dtype)] * (k + 2) * 20
        for found, wanted in (
            (plain, first),
            (turned, second),
            (fused, np.maximum(first + second + exact[3], 0)),
        ):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=most)


def test_what_is_added_to_a_product_lies_within_a_concatenation() -> None:
    graph = cauce.parse("""
      graph g(%x: f32[4,3], %w: f32[3,5], %y: f32[4,2], %z: f32[4,5]) -> (f32[4,5], f32[4,7]) {
        %a = neg(%y) : f32[4,2]
        %b = neg(%z) : f32[4,5]
        %whole = concat(%a, %b) axis=1 : f32[4,7]
        %product = matmul(%x, %w) : f32[4,5]
        %sum = add(%product, %b) : f32[4,5]
        return %sum, %whole
      }""")
    rng = np.random.default_rng(0)
    shapes = {"x": (4, 3), "w": (3, 5), "y": (4, 2), "z": (4, 5)}
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    for found, wanted in both(graph, feeds).values():
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# ---- networks ----------------------------------------------------------------------------------


@st.composite
def chains(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Graph:
    """Layers one after the other that share layouts, each with what is fused into it."""
    helper = Draw(draw, Op)
    graph = Graph("chain")
    channels, size = helper.choice(*COUNTS), helper.pair(1, 12)
    x: Value = graph.add_input("x", TensorType.make("f32", ("N", channels, *size)))
    b = Builder(graph)

    def conv(x: Value, groups: int, outer: int, kernel: int, stride: int) -> Value:
        inner = int(x.type.shape[1]) // groups  # type: ignore[arg-type]
        place = len(graph.inputs)
        shape = (groups * outer, inner, kernel, kernel)
        weight = graph.add_input(f"w{place}", TensorType.make("f32", shape), Role.PARAMETER)
        bias = graph.add_input(f"b{place}", TensorType.make("f32", shape[:1]), Role.PARAMETER)
        border = (kernel // 2, kernel // 2)
        op = Conv2d((stride, stride), (border, border), (1, 1), groups)
        return b(op, x, weight, *((bias,) if helper.flag() else ()))

    for _ in range(helper.int(2, 4)):
        width = int(x.type.shape[1])  # type: ignore[arg-type]
        kind = helper.choice("conv", "conv", "depthwise", "residual", "max", "average", "concat")
        kernel = helper.choice(1, 3, 5)
        if kind == "conv":
            x = conv(x, 1, helper.choice(*COUNTS), kernel, helper.int(1, 2))
        elif kind == "depthwise":
            x = conv(x, width, 1, kernel, helper.int(1, 2))
        elif kind == "residual":
            x = b(Add(), conv(x, 1, width, kernel, 1), x)
        elif kind == "max":
            x = b(MaxPool2d((3, 3), (helper.int(1, 2),) * 2, ((1, 1), (1, 1))), x)
        elif kind == "average":
            x = b(AvgPool2d((2, 2), (1, 1), ((1, 0), (0, 1))), x)
        else:
            x = b(Concat(1), x, conv(x, 1, helper.choice(*COUNTS), kernel, 1))
        x = b(Relu(), x) if helper.flag() else x
    graph.outputs = {"y": x}
    return graph


@settings(max_examples=EXAMPLES)
@given(chains(), st.sampled_from([1, 2, 5, 33]), st.integers(0, 2**16))
def test_chains_of_layers_are_the_reference(graph: Graph, count: int, seed: int) -> None:
    """Every layer adds 1e-6 of what it gives on absolute values, and carries on what came in."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in graph.inputs:
        shape = value.type.bind({"N": count}).shape
        fan = np.sqrt(np.prod(shape[1:], dtype=float)) if value.role is Role.PARAMETER else 1.0
        feeds[value.name] = (rng.standard_normal(shape) / fan).astype(np.float32)
    executable = cauce.compile(graph, backend="llvm")
    executable.load_state_dict(feeds)
    (actual,) = executable.run(guarded({"x": feeds["x"]})).values()
    exact = graph_in(wide, graph)

    def reference(change: Callable[[Array], Array]) -> Array:
        arrays = {name: change(array.astype(np.float64)) for name, array in feeds.items()}
        return evaluate(exact, arrays).outputs["y"]

    layers = sum(value.type.rank == 4 for value in graph.inputs_with(Role.PARAMETER))
    bound = (layers + 1) * 1e-6 * reference(np.abs)
    assert (np.abs(actual - reference(lambda array: array)) <= bound).all()
