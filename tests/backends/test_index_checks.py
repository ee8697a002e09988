"""Indices that the graph computes: native code raises what NumPy raises, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import cauce
from cauce import nn
from cauce.backends.llvm.codegen.code import STORED
from cauce.frontends.batch_metrics import top_k
from cauce.ir import Builder, Graph, Op, TensorType, Value
from cauce.ir.dims import sizes
from cauce.ir.errors import ShapeError
from cauce.ir.evaluate import evaluate_op
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Add, Sub
from cauce.ir.ops.indexing import GatherNd, ScatterNd
from cauce.ir.ops.reduce import Sum
from cauce.ir.ops.shape import Gather, OneHot, Transpose

from ..facets.build import concrete
from ..facets.sample import Sample, strategy
from ..facets.test_facets import OPS, every_op

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("numpy", "llvm")
INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
rng = np.random.default_rng(0)
ROWS = rng.standard_normal((4, 3)).astype(np.float32)


def failure(run: Callable[..., object], *args: object, **kwargs: object) -> str:
    """The whole text of the ShapeError that a call raises."""
    with pytest.raises(ShapeError) as caught:
        run(*args, **kwargs)
    return str(caught.value)


def the_same_failure(model: cauce.Model | Graph, *args: object, says: str) -> str:
    """What both backends, and native code with two threads and with a clock, raise."""
    numpy, native = (cauce.compile(model, backend) for backend in BACKENDS)
    shared = cauce.compile(model, "llvm", threads=2)
    texts = [failure(run, *args) for run in (numpy, native, shared, shared.profile)]
    assert set(texts) == {texts[0]}
    assert texts[0].splitlines()[0] == says
    return texts[0]


# ---- every way to take an index, by every way to compute one -----------------------------------

TAKEN = {
    "gather": lambda o, t: nn.gather(o, t, 1),
    "one_hot": lambda o, t: nn.one_hot(t, 3),
    "cross_entropy": nn.cross_entropy,
    "cross_entropy, smoothed": lambda o, t: nn.cross_entropy(o, t, label_smoothing=0.1),
    "kl_divergence": nn.kl_divergence,
    "top_k": lambda o, t: top_k(2)(o, t),
}
COMPUTED = {
    "sub": lambda t: t - 1,
    "cast": lambda t: (t - 1.0).cast("i64") if t.dtype.is_float else (t - 1).cast("i32"),
    "cast alone": lambda t: t.cast("i32").cast("i64") - 1,
    "greatest of one-hot rows": lambda t: nn.one_hot(t, 9, "i32").argmax(dim=-1) - 1,
    "moved": lambda t: (t - 1).reshape(2, -1).permute(1, 0).permute(1, 0).reshape(-1),
}


@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_a_computed_index_is_checked(
    take: Callable[..., nn.Tensor], compute: Callable[[nn.Tensor], nn.Tensor]
) -> None:
    @cauce.network
    def net(o, t):
        return take(o, compute(t))

    model = net.init(o=(4, 3), t=TensorType.make("i64", (4,)))
    right = np.array([1, 3, 2, 1])
    wanted = cauce.compile(model, "numpy")(ROWS, right)
    np.testing.assert_allclose(cauce.compile(model, "llvm")(ROWS, right), wanted, rtol=1e-6)
    for label in (0, 4):
        wrong = np.array([1, 3, label, 7])
        text = the_same_failure(
            model, ROWS, wrong, says=f"index {label - 1} is out of range for size 3"
        )
        assert "in layer: " in text and "return take(o, compute(t))" in text
        assert "indices run from 0 to 2" in text


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_dtype(dtype: str) -> None:
    """Those that are negative, one too large, and the greatest of the dtype, 2**64 - 1 too."""
    graph = Graph("rows")
    x = graph.add_input("x", TensorType.make("f32", (4, 3)))
    t = graph.add_input("t", TensorType.make(dtype, ("N",)))
    b = Builder(graph)
    graph.outputs["y"] = b(Gather(), x, b(Sub(), t, scalar(b, 1, t)))
    kind = t.type.dtype.numpy
    right = np.array([4, 1, 2], kind)
    for backend in BACKENDS:
        np.testing.assert_array_equal(cauce.compile(graph, backend)(ROWS, right), ROWS[[3, 0, 1]])
    greatest = np.iinfo(kind).max
    below = -1 if kind.kind == "i" else greatest  # 0 - 1
    for given_, index in ((0, below), (5, 4), (greatest, int(greatest) - 1)):
        says = f"index {index} is out of range for size 4"
        the_same_failure(graph, ROWS, np.array([1, given_, 0], kind), says=says)


def test_no_indices_are_right_whatever_there_is_to_choose_from() -> None:
    graph = Graph("rows")
    x = graph.add_input("x", TensorType.make("f32", ("R", 3)))
    t = graph.add_input("t", TensorType.make("i64", ("N",)))
    b = Builder(graph)
    graph.outputs["y"] = b(Gather(), x, b(Add(), t, t))
    for backend in BACKENDS:
        run = cauce.compile(graph, backend)
        for rows in (ROWS, ROWS[:0]):
            assert run(rows, np.zeros(0, np.int64)).shape == (0, 3)
    says = "index 0 is out of range for size 0"
    text = the_same_failure(graph, ROWS[:0], np.zeros(2, np.int64), says=says)
    assert "there is nothing to choose from" in text


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_of_many_is_named(threads: int, turned: bool) -> None:
    """In the order of the array that is taken, however it lies in memory and is shared out."""
    graph = Graph("many")
    t = graph.add_input("t", TensorType.make("i32", (300, 400)))
    b = Builder(graph)
    places: Value = b(Sub(), t, scalar(b, 1, t))
    if turned:
        places = b(Transpose((1, 0)), places)
    graph.outputs["y"] = b(Sum((-1,)), b(OneHot(5), places))
    run = cauce.compile(graph, "llvm", threads=threads)
    given_ = rng.integers(1, 6, (300, 400)).astype(np.int32)
    assert run(given_).shape == ((400, 300) if turned else (300, 400))
    given_[290, 20], given_[110, 350], given_[299, 399] = 18, 19, 20
    index = 17 if turned else 18
    assert f"index {index} is out of range for size 5" in failure(run, given_)


def test_two_sizes_of_one_operand() -> None:
    @cauce.network
    def net(x, t):
        t = t + 0
        return nn.gather(x, t).sum() + nn.one_hot(t, 3).sum()

    model = net.init(x=(5,), t=TensorType.make("i64", ("N",)))
    x = np.ones(5, np.float32)
    for label, size in ((4, 3), (5, 5)):
        says = f"index {label} is out of range for size {size}"
        text = the_same_failure(model, x, np.array([0, label]), says=says)
        assert f"in layer: {'one_hot' if size == 3 else 'gather'}" in text


def test_indices_that_other_indices_choose() -> None:
    @cauce.network
    def net(x, table, t):
        return nn.gather(x, nn.gather(table, t - 1))

    table = TensorType.make("i64", (4,))
    model = net.init(x=(3,), table=table, t=TensorType.make("i64", ("N",)))
    x, chosen = np.arange(3, dtype=np.float32), np.array([2, 0, 9, 1])
    for backend in BACKENDS:
        result = cauce.compile(model, backend)(x, chosen, np.array([1, 4, 2]))
        np.testing.assert_array_equal(result, [2, 1, 0])
    the_same_failure(model, x, chosen, np.array([1, 3]), says="index 9 is out of range for size 3")
    the_same_failure(model, x, chosen, np.array([3, 5]), says="index 4 is out of range for size 4")


# ---- the whole registry ------------------------------------------------------------------------


def spoilt(sample: Sample, place: int, index: int) -> Sample:
    """The sample with one element of an operand replaced."""
    operands = [np.array(operand) for operand in sample.operands]
    operands[place].flat[operands[place].size // 2] = index
    return Sample(sample.op, tuple(operands), sample.differentiable)


# Each index has several columns, which choose along an axis of their own.
OF_SEVERAL_AXES = (GatherNd, ScatterNd)


def named(sample: Sample) -> dict[int, int]:
    """The operands that are indices, each with the size that its spoilt element chooses among."""
    if isinstance(sample.op, OF_SEVERAL_AXES):
        x, indices, *_ = sample.operands
        first = sample.op.batch_dims if isinstance(sample.op, GatherNd) else 0
        return {1: x.shape[first + indices.size // 2 % indices.shape[-1]]}
    found = sample.op.indices(*concrete(sample).types)
    return dict(zip(found, sizes(tuple(found.values()))))


def wild(dtype: np.dtype[np.generic]) -> list[int]:
    """Numbers that are no index of anything small."""
    return [int(np.iinfo(dtype).max)] + [-1] * (dtype.kind == "i")


@every_op
@settings(max_examples=20)
@given(data=st.data())
def test_ops_tell_which_of_their_operands_are_indices(op: type[Op], data: st.DataObject) -> None:
    """The reference refuses wild numbers there, and nowhere else."""
    sample = data.draw(strategy(op))
    case = concrete(sample)
    found = named(sample)
    for place, operand in enumerate(sample.operands):
        if operand.dtype.kind not in "iu" or not operand.size:
            continue
        dtypes = [type_.dtype for type_ in case.inferred()]
        for number in wild(operand.dtype):
            operands = spoilt(sample, place, number).operands
            if place not in found:
                evaluate_op(sample.op, operands, {}, dtypes)
                continue
            says = f"^index {number} is out of range for size {found[place]}\n"
            with pytest.raises(ShapeError, match=says):
                evaluate_op(sample.op, operands, {}, dtypes)


INDEXED = [op for op in OPS if op.indices is not Op.indices or op in OF_SEVERAL_AXES]


def test_the_ops_that_take_indices() -> None:
    """A new one must be seen here; none may be part of a region, which checks nothing."""
    assert {op.name for op in INDEXED} == {
        *("gather", "gather_backward", "one_hot"),
        *("gather_elements", "scatter_elements", "gather_nd", "scatter_nd", "max_unpool"),
        *("cross_entropy", "kl_divergence", "nll_loss"),
    }
    assert not any(op.elementwise for op in INDEXED)


@pytest.mark.parametrize("op", INDEXED, ids=lambda op: op.name)
@settings(max_examples=6)
@given(data=st.data())
def test_every_op_that_takes_indices_checks_computed_ones(
    op: type[Op], data: st.DataObject
) -> None:
    sample = data.draw(strategy(op))
    case = concrete(sample)
    assume(all(type_.dtype in STORED for type_ in case.inferred()))
    for place, size in named(sample).items():
        if not sample.operands[place].size:
            continue
        graph, inputs = case.inputs()
        b = Builder(graph)
        inputs[place] = b(Sub(), inputs[place], scalar(b, 1, inputs[place]))
        graph.outputs["y"] = b(sample.op, *inputs)
        shifted = list(sample.operands)
        shifted[place] = shifted[place] + shifted[place].dtype.type(1)
        moved = Sample(sample.op, tuple(shifted))
        wanted = sample.op.reference(*sample.operands)
        for backend in BACKENDS:
            run = cauce.compile(graph, backend)
            np.testing.assert_allclose(run(**case.feeds(moved)), wanted, rtol=1e-6, atol=1e-6)
            feeds = case.feeds(spoilt(moved, place, size + 1))
            assert failure(run, **feeds).startswith(f"index {size} is out of range for size {size}")
