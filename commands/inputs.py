"""What models are fed with: arrays from files, or random ones."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np

from ..ir import Array, Graph, Input
from ..ir.dims import DimExpr, substitute, symbols
from ..ir.errors import DataError, GraphError, TypeMismatch, did_you_mean
from ..ir.validation import random_feeds

_FILES = "[NAME=]FILE.npy"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Files of inputs; random arrays where none is given."""
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar=_FILES,
        help="an array for each input; random numbers where there is none",
    )


def feeds(inputs: Sequence[Input], options: argparse.Namespace, batch: int = 1) -> dict[str, Array]:
    """The arrays of the files in ``options.inputs``, by input; random ones where there are none.

    Args:
        inputs: of the network.
        options: of the command line.
        batch: of random arrays, where it is a symbol.

    Raises:
        CauceError: files that are no arrays, or do not fit.
    """
    return read_arrays(inputs, options.inputs) if options.inputs else random_arrays(inputs, batch)


def random_arrays(inputs: Sequence[Input], batch: int, seed: int = 0) -> dict[str, Array]:
    """Random arrays, see :func:`~cauce.ir.validation.random_feeds`.

    Args:
        inputs: what to feed.
        batch: for the symbols that are the first dimension of an input.
        seed: of the numbers.

    Raises:
        GraphError: another dimension is a symbol.
    """
    graph = Graph()
    for value in inputs:
        graph.add_input(value.name, value.type, value.role)
    first = [value.type.shape[0] for value in inputs if value.type.shape]
    sizes = {str(dim): batch for dim in first if isinstance(dim, DimExpr) and dim.is_symbol}
    unknown = graph.symbols() - sizes.keys()
    if unknown:
        named = [value for value in inputs if _has(value, unknown)]
        shown = " ".join(
            f"--shape {value.name}="
            + ",".join(str(substitute(dim, sizes)).replace(" ", "") for dim in value.type.shape)
            for value in named
        )
        raise GraphError(
            f"the sizes {', '.join(sorted(unknown))} are not known, of which the random input is "
            "made",
            fix=f"add {shown}, with numbers for them, or give arrays",
        )
    return random_feeds(graph, sizes, seed)


def _has(value: Input, names: frozenset[str]) -> bool:
    return any(symbols(dim) & names for dim in value.type.shape)


def read_arrays(inputs: Sequence[Input], files: Sequence[str]) -> dict[str, Array]:
    """Arrays from files, by input.

    A file may be named with its input, ``image=photo.npy``. Those without belong to the inputs in
    order; where there is one input alone, they are one batch together.

    Raises:
        DataError: a file that is no array, or batches that do not fit together.
        MissingFile: there is no such file.
        GraphError: too many files, or a name that is no input.
        TypeMismatch: a dtype that would not keep its numbers.
    """
    known = {value.name: value for value in inputs}
    if len(inputs) == 1:
        (only,) = inputs
        arrays = [_array(only, _path(file, known)[1]) for file in files]
        return {only.name: arrays[0] if len(arrays) == 1 else _batch(only, arrays, files)}
    found: dict[str, Array] = {}
    rest = [value.name for value in inputs]
    for file in files:
        name, path = _path(file, known)
        if not name and not rest:
            raise GraphError(
                f"there are {len(files)} files for {len(inputs)} inputs",
                fix=f"give one for each of {', '.join(known)}",
            )
        name = name or rest[0]
        if name in found:
            raise GraphError(f"there are two files for {name}", fix="give each input one")
        rest.remove(name)
        found[name] = _array(known[name], path)
    return found


def _path(file: str, known: dict[str, Input]) -> tuple[str, str]:
    """The name of the input, "" where none is given, and the path."""
    name, equals, path = file.partition("=")
    if not equals or os.path.exists(file):
        return "", file
    if name not in known:
        raise GraphError(
            f"{file} is for an input called {name!r}, which there is not",
            fix=did_you_mean(name, known, f"the inputs are {', '.join(known)}"),
        )
    return name, path


def _array(value: Input, path: str) -> Array:
    """The array of a file in the dtype of its input.

    A wider number of the same kind is rounded, as NumPy does; bytes are no floats.
    """
    from ..training.arrays import read_npy

    if os.path.isdir(path):
        raise DataError(f"{path} is a folder", fix=f"name the files in it: {path}/*")
    if not path.lower().endswith(".npy"):
        raise DataError(
            f"{path} ends in none of the endings of arrays", fix="save it by np.save as a .npy file"
        )
    array = read_npy(path)
    wanted = value.type.dtype.numpy
    if array.dtype == wanted:
        return array
    if array.dtype.kind != wanted.kind or not np.can_cast(array.dtype, wanted, "same_kind"):
        raise TypeMismatch(
            f"{path} holds {array.dtype}, and {value.name} is {value.type}",
            fix=f"convert it where it is made: array.astype(np.{wanted.name})"
            + (" / 255 makes numbers from 0 to 1 of bytes" if array.dtype == np.uint8 else ""),
        )
    return np.asarray(array.astype(wanted))


def _batch(value: Input, arrays: list[Array], files: Sequence[str]) -> Array:
    """Several arrays as one batch."""
    for file, array in zip(files, arrays):
        if array.ndim == 0 or array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{files[0]} has shape {arrays[0].shape}, {file} {array.shape}: they are no batch "
                f"for {value.name}: {value.type}",
                fix="give arrays that differ in their first dimension alone",
            )
    return np.concatenate(arrays)
