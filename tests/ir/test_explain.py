"""Explanations: the terms that are shown come to the element, for every op that has a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cauce.ir import Array, TensorType
from cauce.ir.errors import OutOfRange, UnsupportedOp
from cauce.ir.explain import Explanation, can_explain, equals, explain, shown_number
from cauce.ir.op import Op, registry
from cauce.ir.ops.activation import LogSoftmax, Relu, Softmax
from cauce.ir.ops.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData
from cauce.ir.ops.conv_nd import Conv, ConvTranspose
from cauce.ir.ops.elementwise import Add, Where
from cauce.ir.ops.linear import Linear, MatMul
from cauce.ir.ops.normalize import BatchNorm, BatchNormTrain
from cauce.ir.ops.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from cauce.ir.ops.pool_nd import AvgPool, MaxPool
from cauce.ir.ops.random import Dropout
from cauce.ir.ops.shape import Transpose

INPUT = np.array([[[[1.0, 2, 1, 0], [2, 3, 1, 1], [3, 0, 0, 2], [1, 1, 2, 3]]]])
FILTER = np.array([[[[1.0, 0], [2, 1]]]])


def computed(op: Op, *operands: Array) -> tuple[Array, ...]:
    """The results, where the operands fit the op."""
    op.infer(*map(TensorType.of, operands))
    results = op.reference(*operands)
    return results if isinstance(results, tuple) else (results,)


def everything(op: Op, *operands: Array) -> list[Explanation]:
    """The explanations of all elements, each held against what the reference has computed."""
    results, found = computed(op, *operands), []
    names = [name.rstrip("?") for name in op.operands]
    arrays = dict(zip(names, operands)) | dict(zip(op.results, results))
    for place, array in enumerate(results):
        for index in np.ndindex(array.shape):
            one = explain(op, operands, results, index, place)
            assert (one.index, one.value) == (index, float(array[index]))
            assert one.computed == pytest.approx(one.value, rel=1e-9, abs=1e-12)
            for read in (read for term in one.terms for read in term.reads):
                if read.inside:
                    assert read.value == float(arrays[read.source][read.index])
                else:
                    with pytest.raises(IndexError):
                        if min(read.index) < 0:
                            raise IndexError
                        arrays[read.source][read.index]
            found.append(one)
    return found


def integers(rng: np.random.Generator, *shape: int) -> Array:
    """Small ones, so that sums in any order are exact."""
    return rng.integers(-4, 5, shape).astype(np.float64)


def products_sum_up(found: Sequence[Explanation]) -> None:
    for one in found:
        assert math.fsum(term.value for term in one.terms) == one.joined == one.value
        for term in one.terms:
            assert term.value == math.prod(read.value for read in term.reads)
            assert term.text == "·".join(
                f"({shown_number(r.value)})" if r.value < 0 else shown_number(r.value)
                for r in term.reads
            )


# ---- convolutions ------------------------------------------------------------------------------

pads = st.tuples(st.integers(0, 2), st.integers(0, 2))


def per_axis(kind: Any, axes: int) -> Any:
    return st.tuples(*[kind] * axes)


@st.composite
def geometries(draw: Any, axes: int) -> dict[str, Any]:
    return {
        "stride": draw(per_axis(st.integers(1, 3), axes)),
        "padding": draw(per_axis(pads, axes)),
        "dilation": draw(per_axis(st.integers(1, 2), axes)),
        "groups": draw(st.integers(1, 2)),
    }


@given(st.data(), st.integers(1, 3), st.booleans(), st.integers(0, 99))
@settings(deadline=None)
def test_the_products_of_a_convolution(data: Any, axes: int, biased: bool, seed: int) -> None:
    geometry, rng = data.draw(geometries(axes)), np.random.default_rng(seed)
    kernel = data.draw(per_axis(st.integers(1, 3), axes))
    size = [2 * k + 1 for k in kernel]
    op = Conv2d(**geometry) if axes == 2 and seed % 2 else Conv(**geometry)
    x = integers(rng, 1, 2 * op.groups, *size)
    weight = integers(rng, 2 * op.groups, 2, *kernel)
    bias = [integers(rng, len(weight))] if biased else []
    found = everything(op, x, weight, *bias)
    products_sum_up(found)
    assert {len(one.terms) for one in found} == {2 * math.prod(kernel) + biased}


@given(st.data(), st.integers(1, 3), st.integers(0, 99))
@settings(deadline=None)
def test_the_products_of_a_transposed_convolution(data: Any, axes: int, seed: int) -> None:
    geometry, rng = data.draw(geometries(axes)), np.random.default_rng(seed)
    kernel = data.draw(per_axis(st.integers(1, 3), axes))
    size = [2 * k + 1 for k in kernel]
    out = [
        (n + a + b - d * (k - 1) - 1) // s + 1
        for n, k, s, (a, b), d in zip(
            size, kernel, geometry["stride"], geometry["padding"], geometry["dilation"]
        )
    ]
    make = Conv2dBackwardData if axes == 2 and seed % 2 else ConvTranspose
    op = make(**geometry, size=tuple(size))
    dy = integers(rng, 1, 2 * op.groups, *out)
    products_sum_up(everything(op, dy, integers(rng, 2 * op.groups, 1, *kernel)))


@given(st.booleans(), st.integers(0, 9))
def test_the_products_of_linear_layers_and_of_matrices(biased: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bias = [integers(rng, 3)] if biased else []
    products_sum_up(everything(Linear(), integers(rng, 2, 2, 4), integers(rng, 3, 4), *bias))
    products_sum_up(everything(MatMul(), integers(rng, 2, 1, 2, 3), integers(rng, 3, 3, 2)))


# ---- windows -----------------------------------------------------------------------------------


@st.composite
def pools(draw: Any) -> tuple[type[Op], dict[str, Any], list[int]]:
    """A class of fixed windows, its attributes, and the shape of an input."""
    axes = draw(st.integers(1, 3))
    kinds: list[type[Op]] = [MaxPool, AvgPool, *([MaxPool2d, AvgPool2d] if axes == 2 else [])]
    kind = draw(st.sampled_from(kinds))
    kernel = draw(per_axis(st.integers(1, 3), axes))
    dilation = draw(per_axis(st.integers(1, 2), axes))
    attributes = {
        "kernel_size": kernel,
        "stride": draw(per_axis(st.integers(1, 3), axes)),
        "padding": tuple(
            tuple(draw(st.integers(0, min(2, d * (k - 1)))) for _ in range(2))
            for k, d in zip(kernel, dilation)
        ),
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }
    if "count_include_pad" in kind.kinds():
        attributes["count_include_pad"] = draw(st.booleans())
    size = [d * (k - 1) + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilation)]
    return kind, attributes, [1, 2, *size]


@given(pools(), st.integers(0, 99))
@settings(deadline=None)
def test_the_cells_of_fixed_windows(case: Any, seed: int) -> None:
    kind, attributes, shape = case
    found = everything(kind(**attributes), integers(np.random.default_rng(seed), *shape))
    for one in found:
        values = [term.value for term in one.terms]
        if kind in (MaxPool, MaxPool2d):
            assert max(values) == one.joined == one.value
            assert [term.chosen for term in one.terms].index(True) == values.index(one.value)
            assert len(values) == math.prod(attributes["kernel_size"])
        else:
            divisor = int(one.steps[0].rpartition("/ ")[2])
            assert math.fsum(values) == one.joined
            assert one.joined / divisor == pytest.approx(one.value, rel=1e-12)
            if attributes["count_include_pad"]:
                assert divisor == len(values)
            else:
                assert divisor == max(1, len(values))
                assert all(read.inside for term in one.terms for read in term.reads)


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(0, 9))
def test_the_cells_of_adaptive_windows(size: tuple[int, int], seed: int) -> None:
    x = integers(np.random.default_rng(seed), 1, 2, 4, 5)
    for one in everything(AdaptiveAvgPool2d(size), x):
        assert one.joined / len(one.terms) == pytest.approx(one.value, rel=1e-12)
    for one in everything(AdaptiveMaxPool2d(size), x):
        assert max(term.value for term in one.terms) == one.value
    for one in everything(GlobalAvgPool2d(), x):
        assert len(one.terms) == 20


def test_the_first_of_equal_cells_counts_and_nan_above_all() -> None:
    x = np.array([[[[1.0, 3, 3, 2]]]])
    (one,) = everything(MaxPool2d((1, 4)), x)
    assert [term.chosen for term in one.terms] == [False, True, False, False]
    x[0, 0, 0, 2] = np.nan
    found = explain(MaxPool2d((1, 4)), [x], computed(MaxPool2d((1, 4)), x), (0, 0, 0, 0))
    assert [term.chosen for term in found.terms] == [False, False, True, False]
    assert found.steps == ("y = max(1, 3, NaN, 2)", "y[0,0,0,0] = NaN")


def test_padding_of_bytes_is_their_least() -> None:
    x = np.array([[[[-7, 3]]]], np.int8)
    one = everything(MaxPool2d((1, 2), padding=((0, 0), (1, 0))), x)[0]
    assert [term.value for term in one.terms] == [-128, -7]


# ---- normalisation, softmax, dropout, elements -------------------------------------------------


@given(st.integers(2, 4), st.integers(0, 99))
def test_batch_norms(rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, 2, 2)[:rank])
    gamma, beta, mean, variance = rng.random((4, 3))
    for one in everything(BatchNorm(0.01), x, gamma, beta, mean, variance):
        assert [term.reads[0].source for term in one.terms] == [
            *("x", "gamma", "beta", "mean", "variance")
        ]
    for one in everything(BatchNormTrain(), x, gamma, beta):
        if one.result == "y":
            continue
        values = [term.value for term in one.terms]
        assert len(values) == x.size // 3
        assert math.fsum(values) / len(values) == pytest.approx(one.value, rel=1e-9, abs=1e-12)


@given(st.integers(-3, 2), st.integers(0, 99))
def test_softmax(axis: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(0, 3, (2, 3, 2))
    for one in everything(Softmax(axis), x):
        (own,) = (term for term in one.terms if term.chosen)
        total = math.fsum(term.value for term in one.terms)
        assert own.reads[0].index == one.index
        assert own.value / total == pytest.approx(one.value, rel=1e-12)
    for one in everything(LogSoftmax(axis), x):
        (own,) = (term for term in one.terms if term.chosen)
        total = math.fsum(term.value for term in one.terms)
        assert math.log(own.value / total) == pytest.approx(one.value, rel=1e-9)


@given(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 99))
def test_dropout(p: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for one in everything(Dropout(p), integers(rng, 2, 5), rng.random((2, 5))):
        kept = one.steps[0].endswith("kept")
        assert kept == (one.terms[1].value >= p and p < 1)
        assert kept or one.value == 0


def test_elementwise_ops_with_broadcasting() -> None:
    rng = np.random.default_rng(0)
    everything(Relu(), integers(rng, 2, 3))
    found = everything(Add(), integers(rng, 2, 1, 3), integers(rng, 4, 1))
    assert found[-1].terms[1].reads[0].index == (3, 0)
    choice = rng.random((2, 3)) < 0.5
    everything(Where(), choice, integers(rng, 3), integers(rng, 2, 1))


def test_every_op_of_the_issue_and_all_elementwise_ones_have_a_rule() -> None:
    named = {
        *("conv2d", "conv", "max_pool2d", "max_pool", "avg_pool2d", "avg_pool"),
        *("adaptive_avg_pool2d", "adaptive_max_pool2d", "global_avg_pool2d"),
        *("batch_norm", "batch_norm_train", "softmax", "log_softmax", "dropout"),
        *("linear", "matmul", "conv2d_backward_data", "conv_transpose", "relu", "add", "where"),
    }
    kinds = registry()
    assert named <= kinds.keys()
    for name in ("fused", "transpose", "conv2d_backward_weight", "max_pool2d_backward"):
        assert name in kinds
    assert not can_explain(Transpose((1, 0)))


# ---- what is written ---------------------------------------------------------------------------


def test_a_convolution_on_the_blackboard() -> None:
    found = explain(Conv2d(), [INPUT, FILTER], computed(Conv2d(), INPUT, FILTER), (0, 0, 0, 1))
    assert str(found).splitlines() == [
        "y[0,0,0,1] of conv2d",
        "  y[n,o,i,j] = bias[o] + sum over c, r, s of weight[o,c,r,s] * "
        "x[n, c, i*S + r*D - P, ...]",
        "    x[0,0,0,1], weight[0,0,0,0]: 2·1 = 2",
        "    x[0,0,0,2], weight[0,0,0,1]: 1·0 = 0",
        "    x[0,0,1,1], weight[0,0,1,0]: 3·2 = 6",
        "    x[0,0,1,2], weight[0,0,1,1]: 1·1 = 1",
        "  y = 2·1 + 1·0 + 3·2 + 1·1",
        "  y = 2 + 0 + 6 + 1",
        "  y[0,0,0,1] = 9",
    ]


def test_padding_and_negative_numbers() -> None:
    op = Conv2d(padding=1, stride=2)
    x, weight = -INPUT, FILTER
    found = explain(op, [x, weight], computed(op, x, weight), (0, 0, -1, 0))
    assert "    padding [0,0,3,-1], weight[0,0,0,0]: 0·1 = 0" in str(found).splitlines()
    assert found.steps[:2] == ("y = 0·1 + (-1)·0 + 0·2 + 0·1", "y = 0 + 0 + 0 + 0")


def test_the_numbers_of_an_average_and_of_a_batch_norm() -> None:
    (one, *_) = everything(AvgPool2d(2), INPUT)
    assert one.steps == ("y = (1 + 2 + 2 + 3) / 4", "y = 8 / 4", "y[0,0,0,0] = 2")
    operands = [np.array([[3.0]]), *map(np.array, ([2.0], [1.0], [2.0], [0.25]))]
    (norm,) = everything(BatchNorm(0.0), *operands)
    assert norm.steps == (
        "x - mean = 3 - 2 = 1",
        "sqrt(variance + epsilon) = sqrt(0.25 + 0) = 0.5",
        "normal = 1 / 0.5 = 2",
        "y = 2·2 + 1 = 5",
        "y[0,0] = 5",
    )


def test_what_is_rounded_when_shown_is_not_called_equal() -> None:
    assert (equals(0.25, 3.0), equals(1 / 3), equals(float(np.float32(0.1)))) == ("=", "≈", "=")
    (one, *_) = everything(Softmax(), np.array([1.0, 2.0]))
    assert one.steps[-1] == "y[0] ≈ 0.26894"
    assert [shown_number(x) for x in (float("nan"), -math.inf, -0.0, 1e-7)] == [
        *("NaN", "-∞", "0", "1e-07")
    ]


@pytest.mark.parametrize("index", [(0, 0, 0), (0, 0, 3, 0), (0, 0, -4, 0)])
def test_there_is_no_such_element(index: tuple[int, ...]) -> None:
    with pytest.raises(
        OutOfRange, match=r"y has the shape \[1, 1, 3, 3\], and no element"
    ) as caught:
        explain(Conv2d(), [INPUT, FILTER], computed(Conv2d(), INPUT, FILTER), index)
    assert caught.value.fix


def test_an_op_without_a_rule() -> None:
    op = Transpose((1, 0))
    with pytest.raises(
        UnsupportedOp, match="an element of transpose cannot be explained"
    ) as caught:
        explain(op, [np.eye(2)], [np.eye(2)], (0, 0))
    assert "softmax" in str(caught.value)


@given(st.integers(0, 9))
def test_infinities_and_nan_are_numbers_like_any_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([1.0, np.inf, -np.inf, np.nan], (1, 1, 2, 2))
    with np.errstate(all="ignore"):
        results = computed(Conv2d(), x, FILTER)
    one = explain(Conv2d(), [x, FILTER], results, (0, 0, 0, 0))
    np.testing.assert_array_equal(one.computed, one.value)
