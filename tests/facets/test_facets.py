"""Every registered op, held to the same facets.

An op comes in by its samples (see :mod:`tests.facets.sample`); no facet names an op. A backend is
held against the reference in ``test_backends.py``, over the same samples.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import Array, Builder, DType, Graph, Op, evaluate, parse, registry, verify
from cauce.ir.dims import substitute
from cauce.ir.errors import UnsupportedOp
from cauce.ir.evaluate import evaluate_op
from cauce.passes.autodiff import gradients

from .build import Case, add_loss, concrete, in_dtype, in_f32, symbolic
from .sample import Sample, samplers, strategy

# Tests register ops of their own; those are not held to anything here.
OPS = [op for _, op in sorted(registry().items()) if op.__module__.startswith("cauce.")]
every_op = pytest.mark.parametrize(
    "op", [op for op in OPS if op in samplers()], ids=lambda op: op.name
)


def results_of(sample: Sample) -> tuple[Array, ...]:
    """What the reference gives, in the carriers of the inferred types."""
    dtypes = [type_.dtype for type_ in concrete(sample).inferred()]
    return evaluate_op(sample.op, sample.operands, {}, dtypes)


def assert_close(actual: Array, wanted: Array, tolerance: float) -> None:
    """Same shape, and max|a - b| within ``tolerance`` of max|b|, or of 1 where that is greater."""
    assert actual.shape == wanted.shape
    a, b = actual.astype(np.float64), wanted.astype(np.float64)
    scale = max(1.0, float(np.abs(b).max(initial=0)))
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def test_every_op_has_samples() -> None:
    missing = [op.name for op in OPS if op not in samplers()]
    assert not missing, f"write a sampler in tests/facets/samples_*.py for {', '.join(missing)}"


def test_every_sampler_is_of_a_registered_op() -> None:
    assert set(samplers()) <= set(OPS)


@every_op
def test_documentation(op: type[Op]) -> None:
    own = op.__doc__ or ""
    # A dataclass without a docstring of its own gets its signature as one.
    assert own and not own.startswith(f"{op.__name__}("), f"{op.name} says nothing of its meaning"


@every_op
def test_inferred_type_is_evaluated_type(op: type[Op]) -> None:
    @given(strategy(op))
    def check(drawn: Sample) -> None:
        for sample in (drawn, in_f32(drawn)):
            types = concrete(sample).inferred()
            assert len(types) == len(op.results)
            results = sample.op.reference(*sample.operands)
            arrays = results if isinstance(results, tuple) else (results,)
            for type_, array in zip(types, arrays, strict=True):
                assert array.shape == type_.shape
                # The evaluator rounds to bfloat16 after every op.
                assert array.dtype == type_.dtype.numpy

    check()


@pytest.mark.parametrize("op", [op for op in OPS if op.exact and op in samplers()])
def test_an_exact_op_rounds_no_half(op: type[Op]) -> None:
    """Of halves in float32 it makes halves."""

    @given(strategy(op))
    def check(drawn: Sample) -> None:
        sample = in_dtype(in_dtype(drawn, DType.F16), DType.F32, DType.F16)
        for array, drawn_type in zip(results_of(sample), concrete(drawn).inferred()):
            if drawn_type.dtype is DType.F64:
                np.testing.assert_array_equal(array, DType.F16.round(array))

    check()


@every_op
def test_inferred_type_with_symbols(op: type[Op]) -> None:
    """Inferring with symbols, then putting in sizes, is inferring with sizes; so is evaluating."""
    accepted = 0
    room = False

    @given(strategy(op))
    def check(sample: Sample) -> None:
        nonlocal accepted, room
        room |= any(size > 1 for operand in sample.operands for size in operand.shape)
        wanted = concrete(sample).inferred()
        for i, case in enumerate(symbolic(sample)):
            accepted += 1
            assert tuple(map(case.bound, case.inferred())) == wanted
            if i == 0:
                graph = case.graph()
                verify(graph)
                outputs = evaluate(graph, case.feeds(sample)).outputs.values()
                for array, reference in zip(outputs, results_of(sample)):
                    np.testing.assert_array_equal(array, reference)

    check()
    assert accepted or not room, f"{op.name} accepted a symbol in no place of any sample"


@every_op
def test_cost(op: type[Op]) -> None:
    """Cost is a size: not negative, and the same whether symbols are put in before or after."""

    @given(strategy(op))
    def check(sample: Sample) -> None:
        for case in (concrete(sample), *islice(symbolic(sample), 1)):
            cost = case.op.cost(case.types, case.inferred())
            flops, moved = (substitute(dim, case.bindings) for dim in (cost.flops, cost.bytes))
            assert isinstance(flops, int) and flops >= 0
            assert isinstance(moved, int) and moved > 0
            if not case.bindings:
                wanted = (flops, moved)
            assert (flops, moved) == wanted

    check()


@every_op
def test_text_round_trip(op: type[Op]) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        for case in (concrete(sample), *islice(symbolic(sample), 1)):
            graph = case.graph()
            verify(graph)
            twin = parse(str(graph), graph.constants())
            assert twin.same_as(graph)
            (node,), (again,) = graph.nodes, twin.nodes
            for (name, value), (_, other) in zip(node.op.attributes(), again.op.attributes()):
                if isinstance(value, Graph):
                    assert other.same_as(value)
                else:
                    assert (value, type(value)) == (other, type(other)), name

    check()


@every_op
def test_f32_is_near_f64(op: type[Op]) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        narrow = in_f32(sample)
        pairs = list(zip(results_of(narrow), results_of(sample)))
        for actual, wanted in pairs:
            if wanted.dtype == np.float64:
                assert actual.dtype == np.float32
            if sample.exact_in_f32:
                assert_close(actual, wanted, 1e-4)

    check()


# ---- composites --------------------------------------------------------------------------------

COMPOSITES = [op for op in OPS if op in samplers() and op.decompose is not Op.decompose]


@pytest.mark.parametrize("op", COMPOSITES, ids=lambda op: op.name)
def test_reference_is_the_decomposition(op: type[Op]) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        for case in (concrete(sample), *symbolic(sample)):
            graph, inputs = case.inputs()
            results = case.op.decompose(Builder(graph), *inputs)
            values = results if isinstance(results, tuple) else (results,)
            assert tuple(value.type for value in values) == case.inferred()
            graph.outputs = {f"y{i}": value for i, value in enumerate(values)}
            verify(graph)
            assert all(type(node.op) is not op for node in graph.nodes)
            outputs = evaluate(graph, case.feeds(sample)).outputs.values()
            for actual, wanted in zip(outputs, results_of(sample)):
                assert_close(actual, wanted, 1e-12)

    check()


# ---- gradients ---------------------------------------------------------------------------------


def gradient_arrays(case: Case, feeds: dict[str, Array], chosen: list[bool]) -> list[Array | None]:
    """d loss / d operand by autodiff, evaluated; None where there is none."""
    graph = case.graph()
    operands = graph.inputs[: len(case.types)]
    loss = add_loss(graph, chosen)
    assert loss is not None
    grads = gradients(graph, loss, operands)
    graph.outputs = {f"grad{i}": grad for i, grad in enumerate(grads) if grad is not None}
    verify(graph)
    arrays = evaluate(graph, feeds).outputs
    return [arrays.get(f"grad{i}") for i in range(len(grads))]


def slope(sample: Sample, cotangents: list[Array | None], place: int, direction: Array) -> float:
    """d loss along ``direction`` of one operand, by central differences of fourth order.

    With steps of 1e-3 both the truncation (h**4) and the rounding (2**-52 / h) stay near 1e-12.
    """

    def loss(step: float) -> float:
        operands = list(sample.operands)
        operands[place] = operands[place] + step * direction
        results = results_of(Sample(sample.op, tuple(operands)))
        return sum(float((y * dy).sum()) for y, dy in zip(results, cotangents) if dy is not None)

    h = 1e-3
    return (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)


@every_op
def test_gradient(op: type[Op]) -> None:
    """Each gradient is the finite difference in a random direction, to 1e-6, in float64.

    The operands named by a sample as differentiable must be all that have a gradient; an op
    without a gradient rule must say so. With symbols in the types the gradient is the same.
    """
    seeds = st.integers(0, 2**16)

    @given(strategy(op), seeds)
    def check(sample: Sample, seed: int) -> None:
        rng = np.random.default_rng(seed)
        results = results_of(sample)
        # Results in a narrower float are left out: a difference would see nothing but rounding.
        able = [y.dtype in (np.float64, np.bool_) or y.dtype.kind in "iu" for y in results]
        chosen = [fit and (len(results) == 1 or rng.random() < 0.7) for fit in able]
        if not any(chosen):
            chosen = able
        if not any(able):
            return
        cotangents = [
            rng.standard_normal(y.shape) if use else None for y, use in zip(results, chosen)
        ]
        extra = {f"dy{i}": np.asarray(dy) for i, dy in enumerate(cotangents) if dy is not None}
        case = concrete(sample)
        if not sample.op.has_gradient:
            assert sample.differentiable == ()
            on_path = [y.dtype.kind == "f" and use for y, use in zip(results, chosen)]
            if any(on_path) and any(type_.dtype.is_float for type_ in case.types):
                with pytest.raises(UnsupportedOp):
                    gradient_arrays(case, case.feeds(sample) | extra, chosen)
            return
        grads = gradient_arrays(case, case.feeds(sample) | extra, chosen)
        if all(chosen):
            found = tuple(i for i, grad in enumerate(grads) if grad is not None)
            assert found == sample.differentiable
        for place in sample.differentiable:
            direction = rng.uniform(-1, 1, sample.operands[place].shape)
            grad = grads[place]
            parts = direction * (0.0 if grad is None else grad)
            numeric = slope(sample, cotangents, place, direction)
            scale = float(np.abs(parts).sum())
            assert abs(float(parts.sum()) - numeric) <= 1e-6 * scale + 1e-10, (place, numeric)
        for case in symbolic(sample):
            again = gradient_arrays(case, case.feeds(sample) | extra, chosen)
            for a, b in zip(again, grads):
                assert (a is None) == (b is None)
                if a is not None and b is not None:
                    assert_close(a, b, 1e-12)

    check()
