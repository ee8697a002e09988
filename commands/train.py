"""Train a network on labelled images, and save it. The network's input has the size of the images
where --shape does not say it, and its option `classes`, if it has one, their number."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import output
from .model_argument import add_model, closed_model, count
from .preprocessing import size

if TYPE_CHECKING:
    from ..frontends.model import Model
    from ..passes.optimizers import Optimizer
    from ..trainer import Trainer
    from ..training.augment import Transform
    from ..training.data import Dataset


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--data",
        required=True,
        metavar="SOURCE",
        help="digits, an .npz file, or a folder: CIFAR, MNIST, or images in a subfolder for each "
        "class",
    )
    data.add_argument(
        "--size", type=size, metavar="H[,W]", help="what images of a folder are brought to"
    )
    data.add_argument(
        "--validate",
        type=float,
        default=0.1,
        metavar="FRACTION",
        help="the part that is validated on, where the data have no test set (0.1; 0 for none)",
    )
    data.add_argument(
        "--augment",
        metavar="LIST",
        type=_augment,
        default=[],
        help="flip, crop (by 4 pixels), or both: flip,crop",
    )
    how = parser.add_argument_group("how it is trained")
    how.add_argument("--epochs", type=count, default=10, help="how many (10)")
    how.add_argument("--batch-size", type=count, default=64, help="images in a step (64)")
    how.add_argument(
        "--optimizer", choices=("sgd", "adam", "adamw"), default="sgd", help="which one (sgd)"
    )
    how.add_argument("--lr", type=float, help="the learning rate (sgd 0.1, else 0.001)")
    how.add_argument("--momentum", type=float, default=0.9, help="of sgd (0.9)")
    how.add_argument("--weight-decay", type=float, help="of the optimizer")
    how.add_argument(
        "--schedule",
        choices=("constant", "cosine"),
        default="constant",
        help="of the learning rate (constant)",
    )
    how.add_argument("--clip", type=float, metavar="NORM", help="clip the gradients to this norm")
    how.add_argument("--backend", default="auto", help="auto, llvm or numpy")
    how.add_argument("--threads", type=count, help="how many; all processors where not given")
    kept = parser.add_argument_group("what is kept")
    kept.add_argument("-o", "--output", metavar="FILE", help="the trained model, .safetensors")
    kept.add_argument("--checkpoints", metavar="FOLDER", help="one after each epoch")
    kept.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    kept.add_argument("--history", metavar="FILE", help="losses and metrics, .csv or .json")
    output.add_json(parser)


def _augment(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ("flip", "crop"):
            raise argparse.ArgumentTypeError(f"{name!r} is neither flip nor crop")
    return names


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..passes.gradient_clipping import ClipNorm
    from ..trainer import Trainer
    from ..training.named import load_data

    _check_files(options)
    train, test = load_data(options.data, options.size)
    if test is None and options.validate:
        train, test = train.split(options.validate, options.seed)
    shape = ("N", *train.images.shape[1:])
    model = closed_model(options, shape=shape, classes=len(train.classes))
    train, test = _as_taken(model, train), None if test is None else _as_taken(model, test)
    trainer = Trainer(
        model,
        optimizer=_optimizer(options),
        clip=None if options.clip is None else ClipNorm(options.clip),
        seed=options.seed,
        backend=options.backend,
        threads=options.threads,
    )
    with _saved(model, trainer, options):
        trainer.fit(train, options.epochs, validate=test, **_fit(model, trainer, train, options))
    if options.json:
        epochs = [epoch.row() for epoch in trainer.history]
        output.emit({"model": model.name, "output": options.output, "epochs": epochs})


def _check_files(options: argparse.Namespace) -> None:
    """What cannot be kept at the end is said at the beginning."""
    import os

    from ..ir.errors import AttributeMistake
    from ..ir.files import resolved

    endings = ((options.output, (".safetensors",)), (options.history, (".csv", ".json")))
    for path, known in endings:
        if path is None:
            continue
        if os.path.splitext(path)[1].lower() not in known:
            raise AttributeMistake(
                f"{path} does not end in {' or '.join(known)}", fix="give it that ending"
            )
        resolved(path)
    if options.resume and options.checkpoints is None:
        raise AttributeMistake(
            "--resume goes on from a checkpoint", fix="add --checkpoints with their folder"
        )


def _pixels(model: Model, train: Dataset) -> list[Transform]:
    """What makes floats of bytes, where the network takes floats: pixels from 0 to 1, normalised.

    By the numbers that the model knows; by none where its graph normalises; else by those of the
    training images. The model keeps them.
    """
    from ..frontends.preprocessing import normalization
    from ..ir import Role
    from ..training import Normalize

    taken = model.graph.inputs_with(Role.DATA)[0].type.dtype
    if train.images.dtype != np.uint8 or not taken.is_float:
        return []
    told = model.preprocessing
    if normalization(model.graph, model.values) is not None:
        return [Normalize(0.0, 1.0)]
    if told is not None and told.scale == 1 / 255:
        return [Normalize(told.mean, told.std)]
    mean, std = train.channel_statistics()
    return [Normalize(mean, tuple(deviation or 1.0 for deviation in std))]


def _as_taken(model: Model, data: Dataset) -> Dataset:
    """The data with floats in the dtype of the network's input."""
    from ..ir import Role
    from ..training.data import Dataset

    taken = model.graph.inputs_with(Role.DATA)[0].type.dtype
    if data.images.dtype.kind != "f" or not taken.is_float or data.images.dtype == taken.numpy:
        return data
    images = data.images.astype(taken.numpy)
    return Dataset(images, data.labels, data.classes, data.preprocessing)


def _optimizer(options: argparse.Namespace) -> Optimizer:
    from ..passes.optimizers import SGD, Adam, AdamW

    given: dict[str, Any] = {}
    if options.weight_decay is not None:
        given["weight_decay"] = options.weight_decay
    if options.optimizer == "sgd":
        lr = 0.1 if options.lr is None else options.lr
        return SGD(lr, momentum=options.momentum, **given)
    if options.lr is not None:
        given["lr"] = options.lr
    return (Adam if options.optimizer == "adam" else AdamW)(**given)


def _fit(
    model: Model, trainer: Trainer, train: Dataset, options: argparse.Namespace
) -> dict[str, Any]:
    """The other arguments of ``fit``."""
    from ..training import Checkpoints, Cosine, RandomCrop, RandomHorizontalFlip
    from ..training.schedules import epochs_to_steps

    given: dict[str, Any] = {"batch_size": options.batch_size, "progress": not options.json}
    height, width = train.images.shape[2:]
    known = {"flip": RandomHorizontalFlip(), "crop": RandomCrop((height, width), padding=4)}
    given["augment"] = [*(known[name] for name in options.augment), *_pixels(model, train)]
    if options.schedule == "cosine":
        steps = epochs_to_steps(options.epochs, train, options.batch_size)
        given["lr"] = Cosine(_optimizer(options).lr, steps)
    if options.checkpoints is not None:
        given["checkpoints"] = Checkpoints(options.checkpoints)
        if options.resume:
            trainer.resume(given["checkpoints"])
    return given


@contextmanager
def _saved(model: Model, trainer: Trainer, options: argparse.Namespace) -> Iterator[None]:
    """Save what was trained at the end, also where the user has ended it by Ctrl-C."""
    try:
        yield
    finally:
        if len(trainer.history):
            if options.output is not None:
                model.save(options.output)
            if options.history is not None:
                trainer.history.save(options.history)
