"""``model.predict``: files, arrays and lists in, named probabilities out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn, predicting
from cauce.ir.errors import (
    AttributeMistake,
    CauceError,
    GraphError,
    MissingFile,
    ShapeError,
    TypeMismatch,
)

RNG = np.random.default_rng(0)
NAMES = ("cat", "dog", "owl")
PHOTOS = [RNG.integers(0, 256, (9, 12, 3)).astype(np.uint8) for _ in range(3)]


def net_of(ending: Any, classes: int = 3) -> Any:
    @cauce.network
    def net(image):
        return ending(nn.linear(nn.flatten(image), classes))

    return net


def model(ending: Any = lambda x: x, shape: Any = ("N", 3, 4, 4), classes: int = 3) -> cauce.Model:
    made = net_of(ending, classes).init(image=shape, seed=1)
    made.preprocessing = cauce.Preprocessing(4, classes=NAMES if classes == 3 else None)
    return made


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def batch() -> np.ndarray:
    return RNG.random((3, 3, 4, 4), np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    image = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, pixels in zip(paths, PHOTOS):
        image.fromarray(pixels).save(path)
    return paths


# ---- what goes in ------------------------------------------------------------------------------


def test_a_file_gives_the_classes_by_their_probability(photos: list[Path]) -> None:
    found = model().predict(photos[0], top=2)
    logits = cauce.compile(model())(cauce.load_image(photos[0], 4))
    wanted = softmax(logits[0].astype(np.float64))
    order = np.argsort(-wanted)[:2]
    assert [name for name, _ in found] == [NAMES[k] for k in order]
    assert [p for _, p in found] == pytest.approx(wanted[order].tolist(), rel=1e-5)
    assert model().predict(str(photos[0]), top=2) == found


def test_lists_and_pixels_give_the_same(photos: list[Path]) -> None:
    net = model()
    one_by_one = [net.predict(path) for path in photos]
    assert net.predict(photos) == net.predict(tuple(PHOTOS)) == one_by_one
    assert net.predict([photos[0], PHOTOS[1]]) == one_by_one[:2]
    assert net.predict([]) == []
    assert net.predict(PHOTOS[2]) == one_by_one[2]


@pytest.mark.parametrize("pixels", [PHOTOS[0][:, :, 0], PHOTOS[0][:, :, :1]])
def test_grey_pixels_become_colours(pixels: np.ndarray) -> None:
    pytest.importorskip("PIL")
    wanted = np.repeat(pixels.reshape(9, 12, 1), 3, axis=2)
    assert model().predict(pixels) == model().predict(wanted)


def test_an_array_of_four_dimensions_is_fed_as_it_is() -> None:
    net, x = model(), batch()
    net.preprocessing = None
    found = net.predict(x, top=3)
    wanted = softmax(cauce.compile(net)(x).astype(np.float64))
    assert len(found) == 3
    for ranking, row in zip(found, wanted):
        probabilities = dict(ranking)
        assert [probabilities[str(k)] for k in range(3)] == pytest.approx(row.tolist(), rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_fixed_batch_is_filled_up(size: int, photos: list[Path]) -> None:
    fixed, free = model(shape=(size, 3, 4, 4)), model()
    for count in (1, 3):
        found, wanted = fixed.predict(photos[:count]), free.predict(photos[:count])
        assert len(found) == count
        for mine, theirs in zip(found, wanted):
            assert [name for name, _ in mine] == [name for name, _ in theirs]
            assert [p for _, p in mine] == pytest.approx([p for _, p in theirs], rel=1e-5)
    assert len(fixed.predict(photos[0])) == 3


def test_many_images_are_more_than_one_batch(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = model()
    wanted = net.predict(photos)
    monkeypatch.setattr(predicting, "_AT_ONCE", 2)
    assert net.predict(photos) == wanted


def test_images_of_any_size_where_the_network_takes_them(photos: list[Path]) -> None:
    @cauce.network
    def free(image):
        return nn.linear(nn.global_avg_pool(nn.conv2d(image, 4, 3)), 3)

    net = free.init(image=("N", 3, "H", "W"))
    net.preprocessing = cauce.Preprocessing()
    small = PHOTOS[0][:5, :7]
    found = net.predict([photos[0], small])
    assert found == [net.predict(photos[0]), net.predict(small)]
    assert found[0] != found[1]


# ---- what comes out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    [
        lambda x: nn.softmax(x, dim=1),
        lambda x: nn.log_softmax(x, dim=1),
        lambda x: nn.softmax(x, dim=1).cast("f64"),
        lambda x: nn.softmax(x, dim=1).reshape((x.shape[0], 3, 1, 1)),
        lambda x: x.reshape((x.shape[0], 3, 1, 1)),
    ],
)
def test_softmax_is_taken_once(ending: Any) -> None:
    x = batch()
    for found, wanted in zip(model(ending).predict(x), model().predict(x)):
        assert [name for name, _ in found] == [name for name, _ in wanted]
        assert [p for _, p in found] == pytest.approx([p for _, p in wanted], rel=1e-5)
        assert sum(p for _, p in found) == pytest.approx(1)


def test_independent_probabilities_stay() -> None:
    x = batch()
    found = model(nn.sigmoid).predict(x)
    wanted = 1 / (1 + np.exp(-cauce.compile(model())(x).astype(np.float64)))
    for ranking, row in zip(found, wanted):
        order = sorted(row.tolist(), reverse=True)
        assert [p for _, p in ranking] == pytest.approx(order, rel=1e-5)


@pytest.mark.parametrize("ending", [lambda x: x, nn.sigmoid])
def test_one_output_is_that_of_the_second_of_two(ending: Any) -> None:
    net, x = model(ending, classes=1), batch()
    net.preprocessing = cauce.Preprocessing(4, classes=("no", "yes"))
    logits = cauce.compile(model(classes=1))(x)[:, 0].astype(np.float64)
    for ranking, logit in zip(net.predict(x), logits):
        assert dict(ranking)["yes"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)
        assert sum(p for _, p in ranking) == pytest.approx(1)


def test_it_prints_as_a_table() -> None:
    ranking = predicting.Ranking([("tabby cat", 0.75), ("owl", 0.125)])
    assert (
        repr(ranking)
        == str(ranking)
        == ("class      probability\ntabby cat       0.7500\nowl             0.1250")
    )
    assert repr(predicting.Ranking()) == "class  probability"


def test_a_notebook_gets_a_table_in_which_names_are_text() -> None:
    html = predicting.Ranking([("<b>cat</b>", 0.75), ("owl", float("nan"))])._repr_html_()
    assert html.startswith("<table")
    assert "&lt;b&gt;cat&lt;/b&gt;" in html and "0.7500" in html and "nan" in html


# ---- what is compiled, and when ----------------------------------------------------------------


def test_it_is_compiled_once_and_follows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    compile = predicting.compile

    def counting(given: Any) -> Any:
        compiled.append(given)
        return compile(given)

    monkeypatch.setattr(predicting, "compile", counting)
    net, x = model(), batch()
    before = net.predict(x)
    assert net.predict(x) == before
    net.load_state_dict({name: array + 1 for name, array in net.values.items()})
    changed = net.predict(x)
    assert changed != before and len(compiled) == 1
    twin = copy.deepcopy(net)
    assert twin.predict(x) == changed and len(compiled) == 2
    opposite = net.graph.add_node(cauce.ir.ops.elementwise.Neg(), [*net.graph.outputs.values()])
    net.graph.outputs = dict.fromkeys(net.graph.outputs, opposite.result)
    assert net.predict(x) != changed and len(compiled) == 3


# ---- mistakes ----------------------------------------------------------------------------------


def segmenting() -> cauce.Model:
    @cauce.network
    def net(image):
        return nn.conv2d(image, 3, 1)

    return net.init(image=("N", 3, 4, 4))


def of_two() -> cauce.Model:
    @cauce.network
    def net(image, other):
        return nn.linear(nn.flatten(image + other), 3)

    return net.init(image=("N", 3, 4, 4), other=("N", 3, 4, 4))


def silent() -> cauce.Model:
    return net_of(lambda x: x).init(image=("N", 3, 4, 4))


@pytest.mark.parametrize(
    ("make", "images", "error", "message"),
    [
        (
            segmenting,
            PHOTOS[0],
            GraphError,
            r"net gives \(output: f32\[N,3,4,4\]\)",
        ),
        (of_two, PHOTOS[0], GraphError, "a model with one input of images"),
        (silent, PHOTOS[0], GraphError, r"how an image becomes image: f32\[N,3,4,4\]"),
        (model, "absent.png", MissingFile, r"there is no file absent\.png"),
        (model, None, TypeMismatch, "predict takes the path of an image"),
        (model, [PHOTOS[0], 3], TypeMismatch, "predict takes the path of an image"),
        (model, np.zeros((4, 4, 3)), TypeMismatch, "its pixels as u8"),
        (model, np.zeros((3, 9, 12), np.uint8), ShapeError, r"up to 4 channels, got \(3, 9, 12\)"),
        (model, np.zeros((1, 3, 5, 5), np.float32), ShapeError, "image"),
        (model, np.zeros((1, 3, 4, 4)), TypeMismatch, "image"),
    ],
)
def test_mistakes(make: Any, images: Any, error: type[CauceError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make().predict(images)
    assert caught.value.fix


def test_the_remedy_of_an_unknown_preprocessing_works() -> None:
    net = silent()
    with pytest.raises(GraphError) as caught:
        net.predict(PHOTOS[0])
    assert "size=(4, 4), mean=0.5, std=0.25" in str(caught.value)
    net.preprocessing = cauce.Preprocessing(size=(4, 4), mean=0.5, std=0.25)
    assert len(net.predict(PHOTOS[0])) == 3


def test_no_class_at_all() -> None:
    with pytest.raises(AttributeMistake, match="top must be an int of at least 1"):
        model().predict(PHOTOS[0], top=0)
