"""Every number that a user passes may be one of NumPy's: a scalar, or an array of no dimension.

The table below has a call of everything public that takes a number; what is not in it fails.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.frontends import batch_metrics
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake
from cauce.training import (
    Checkpoints,
    ConfusionMatrix,
    Constant,
    Cosine,
    EarlyStopping,
    Mixup,
    MultiStep,
    Normalize,
    OneCycle,
    OneHot,
    RandomCrop,
    RandomHorizontalFlip,
    Step,
    WarmUp,
    batches,
    epochs_to_steps,
    load_image_folder,
    load_npy,
    load_npz,
)

from . import calls_of_layers as calls_of_layers
from .calls import TABLE, Call, call, made, traced
from .nets import batch, shapes, small

DATA = shapes(12)
MODEL = small.init(image=("N", 1, 6, 6))


# ---- optimizers, clipping, schedules, rules ----------------------------------------------------

rates = {"lr": 0.5, "lr_factors": {"conv1.*": 0.25}, "weight_decay": 0.25}
call(made(cauce.SGD), "SGD", momentum=0.5, nesterov=True, **rates)
for adam in (cauce.Adam, cauce.AdamW):
    call(made(adam), adam.__name__, betas=(0.5, 0.75), eps=0.125, **rates)
call(made(cauce.ClipNorm), "ClipNorm", max_norm=2.0)
call(made(cauce.ClipValue), "ClipValue", limit=2.0)
call(made(Constant), "training.Constant", lr=0.5)
call(made(Step), "training.Step", lr=0.5, step_size=3, gamma=0.5)
call(made(MultiStep), "training.MultiStep", lr=0.5, milestones=(3, 5), gamma=0.5)
call(made(Cosine), "training.Cosine", lr=0.5, total_steps=7, eta_min=0.25)
cycle = {"max_lr": 0.5, "total_steps": 9, "pct_start": 0.25, "div_factor": 4.0}
call(made(OneCycle), "training.OneCycle", **cycle, final_div_factor=8.0)
call(made(WarmUp), "training.WarmUp", schedule=0.5, steps=4, start_factor=0.25)
schedules = [Constant(0.5), Step(0.5, 3), MultiStep(0.5, (3, 5)), Cosine(0.5, 7), OneCycle(0.5, 9)]
for schedule in (*schedules, WarmUp(Cosine(0.5, 7), 8)):
    kind = type(schedule).__name__
    call(schedule, f"training.{kind}.__call__", step=6)
call(made(EarlyStopping), "training.EarlyStopping", patience=2, min_delta=0.5,
     restore_best=True)  # fmt: skip
folder = {"folder": "runs"}
call(lambda **n: made(Checkpoints)(**folder, **n), "training.Checkpoints", every=3, keep=2)

# ---- data --------------------------------------------------------------------------------------

call(made(RandomCrop), "training.RandomCrop", size=4, padding=1, fill=0.5)
call(made(RandomCrop), "training.RandomCrop", size=(4, 5), padding=1, fill=0.5)
call(made(RandomHorizontalFlip), "training.RandomHorizontalFlip", p=0.25)
call(made(Normalize), "training.Normalize", mean=0.5, std=0.25)
call(made(Normalize), "training.Normalize", mean=(0.5, 1.0), std=(0.25, 2.0))
call(made(OneHot), "training.OneHot", classes=3)
call(made(Mixup), "training.Mixup", alpha=0.5)


def epoch_of(**numbers: Any) -> object:
    return [(x.tolist(), y.tolist()) for x, y in batches(LONG, **numbers)]


# A batch of u8 numbers would overflow here: the third begins at image 300.
LONG = cauce.Dataset(np.arange(512.0).reshape(512, 1, 1, 1), np.zeros(512, np.int64), ("one",))
order = {"batch_size": 100, "seed": 3, "epoch": 2}
call(epoch_of, "training.batches", **order, shuffle=True, drop_last=True, start=1, part=(1, 2))
call(lambda **n: repr(epochs_to_steps(train=LONG, **n)), "training.epochs_to_steps", epochs=2.5,
     batch_size=100, drop_last=True)  # fmt: skip
call(lambda **n: [part.labels.tolist() for part in DATA.split(**n)], "Dataset.split",
     fraction=0.5, seed=3, stratified=True)  # fmt: skip
call(lambda key: repr(DATA[key][1]), "Dataset.__getitem__", key=5)
call(lambda **n: [part.labels.tolist() for part in cauce.load_digits(**n)], "load_digits",
     test_fraction=0.25, seed=3)  # fmt: skip
matrix = ConfusionMatrix.of([0, 1, 1], [1, 0, 0], ("a", "b"))
call(matrix.most_confused, "training.ConfusionMatrix.most_confused", count=1)


def read_npz(tmp_path: Path, channels_last: Any) -> object:
    np.savez(tmp_path / "data.npz", images=np.zeros((2, 4, 4, 3)), labels=np.array([0, 1]))
    return load_npz(tmp_path / "data.npz", channels_last=channels_last).images.shape


def read_npy(tmp_path: Path, channels_last: Any) -> object:
    np.save(tmp_path / "images.npy", np.zeros((2, 4, 4, 3)))
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    paths = tmp_path / "images.npy", tmp_path / "labels.npy"
    return load_npy(*paths, channels_last=channels_last).images.shape


def read_folder(tmp_path: Path, **numbers: Any) -> object:
    image = pytest.importorskip("PIL.Image")
    for name in ("a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / name / "1.png")
    return load_image_folder(tmp_path, **numbers).images.shape


def read_image(tmp_path: Path, **numbers: Any) -> object:
    read_folder(tmp_path, size=4)
    return cauce.load_image(tmp_path / "a" / "1.png", **numbers).tolist()


call(read_image, "load_image", size=4, scale=0.5, mean=0.25, std=0.5, resize=5)
call(read_image, "load_image", size=(4, 2), mean=(0.5, 1.0, 2.0), crop=True)
call(made(cauce.Preprocessing), "Preprocessing", size=4, mean=0.5, std=0.25, scale=0.5, resize=6,
     crop=True, normalized_in_graph=False)  # fmt: skip
call(made(cauce.Preprocessing), "Preprocessing", size=(4, 5), mean=(0.5, 1.0, 2.0))
call(read_npz, "training.load_npz", channels_last=True)
call(read_npy, "training.load_npy", channels_last=True)
call(read_folder, "training.load_image_folder", size=4, crop=True, channels=1)

# ---- initializers, metrics, networks, models ---------------------------------------------------


def drawn(make: Callable[..., Any]) -> Callable[..., object]:
    """The numbers that an initializer made with some numbers draws."""
    return lambda **n: make(**n)((2, 3), np.random.default_rng(0)).tolist()


call(drawn(nn.init.constant), "nn.init.constant", value=0.5)
call(drawn(nn.init.normal), "nn.init.normal", std=0.5)
call(drawn(nn.init.uniform), "nn.init.uniform", bound=0.5)
call(traced(lambda x, **n: batch_metrics.binary_accuracy(**n)(x, x), "N", 4),
     "frontends.batch_metrics.binary_accuracy", threshold=0.5)  # fmt: skip
call(traced(lambda x, **n: batch_metrics.top_k(**n)(x, x), "N", 4),
     "frontends.batch_metrics.top_k", k=2)  # fmt: skip


def values_of(model: cauce.Model) -> object:
    return {name: array.tolist() for name, array in model.state_dict().items()}


call(lambda **n: values_of(small.init(image=("N", 1, 6, 6), **n)), "Network.init", seed=5,
     classes=4, drop=0.25)  # fmt: skip
call(lambda **n: values_of(small.init(image=("N", *n["sizes"]))), "Network.init", sizes=(1, 6, 6))
call(lambda **n: small.graph(image=("N", 1, 6, 6), **n).to_text(locations=False),
     "Network.graph", training=True)  # fmt: skip
# u8 numbers would overflow in the widths of the deeper levels.
call(lambda **n: cauce.models.unet.graph(image=("N", 1, 16, 16), **n).to_text(locations=False),
     "models.unet", classes=3, width=64, depth=3)  # fmt: skip
call(lambda **n: values_of(MODEL.replace_head(**n)), "Model.replace_head", classes=4, seed=2)
call(lambda **n: repr(MODEL.predict(batch(2)["image"], **n)), "Model.predict", top=2)
call(lambda **n: cauce.explain(MODEL, batch(2)["image"], **n).text("conv1", (1, 0, 0, 0)),
     "explain", training=True)  # fmt: skip
call(lambda **n: MODEL.summary(print_fn=None, **n), "Model.summary", batch=2)
call(lambda **n: MODEL.load_state_dict({}, **n), "Model.load_state_dict", strict=False)
call(lambda **n: cauce.compile(MODEL, **n)(batch(4)["image"]).tolist(), "compile", batch=4,
     threads=1)  # fmt: skip
call(lambda **n: cauce.compile(MODEL, **n)(batch(4)["image"]).tolist(), "compile", validate=True)
call(lambda **n: str(cauce.compare(MODEL, batch(4)["image"], **n)), "compare", tolerance=0.25)


def exported(tmp_path: Path, **numbers: Any) -> object:
    pytest.importorskip("onnx")
    cauce.export_onnx(MODEL, tmp_path / "net.onnx", **numbers)
    return {file.name: file.read_bytes() for file in tmp_path.iterdir()}


call(exported, "export_onnx", opset=17, ir_version=9, external_above=100)


def imported(tmp_path: Path, inputs: Any) -> object:
    pytest.importorskip("onnx")
    cauce.export_onnx(MODEL, tmp_path / "net.onnx")
    return str(cauce.load_onnx(tmp_path / "net.onnx", inputs=inputs).graph.inputs[0].type)


call(imported, "load_onnx", inputs={"image": (2, 1, 6, 6)})

# ---- training ----------------------------------------------------------------------------------


def stepped(threads: Any, seed: Any, lr: Any, counts: Any) -> object:
    step = cauce.TrainStep(small.init(image=("N", 1, 6, 6)), "cross_entropy", cauce.SGD(0.5),
                           threads=threads)  # fmt: skip
    state = step(step.init(seed=seed), batch(), lr=lr, counts=counts)
    return {name: array.tolist() for name, array in state.read().items()}


def fitted(tmp_path: Path, numbers: dict[str, Any]) -> object:
    """A run with checkpoints: what it learns, and what it writes of its arguments."""
    model = small.init(image=("N", 1, 6, 6))
    trainer = cauce.Trainer(model, seed=numbers["seed"], threads=numbers["threads"])
    checkpoints = Checkpoints(tmp_path, every=1)
    keys = ("epochs", "batch_size", "lr", "drop_last")
    crop = RandomCrop(numbers["size"])
    history = trainer.fit(
        DATA,
        **{key: numbers[key] for key in keys},
        augment=[crop],
        validate=DATA,
        checkpoints=checkpoints,
        progress=numbers["progress"],
    )
    measured = trainer.evaluate(DATA, batch_size=numbers["batch_size"])
    found = checkpoints.latest()
    assert found is not None
    losses = [epoch.train["loss"] for epoch in history]
    resumed = cauce.Trainer(model, seed=3)
    assert resumed.resume(checkpoints)
    resumed.fit(DATA, 1, batch_size=5, drop_last=True, augment=[RandomCrop(6)], progress=False)
    return values_of(model), measured, losses, json.dumps(found.progress["call"])


def profiled(lr: Any, repeat: Any) -> object:
    step = cauce.TrainStep(MODEL, "cross_entropy", cauce.SGD(0.5), backend="numpy")
    state = step.init(seed=3)
    rows = [row.path for row in step.profile(state, batch(), lr=lr, repeat=repeat)]
    return rows, {name: array.tolist() for name, array in state.read().items()}


def viewed(**numbers: Any) -> object:
    pytest.importorskip("igraph")
    return cauce.view(MODEL, backend="llvm", **numbers).page.html()


call(viewed, "view", batch=2, peak=1e9, code=False, threads=1)
call(profiled, "TrainStep.profile", lr=0.25, repeat=2)
call(stepped, "TrainStep.__call__", threads=1, seed=3, lr=0.25, counts=(4,))
call(lambda tmp_path, **n: fitted(tmp_path, n), "Trainer.fit", seed=3, threads=1, epochs=2,
     batch_size=5, lr=0.25, drop_last=True, size=6, progress=False)  # fmt: skip


# ---- the test ----------------------------------------------------------------------------------

KINDS: dict[str, dict[type, Callable[[Any], Any]]] = {
    "wide": {int: np.int64, float: np.float64, bool: np.bool_},
    "narrow": {int: np.int8, float: np.float32, bool: np.bool_},
    "unsigned": {int: lambda i: np.uint8(i) if i >= 0 else np.int16(i), float: np.float16,
                 bool: np.bool_},
    "no dimension": {int: np.array, float: np.array, bool: np.array},
}  # fmt: skip


def converted(number: Any, kind: dict[type, Callable[[Any], Any]]) -> Any:
    """A number, or each of several, as NumPy's."""
    if isinstance(number, tuple):
        return tuple(converted(each, kind) for each in number)
    if isinstance(number, dict):
        return {name: converted(each, kind) for name, each in number.items()}
    return kind[type(number)](number)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.covers)
