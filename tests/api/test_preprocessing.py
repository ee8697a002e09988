"""Preprocessing travels with a model: from its data, through files, and is applied once."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import cauce
from cauce import nn
from cauce.ir.errors import AttributeMistake, DataError, GraphError, ShapeError, TypeMismatch
from cauce.ir.onnx.metadata import CONSTANTS, PREPROCESSING
from cauce.ir.tensors_file import load_tensors, save_tensors
from cauce.training import Checkpoints, Normalize, OneHot, RandomCrop
from cauce.training.augment import Draws, Transform

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.75, 0.25)
NAMES = ("cat", "dog", "owl")
TOLD = cauce.Preprocessing(6, MEAN, STD, classes=NAMES, resize=8)


def body(image, classes=3):
    x = nn.relu(nn.conv2d(image, 4, 3))
    return nn.linear(nn.global_avg_pool(x), classes)


@cauce.network
def plain(image, classes=3):
    return body(image, classes)


@cauce.network
def normalised(image, classes=3):
    return body(nn.normalize(image, MEAN, STD), classes)


def model(net: Any = plain, dtype: str = "f32", channels: int = 3) -> cauce.Model:
    return net.init(image=("N", channels, 6, 6), dtype=dtype, seed=0)


def exported(given: cauce.Model, folder: Path, **options: Any) -> Path:
    cauce.export_onnx(given, folder / "net.onnx", **options)
    return folder / "net.onnx"


# ---- files and copies --------------------------------------------------------------------------


@pytest.mark.parametrize("net", [plain, normalised])
def test_it_is_saved_and_loaded(net: Any, tmp_path: Path) -> None:
    first = model(net)
    assert first.preprocessing is None
    first.preprocessing = TOLD
    told = first.preprocessing
    first.save(tmp_path / "net.safetensors")
    assert cauce.load(tmp_path / "net.safetensors").preprocessing == told
    assert pickle.loads(pickle.dumps(first)).preprocessing == told
    assert copy.deepcopy(first).preprocessing == told
    for options in ({}, {"opset": 13, "ir_version": 7}):
        loaded = cauce.load_onnx(exported(first, tmp_path, **options))
        assert loaded.preprocessing == told
        assert loaded.metadata.keys().isdisjoint({PREPROCESSING, CONSTANTS})
        again = cauce.load_onnx(exported(loaded, tmp_path))
        assert again.preprocessing == told


def test_files_of_earlier_versions_still_load(tmp_path: Path) -> None:
    first = model()
    first.save(tmp_path / "net.safetensors")
    assert "preprocessing" not in load_tensors(tmp_path / "net.safetensors")[1]
    assert cauce.load(tmp_path / "net.safetensors").preprocessing is None
    assert cauce.load_onnx(exported(first, tmp_path)).preprocessing is None


def test_what_a_file_says_otherwise_is_an_error(tmp_path: Path) -> None:
    first = model()
    first.save(tmp_path / "net.safetensors")
    arrays, metadata = load_tensors(tmp_path / "net.safetensors")
    save_tensors(tmp_path / "net.safetensors", arrays, metadata | {"preprocessing": "[1]"})
    with pytest.raises(DataError, match=r"net\.safetensors: how it takes images"):
        cauce.load(tmp_path / "net.safetensors")
    proto = onnx.load(exported(first, tmp_path))
    proto.metadata_props.add(key="cauce.preprocessing", value='{"size": "x"}')
    with pytest.raises(DataError, match="how it takes images"):
        cauce.load_onnx(proto)
    proto.metadata_props[0].key = "cauce.constants"
    with pytest.raises(DataError, match=r"cauce\.constants cannot be read"):
        cauce.load_onnx(proto)


def test_a_new_head_has_no_names_yet() -> None:
    first = model()
    first.preprocessing = TOLD
    for classes in (3, 5):
        assert first.replace_head(classes).preprocessing == TOLD.named(None)
    assert first.preprocessing == TOLD


# ---- applied once ------------------------------------------------------------------------------


def outputs_agree(told: cauce.Preprocessing, net: Any, dtype: str, source: cauce.Model) -> None:
    """A photo by ``predict`` is the photo that was normalised by hand, fed to the plain network."""
    pixels = np.random.default_rng(1).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    bare = model()
    bare.load_state_dict(source.state_dict(), strict=False)
    mean, std = np.reshape(MEAN, (3, 1, 1)), np.reshape(STD, (3, 1, 1))
    x = ((pixels.transpose(2, 0, 1) / 255 - mean) / std).astype(np.float32)[None]
    logits = cauce.compile(bare, backend="numpy")(x)[0].astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum()
    found = dict(source.predict(pixels, top=3))
    for name, probability in zip(NAMES, wanted):
        assert found[name] == pytest.approx(probability, rel=1e-4)


FORMS = [(plain, "f32"), (normalised, "f32"), (normalised, "u8")]


@pytest.mark.parametrize(("net", "dtype"), FORMS)
def test_it_is_never_applied_twice(net: Any, dtype: str, tmp_path: Path) -> None:
    first = model(net, dtype)
    first.preprocessing = cauce.Preprocessing(6, MEAN, STD, classes=NAMES)
    told = first.preprocessing
    assert told.normalized_in_graph == (net is normalised)
    assert told.scale == (1.0 if dtype == "u8" else 1 / 255)
    assert (told.mean, told.std) == (MEAN, STD)
    loaded = cauce.load_onnx(exported(first, tmp_path))
    assert loaded.preprocessing == told
    outputs_agree(told, net, dtype, first)
    outputs_agree(told, net, dtype, loaded)
    first.save(tmp_path / "net.safetensors")
    outputs_agree(told, net, dtype, cauce.load(tmp_path / "net.safetensors"))


@pytest.mark.parametrize(("net", "dtype"), [(normalised, "f32"), (normalised, "u8")])
def test_it_is_found_in_an_imported_graph_that_says_nothing(
    net: Any, dtype: str, tmp_path: Path
) -> None:
    proto = onnx.load(exported(model(net, dtype), tmp_path))
    del proto.metadata_props[:]
    loaded = cauce.load_onnx(proto)
    loaded.preprocessing = cauce.Preprocessing(6, classes=NAMES)
    told = loaded.preprocessing
    assert told.normalized_in_graph
    np.testing.assert_allclose([told.mean, told.std], [MEAN, STD], rtol=1e-5)


def folded(scale: np.ndarray, shift: np.ndarray, first: str, last: bool = False) -> cauce.Model:
    """A file of others: images, two operators on them, a mean over all places."""
    shape = ["N", 4, 4, 3] if last else ["N", 3, 4, 4]
    steps = {
        "Mul": [("Mul", ["image", "scale"], ["a"]), ("Add", ["a", "shift"], ["b"])],
        "Add": [("Add", ["image", "shift"], ["a"]), ("Mul", ["a", "scale"], ["b"])],
    }[first]
    nodes = [helper.make_node(*step) for step in steps]
    nodes.append(helper.make_node("ReduceMean", ["b"], ["y"], axes=[1, 2] if last else [2, 3],
                                  keepdims=0))  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in (("scale", scale), ("shift", shift))
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return cauce.load_onnx(proto)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("unit", [1, 255])
def test_the_folded_form_of_others_is_found(unit: int, last: bool) -> None:
    mean, std = np.array(MEAN) * unit, np.array(STD) * unit
    place = (3,) if last else (1, 3, 1, 1)
    found = folded((1 / std).reshape(place), (-mean / std).reshape(place), "Mul", last)
    assert len(found.parameters) == 2  # several floats are weights in a file of others
    found.preprocessing = cauce.Preprocessing(4, mean=0.1, std=0.2)
    told = found.preprocessing
    assert told.normalized_in_graph
    assert told.scale == (1.0 if unit == 255 else 1 / 255)
    np.testing.assert_allclose([told.mean, told.std], [MEAN, STD], rtol=1e-5)


def test_channels_may_come_last() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    mean, std = np.array(MEAN), np.array(STD)
    rankings = []
    for last, place in ((False, (1, 3, 1, 1)), (True, (3,))):
        found = folded((1 / std).reshape(place), (-mean / std).reshape(place), "Mul", last)
        found.preprocessing = cauce.Preprocessing(4, classes=NAMES)
        rankings.append(dict(found.predict(pixels)))
    wanted = ((pixels / 255 - mean) / std).mean(axis=(0, 1))
    powers = np.exp(wanted)
    for found in rankings:
        assert [found[name] for name in NAMES] == pytest.approx(
            (powers / powers.sum()).tolist(), rel=1e-5
        )


def test_one_number_for_all_channels_and_the_other_order() -> None:
    found = folded(np.float32(1 / 127.5), np.float32(-127.5), "Add")
    found.preprocessing = cauce.Preprocessing(4)
    told = found.preprocessing
    assert (told.normalized_in_graph, told.scale) == (True, 1.0)
    np.testing.assert_allclose([told.mean, told.std], [0.5, 0.5], rtol=1e-5)


def test_a_scale_that_is_learnt_is_no_normalisation() -> None:
    @cauce.network
    def net(image):
        weight = nn.parameter((1, 3, 1, 1), nn.init.constant(2.0), name="w")
        return body(image * weight)

    found = model(net)
    found.preprocessing = TOLD
    assert found.preprocessing == TOLD


def test_images_that_something_else_reads_are_not_normalised() -> None:
    @cauce.network
    def net(image):
        return body(nn.normalize(image, MEAN, STD)) + body(image)

    found = model(net)
    found.preprocessing = TOLD
    assert found.preprocessing == TOLD


def test_what_a_graph_has_folded_can_be_said() -> None:
    found = model()
    found.preprocessing = replace(TOLD, normalized_in_graph=True)
    assert found.preprocessing.normalized_in_graph


# ---- constants stay constants ------------------------------------------------------------------


def test_mean_and_std_come_back_as_constants(tmp_path: Path) -> None:
    first = model(normalised)
    path = exported(first, tmp_path)
    loaded = cauce.load_onnx(path)
    assert {v.name for v in loaded.parameters} == {v.name for v in first.parameters}
    assert {v.name for v in loaded.training_graph.inputs} == {v.name for v in first.graph.inputs}
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "cauce.constants" and len(json.loads(entry.value)) == 2
    x = np.random.default_rng(0).random((2, 3, 6, 6), np.float32)
    before, after = (cauce.compile(m, backend="numpy")(x) for m in (first, loaded))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    # A file that says nothing of it is read as ever.
    proto = onnx.load(path)
    del proto.metadata_props[:]
    assert len(cauce.load_onnx(proto).parameters) == len(first.parameters) + 2


def test_what_an_earlier_file_said_of_constants_does_not_stay(tmp_path: Path) -> None:
    loaded = cauce.load_onnx(exported(model(normalised), tmp_path))
    path = exported(loaded, tmp_path)
    (entry,) = onnx.load(path).metadata_props
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert set(json.loads(entry.value)) <= names
    assert len(cauce.load_onnx(path).parameters) == 4


# ---- from the data -----------------------------------------------------------------------------


def images(dtype: Any, channels: int = 3, size: int = 6) -> cauce.Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, channels, size, size))
    pixels = pixels.astype(dtype) if dtype == np.uint8 else (pixels / 255).astype(dtype)
    return cauce.Dataset(pixels, np.arange(12) % 3, NAMES)


def learnt(given: cauce.Model, data: cauce.Dataset, **options: Any) -> cauce.Preprocessing:
    target = options.pop("target", None)
    trainer = cauce.Trainer(given, backend="numpy", target=target)
    trainer.fit(data, 1, batch_size=6, progress=False, **options)
    assert given.preprocessing is not None
    return given.preprocessing


def test_fit_fills_it_in() -> None:
    told = learnt(model(normalised, "u8"), images(np.uint8))
    assert told == cauce.Preprocessing(
        6, MEAN, STD, scale=1.0, classes=NAMES, normalized_in_graph=True
    )


def test_a_normalize_on_the_way_into_the_batch_is_part_of_it() -> None:
    for dtype in (np.uint8, np.float32):
        data = images(dtype)
        if dtype == np.float32:
            data = replace(data, preprocessing=cauce.Preprocessing(6))
        augment = [RandomCrop(6, padding=1), Normalize(MEAN, STD), OneHot(3)]
        told = learnt(model(), data, augment=augment, target="probabilities")
        assert told == cauce.Preprocessing(6, MEAN, STD, classes=NAMES)


def test_floats_of_unknown_make_have_no_scale() -> None:
    told = learnt(model(), images(np.float32))
    assert (told.scale, told.classes, told.size) == (None, NAMES, (6, 6))
    photo = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(DataError, match="not known what becomes of a pixel"):
        trained = model()
        trained.preprocessing = told
        trained.predict(photo)


class Inverted(Transform):
    """A change of pixels that cauce does not know."""

    random = False

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        return 255 - images, labels


def test_nor_do_those_that_a_transform_of_the_users_changes() -> None:
    told = learnt(model(normalised, "u8"), images(np.uint8), augment=[Inverted()])
    assert told.normalized_in_graph and told.scale == 1.0  # bytes stay bytes
    data = replace(images(np.float32), preprocessing=cauce.Preprocessing(6))
    assert learnt(model(), data, augment=[Inverted()]).scale is None
    assert learnt(model(), data, augment=[Normalize(0.5, 0.5)] * 2).scale is None


def test_what_is_said_stays_and_names_are_added() -> None:
    first = model()
    first.preprocessing = TOLD.named(None)
    data = replace(images(np.float32), preprocessing=cauce.Preprocessing(6))
    assert learnt(first, data) == TOLD
    first.preprocessing = TOLD.named(("a", "b", "c"))
    assert learnt(first, data).classes == ("a", "b", "c")


def test_names_that_are_too_few_are_left_out() -> None:
    wide = plain.init(image=("N", 3, 6, 6), classes=5)
    assert learnt(wide, images(np.float32)).classes is None


def test_the_size_is_that_of_the_network_where_images_are_cut() -> None:
    data = images(np.uint8, size=8)
    told = learnt(model(normalised, "u8"), data, augment=[RandomCrop(6)])
    assert told.size == (6, 6)
    free = normalised.init(image=("N", 3, "H", "W"), dtype="u8")
    assert learnt(free, data).size == (8, 8)


def test_other_inputs_than_images_are_left_alone() -> None:
    @cauce.network
    def rows(x):
        return nn.linear(nn.flatten(x), 3)

    strange = rows.init(x=("N", 2, 6, 6))
    assert learnt(strange, images(np.float32, channels=2)).channels is None
    with pytest.raises(DataError, match="takes no pictures"):
        strange.predict(np.zeros((6, 6), np.uint8))


def test_readers_know_their_images() -> None:
    pytest.importorskip("sklearn")
    train, test = cauce.load_digits()
    told = cauce.Preprocessing(8, channels="L", classes=tuple("0123456789"))
    assert train.preprocessing == test.preprocessing == test[:5].preprocessing == told


def test_checkpoints_keep_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    told = learnt(model(normalised, "u8"), images(np.uint8), checkpoints=checkpoints)
    (path,) = tmp_path.glob("*.safetensors")
    assert cauce.load(path).preprocessing == told


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (cauce.Preprocessing(7), ShapeError, r"takes f32\[N,3,6,6\], and .* images to 7 x 7"),
        (cauce.Preprocessing(6, channels="L"), ShapeError, "3 channels, and L has 1"),
        (cauce.Preprocessing(6, classes=("a",)), ShapeError, "has 3 outputs, and there are 1"),
        ({"size": 6}, TypeMismatch, "a model has a Preprocessing"),
    ],
)
def test_what_does_not_fit_is_refused(given: Any, error: type[Exception], message: str) -> None:
    first = model()
    with pytest.raises(error, match=message) as caught:
        first.preprocessing = given
    assert caught.value.fix  # type: ignore[attr-defined]
    assert first.preprocessing is None


def test_bytes_cannot_be_normalised_before() -> None:
    @cauce.network
    def net(image):
        return body(nn.relu(image.cast("f32")))

    with pytest.raises(AttributeMistake, match="takes bytes") as caught:
        model(net, "u8").preprocessing = TOLD
    assert "nn.normalize" in str(caught.value)


def test_a_network_of_rows_has_none() -> None:
    @cauce.network
    def rows(x):
        return nn.linear(x, 3)

    with pytest.raises(GraphError, match=r"one input of images, rows takes \(x: f32\[N,4\]\)"):
        rows.init(x=("N", 4)).preprocessing = TOLD


def test_it_can_be_taken_away() -> None:
    first = model()
    first.preprocessing = TOLD
    first.preprocessing = None
    assert first.preprocessing is None


def test_a_data_set_takes_no_other() -> None:
    with pytest.raises(TypeMismatch, match="preprocessing= takes a Preprocessing"):
        cauce.Dataset(np.zeros((1, 1, 2, 2)), np.array([0]), ("a",), 224)  # type: ignore[arg-type]
