"""Losses: the formulas by hand, identities between them, extreme logits, mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from cauce.backends.contract import Program
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import Array, Builder, Graph, Op, TensorType, Value, evaluate
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.activation import Sigmoid
from cauce.ir.ops.loss import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    CrossEntropy,
    KLDivergence,
    MSELoss,
)
from cauce.ir.ops.shape import Reshape
from cauce.passes.autodiff import gradients

from .evaluation import add_gradients, graph_on, run, run_gradients, run_graph, run_primitives

Execution = Callable[..., list[Array]]
both = pytest.mark.parametrize("execute", [run, run_primitives])
LOGIT_SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)
ONE = np.ones(())


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every test."""
    return np.random.default_rng(3)


def softmax(logits: Array) -> Array:
    """Over axis 1; for logits of moderate size."""
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def one_hot(labels: Array, classes: int) -> Array:
    """[N, ...] to [N, C, ...]."""
    return np.moveaxis(np.eye(classes)[labels], -1, 1)


def gradient(op: Op, *operands: Array, place: int = 0) -> Array:
    """The gradient of a scalar loss by one operand."""
    dtype = operands[0].dtype
    grad = run_gradients(op, operands, (ONE.astype(dtype),))[place]
    assert grad is not None
    return grad


# ---- cross entropy -----------------------------------------------------------------------------


def cross_entropies(logits: Array, target: Array, smoothing: float) -> Array:
    """The loss of every sample and position, one at a time, from probabilities [N, C, ...]."""
    losses = np.empty((logits.shape[0], *logits.shape[2:]))
    for n, *position in np.ndindex(losses.shape):
        scores = [float(score) for score in logits[(n, slice(None), *position)]]
        total = math.fsum(math.exp(score) for score in scores)
        loss = 0.0
        for c, score in enumerate(scores):
            t = (1 - smoothing) * target[(n, c, *position)] + smoothing / len(scores)
            loss -= t * math.log(math.exp(score) / total)
        losses[(n, *position)] = loss
    return losses


