"""Gradients at NaN: every op hides none, and every backend gives what the reference gives.

The rule stands in docs/semantics.md. A NaN that reaches a result gets a gradient other than 0: NaN
where the op computes with it, a share of the result's own where the op passes it on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cauce.backends.executable import Executable
from cauce.ir import Array, Graph, Op, evaluate
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from cauce.ir.ops.conv_nd import Conv, ConvTranspose
from cauce.passes.autodiff import gradients

from .build import add_loss, concrete
from .sample import Sample, strategy
from .test_backends import PROGRAMS
from .test_facets import every_op, results_of

# Weights may meet zeros of padding, which make NaN of NaN where the reference computes nothing.
# In one and three dimensions the convolutions are made of those in two.
WEIGHTED = (Conv2d, Conv2dBackwardData, Conv2dBackwardWeight, Conv, ConvTranspose)


def spoiled(sample: Sample, place: int, element: int) -> Sample:
    """The sample with NaN for one element of one operand."""
    operands = [operand.copy() for operand in sample.operands]
    operands[place].reshape(-1)[element] = np.nan
    return Sample(sample.op, tuple(operands), sample.differentiable)


def places(sample: Sample, seed: int) -> Iterator[tuple[int, int]]:
    """One element of each operand that has a gradient."""
    rng = np.random.default_rng(seed)
    for place in sample.differentiable:
        if sample.op.has_gradient and sample.operands[place].size:
            yield place, int(rng.integers(sample.operands[place].size))


def with_gradients(sample: Sample) -> tuple[Graph, dict[str, Array]]:
    """The gradients of a sum of all results, each times a number that is not 0, and the feeds."""
    case, results = concrete(sample), results_of(sample)
    graph = case.graph()
    operands = graph.inputs[: len(case.types)]
    loss = add_loss(graph, [True] * len(results))
    assert loss is not None
    grads = gradients(graph, loss, operands)
    graph.outputs = {f"grad{i}": grad for i, grad in enumerate(grads) if grad is not None}
    rng = np.random.default_rng(0)
    cotangents = {f"dy{i}": rng.uniform(1, 2, y.shape) for i, y in enumerate(results)}
    return graph, case.feeds(sample) | cotangents


@every_op
def test_no_gradient_hides_a_nan(op: type[Op]) -> None:
    found = False

    @given(strategy(op), st.integers(0, 2**16))
    def check(sample: Sample, seed: int) -> None:
        nonlocal found
        for place, element in places(sample, seed):
            case = spoiled(sample, place, element)
            reached = any(y.dtype.kind == "f" and np.isnan(y).any() for y in results_of(case))
            before, after = (
                evaluate(*with_gradients(one)).outputs[f"grad{place}"].flat[element]
                for one in (sample, case)
            )
            # Where the slope is 0 for a number (a weight that is 0), it is for NaN.
            assert after != 0 or before == 0 or not reached
            found |= reached

    check()
    assert found or not op.has_gradient or op.zero_gradient, f"no NaN reached {op.name}"


@pytest.mark.parametrize("backend", PROGRAMS)
@every_op
def test_gradients_at_nan_are_the_reference(op: type[Op], backend: str) -> None:
    @settings(max_examples=max(2, settings.default.max_examples // 5))
    @given(strategy(op), st.integers(0, 2**16))
    def check(sample: Sample, seed: int) -> None:
        for place, element in places(sample, seed):
            graph, feeds = with_gradients(spoiled(sample, place, element))
            outputs = Executable(PROGRAMS[backend](graph)).run(feeds)
            for name, wanted in evaluate(graph, feeds).outputs.items():
                actual = outputs[name]
                if op in WEIGHTED:
                    actual = np.where(np.isnan(actual) & ~np.isnan(wanted), wanted, actual)
                scale = np.nan_to_num(np.abs(wanted)).max(initial=1.0)
                np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-10 * scale)

    check()
