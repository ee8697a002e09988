"""Run a model on images or arrays. The likeliest classes of a classifier are printed, and of other
outputs what there is in them; --output writes all outputs as .npy (one output), .npz or .json."""

from __future__ import annotations

import argparse
import json
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..ir import Array
from ..ir.errors import AttributeMistake, DataError, GraphError
from . import output
from .inputs import read_arrays
from .model_argument import add_model, add_run, count, read_model, run_settings
from .preprocessing import add_preprocessing, prepare

if TYPE_CHECKING:
    from ..backends.executable import Executable
    from ..frontends.model import Model
    from ..predicting import Ranking

SUFFIXES = (".npy", ".npz", ".json")


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="[NAME=]FILE",
        help="images, or a .npy file for each input; where there is one input, several are a batch",
    )
    add_run(parser)
    add_preprocessing(parser)
    parser.add_argument("--top", type=count, default=5, help="how many classes are printed (5)")
    parser.add_argument("-o", "--output", metavar="FILE", help=f"ends in {', '.join(SUFFIXES)}")
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..compiler import compile

    if options.output is not None:
        _check_suffix(options.output)
    model = read_model(options)
    prepare(model, options)
    images = [file for file in options.inputs if _is_image(file)]
    if images and len(images) < len(options.inputs):
        raise DataError("there are images and arrays", fix="give the one or the other")
    if images and model.preprocessing is None:
        raise GraphError(
            f"{model.name} does not say how an image becomes its input",
            fix="say it: --imagenet, or --image-size, --mean, --std and --channels of what it was "
            "trained on; `cauce convert` keeps that in a file",
        )
    executable = compile(model, **run_settings(options))
    if images:
        found = _run_images(model, executable, images)
    else:
        found = executable.run(read_arrays(executable.inputs, options.inputs))
    if options.output is not None:
        _write(options.output, found)
    ranked = _ranked(model, found, options.top)
    rows = images or [str(place) for place in range(len(ranked or ()))]
    if options.json:
        _emit(model, executable, found, ranked, options.output)
    elif options.output is None and ranked is not None:
        cells = [
            (row, name, f"{probability:.4f}")
            for row, ranking in zip(rows, ranked)
            for name, probability in ranking
        ]
        head = ("image" if images else "row", "class", "probability")
        output.show_table(head, cells, names=2)
    elif options.output is None:
        for name, array in found.items():
            output.say(f"{name}: {_statistics(array)}")


def _is_image(file: str) -> bool:
    from ..training.folders import ENDINGS

    return os.path.splitext(file)[1].lower() in ENDINGS


def _run_images(model: Model, executable: Executable, images: list[str]) -> dict[str, Array]:
    """The outputs of all images, one behind the other.

    Raises:
        GraphError, DataError: see :func:`~cauce.predicting.image_batches`; images whose outputs
            have no common size.
    """
    from ..predicting import image_batches

    (taken,) = executable.inputs
    parts = [executable.run({taken.name: batch}) for batch in image_batches(model, images)]
    try:
        return {name: np.concatenate([p[name] for p in parts])[: len(images)] for name in parts[0]}
    except ValueError:
        raise DataError(
            f"the outputs of the {len(images)} images differ in size",
            fix="run one at a time, or bring them to one size: --image-size",
        ) from None


def _check_suffix(path: str) -> None:
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise AttributeMistake(
            f"outputs cannot be written to {path}",
            fix=f"end it in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        )


def _write(path: str, found: Mapping[str, Array]) -> None:
    from ..ir.files import replacing

    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npy" and len(found) != 1:
        raise AttributeMistake(
            f"{path} would hold one array, and there are {len(found)} outputs: {', '.join(found)}",
            fix="end it in .npz or .json",
        )
    with replacing(path) as temporary, temporary.open("wb") as file:
        if suffix == ".npy":
            np.save(file, next(iter(found.values())))
        elif suffix == ".npz":
            with zipfile.ZipFile(file, "w") as archive:  # np.savez takes some names for its own
                for name, array in found.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, array, allow_pickle=False)
        else:
            lists = {name: array.tolist() for name, array in found.items()}
            file.write(json.dumps(lists).encode())


def _ranked(model: Model, found: Mapping[str, Array], top: int) -> list[Ranking] | None:
    """The likeliest classes; None for a model that tells none apart."""
    from ..frontends.open_model import OpenModel
    from ..frontends.preprocessing import class_count
    from ..predicting import rankings

    if isinstance(model, OpenModel) or class_count(model.graph) is None:
        return None
    (array,) = found.values()
    return rankings(model, array, top) if array.dtype.kind == "f" else None


def _emit(
    model: Model,
    executable: Executable,
    found: Mapping[str, Array],
    ranked: list[Ranking] | None,
    written: str | None,
) -> None:
    """All of it as JSON: the elements, too, where they are not in a file."""
    outputs = {}
    for name, array in found.items():
        about: dict[str, object] = {"dtype": str(array.dtype), "shape": list(array.shape)}
        outputs[name] = about if written is not None else {**about, "values": array.tolist()}
    top = [
        [{"class": name, "probability": probability} for name, probability in ranking]
        for ranking in ranked or ()
    ]
    output.emit(
        {
            "model": model.name,
            "backend": executable.backend,
            "output": written,
            "outputs": outputs,
            "top": top if ranked is not None else None,
        }
    )


def _statistics(array: Array) -> str:
    """What there is in an array."""
    shape = ",".join(map(str, array.shape))
    if array.size == 0:
        return f"{array.dtype}[{shape}]"
    if array.size <= 8:
        return f"{array.dtype}[{shape}] {array.tolist()}"
    if array.dtype.kind == "b":
        return f"{array.dtype}[{shape}], {int(array.sum())} of {array.size} true"
    wide = array.astype(np.float64)
    return (
        f"{array.dtype}[{shape}], from {wide.min():.6g} to {wide.max():.6g}, mean {wide.mean():.6g}"
    )
