"""``cauce run``, ``compile``, ``profile`` and ``compare``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import comparison
from cauce.backends.executable import Executable

from .calls import Call, Done


@pytest.fixture
def images(folder: Path) -> np.ndarray:
    """Two images, in images.npy of the folder."""
    made = np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32)
    np.save(folder / "images.npy", made)
    return made


def expected(images: np.ndarray) -> np.ndarray:
    """What the model of the folder gives."""
    return cauce.compile(cauce.load("net.safetensors"), "numpy")(images)


def test_the_best_classes(images: np.ndarray, call: Call) -> None:
    done = call("run", "net.safetensors", "images.npy", "--backend", "numpy", "--top", 2)
    ranked = cauce.load("net.safetensors").predict(images, top=2)
    rows = [line.split() for line in done.out.splitlines()[2:]]
    assert rows == [
        [str(row), name, f"{probability:.4f}"]
        for row, ranking in enumerate(ranked)
        for name, probability in ranking
    ]
    found = call("run", "net.safetensors", "images.npy", "--json", "--top", 2).json["top"]
    assert [[entry["class"] for entry in row] for row in found] == [
        [name for name, _ in ranking] for ranking in ranked
    ]


@pytest.fixture
def photos(folder: Path) -> list[str]:
    """Images of two sizes, in files of the folder."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(1)
    for name, size in (("a.png", (9, 12)), ("b.png", (7, 6))):
        image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(folder / name)
    (folder / "names.txt").write_text("cat\ndog\n\nowl\n")
    return ["a.png", "b.png"]


SAID = ("--image-size", "6", "--mean", "0.5", "--std", "0.25", "--classes", "names.txt")


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_images(photos: list[str], tmp_path: Path, suffix: str, call: Call) -> None:
    model = cauce.load("net.safetensors")
    model.preprocessing = cauce.Preprocessing(
        6, mean=0.5, std=0.25, channels="L", classes=("cat", "dog", "owl")
    )
    ranked = model.predict(photos, top=3)
    said = call("run", "net.safetensors", *photos, *SAID, "--json", "--backend", "numpy").json
    target = tmp_path / f"told{suffix}"
    assert call("convert", "net.safetensors", target, *SAID).code == 0
    kept = call("run", target, *photos, "--json", "--backend", "numpy").json
    assert said["top"] == kept["top"]
    for row, ranking in zip(kept["top"], ranked, strict=True):
        assert [entry["class"] for entry in row] == [name for name, _ in ranking]
        assert [entry["probability"] for entry in row] == pytest.approx(
            [probability for _, probability in ranking], rel=1e-4
        )
    rows = call("run", target, *photos, "--top", 1).out.splitlines()
    assert rows[0].split() == ["image", "class", "probability"]
    assert [row.split()[:2] for row in rows[2:]] == [
        [photo, ranking[0][0]] for photo, ranking in zip(photos, ranked)
    ]
    fixed = call("run", target, photos[0], "--shape", "image=3,1,6,6", "--json")
    if suffix == ".safetensors":  # a batch that is fixed is filled up
        (output,) = fixed.json["outputs"].values()
        assert output["shape"] == [1, 3]


def test_the_preprocessing_of_imagenet(photos: list[str], tmp_path: Path, call: Call) -> None:
    target = tmp_path / "told.safetensors"
    resnet = ("cauce.models:resnet20", "--shape", "N,3,32,32")
    assert call("convert", *resnet, target, "--imagenet", "--image-size", "32").code == 0
    told = cauce.load(target).preprocessing
    assert told is not None and told.size == (32, 32) and told.resize is None
    assert told.mean == cauce.Preprocessing.imagenet().mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.safetensors", "a.png"], "does not say how an image becomes its input"),
        (["net.safetensors", "a.png", "images.npy", *SAID], "there are images and arrays"),
        (["net.safetensors", "missing.png", *SAID], "there is no file missing.png"),
        (["net.safetensors", "a.png", *SAID[:-1], "none.txt"], "there is no file none.txt"),
        (["net.safetensors", "a.png", *SAID[:-1], "a.png"], "a.png is no text"),
        (["net.safetensors", "text.png", *SAID], "no image that Pillow knows"),
    ],
)
def test_images_that_are_refused(
    arguments: list[str], message: str, photos: list[str], images: np.ndarray, call: Call
) -> None:
    Path("text.png").write_text("no image")
    done = call("run", *arguments)
    assert done.code == 1 and message in done.err
    refused = call("convert", "net.safetensors", "out.txt", *SAID)
    assert refused.code == 1 and "nothing of images and classes" in refused.err


