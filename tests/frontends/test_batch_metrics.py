"""Metrics in the graph, against loops over samples."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.frontends.batch_metrics import accuracy, binary_accuracy, top_k
from cauce.frontends.network import network
from cauce.ir import Array, TensorType, evaluate, verify
from cauce.ir.errors import AttributeMistake, CauceError, ShapeError, TypeMismatch
from cauce.objective import METRICS

Metric = Callable[[Any, Any], Any]
NAN, INF = float("nan"), float("inf")


def measure(metric: Metric, logits: object, target: object, symbolic: bool = True) -> float:
    """The metric of arrays, with a batch of any size; class indices are i64."""
    x, y = np.asarray(logits, np.float32), np.asarray(target)
    y = y.astype(np.float32 if y.dtype.kind == "f" else np.int64)

    @network
    def measured(logits, target):
        return metric(logits, target)

    def type_of(array: Array) -> TensorType:
        return TensorType.make(array.dtype, (("N" if symbolic else len(array)), *array.shape[1:]))

    graph = measured.graph(logits=type_of(x), target=type_of(y))
    verify(graph)
    (value,) = evaluate(graph, {"logits": x, "target": y}).outputs.values()
    assert value.shape == ()
    assert value.dtype == np.float32
    return float(value)


LOGITS = [[1, 5, 3, 2], [9, 1, 1, 1], [0, 1, 2, 3], [4, 3, 2, 1]]


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [(accuracy, 0.25), (top_k(1), 0.25), (top_k(2), 0.5), (top_k(3), 0.75), (top_k(4), 1.0)],
)
def test_shares_of_samples(metric: Metric, wanted: float) -> None:
    # The classes are the third, the first, one of three equal ones, and the second greatest.
    assert measure(metric, LOGITS, [3, 0, 0, 1], symbolic=False) == wanted


@given(seed=st.integers(0, 999), k=st.integers(1, 6))
def test_top_k_counts_what_stands_before_the_class(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    logits, target = rng.integers(-3, 4, (9, 6)), rng.integers(0, 6, 9)
    right = [sum(row > row[label]) < k for row, label in zip(logits, target)]
    assert measure(top_k(k), logits, target) == pytest.approx(np.mean(right))


def test_ties() -> None:
    tie = [[2, 2, 1]]
    assert measure(accuracy, tie, [0]) == 1
    assert measure(accuracy, tie, [1]) == 0
    assert measure(top_k(1), tie, [0]) == measure(top_k(1), tie, [1]) == 1
    assert measure(top_k(1), tie, [2]) == 0


def test_infinite_logits_have_their_place() -> None:
    row = [[INF, 0, -INF]]
    assert [measure(top_k(1), row, [label]) for label in range(3)] == [1, 0, 0]
    assert [measure(top_k(2), row, [label]) for label in range(3)] == [1, 1, 0]


def test_a_network_that_gives_nan_is_never_right() -> None:
    assert measure(top_k(3), [[NAN, NAN, NAN]], [1]) == 0
    assert measure(top_k(1), [[NAN, 5, 1]], [1]) == 0
    assert measure(top_k(2), [[NAN, 5, 1]], [1]) == 1


@pytest.mark.parametrize("column", [False, True], ids=["[N]", "[N,1]"])
@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 1], [0.2, 0.9, 0.6, 0.5, 1.0]])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_an_output_says_1_above_the_threshold(
    labels: list[float], column: bool, threshold: float
) -> None:
    """An output at the threshold says 0, NaN is never right, infinity says 1."""
    outputs = threshold + np.array([0.0, 0.0, 0.1, -0.1, INF])
    wanted = [1, 0, 1, 1, 1]  # says 0, 0, 1, 0, 1 where the labels are 0, 1, 1, 0, 1
    for broken in range(6):  # none, then each in turn
        x = np.where(np.arange(1, 6) == broken, NAN, outputs)
        right = np.mean(np.where(np.arange(1, 6) == broken, 0, wanted))
        y = np.asarray(labels)
        x, y = (x[:, None], y if y.dtype.kind == "i" else y[:, None]) if column else (x, y)
        assert measure(binary_accuracy(threshold), x, y) == pytest.approx(right)


@pytest.mark.parametrize("metric", [accuracy, top_k(2)])
def test_probabilities_stand_for_their_greatest_class(metric: Metric) -> None:
    """Mixed images have such targets."""
    classes = np.array([3, 0, 0, 1])
    mixed = 0.6 * np.eye(4)[classes] + 0.4 * np.eye(4)[[0, 1, 2, 3]]
    assert measure(metric, LOGITS, mixed) == measure(metric, LOGITS, classes)


@pytest.mark.parametrize(("metric", "wanted"), [(accuracy, 4 / 6), (top_k(2), 5 / 6)])
def test_every_pixel_of_a_segmentation_counts(metric: Metric, wanted: float) -> None:
    logits = np.arange(3.0)[:, None, None] * np.array([[1, -1, 1], [1, 1, -1]])  # [C, H, W]
    target = [[[2, 0, 1], [2, 2, 2]]]
    assert measure(metric, logits[None], target) == pytest.approx(wanted)


def test_the_metrics_with_names() -> None:
    assert METRICS["accuracy"] is accuracy
    rows = np.eye(7)[:2]
    assert measure(METRICS["top5"], -rows, [0, 3]) == 0.5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: top_k(0), AttributeMistake, "at least 1, got 0"),
        (lambda: measure(top_k(5), LOGITS, [0] * 4), AttributeMistake, "k is 5, .* 4 classes"),
        (lambda: measure(top_k(1), [1, 2], [0, 1]), ShapeError, "the network has one"),
        (lambda: measure(top_k(1), LOGITS, [[0]] * 4), ShapeError, r"target is i64\[N,1\]"),
        (lambda: measure(accuracy, LOGITS, [[0]] * 4), ShapeError, r"target is i64\[N,1\]"),
        (lambda: measure(accuracy, LOGITS, [0.0] * 4), ShapeError, r"target is f32\[N\]"),
    ],
)
def test_mistakes(make: Callable[[], object], error: type[CauceError], message: str) -> None:
    with pytest.raises(error) as caught:
        make()
    # Not the whole text, which shows the lines of the table above.
    assert re.search(message, caught.value.what)


def test_a_number_of_classes_that_is_not_known_is_refused() -> None:
    @network
    def free(logits, target):
        return top_k(1)(logits, target)

    with pytest.raises(ShapeError, match=r"number of classes.*f32\[N,C\]"):
        free.graph(logits=("N", "C"), target=TensorType.make("i64", ("N",)))


def test_labels_of_a_bool_are_refused() -> None:
    @network
    def wrong(logits, target):
        return accuracy(logits, target)

    with pytest.raises(TypeMismatch):
        wrong.graph(logits=("N", 3), target=TensorType.make("bool", ("N",)))