def test_numpys_numbers_do_what_pythons_do(entry: Call, kind: str, tmp_path: Path) -> None:
    given = {name: converted(number, KINDS[kind]) for name, number in entry.numbers.items()}
    folders: list[dict[str, Any]] = [{}, {}]
    if "tmp_path" in inspect.signature(entry.result).parameters:
        folders = [{"tmp_path": tmp_path / name} for name in ("python", "numpy")]
        for folder in folders:
            folder["tmp_path"].mkdir()
    wanted, found = (
        entry.result(**folder, **numbers)
        for folder, numbers in zip(folders, (entry.numbers, given))
    )
    assert found == wanted


NUMBERS = re.compile(
    r"\b(int|float|bool|IntPair|PerAxis|OutputSize|Borders|Number|Dim|Size|Axes|Rate|Index)\b"
)
# What takes numbers that are not a user's to give, or gives none to anybody: see the reasons.
ELSEWHERE = {
    "CauceWarning": "made of a text, as every warning of Python's",
    "Graph.inline": "a switch, only asked whether it is true",
    "Graph.to_text": "a switch, only asked whether it is true",
    "training.Checkpoints.check_earlier": "called by fit alone",
    "training.Checkpoints.due": "called by fit alone",
    "training.Checkpoints.save": "called by fit alone",
    "training.Checkpoints.better": "called by fit alone",
    "training.Epoch": "made by fit alone",
    "register_backend": "a switch, only asked whether it is true",
    "training.load_cifar100": "a switch, only asked whether it is true",
    "train_step": "see TrainStep",
    "Optimizer": "see SGD",
    "TrainStep": "see TrainStep.__call__",
    "TrainStep.init": "see TrainStep.__call__",
    "Trainer": "see Trainer.fit",
    "Trainer.evaluate": "see Trainer.fit",
}
# Initializers themselves get a shape from the library.
SHAPED = re.compile(r"nn\.init\.(default_weight|fan_in|fan_out|initial_values|kaiming|xavier)")