@pytest.mark.parametrize("model", ["net.safetensors", "net.onnx", "net.py:ready"])
def test_outputs_as_json(model: str, images: np.ndarray, call: Call) -> None:
    found = call("run", model, "image=images.npy", "--json", "--backend", "numpy").json
    assert (found["model"], found["backend"], found["output"]) == ("small", "numpy", None)
    (output,) = found["outputs"].values()
    assert (output["dtype"], output["shape"]) == ("float32", [2, 3])
    if model != "net.py:ready":
        np.testing.assert_allclose(output["values"], expected(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_outputs_in_files(suffix: str, images: np.ndarray, tmp_path: Path, call: Call) -> None:
    path = tmp_path / f"out{suffix}"
    done = call("run", "net.safetensors", "images.npy", "-o", path, "--backend", "numpy")
    assert (done.code, done.out) == (0, "")
    if suffix == ".json":
        found = json.loads(path.read_text())["output"]
    else:
        loaded = np.load(path)
        found = loaded if suffix == ".npy" else loaded["output"]
    np.testing.assert_array_equal(np.asarray(found, np.float32), expected(images))
    report = call("run", "net.safetensors", "images.npy", "-o", path, "--json").json
    assert report["outputs"] == {"output": {"dtype": "float32", "shape": [2, 3]}}


def test_an_empty_batch_has_no_classes(images: np.ndarray, call: Call) -> None:
    np.save("none.npy", images[:0])
    assert call("run", "net.safetensors", "none.npy", "--backend", "numpy").code == 0
    found = call("run", "net.safetensors", "none.npy", "--backend", "numpy", "--json").json
    assert found["top"] == [] and found["outputs"]["output"]["shape"] == [0, 3]


def test_several_files_are_one_batch(images: np.ndarray, call: Call) -> None:
    np.save("one.npy", images[:1].astype(np.float64))  # a wider float is rounded
    found = call("run", "net.safetensors", "images.npy", "one.npy", "--json").json
    assert found["outputs"]["output"]["shape"] == [3, 3]


def test_other_outputs_are_described(folder: Path, images: np.ndarray, call: Call) -> None:
    out = call("run", "net.py:plain", "--shape", "image=N,1,6,6", "images.npy").out
    assert out.startswith("output: float32[2,2,4,4], from 0 to ") and "mean" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.npy"], "there is no file missing.npy"),
        (["net.onnx"], "ends in none of the endings of arrays"),
        (["text.npy"], "write it by np.save"),
        (["."], "name the files in it: ./*"),
        (["empty.npy"], "empty.npy is empty"),
        (["bytes.npy"], "array.astype(np.float32) / 255"),
        (["objects.npy"], "cannot be read"),
        (["imag=images.npy"], "did you mean image"),
        (["images.npy", "wide.npy"], "they are no batch"),
        (["wide.npy"], "dimension 3 is 7, not 6"),
        (["images.npy", "-o", "out.png"], "end it in .npy, .npz or .json"),
        (["images.npy", "-o", "missing/out.npy"], "there is no folder missing"),
    ],
)
def test_inputs_that_are_refused(
    arguments: list[str], message: str, images: np.ndarray, folder: Path, call: Call
) -> None:
    (folder / "text.npy").write_text("none")
    (folder / "empty.npy").write_text("")
    np.save("bytes.npy", np.zeros((1, 1, 6, 6), np.uint8))
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    np.save("wide.npy", np.zeros((1, 1, 6, 7), np.float32))
    done = call("run", "net.safetensors", *arguments, "--backend", "numpy")
    assert done.code == 1 and message in done.err and done.out == ""


TWO = """\
import cauce
@cauce.network
def two(state, repeat):
    return {"sum": state + repeat, "product": state * repeat}
"""


