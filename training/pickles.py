"""Pickles of plain data, read without doing what they say.

A pickle is a program: it names functions of any module and calls them, so ``pickle.load`` on a
file of unknown origin may run anything (see the warning at the head of Python's documentation of
it). Here the few names that pickles of byte arrays use stand for small functions of this file, and
every other name is refused; not even NumPy's own code for pickles is reached.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.errors import DataError
from ..ir.files import existing
from ..ir.types import Array


class _Dtype:
    """Stands for ``numpy.dtype(name, align, copy)``: bytes only."""

    def __init__(self, name: object, *_: object) -> None:
        if name not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"its arrays are of {name!r}, not of bytes")

    def __setstate__(self, _: object) -> None:
        """Byte order and alignment, which bytes do not have."""


class _Array:
    """Stands for an ``numpy.ndarray`` that is filled when its state follows."""

    array: Array

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, bool, bytes]) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a dtype")
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Array:
    """Stands for the function (type, shape, typecode) that makes an empty array to be filled."""
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``codecs.encode``, by which Python 3 writes bytes in old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written as {encoding!r}")
    return text.encode("latin1")


_KNOWN = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # NumPy 2
    ("_codecs", "encode"): _encode,
}

# The instructions that reserve as much memory as they say; genops itself checks the others.
_SIZED = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "FRAME"})


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which plain data does not need"
            )
        return _KNOWN[module, name]


def _check_sizes(content: bytes) -> None:
    """Refuse a pickle that would reserve more memory than it has bytes before it is found out."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _SIZED and not 0 <= int(argument or 0) <= len(content):
            raise pickle.UnpicklingError(f"{opcode.name} of {argument} in {len(content)} bytes")


def read_pickled_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A pickled dict of byte arrays, lists, text and numbers, of Python 2 or 3.

    The text of Python 2 comes as bytes, except in the keys.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: no pickle, a damaged one, or one that holds or does anything else.
    """
    raw = Path(existing(path)).read_bytes()
    try:
        _check_sizes(raw)
        content = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
        if type(content) is not dict:
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dict")
        return {
            key.decode("latin1") if isinstance(key, bytes) else str(key): (
                value.array if isinstance(value, _Array) else value
            )
            for key, value in content.items()
        }
    except Exception as error:  # a malformed pickle fails in any of the machine's instructions
        raise DataError(
            f"{os.fspath(path)} is no pickle of plain data: {error or type(error).__name__}",
            fix="fetch the file again from its source; do not open it with pickle.load",
        ) from error
