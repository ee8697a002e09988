"""The NumPy backend's kernels, each held against the plain reference of its op.

The samples are those of the facets. Operands come read-only and in several orders of memory, so
that a kernel that writes to one, or that counts on an order, fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.backends.numpy import KERNELS, lower
from cauce.backends.numpy.memory import Memory
from cauce.ir import Array, Op, evaluate, parse
from cauce.ir.errors import UnsupportedOp
from cauce.ir.evaluate import evaluate_op
from cauce.ir.ops.elementwise import Exp

from ..facets.build import concrete, in_f32
from ..facets.sample import Sample, strategy
from ..facets.test_facets import OPS, assert_close

MEMORY = Memory()
# Relative to the greatest element of a result; both sides may sum in another order.
TOLERANCE = {"f64": 1e-12, "f32": 1e-5}
every_kernel = pytest.mark.parametrize(
    "op", sorted(KERNELS, key=lambda op: op.name), ids=lambda op: op.name
)


def run(op: Op, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """What the kernel gives for operands that cannot be written to."""
    guarded = []
    for operand in operands:
        operand = operand[...]
        operand.flags.writeable = False
        guarded.append(operand)
    with np.errstate(all="ignore"):
        results = KERNELS[type(op)](op, MEMORY, *guarded)
    return results if isinstance(results, tuple) else (results,)


def check_sample(sample: Sample, tolerance: float, *laid_out: tuple[Array, ...]) -> None:
    """Hold the kernel against the reference, for the operands and for others equal to them."""
    dtypes = [type_.dtype for type_ in concrete(sample).inferred()]
    wanted = evaluate_op(sample.op, sample.operands, {}, dtypes)
    for operands in (sample.operands, *laid_out):
        for dtype, actual, reference in zip(dtypes, run(sample.op, operands), wanted, strict=True):
            carried = dtype.round(actual)
            assert carried.dtype == reference.dtype
            assert_close(carried, reference, tolerance)


def channels_last(x: Array) -> Array:
    """The same elements, the second axis innermost in memory."""
    if x.ndim < 3:
        return x
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def reversed_axes(x: Array) -> Array:
    """The same elements, the first axis innermost in memory."""
    return np.array(x, order="F")


def spread(x: Array) -> Array:
    """The same elements, other ones between them in memory."""
    wide = np.zeros([2 * size for size in x.shape], x.dtype)
    part = wide[(..., *(slice(1, None, 2),) * x.ndim)]
    part[...] = x
    return part


LAYOUTS: tuple[Callable[[Array], Array], ...] = (channels_last, reversed_axes, spread)


def layouts(sample: Sample) -> Iterator[tuple[Array, ...]]:
    """The operands in other orders of memory, and each operand in one of its own."""
    for layout in LAYOUTS:
        yield tuple(map(layout, sample.operands))
    yield tuple(LAYOUTS[i % len(LAYOUTS)](x) for i, x in enumerate(sample.operands))


@pytest.mark.parametrize("dtype", TOLERANCE)
@every_kernel
def test_kernel_is_the_reference_in_any_layout(op: type[Op], dtype: str) -> None:
    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = drawn if dtype == "f64" else in_f32(drawn)
        check_sample(sample, TOLERANCE[dtype], *layouts(sample))

    check()


@every_kernel
def test_kernel_takes_repeated_elements(op: type[Op]) -> None:
    """Operands whose strides are zero, which is how ``expand`` repeats elements."""

    @given(strategy(op), st.integers(0, 3))
    def check(sample: Sample, axis: int) -> None:
        same, repeated = [], []
        for x in sample.operands:
            if axis < x.ndim and x.dtype.kind == "f" and x.shape[axis] > 0:
                first = np.take(x, [0], axis)
                repeated.append(np.broadcast_to(first, x.shape))
                x = np.repeat(first, x.shape[axis], axis)
            else:
                repeated.append(x)
            same.append(x)
        check_sample(Sample(sample.op, tuple(same)), TOLERANCE["f64"], tuple(repeated))

    check()


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_lowers_to_kernels(op: type[Op]) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        graph = concrete(sample).graph()
        before = str(graph)
        lowered = lower(graph)
        assert str(graph) == before
        assert all(type(node.op) in KERNELS for node in lowered.nodes)

    check()


def test_a_primitive_without_a_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(KERNELS, Exp)
    graph = parse(
        "graph g(%x: f32[3]) -> f32[3] {\n  %layer.y = exp(%x) : f32[3]\n  return %layer.y\n}"
    )
    with pytest.raises(UnsupportedOp, match="no kernel for exp") as caught:
        lower(graph)
    assert "layer" in str(caught.value) and "@kernel(Exp)" in str(caught.value)


def test_transposed_products_become_products_of_transposes() -> None:
    """As in the gradient of a weight, which then lies in memory as the weight does."""
    graph = parse(
        "graph g(%a: f64[5,2,3], %b: f64[3,4], %c: f64[5,2,3]) -> (f64[5,4,2], f64[4,5,2]) {\n"
        "  %product = matmul(%a, %b) : f64[5,2,4]\n"
        "  %turned = transpose(%product) perm=[0, 2, 1] : f64[5,4,2]\n"
        "  %other = matmul(%c, %b) : f64[5,2,4]\n"
        "  %rolled = transpose(%other) perm=[2, 0, 1] : f64[4,5,2]\n"
        "  return %turned, %rolled\n"
        "}"
    )
    rng = np.random.default_rng(0)
    feeds = {value.name: rng.standard_normal(value.type.shape) for value in graph.inputs}
    lowered = lower(graph)
    wanted, actual = evaluate(graph, feeds).outputs, evaluate(lowered, feeds).outputs
    for name, array in wanted.items():
        np.testing.assert_allclose(actual[name], array, atol=1e-12)
    made_by = {name: value.node.op.name for name, value in lowered.outputs.items() if value.node}
    assert made_by == {"turned": "matmul", "rolled": "transpose"}
