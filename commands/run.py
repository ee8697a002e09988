"""Run a model on arrays. A classifier's best classes are printed for each row, of other outputs
what there is in them; --output writes them all as .npy (one output), .npz or .json."""

from __future__ import annotations

import argparse
import json
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from ..ir import Array
from ..ir.errors import AttributeMistake
from . import output
from .inputs import read_arrays
from .model_argument import add_model, add_run, count, read_model, run_settings

SUFFIXES = (".npy", ".npz", ".json")


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="[NAME=]FILE.npy",
        help="an array for each input; where there is one input, several arrays are one batch",
    )
    add_run(parser)
    parser.add_argument("--top", type=count, default=5, help="how many classes are printed (5)")
    parser.add_argument("-o", "--output", metavar="FILE", help=f"ends in {', '.join(SUFFIXES)}")
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..compiler import compile

    if options.output is not None:
        _check_suffix(options.output)
    executable = compile(model := read_model(options), **run_settings(options))
    feeds = read_arrays(executable.inputs, options.inputs)
    found = executable.run(feeds)
    if options.output is not None:
        _write(options.output, found)
    if options.json:
        report: dict[str, object] = {"model": model.name, "backend": executable.backend}
        outputs = {name: _described(array, options.output) for name, array in found.items()}
        output.emit({**report, "output": options.output, "outputs": outputs})
        return
    if options.output is not None:
        return
    for name, array in found.items():
        if _is_of_classes(array):
            _show_top(name, array, options.top, len(found) > 1)
        else:
            output.say(f"{name}: {_statistics(array)}")


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


def _described(array: Array, written: str | None) -> dict[str, object]:
    """An output as JSON: its elements, too, where they are not in a file."""
    about: dict[str, object] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    return about if written is not None else {**about, "values": array.tolist()}


def _is_of_classes(array: Array) -> bool:
    """Whether an output holds a number for each of some classes."""
    return array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind == "f" and array.size > 0


def _show_top(name: str, array: Array, top: int, several: bool) -> None:
    order = np.argsort(-array, axis=1, kind="stable")[:, :top]
    rows = [
        (str(row), str(label), f"{array[row, label]:.4f}")
        for row, labels in enumerate(order)
        for label in labels
    ]
    if several:
        output.say(f"{name}:")
    output.show_table(("row", "class", "value"), rows, names=2)


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
