"""The confusion matrix, against counting by hand and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.errors import DataError
from cauce.training.metrics import ConfusionMatrix

CLASSES = ("cat", "dog", "owl")
TRUE = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 1, 1, 1, 0, 0]
MATRIX = ConfusionMatrix.of(PREDICTED, TRUE, CLASSES)


def test_rows_are_true_classes_and_columns_predictions() -> None:
    assert MATRIX.counts.tolist() == [[1, 2, 0], [1, 1, 0], [1, 0, 0]]


def test_shares() -> None:
    assert MATRIX.accuracy == 2 / 6
    np.testing.assert_array_equal(MATRIX.recall, [1 / 3, 1 / 2, 0])
    np.testing.assert_array_equal(MATRIX.precision, [1 / 3, 1 / 3, np.nan])
    np.testing.assert_array_equal(MATRIX.f1, [2 / 6, 2 / 5, 0])


@given(seed=st.integers(0, 999))
def test_scikit_learn_agrees(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, 5, (2, 40))
    matrix = ConfusionMatrix.of(predicted, true, tuple("abcde"))
    labels = range(5)
    expected = metrics.confusion_matrix(true, predicted, labels=labels)
    assert np.array_equal(matrix.counts, expected)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        true, predicted, labels=labels, zero_division=np.nan
    )
    np.testing.assert_allclose(matrix.precision, precision)
    np.testing.assert_allclose(matrix.recall, recall)
    np.testing.assert_allclose(matrix.f1, f1)


def test_logits_stand_for_their_greatest_class() -> None:
    logits = np.eye(3)[PREDICTED] - 0.5
    assert np.array_equal(ConfusionMatrix.of(logits, TRUE, CLASSES).counts, MATRIX.counts)


def test_batches_add_up() -> None:
    first = ConfusionMatrix.of(PREDICTED[:2], TRUE[:2], CLASSES)
    rest = ConfusionMatrix.of(PREDICTED[2:], TRUE[2:], CLASSES)
    assert np.array_equal((first + rest).counts, MATRIX.counts)
    with pytest.raises(DataError, match="other classes: a, b"):
        first + ConfusionMatrix.of([0], [0], ("a", "b"))


def test_small_integers_do_not_overflow() -> None:
    labels = np.array([199], np.uint8)
    matrix = ConfusionMatrix.of(labels, labels, tuple(map(str, range(200))))
    assert matrix.counts[199, 199] == 1
    assert matrix.counts.sum() == 1


def test_the_commonest_mistakes() -> None:
    wanted = [("cat", "dog", 2), ("dog", "cat", 1), ("owl", "cat", 1)]
    assert MATRIX.most_confused() == wanted
    assert MATRIX.most_confused(1) == wanted[:1]
    assert ConfusionMatrix.of(TRUE, TRUE, CLASSES).most_confused() == []


def test_the_table() -> None:
    assert str(MATRIX) == (
        "true \\ predicted    cat    dog  owl  recall\n"
        "cat                   1      2    0   0.333\n"
        "dog                   1      1    0   0.500\n"
        "owl                   1      0    0   0.000\n"
        "precision         0.333  0.333    -\n"
        "accuracy 0.3333 of 6 images"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConfusionMatrix.of([0, 1], [0], CLASSES), r"\(2,\) for labels of shape \(1,\)"),
        (lambda: ConfusionMatrix.of(0, 0, CLASSES), r"shape \(\)"),
        (lambda: ConfusionMatrix.of([[0.5, 0.5]], [0], CLASSES), "2 logits for 3 classes"),
        (lambda: ConfusionMatrix.of([0.0], [0], CLASSES), "predictions are float64"),
        (lambda: ConfusionMatrix.of([0], [0.0], CLASSES), "labels are float64"),
        (lambda: ConfusionMatrix.of([3], [0], CLASSES), "predictions run from 3 to 3"),
        (lambda: ConfusionMatrix.of([0], [-1], CLASSES), "labels run from -1 to -1"),
    ],
)
def test_mistakes(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        make()
    assert caught.value.fix


def test_one_output_is_compared_with_a_threshold_first() -> None:
    """Numbers [N, 1] have no greatest; bools and classes [N, 1] say what they mean."""
    logits, labels = np.array([[0.3], [-2.0], [1.5], [0.0]]), [1, 0, 0, 1]
    for predictions in (logits, logits[:, 0], logits.astype(np.float32)):
        with pytest.raises(DataError, match="are one number for each image") as caught:
            ConfusionMatrix.of(predictions, labels, CLASSES[:2])
        assert caught.value.fix == (
            "give predictions > 0 for logits, predictions > 0.5 for probabilities"
        )
    wanted = [[1, 1], [1, 1]]
    for predictions in (logits > 0, (logits > 0)[:, 0], (logits > 0).astype(np.uint8)):
        for true in (labels, np.array(labels)[:, None], np.array(labels) == 1):
            matrix = ConfusionMatrix.of(predictions, true, CLASSES[:2])
            assert matrix.counts.tolist() == wanted