def public() -> Iterator[tuple[str, Callable[..., object]]]:
    """Everything public that can be called, methods too, by its path below cauce."""
    import cauce.nn
    import cauce.training

    modules = {"": cauce, "training.": cauce.training, "nn.": nn, "nn.init.": nn.init,
               "frontends.batch_metrics.": batch_metrics}  # fmt: skip
    for prefix, module in modules.items():
        for name in getattr(module, "__all__", dir(module)):
            found = getattr(module, name)
            if name.startswith("_") or inspect.ismodule(found) or not callable(found):
                continue
            own = found.__module__ == module.__name__ or hasattr(module, "__all__")
            if not own or not found.__module__.startswith("cauce"):
                continue
            yield f"{prefix}{name}", found
            for base in found.__mro__ if isinstance(found, type) else ():
                for key, member in vars(base).items():
                    shown = not key.startswith("_") or key == "__call__"
                    if shown and inspect.isfunction(member):
                        yield f"{prefix}{name}.{key}", member


def test_everything_public_that_takes_a_number_is_in_the_table() -> None:
    given: dict[str, set[str]] = {}
    for entry in TABLE:
        given.setdefault(entry.covers, set()).update(name.rstrip("_") for name in entry.numbers)
    missing = []
    for path, found in public():
        if path in ELSEWHERE or SHAPED.match(path):
            continue
        names = {
            name
            for name, parameter in inspect.signature(found).parameters.items()
            if NUMBERS.search(str(parameter.annotation)) and "Callable" not in str(parameter)
        }
        known = given.get(path) or given.get(path.removeprefix("training."), set())
        missing += [f"{path}({name})" for name in sorted(names - known)]
    assert missing == []


@pytest.mark.parametrize("given", [np.array([8]), np.array([1, 2]), np.float64(8.5), "8", None])
def test_what_is_no_number_is_refused(given: Array | str | None) -> None:
    with pytest.raises(AttributeMistake, match="must be"):
        OneHot(given)  # type: ignore[arg-type]
    with pytest.raises(AttributeMistake, match="must be"):
        EarlyStopping(given)  # type: ignore[arg-type]
    if not isinstance(given, float):
        with pytest.raises(AttributeMistake, match="must be"):
            cauce.ClipNorm(given)  # type: ignore[arg-type]
        with pytest.raises(AttributeMistake, match="must be"):
            cauce.SGD(given)  # type: ignore[arg-type]
