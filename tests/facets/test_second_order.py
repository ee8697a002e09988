"""Gradients of gradients, for every smooth op, against finite differences in float64.

The first gradient is contracted with random directions to a scalar; autodiff differentiates that
graph again, and the result must be the slope of the scalar.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cauce.ir import Array, Builder, Graph, Op, Value, evaluate, registry
from cauce.ir.ops.elementwise import Add, Mul
from cauce.ir.ops.reduce import Sum
from cauce.passes.autodiff import gradients

from .build import add_loss, concrete
from .sample import Sample, strategy
from .test_facets import results_of

# Their gradients jump at ties and kinks, or are constant between them; a cast rounds. What is
# linear counts as smooth: its second derivative must come out as zero, or as that of the other
# operand.
_POOLS = [
    f"{which}max_pool2d{kind}"
    for which in ("", "adaptive_")
    for kind in ("", "_backward", "_select")
]
_OTHERS = ["abs", "relu", "leaky_relu", "clip", "maximum", "minimum", "max", "min", "topk", "cast"]
KINKED = frozenset(_POOLS + _OTHERS)
SMOOTH = [
    op
    for name, op in sorted(registry().items())
    if name not in KINKED and not op.zero_gradient and op.__module__.startswith("cauce.")
]


def contracted(sample: Sample, seed: int) -> tuple[Graph, dict[str, Array], list[Value]]:
    """A graph whose output ``slope`` is the first gradient in random directions; its feeds and x.

    Skips samples whose results or operands are not all float64.
    """
    assume(bool(sample.differentiable))
    results = results_of(sample)
    assume(all(array.dtype == np.float64 for array in results))
    case = concrete(sample)
    graph, inputs = case.inputs()
    values = Builder(graph).results(case.op, *inputs)
    graph.outputs = {value.name: value for value in values}
    loss = add_loss(graph, [True] * len(values))
    assert loss is not None
    wrt = [inputs[place] for place in sample.differentiable]
    b = Builder(graph, path="slope")
    total: Value | None = None
    rng = np.random.default_rng(seed)
    feeds = case.feeds(sample)
    for i, gradient in enumerate(gradients(graph, loss, wrt)):
        if gradient is None:
            continue
        direction = graph.add_input(f"direction{i}", gradient.type)
        part = b(Sum(), b(Mul(), gradient, direction))
        total = part if total is None else b(Add(), total, part)
    assume(total is not None)
    assert total is not None
    graph.outputs = {"slope": total}
    for value in graph.inputs:
        if value.name not in feeds:
            feeds[value.name] = rng.standard_normal(value.type.shape)  # type: ignore[arg-type]
    return graph, feeds, wrt


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_the_gradient_of_the_gradient_is_its_slope(op: type[Op]) -> None:
    @given(strategy(op), st.integers(0, 2**16))
    def check(sample: Sample, seed: int) -> None:
        graph, feeds, wrt = contracted(sample, seed)
        seconds = gradients(graph, graph.outputs["slope"], wrt)
        names = [value.name for value in wrt]
        plain = dict(graph.outputs)
        graph.outputs |= {f"second {n}": s for n, s in zip(names, seconds) if s is not None}
        graph.verify()
        found = evaluate(graph, feeds).outputs
        graph.outputs = plain
        rng = np.random.default_rng(seed + 1)
        for name in names:
            direction = rng.uniform(-1, 1, feeds[name].shape)

            def at(step: float, name: str = name, direction: Array = direction) -> float:
                moved = {**feeds, name: feeds[name] + step * direction}
                return float(evaluate(graph, moved).outputs["slope"])

            h = 1e-3  # fourth order: f' = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h
            numeric = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
            second = found.get(f"second {name}")
            parts = direction * (0.0 if second is None else second)
            scale = float(np.abs(parts).sum()) + abs(at(0.0))
            assert abs(float(parts.sum()) - numeric) <= 1e-5 * scale + 1e-8, (name, numeric)

    check()