def test_several_inputs_and_outputs(folder: Path, tmp_path: Path, call: Call) -> None:
    """Their names are those of arguments elsewhere, too."""
    (folder / "two.py").write_text(TWO)
    for name, number in (("a", 2), ("b", 3)):
        np.save(f"{name}.npy", np.full((1, 4), number, np.float32))
    model = ["two.py:two", "--shape", "state=N,4", "--shape", "repeat=N,4"]
    for files in (["a.npy", "b.npy"], ["repeat=b.npy", "a.npy"], ["repeat=b.npy", "state=a.npy"]):
        found = call("run", *model, *files, "--json").json["outputs"]
        assert found["sum"]["values"] == [[5] * 4] and found["product"]["values"] == [[6] * 4]
    assert "sum: float32[1,4] [[5.0, 5.0, 5.0, 5.0]]\n" in call("run", *model, "a.npy", "b.npy").out
    refused = call("run", *model, "a.npy", "b.npy", "-o", tmp_path / "out.npy")
    assert refused.code == 1 and "there are 2 outputs" in refused.err
    assert not (tmp_path / "out.npy").exists()
    for files, message in (
        (["a.npy"], "no value was given for repeat"),
        (["a.npy", "a.npy", "b.npy"], "3 files for 2 inputs"),
        (["state=a.npy", "state=b.npy"], "two files for state"),
    ):
        done = call("run", *model, *files)
        assert done.code == 1 and message in done.err
    assert call("profile", *model, "--repeat", 2, "--json").json["repeat"] == 2
    assert call("compare", *model, "--backends", "reference,numpy").code == 0


def test_compile_fills_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path))
    assert "kept in" in call("compile", "net.safetensors").out
    assert "its code was in the cache" in call("compile", "net.safetensors").out
    found = call("compile", "net.safetensors", "--batch", 2, "--json").json
    assert found["compiled"] and found["kept"] > 0 and found["problem"] is None
    assert found["inputs"] == {"image": "f32[2,1,6,6]"}
    assert not call("compile", "net.safetensors", "--batch", 2, "--json").json["compiled"]
    assert "keeps no code" in call("compile", "net.safetensors", "--backend", "numpy").out
    monkeypatch.setenv("CAUCE_CACHE", "0")
    assert "nothing is kept: it is switched off" in call("compile", "net.safetensors").out
    done = call("compile", "net.safetensors", "--shape", "2,1,6,6", "--batch", 3)
    assert done.code == 1 and "its batch is not free" in done.err


def test_profile(images: np.ndarray, call: Call) -> None:
    found = call("profile", "net.safetensors", "--batch", 3, "--repeat", 3, "--json").json
    assert found["inputs"] == {"image": [3, 1, 6, 6]}
    assert sum(row["seconds"] for row in found["nodes"]) == pytest.approx(found["seconds"])
    given = call("profile", "net.safetensors", "images.npy", "--json", "--top", 2, "--sort").json
    assert given["inputs"] == {"image": [2, 1, 6, 6]} and len(given["nodes"]) == 2
    assert given["nodes"][0]["seconds"] >= given["nodes"][1]["seconds"]
    out = call("profile", "net.safetensors", "--top", 1, "--backend", "numpy").out.splitlines()
    assert out[0].split()[:3] == ["node", "op", "ms"] and len(out) == 4
    assert out[-1].startswith("small on numpy: ") and "1 of " in out[-1]


def test_open_sizes_of_random_inputs_are_asked_for(call: Call) -> None:
    resnet = "cauce.models:resnet20"
    done = call("profile", resnet, "--shape", "N,3,H,W", "--backend", "numpy")
    assert done.code == 1 and "the sizes H, W are not known" in done.err
    assert "--shape image=1,3,H,W" in done.err


def test_compare_agrees(images: np.ndarray, call: Call) -> None:
    done = call("compare", "net.safetensors", "images.npy", "--backends", "reference, numpy")
    assert done.code == 0 and "values agree" in done.out
    found = call(
        "compare", "net.safetensors", "--backends", "reference,numpy", "--batch", 3, "--json"
    ).json
    assert found["equal"] and found["first"] is None and found["values"]


def test_compare_finds_what_differs(
    images: np.ndarray, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("compare", "net.safetensors", "--backends", "reference,numpy")

    def wrong(executable: Executable, feeds: object, state: object = None) -> dict[str, object]:
        return {name: array + 1 for name, array in right(executable, feeds, state).items()}

    right = Executable.run
    monkeypatch.setattr(
        comparison.Executable if hasattr(comparison, "Executable") else Executable, "run", wrong
    )
    done = call(*arguments, "--all")
    assert done.code == 3 and "differs first" in done.out and "conv1" in done.out
    as_json: Done = call(*arguments, "--json")
    assert as_json.code == 3
    assert json.loads(as_json.out)["first"]["difference"] > 1e-4
    assert call("compare", "net.safetensors", "--backends", "numpy").code == 1


def test_what_compare_refuses(folder: Path, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    for tolerance in ("nan", "-1", "inf", "small"):
        with pytest.raises(SystemExit):
            call("compare", "net.safetensors", "--tolerance", tolerance)
        assert "is not a number from 0 on" in capsys.readouterr().err
    done = call("compare", "net.safetensors", "--backends", "numpy")
    assert done.code == 1 and "--backends reference,llvm" in done.err
