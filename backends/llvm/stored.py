"""Artifacts as bytes, for the cache: a header in JSON, the code, the constants."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

import numpy as np

from ...ir import Array, Dim, DimExpr, DType, Input, Role, TensorType
from ...ir.dims import as_dim
from ...ir.errors import CompileError
from ...ir.record import Record
from ..contract import Interface
from .abi import (
    Artifact,
    Batch,
    BatchStage,
    Binding,
    Buffer,
    Check,
    Entry,
    MemoryImage,
    RankSum,
    Row,
)
from .target import Caches, Target

_MAGIC = b"cauce artifact 9\n"

_DTYPES = {dtype.value: dtype for dtype in DType}
_ROLES = {role.value: role for role in Role}


def to_bytes(artifact: Artifact) -> bytes:
    """All of an artifact."""
    plain, code = _Plain(), artifact.code
    content = code.content if isinstance(code, MemoryImage) else code
    header = {
        "digest": artifact.digest,
        "target": artifact.target,
        "interface": artifact.interface,
        "code": len(content),
        "image": code if isinstance(code, MemoryImage) else None,
        "entries": (artifact.prepare, artifact.main),
        "types": plain.types,  # the last, for all others add to them
    }
    text = json.dumps(header, default=plain).encode()
    parts = [_MAGIC, struct.pack("<Q", len(text)), text, content]
    return b"".join([*parts, *(array.tobytes() for array in plain.arrays)])


def from_bytes(data: bytes) -> Artifact:
    """What :func:`to_bytes` wrote.

    Raises:
        CompileError: bytes that are something else.
    """
    try:
        return _read(data)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise CompileError(f"these bytes are no compiled code: {error}") from error


class _Plain:
    """Gives what JSON has no form for as what it has one for.

    Attributes:
        arrays: those that were met, in order.
        types: those that were met, which are written by their numbers. Most are met several times:
            weights go in, are packed, and go on.
    """

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self.types: list[tuple[DType, tuple[Dim, ...]]] = []
        self._numbers: dict[TensorType, int] = {}

    def __call__(self, value: object) -> object:
        if isinstance(value, np.ndarray):
            self.arrays.append(value)
            return value.dtype.str, value.shape
        if isinstance(value, TensorType):
            if value not in self._numbers:
                self._numbers[value] = len(self.types)
                self.types.append((value.dtype, value.shape))
            return self._numbers[value]
        if isinstance(value, Input):
            return value.name, value.type, value.role
        if isinstance(value, DimExpr):
            return str(value)
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, frozenset):
            return sorted(value)
        assert isinstance(value, Record)
        names = [field.name for field in fields(value)]
        if isinstance(value, MemoryImage):
            names.remove("content")
        return {name: getattr(value, name) for name in names}


def _read(data: bytes) -> Artifact:
    start = len(_MAGIC) + 8
    if not data.startswith(_MAGIC):
        raise ValueError("they begin otherwise")
    (length,) = struct.unpack_from("<Q", data, len(_MAGIC))
    header = json.loads(data[start : start + length])
    place = start + length + header["code"]
    content = data[start + length : place]
    code = _image(header["image"], content) if header["image"] else content
    types = [
        TensorType(_DTYPES[dtype], tuple([_dim(dim) for dim in shape]))
        for dtype, shape in header["types"]
    ]
    entries = []
    for known in header["entries"]:
        constants = {}
        for slot, (name, shape) in known["constants"].items():
            dtype = np.dtype(name)
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(data, dtype, count, place).reshape(shape)
            constants[int(slot)] = array
            place += array.nbytes
        entries.append(_entry(known, constants, types))
    known = header["target"]
    target = Target(**{**known, "caches": Caches(**known["caches"])})
    interface = _interface(header["interface"], types)
    return Artifact(code, header["digest"], target, interface, *entries)


def _image(known: Mapping[str, Any], content: bytes) -> MemoryImage:
    parts, inner = tuple(known["parts"]), tuple(known["inner"])
    return MemoryImage(known["machine"], parts, inner, known["outer"], known["entries"], content)


def _interface(known: Mapping[str, Any], types: Sequence[TensorType]) -> Interface:
    inputs = tuple([Input(name, types[n], _ROLES[role]) for name, n, role in known["inputs"]])
    outputs = {name: types[n] for name, n in known["outputs"].items()}
    return Interface(known["name"], inputs, outputs, frozenset(known["updates"]))


def _entry(
    known: Mapping[str, Any], constants: dict[int, Array], types: Sequence[TensorType]
) -> Entry:
    def bindings(key: str) -> tuple[Binding, ...]:
        return tuple(
            [Binding(name, slot, types[n], _dim(nbytes)) for name, slot, n, nbytes in known[key]]
        )

    return Entry(
        known["name"],
        tuple(known["symbols"]),
        known["count"],
        tuple(known["table"]),
        tuple(Buffer(slot, _dim(size), *span) for slot, size, *span in known["buffers"]),
        constants,
        bindings("inputs"),
        bindings("outputs"),
        bindings("updates"),
        frozenset(known["in_place"]),
        tuple(Row(path, op, *map(_dim, costs)) for path, op, *costs in known["rows"]),
        tuple(known["launches"]),
        _batch(known["batch"]) if known["batch"] else None,
        known["given"],
        tuple(
            Check(path, slot, _DTYPES[dtype], _dim(size), origin)
            for path, slot, dtype, size, origin in known["checks"]
        ),
        known["status"],
        tuple(
            RankSum(end, slot, _DTYPES[dtype], _dim(size))
            for end, slot, dtype, size in known["reductions"]
        ),
    )


def _batch(known: Mapping[str, Any]) -> Batch:
    return Batch(known["symbol"], tuple(BatchStage(**stage) for stage in known["stages"]))


def _dim(dim: int | str) -> Dim:
    return dim if isinstance(dim, int) else as_dim(dim)