@both
@given(
    LOGIT_SHAPES,
    st.sampled_from(["mean", "sum", "none"]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 2**16),
)
def test_cross_entropy_is_the_formula(
    execute: Execution, shape: tuple[int, ...], reduction: str, smoothing: float, seed: int
) -> None:
    """Against probabilities, and against labels, which are one-hot probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal(shape)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    op = CrossEntropy(reduction, smoothing)
    reduce = {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction]
    target = softmax(rng.standard_normal(shape))
    for given_target, probabilities in (
        (target, target),
        (labels, one_hot(labels, shape[1])),
        (labels.astype(np.uint8), one_hot(labels, shape[1])),
    ):
        wanted = reduce(cross_entropies(logits, probabilities, smoothing))
        (loss,) = execute(op, logits, given_target)
        np.testing.assert_allclose(loss, wanted, rtol=1e-12, atol=1e-12)


@both
def test_even_logits_cost_the_logarithm_of_the_number_of_classes(execute: Execution) -> None:
    (loss,) = execute(CrossEntropy(), np.zeros((4, 10)), np.array([0, 3, 9, 5]))
    assert float(loss) == pytest.approx(math.log(10), rel=1e-15)


@both
@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2, 2)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_onnx_softmax_cross_entropy(
    execute: Execution, shape: tuple[int, ...], reduction: str, rng: np.random.Generator
) -> None:
    logits = rng.standard_normal(shape).astype(np.float32)
    labels = rng.integers(0, 4, (shape[0], *shape[2:]))
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y"], reduction=reduction)
    graph = helper.make_graph(
        [node],
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, logits.shape),
            helper.make_tensor_value_info("t", TensorProto.INT64, labels.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": logits, "t": labels})
    (loss,) = execute(CrossEntropy(reduction), logits, labels)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


def test_cross_entropy_gradient_is_softmax_less_target(rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((6, 5, 2)), rng.integers(0, 5, (6, 2))
    wanted = (softmax(logits) - one_hot(labels, 5)) / 12
    np.testing.assert_allclose(gradient(CrossEntropy(), logits, labels), wanted, atol=1e-15)
    target = softmax(rng.standard_normal((6, 5, 2)))
    smooth = 0.9 * target + 0.1 / 5
    wanted = (softmax(logits) - smooth) / 12
    op = CrossEntropy(label_smoothing=0.1)
    np.testing.assert_allclose(gradient(op, logits, target), wanted, atol=1e-15)


@both
def test_cross_entropy_of_huge_logits_is_finite(execute: Execution) -> None:
    logits = np.array([[1e4, -1e4, 0], [3e38, 0, -3e38]], np.float32)
    labels = np.array([1, 0])
    np.testing.assert_array_equal(execute(CrossEntropy("none"), logits, labels)[0], [2e4, 0])
    dlogits = gradient(CrossEntropy("sum"), logits, labels)
    np.testing.assert_array_equal(dlogits, [[1, -1, 0], [0, 0, 0]])


@both
def test_a_class_that_is_ruled_out_costs_nothing_to_the_others(execute: Execution) -> None:
    """A logit of -inf: with labels neither the loss nor its gradient is NaN."""
    logits, labels = np.array([[0.0, -np.inf, 0.0]]), np.array([2])
    (loss,) = execute(CrossEntropy(), logits, labels)
    assert float(loss) == pytest.approx(math.log(2), rel=1e-15)
    np.testing.assert_allclose(gradient(CrossEntropy(), logits, labels), [[0.5, 0, -0.5]])


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probability_0_of_a_class_that_is_ruled_out_costs_nothing(
    execute: Execution, dtype: type
) -> None:
    """0 * -inf = 0, as with labels; a probability above 0 of it costs infinity, as in PyTorch."""
    logits = np.array([[0, -np.inf, 0], [0, 0, -np.inf]], dtype)
    target = np.array([[0.25, 0, 0.75], [0.5, 0.25, 0.25]], dtype)
    losses = execute(CrossEntropy("none"), logits, target)[0]
    np.testing.assert_allclose(losses, [math.log(2), np.inf], rtol=1e-6)
    op = CrossEntropy("sum")
    slopes = gradient(op, logits, target)
    np.testing.assert_allclose(slopes, [[0.25, 0, -0.25], [0, 0.25, -0.25]], atol=1e-7)
    by_target = gradient(op, logits, target, place=1)
    np.testing.assert_allclose(by_target[0], [math.log(2), 0, math.log(2)], rtol=1e-6)


@both
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_smoothing_asks_for_classes_that_are_ruled_out(
    execute: Execution, smoothing: float
) -> None:
    logits, labels = np.array([[0.0, -np.inf]]), np.array([1])
    for target in (labels, one_hot(labels, 2)):
        assert execute(CrossEntropy("sum", smoothing), logits, target)[0] == np.inf


@both
@pytest.mark.parametrize("op", [CrossEntropy("none"), KLDivergence("none")], ids=lambda op: op.name)
def test_an_infinite_logit_is_no_number(execute: Execution, op: Op) -> None:
    """inf - inf, for every class: as log_softmax has it, and PyTorch."""
    logits = np.array([[np.inf, 0.0], [-np.inf, -np.inf]])
    for label in (0, 1):
        assert np.isnan(execute(op, logits, np.array([label, label]))[0]).all()


@pytest.mark.parametrize("op", [CrossEntropy(), KLDivergence()], ids=lambda op: op.name)
@pytest.mark.parametrize("label", [10, -1])
def test_a_label_out_of_range_is_named(op: Op, label: int) -> None:
    logits, labels = np.zeros((3, 10)), np.array([0, label, 9])
    for execute in (run, run_primitives):
        with pytest.raises(ShapeError, match=f"index {label} is out of range for size 10") as own:
            execute(op, logits, labels)
        assert "indices run from 0 to 9; if they are class labels" in str(own.value)


# ---- KL divergence -----------------------------------------------------------------------------


@both
@given(LOGIT_SHAPES, st.integers(0, 2**16))
def test_kl_divergence_is_cross_entropy_less_entropy(
    execute: Execution, shape: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits, target = rng.standard_normal(shape), softmax(rng.standard_normal(shape))
    entropies = -(target * np.log(target)).sum(axis=1)
    wanted = cross_entropies(logits, target, 0.0) - entropies
    (each,) = execute(KLDivergence("none"), logits, target)
    np.testing.assert_allclose(each, wanted, rtol=1e-12, atol=1e-12)
    (total,) = execute(KLDivergence("sum"), logits, target)
    np.testing.assert_allclose(total, wanted.sum(), rtol=1e-12, atol=1e-12)
    # The mean over the batch alone: positions are summed.
    (mean,) = execute(KLDivergence(), logits, target)
    np.testing.assert_allclose(mean, wanted.sum() / shape[0], rtol=1e-12, atol=1e-12)


@both
def test_kl_divergence_of_a_distribution_from_itself_is_zero(
    execute: Execution, rng: np.random.Generator
) -> None:
    logits = rng.standard_normal((4, 6))
    (loss,) = execute(KLDivergence("none"), logits, softmax(logits))
    np.testing.assert_allclose(loss, 0, atol=1e-15)


@both
def test_kl_divergence_from_a_label_is_cross_entropy(
    execute: Execution, rng: np.random.Generator
) -> None:
    logits, labels = rng.standard_normal((4, 6, 3)), rng.integers(0, 6, (4, 3))
    (wanted,) = run(CrossEntropy("none"), logits, labels)
    for target in (labels, one_hot(labels, 6)):
        (loss,) = execute(KLDivergence("none"), logits, target)
        np.testing.assert_allclose(loss, wanted, rtol=1e-13)


def test_kl_divergence_gradient_is_softmax_less_target(rng: np.random.Generator) -> None:
    logits, target = rng.standard_normal((6, 5)), softmax(rng.standard_normal((6, 5)))
    dlogits = gradient(KLDivergence(), logits, target)
    np.testing.assert_allclose(dlogits, (softmax(logits) - target) / 6, atol=1e-15)


@both
def test_zero_probabilities_are_no_nan(execute: Execution) -> None:
    """0 log 0 = 0, even where the logits rule the same class out."""
    logits = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -np.inf]])
    target = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    losses = execute(KLDivergence("none"), logits, target)[0]
    np.testing.assert_allclose(losses, [math.log(0.5 * (2 + math.e)), math.log(2)], rtol=1e-15)
    probabilities = [1 / (2 + math.e), 1 / (2 + math.e), math.e / (2 + math.e)]
    wanted = np.array([probabilities, [0.5, 0.5, 0]]) - target
    op = KLDivergence("sum")
    np.testing.assert_allclose(gradient(op, logits, target), wanted, atol=1e-15)
    assert np.isfinite(gradient(op, logits, target, place=1)).all()


# ---- binary cross entropy ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_binary_cross_entropy_is_the_formula(
    execute: Execution, reduction: str, rng: np.random.Generator
) -> None:
    logits, target = rng.standard_normal((3, 4)), rng.random((3, 4))
    probabilities = 1 / (1 + np.exp(-logits))
    each = [
        -(t * math.log(p) + (1 - t) * math.log(1 - p))
        for p, t in zip(probabilities.ravel().tolist(), target.ravel().tolist())
    ]
    wanted = {
        "mean": math.fsum(each) / 12,
        "sum": math.fsum(each),
        "none": np.reshape(each, (3, 4)),
    }[reduction]
    (loss,) = execute(BinaryCrossEntropy(reduction), probabilities, target)
    np.testing.assert_allclose(loss, wanted, rtol=1e-13)
    (loss,) = execute(BinaryCrossEntropyWithLogits(reduction), logits, target)
    np.testing.assert_allclose(loss, wanted, rtol=1e-13)


@both
def test_certain_probabilities_cost_at_most_100(execute: Execution) -> None:
    p, t = np.array([0.0, 1, 0, 1, 1e-60]), np.array([0.0, 1, 1, 0, 1])
    losses = execute(BinaryCrossEntropy("none"), p, t)[0]
    np.testing.assert_allclose(losses, [0, 0, 100, 100, 100], atol=1e-15)
    slopes = gradient(BinaryCrossEntropy("sum"), p, t)
    # What is not held at -100 still pulls: -log(1 - p) at 0 and -log p at 1.
    np.testing.assert_allclose(slopes, [1, -1, 0, 0, 0], atol=1e-15)
    narrow = execute(BinaryCrossEntropy("none"), p.astype(np.float32), t.astype(np.float32))[0]
    np.testing.assert_allclose(narrow, [0, 0, 100, 100, 100], atol=1e-6)


@both
def test_logits_taken_for_probabilities_give_nan(execute: Execution) -> None:
    p, t = np.array([-0.3, 1.3]), np.array([1.0, 0.0])
    assert np.isnan(execute(BinaryCrossEntropy("none"), p, t)[0]).all()


@both
def test_binary_cross_entropy_of_huge_logits(execute: Execution) -> None:
    x, t = np.array([1e30, -1e30, 1e30, -1e30, 0]), np.array([1.0, 0, 0, 1, 0.25])
    losses = execute(BinaryCrossEntropyWithLogits("none"), x, t)[0]
    np.testing.assert_allclose(losses, [0, 0, 1e30, 1e30, math.log(2)], rtol=1e-15)


def test_binary_cross_entropy_gradient_is_sigmoid_less_target() -> None:
    """At 0 too, where two kinks cancel."""
    x = np.array([0.0, 1, -1, 40, -40, 800, -800])
    t = np.array([0.25, 0.5, 1, 0, 1, 0.5, 0.5])
    sigmoid = np.array([1 / (1 + math.exp(-v)) if v > -700 else 0 for v in x])
    slopes = gradient(BinaryCrossEntropyWithLogits("sum"), x, t)
    np.testing.assert_allclose(slopes, sigmoid - t, rtol=1e-15, atol=1e-15)


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_logit_that_is_surely_right_costs_nothing(execute: Execution, dtype: type) -> None:
    """And is not inf - inf; one that is surely wrong costs infinity."""
    x = np.array([np.inf, -np.inf, np.inf, -np.inf, np.inf, -np.inf], dtype)
    t = np.array([1, 0, 0, 1, 0.25, 0.25], dtype)
    losses = execute(BinaryCrossEntropyWithLogits("none"), x, t)[0]
    np.testing.assert_array_equal(losses, [0, 0, *[np.inf] * 4])
    op = BinaryCrossEntropyWithLogits("sum")
    np.testing.assert_array_equal(gradient(op, x, t), [0, 0, 1, -1, 0.75, -0.25])


def sigmoid_graph(dtype: str, shape: tuple[int, ...]) -> tuple[Graph, Value]:
    """binary_cross_entropy(sigmoid(x), t), summed, and x; the probabilities are reshaped."""
    graph = Graph()
    x = graph.add_input("x", TensorType.make(dtype, shape))
    t = graph.add_input("t", TensorType.make(dtype, (shape[0],)))
    b = Builder(graph)
    p = b(Sigmoid(), x)
    p = p if len(shape) == 1 else b(Reshape((shape[0],)), p)
    graph.outputs = {"loss": b(BinaryCrossEntropy("sum"), p, t)}
    return graph, x


@pytest.mark.parametrize("program", [None, NumpyProgram, compile_program])
@pytest.mark.parametrize("shape", [(10,), (10, 1)])
def test_a_sigmoid_far_below_0_still_learns(
    shape: tuple[int, ...], program: Callable[[Graph], Program] | None
) -> None:
    """From -87.3 down sigmoids are no normal numbers of f32, and 1 / p is infinite from -88.7."""
    graph, x = sigmoid_graph("f32", shape)
    (dx,) = gradients(graph, graph.outputs["loss"], [x])
    assert dx is not None
    graph.outputs["dx"] = dx
    points = np.array([-101, -99, -95, -90, -88, -50, 0, 3, -95, -95], np.float32)
    labels = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0.5], np.float32)
    feeds = {"x": points.reshape(shape), "t": labels}
    if program is None:
        run = evaluate(graph, feeds).outputs
    else:
        run = dict(Executable(program(graph)).run(feeds))
    wide = points.astype(np.float64)
    slopes = np.where(wide < -100, 0, 1 / (1 + np.exp(-wide)) - labels)
    np.testing.assert_allclose(run["dx"].reshape(-1), slopes, rtol=1e-6, atol=1e-30)
    losses = labels * np.minimum(np.log1p(np.exp(-wide)), 100) + (1 - labels) * np.exp(wide)
    losses = np.where(wide == 3, np.log1p(np.exp(-3.0)), losses)
    np.testing.assert_allclose(run["loss"], losses.sum(), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_gradient_of_a_tiny_probability_is_finite(dtype: type) -> None:
    """1 / p itself would be infinite, and NaN behind a softmax, say."""
    info = np.finfo(dtype)
    p = np.array([info.tiny / 64, info.tiny / 2, info.tiny, 0.25], dtype)
    slopes = gradient(BinaryCrossEntropy("sum"), p, np.ones(4, dtype))
    least = 1 / float(info.tiny)
    # f64 is held at -100 far above its least normal number.
    wanted = [0, 0, 0, -4] if dtype == np.float64 else [-least, -least, -least, -4]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-3)


# ---- squares -----------------------------------------------------------------------------------


@both
def test_mse_loss(execute: Execution) -> None:
    x, t = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 0], [6, 5]])
    assert execute(MSELoss("none"), x, t)[0].tolist() == [[0, 4], [9, 1]]
    assert float(execute(MSELoss("sum"), x, t)[0]) == 14
    assert float(execute(MSELoss(), x, t)[0]) == 3.5
    assert gradient(MSELoss(), x, t).tolist() == [[0, 1], [-1.5, -0.5]]


# ---- symbols and mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize("op", [CrossEntropy(), KLDivergence()], ids=lambda op: op.name)
def test_the_mean_over_a_symbolic_batch(op: Op, rng: np.random.Generator) -> None:
    logits, labels = TensorType.make("f64", ("N", 5, "W")), TensorType.make("i64", ("N", "W"))
    graph = graph_on(op, [logits, labels])
    add_gradients(graph, (True,))
    for n, w in ((4, 3), (7, 1)):
        operands = [rng.standard_normal((n, 5, w)), rng.integers(0, 5, (n, w))]
        (dlogits,) = run_graph(graph, [*operands, ONE])
        count = n * w if op.name == "cross_entropy" else n
        wanted = (softmax(operands[0]) - one_hot(operands[1], 5)) / count
        np.testing.assert_allclose(dlogits, wanted, atol=1e-15)


def test_mistakes() -> None:
    logits = np.zeros((4, 10))
    with pytest.raises(ShapeError, match=r"logits are f64\[4,10\], the target is i64\[3\]") as info:
        run(CrossEntropy(), logits, np.zeros(3, np.int64))
    assert "give class indices i64[4], or class probabilities f64[4,10]" in str(info.value)
    with pytest.raises(ShapeError, match=r"the target is f64\[4\]"):
        run(CrossEntropy(), logits, np.zeros(4))
    with pytest.raises(ShapeError, match=r"the target is i64\[4,10\]"):
        run(KLDivergence(), logits, np.zeros((4, 10), np.int64))
    with pytest.raises(ShapeError, match=r"takes logits \[N, C, ...\], got f64\[10\]"):
        run(CrossEntropy(), logits[0], np.zeros(10))
    with pytest.raises(TypeMismatch, match=r"the target is bool\[4,10\]"):
        run(CrossEntropy(), logits, logits > 0)
    with pytest.raises(TypeMismatch, match=r"f64\[4,10\] and f32\[4,10\]"):
        run(CrossEntropy(), logits, logits.astype(np.float32))
    with pytest.raises(ShapeError, match=r"number of classes must be known, got f32\[N,C\]"):
        types = [TensorType.make("f32", ("N", "C")), TensorType.make("i64", ("N",))]
        graph_on(CrossEntropy(), types)
    with pytest.raises(ShapeError, match=r"mse_loss: x is f64\[4,10\], target is f64\[4,1\]"):
        run(MSELoss(), logits, np.zeros((4, 1)))
    with pytest.raises(ShapeError, match=r"probabilities is f64\[4,10\], target is f64\[10,4\]"):
        run(BinaryCrossEntropy(), logits, logits.reshape(10, 4))
    with pytest.raises(TypeMismatch, match=r"floating-point values, got i64\[4,10\]"):
        run(BinaryCrossEntropyWithLogits(), logits, logits.astype(np.int64))
    with pytest.raises(AttributeMistake, match="there is no reduction 'average'"):
        MSELoss("average")
    with pytest.raises(AttributeMistake, match=r"label_smoothing is 1.5"):
        CrossEntropy(label_smoothing=1.5)
