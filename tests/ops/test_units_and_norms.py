"""Linear units and norms far out and near 0, in float32 on both backends, against float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import Array, Op, TensorType
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.activation import Hardmax
from cauce.ir.ops.linear_units import Elu, Gelu, Mish, PRelu, Shrink, Softplus, Swish
from cauce.ir.ops.nll_loss import NLLLoss
from cauce.ir.ops.response_norm import LocalResponseNorm, LpNorm
from cauce.ir.ops.sample_norm import GroupNorm, LayerNorm, RMSNorm

from .evaluation import graph_on

PROGRAMS = {"numpy": NumpyProgram, "llvm": compile_program}
each_backend = pytest.mark.parametrize("backend", PROGRAMS)
# From where results vanish in float32 to where gates are 1, and close to 0 on either side.
SIZES = np.geomspace(1e-6, 100, 400)
EVERYWHERE = np.concatenate([-SIZES[::-1], SIZES]).astype(np.float32)


def native(op: Op, backend: str, *operands: Array) -> Array:
    graph = graph_on(op, [TensorType.of(x) for x in operands])
    found = Executable(PROGRAMS[backend](graph))(*operands)
    return found[0] if isinstance(found, tuple) else found


FORMULAS: dict[Op, Callable[[float], float]] = {
    Elu(): lambda x: x if x > 0 else math.expm1(x),
    Elu(1.5, 1.05, 0.5): lambda x: 1.05 * (x if x > 0 else 1.5 * math.expm1(x / 2)),
    Softplus(): lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
    Softplus(2.0): lambda x: max(x, 0) + math.log1p(math.exp(-abs(2 * x))) / 2,
    Mish(): lambda x: x * math.tanh(max(x, 0) + math.log1p(math.exp(-abs(x)))),
    Swish(): lambda x: x / (1 + math.exp(-x)),
    Gelu(): lambda x: x * math.erfc(-x * math.sqrt(0.5)) / 2,
    Gelu("tanh"): lambda x: (
        x / (1 + math.exp(min(-math.sqrt(8 / math.pi) * (x + 0.044715 * x**3), 700)))
    ),
}


@each_backend
@pytest.mark.parametrize("op", FORMULAS, ids=str)
def test_digits_are_kept_everywhere(op: Op, backend: str) -> None:
    wanted = np.array([FORMULAS[op](float(x)) for x in EVERYWHERE])
    found = native(op, backend, EVERYWHERE).astype(np.float64)
    # The exponent of e**-x is x rounded, or its square: an error of so many units, far out.
    size = np.minimum(np.abs(EVERYWHERE.astype(np.float64)), 90)
    room = 6e-7 * (1 + (size**2 if isinstance(op, Gelu) else size / 30))
    tiny = np.finfo(np.float32).tiny
    assert np.all(np.abs(found - wanted) <= np.maximum(room * np.abs(wanted), tiny))


@each_backend
@pytest.mark.parametrize("op", [LayerNorm(), GroupNorm(1), GroupNorm(2)], ids=str)
def test_a_large_mean_takes_no_digits_from_the_variance(op: Op, backend: str) -> None:
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((3, 4, 500))).astype(np.float32)
    width = x.shape[-1] if isinstance(op, LayerNorm) else x.shape[1]
    gamma, beta = (rng.standard_normal(width).astype(np.float32) for _ in range(2))
    rows = x.astype(np.float64)
    if isinstance(op, GroupNorm):
        rows = rows.reshape(3, op.num_groups, -1)
    normal = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    across = (1, -1, 1) if isinstance(op, GroupNorm) else (1, 1, -1)
    wanted = normal.reshape(x.shape) * gamma.reshape(across) + beta.reshape(across)
    # A mean near 1e4 is known to a unit, 1e-3, and gamma goes up to 4.
    np.testing.assert_allclose(native(op, backend, x, gamma, beta), wanted, atol=8e-3)


@each_backend
def test_windows_of_local_response_norm(backend: str) -> None:
    """An even window is larger after the channel in ONNX, before it in PyTorch."""
    x = np.array([1, 2, 3, 4, 5], np.float32).reshape(1, 5, 1)
    squares = np.array([0, 0, *(x.ravel().astype(float) ** 2), 0, 0])
    for before in (None, 2):
        op = LocalResponseNorm(4, 2.0, 0.75, 1.0, before)
        first = 1 if before is None else 0
        sums = np.array([squares[c + first : c + first + 4].sum() for c in range(5)])
        wanted = x.ravel() / (1 + 2 / 4 * sums) ** 0.75
        np.testing.assert_allclose(native(op, backend, x).ravel(), wanted, rtol=1e-6)


@each_backend
def test_what_has_no_norm_stays_0(backend: str) -> None:
    x = np.array([[0, 0], [3, 4]], np.float32)
    for p, wanted in ((1, [3 / 7, 4 / 7]), (2, [0.6, 0.8])):
        found = native(LpNorm(1, p), backend, x)
        np.testing.assert_allclose(found, [[0, 0], wanted], rtol=1e-6)


@each_backend
def test_labels_that_do_not_count_may_be_any(backend: str) -> None:
    logs = np.log(np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], np.float32))
    weight = np.array([1, 3], np.float32)
    for dtype, ignored in ((np.int64, -100), (np.int32, 7), (np.uint8, 255), (np.uint8, -100)):
        labels = np.array([1, ignored if ignored >= 0 or dtype != np.uint8 else 0, 0], dtype)
        found = native(NLLLoss("mean", ignored), backend, logs, labels, weight)
        counted = [3 * logs[0, 1], logs[2, 0]]
        share = 4.0
        if labels[1] != ignored:
            counted.append(logs[1, 0])
            share = 5.0
        np.testing.assert_allclose(found, -sum(counted) / share, rtol=1e-6)
    nothing = np.full(3, -1)
    assert np.isnan(native(NLLLoss("mean", -1), backend, logs, nothing))


@each_backend
def test_infinities_and_ties(backend: str) -> None:
    edges = np.array([-np.inf, np.inf, np.nan], np.float32)
    expected = {
        Elu(): [-1, np.inf, np.nan],
        Softplus(): [0, np.inf, np.nan],
        Shrink(): [-np.inf, np.inf, np.nan],
        PRelu(): [-np.inf, np.inf, np.nan],
    }
    for op, wanted in expected.items():
        slope = [np.float32(0.5).reshape(())] * (len(op.operands) - 1)
        np.testing.assert_array_equal(native(op, backend, edges, *slope), wanted)
    ties = np.array([[2, 5, 5], [np.nan, 9, np.nan]], np.float32)
    np.testing.assert_array_equal(native(Hardmax(1), backend, ties), [[0, 1, 0], [1, 0, 0]])


def of(*shape: int, dtype: str = "f32") -> TensorType:
    return TensorType.make(dtype, shape)


def test_mistakes() -> None:
    with pytest.raises(ShapeError, match="divide into 3 groups"):
        GroupNorm(3).infer(of(2, 4, 5), of(4), of(4))
    with pytest.raises(ShapeError, match="beta is"):
        GroupNorm().infer(of(2, 4, 5), of(4), of(5))
    with pytest.raises(ShapeError, match="gamma"):
        LayerNorm().infer(of(2, 4), of(3, 2, 4))
    with pytest.raises(ShapeError, match="not broadcast"):
        RMSNorm().infer(of(2, 4), of(3))
    with pytest.raises(ShapeError, match="slope"):
        PRelu().infer(of(2, 4), of(3, 2, 4))
    with pytest.raises(ShapeError, match="is not known"):
        Hardmax().infer(TensorType.make("f32", (2, "N")))
    with pytest.raises(TypeMismatch, match="give class indices"):
        NLLLoss().infer(of(2, 4), of(2))
    with pytest.raises(ShapeError, match="one number for each class"):
        NLLLoss().infer(of(2, 4), of(2, dtype="i64"), of(3))
    for make in (
        lambda: LayerNorm(epsilon=-1.0),
        lambda: LpNorm(p=3),
        lambda: LocalResponseNorm(3, before=3),
        lambda: Softplus(0.0),
        lambda: Elu(input_scale=-1.0),
        lambda: Shrink(math.nan),
        lambda: Gelu("exact"),
        lambda: GroupNorm(0),
    ):
        with pytest.raises(AttributeMistake):
            make()
