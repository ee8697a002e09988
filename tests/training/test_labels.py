"""Labels and images in the forms that other libraries give them, and what is said of the rest.

Every remedy that is code is run as it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cauce.ir import Array, Input, Role, TensorType
from cauce.ir.errors import DataError, ShapeError, TypeMismatch
from cauce.ir.evaluate import check_feed
from cauce.training import Dataset
from tests.mistakes.remedy import code_in

IMAGES = np.arange(4 * 3 * 5 * 6, dtype=np.float32).reshape(4, 3, 5, 6)
CLASSES = ("cat", "dog", "owl")


def test_a_column_of_labels_is_taken_as_it_is() -> None:
    """Keras's CIFAR-10 has u8[N, 1]; its argmax(axis=1) would be 0 throughout."""
    column = np.array([[2], [0], [1], [2]], np.uint8)
    data = Dataset(IMAGES, column, CLASSES)
    assert data.labels.tolist() == [2, 0, 1, 2]
    assert data.labels.dtype == np.int64


def remedy_of(images: object, labels: object) -> str:
    with pytest.raises(DataError) as caught:
        Dataset(images, labels, CLASSES)  # type: ignore[arg-type]
    assert caught.value.fix is not None
    return caught.value.fix


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (np.eye(3)[[2, 0, 1, 2]], [2, 0, 1, 2]),
        (np.eye(3, dtype=bool)[[2, 0, 1, 2]], [2, 0, 1, 2]),
        (np.array([[2.0], [0], [1], [2]]), [2, 0, 1, 2]),
        (np.array([2.0, 0, 1, 2]), [2, 0, 1, 2]),
        (np.array(["owl", "cat", "dog", "owl"]), [2, 0, 1, 2]),
        (np.array(["owl", "cat", "dog", "owl"], object), [2, 0, 1, 2]),
        (np.array([["owl"], ["cat"], ["dog"], ["owl"]]), [2, 0, 1, 2]),
    ],
)
def test_the_remedy_for_labels_gives_those_that_are_meant(labels: Array, wanted: object) -> None:
    fix = remedy_of(IMAGES, labels)
    (code,) = code_in(fix)
    names: dict[str, Any] = {"labels": labels, "np": np}
    exec(code if " = " in code else f"labels = {code}", names)
    data = Dataset(IMAGES, names["labels"], names.get("classes", CLASSES))
    assert data.labels.tolist() == wanted
    assert data.classes == CLASSES


def test_labels_of_every_pixel_are_no_labels_of_images() -> None:
    assert "train_step" in remedy_of(IMAGES, np.zeros((4, 5, 6), int))


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        (IMAGES[:, 0], IMAGES[:, :1]),
        (IMAGES[0].transpose(1, 2, 0), IMAGES[:1]),
        (IMAGES[0], IMAGES[:1]),
        (IMAGES[0, 0], IMAGES[:1, :1]),
        (np.arange(4 * 9.0).reshape(4, 9), np.arange(4 * 9.0).reshape(4, 1, 3, 3)),
        (np.arange(4 * 12.0).reshape(4, 12), np.arange(4 * 12.0).reshape(4, 3, 2, 2)),
    ],
)
def test_the_remedy_for_images_gives_those_that_are_meant(images: Array, wanted: Array) -> None:
    labels = np.zeros(len(wanted), int)
    fix = remedy_of(images, labels)
    (code,) = [piece for piece in code_in(fix) if "images" in piece]
    found = eval(code, {"images": images})
    np.testing.assert_array_equal(Dataset(found, labels, CLASSES).images, wanted)


def feed(type_: tuple[str, tuple[object, ...]], array: Array) -> str:
    value = Input("x", TensorType.make(*type_), Role.DATA)
    with pytest.raises((ShapeError, TypeMismatch)) as caught:
        check_feed(value, array)
    fix = caught.value.fix
    assert fix is not None
    return fix


GREY, COLOUR = ("f32", ("N", 1, 5, 6)), ("f32", ("N", 3, 5, 6))
ONE_GREY = IMAGES[:1, :1]


@pytest.mark.parametrize(
    ("type_", "array", "wanted"),
    [
        (COLOUR, IMAGES[0].transpose(1, 2, 0), IMAGES[:1]),
        (COLOUR, IMAGES[0], IMAGES[:1]),
        (COLOUR, IMAGES[0, 0], IMAGES[:1, [0, 0, 0]]),
        (GREY, IMAGES[0, 0], ONE_GREY),
        (GREY, IMAGES[0, :1], ONE_GREY),
        (GREY, IMAGES[0, :1].transpose(1, 2, 0), ONE_GREY),
        (GREY, IMAGES[:, 0], IMAGES[:, :1]),
        (("f32", ("N", 90)), IMAGES, IMAGES.reshape(4, 90)),
        (("f32", ("N", 3)), np.ones(3, np.float32), np.ones((1, 3), np.float32)),
        (("f32", ("N", 1)), np.ones(4, np.float32), np.ones((4, 1), np.float32)),
        (("f32", ("N",)), np.ones((4, 1), np.float32), np.ones(4, np.float32)),
        (("i64", ("N",)), np.array([[2], [0]]), np.array([2, 0])),
        (("i64", ("N",)), np.array([[2], [0]], np.uint8), np.array([2, 0])),
        (("i64", ("N",)), np.array([[0, 0, 1], [1, 0, 0]]), np.array([2, 0])),
        (("i64", ("N",)), np.array([[0, 0, 1.0], [1, 0, 0]]), np.array([2, 0])),
        (("f32", ("N", 3)), np.array([2, 0]), np.eye(3, dtype=np.float32)[[2, 0]]),
        (("f32", ("N", 1)), np.array([1, 0]), np.array([[1], [0]], np.float32)),
    ],
)
def test_the_remedy_for_a_feed_gives_what_is_meant(
    type_: tuple[str, tuple[object, ...]], array: Array, wanted: Array
) -> None:
    fix = feed(type_, array)
    (code,) = [piece for piece in code_in(fix) if "array" in piece]
    found = eval(code, {"array": array, "np": np})
    value = Input("x", TensorType.make(*type_), Role.DATA)
    np.testing.assert_array_equal(check_feed(value, found), wanted)


def test_bytes_of_one_image_are_no_class_indices() -> None:
    fix = feed(COLOUR, np.zeros((5, 6, 3), np.uint8))
    assert "255" in fix and "one-hot" not in fix
