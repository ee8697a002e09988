"""The record of how an image becomes an input: its form, its arithmetic, its text in files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.errors import AttributeMistake, CauceError, DataError
from cauce.ir.preprocessing import INTERPOLATIONS, Preprocessing


def test_numbers_come_into_one_form() -> None:
    one = Preprocessing(8, mean=[0.5, 0.5, 0.5], std=np.array([1, 2, 4]), classes=["a", "b"])
    assert one == Preprocessing((8, 8), 0.5, (1.0, 2.0, 4.0), classes=("a", "b"))
    assert (one.size, one.mean, one.classes) == ((8, 8), 0.5, ("a", "b"))


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_pixels_are_scaled_then_normalised_by_channel(channels: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    told = Preprocessing(mean=(0.5, 0.25, 0), std=(0.5, 2, 0.1), channels=channels)
    found = told.apply(pixels)
    assert found.dtype == np.float32
    for plane, got, mean, std in zip(pixels, found, (0.5, 0.25, 0), (0.5, 2, 0.1)):
        np.testing.assert_allclose(got, (plane / 255 - mean) / std, rtol=1e-6, atol=1e-6)


def test_what_the_graph_does_is_not_done_before_it() -> None:
    told = Preprocessing(mean=0.5, std=0.25, normalized_in_graph=True)
    assert told.apply(np.array([[[255.0]]])).tolist() == [[[1.0]]]


def test_an_unknown_scale_cannot_be_applied() -> None:
    with pytest.raises(DataError, match="not known what becomes of a pixel") as caught:
        Preprocessing(scale=None).apply(np.zeros((3, 2, 2)))
    assert "scale=1/255" in str(caught.value)


numbers = st.floats(-3, 3) | st.tuples(*[st.floats(-3, 3)] * 3)
positive = st.floats(2.0**-10, 9) | st.tuples(*[st.floats(2.0**-10, 9)] * 3)
records = st.builds(
    Preprocessing,
    size=st.none() | st.integers(1, 9) | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    mean=numbers,
    std=positive,
    channels=st.sampled_from(["RGB", "BGR", None]),
    scale=st.none() | st.floats(1e-6, 9),
    classes=st.none() | st.lists(st.text(), min_size=1, max_size=3),
    interpolation=st.sampled_from(INTERPOLATIONS),
    crop=st.booleans(),
    normalized_in_graph=st.booleans(),
)


@given(records)
def test_the_text_reads_back(told: Preprocessing) -> None:
    assert Preprocessing.from_text(told.to_text(), "net") == told


def test_the_text_says_what_is_no_default() -> None:
    assert Preprocessing().to_text() == "{}"
    assert Preprocessing(8, channels="L").to_text() == '{"size": [8, 8], "channels": "L"}'


def test_it_prints_what_is_no_default_and_few_of_many_names() -> None:
    few = Preprocessing(8, channels="L", classes=("a", "b"))
    assert repr(few) == "Preprocessing(size=(8, 8), channels='L', classes=('a', 'b'))"
    many = Preprocessing(classes=[f"class {k}" for k in range(1000)])
    assert repr(many) == (
        "Preprocessing(classes=('class 0', 'class 1', ..., 'class 999': 1000 names))"
    )


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"sise": 4}', '{"size": 0}', '{"classes": [1]}', '{"std": 0}', "[" * 100_000],
)
def test_a_text_that_is_something_else(text: str) -> None:
    with pytest.raises(DataError, match=r"^net\.onnx: how it takes images cannot be read"):
        Preprocessing.from_text(text, "net.onnx")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "size must be an int or a pair"),
        ({"channels": "RGBA"}, "got 'RGBA'"),
        ({"mean": (0.5, 0.5)}, "one for each channel of RGB, got"),
        ({"mean": float("nan")}, "a mean is a finite number"),
        ({"mean": "a"}, "mean must be a number"),
        ({"std": 0}, "divided by std, got"),
        ({"std": (1, 1, float("inf"))}, "divided by std, got"),
        ({"scale": -1}, "multiplied by scale, got -1"),
        ({"classes": "cat"}, "classes are a list of names, got 'cat'"),
        ({"classes": [1, 2]}, "classes are a list of names"),
        ({"interpolation": "bilinaer"}, "no interpolation 'bilinaer'"),
        ({"resize": 8, "size": 9}, "resize=8 is the length of the shorter side"),
        ({"resize": 8}, "resize=8 is the length of the shorter side"),
        ({"resize": 8, "size": 4, "crop": False}, "crop=False"),
        ({"crop": 2}, "crop must be True or False"),
    ],
)
def test_values_that_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(AttributeMistake, match=message) as caught:
        Preprocessing(**fields)  # type: ignore[arg-type]
    assert isinstance(caught.value, CauceError) and caught.value.fix


def test_a_near_name_is_offered() -> None:
    with pytest.raises(AttributeMistake, match="did you mean bilinear"):
        Preprocessing(interpolation="bilinaer")
