"""Opening ONNX models: from a file, bytes or a message, and what they say of their inputs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from ...ir import Array, Dim, DimExpr, Input, Role, TensorType, symbol
from ...ir.dims import as_dim, parse_dim, substitute
from ...ir.errors import (
    CauceError,
    DataError,
    GraphError,
    MissingExtra,
    ShapeError,
    TypeMismatch,
    did_you_mean,
    install,
    need,
    shown,
)
from ...ir.evaluate import check_feed
from ...ir.files import existing
from ...ir.installed import origin_of
from ...ir.onnx.tensors import Decoder, dtype_of
from .names import FreeNames, with_text
from .rules import Known
from .wire import Source

_LONGEST = 100  # characters of the name of a size
Given: TypeAlias = "tuple[int | str, ...] | Array"  # of an input
ARRAYS = (np.ndarray, np.generic)  # what is given for elements; a tuple is a shape


class Opened:
    """A model that is there to be read, within bounds.

    Args:
        name: what it is called.
        source: its bytes; None where it is a message already.
        folder: where the files beside it lie; None where that is not known.
        proto: the ``ModelProto`` where that was given.

    Attributes:
        decode: reads its tensors; a file stays open as long as this is there.
    """

    def __init__(
        self, name: str, source: Source | None, folder: str | None = None, proto: Any = None
    ) -> None:
        self.name, self._source = name, source
        self._message: bytes | None = None
        self.decode = Decoder(folder, source)
        if proto is not None:
            vars(self)["proto"] = with_text(proto)

    @cached_property
    def digest(self) -> str | None:
        """A digest of all but the large tensors; None for a message, or for what is no model."""
        if self._source is None:
            return None
        try:
            self._message = self._source.message()
        except ValueError:  # which a DataError is too; reading says it again
            return None
        return self._source.digest(self._message)

    @cached_property
    def proto(self) -> Any:
        """The ``ModelProto``, without large elements.

        Raises:
            DataError: no ONNX model, or a damaged one.
        """
        from onnx import ModelProto

        assert self._source is not None
        message, self._message = self._message, None
        try:
            proto = ModelProto.FromString(self._source.message() if message is None else message)
            proto = with_text(proto)
        except CauceError:
            raise
        except Exception as error:  # what protobuf raises differs from one version to another
            raise _no_model(self.name) from error
        if not proto.HasField("graph") or not proto.graph.node:
            raise _no_model(self.name)
        return proto


def read(model: object) -> Opened:
    """The model in a file, in bytes or a message; it is parsed when it is asked for.

    Raises:
        MissingExtra: onnx is not installed.
        FileNotFoundError: there is no such file.
        TypeMismatch: neither a path nor bytes nor a ``ModelProto``.
    """
    if origin_of("onnx") is None:
        raise MissingExtra(
            "reading ONNX files needs onnx, which is not installed", fix=install("onnx")
        )
    if isinstance(model, (str, os.PathLike)):
        path = existing(model)
        folder, name = os.path.dirname(os.path.abspath(path)), os.path.basename(path)
        return Opened(name, Source.of_file(path), folder)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return Opened("model", Source(bytes(model)))
    from onnx import ModelProto

    if not isinstance(model, ModelProto):
        raise TypeMismatch(
            f"load_onnx takes a path, bytes or a ModelProto, got {shown(model)}",
            fix="write for example cauce.load_onnx('model.onnx')",
        )
    return Opened("model", None, proto=model)


def _no_model(name: str) -> DataError:
    return DataError(
        f"{name} is no ONNX model with nodes, or is damaged",
        fix="export it again; python -m onnx.checker says more",
    )


class Sizes:
    """The symbols that stand for sizes of one model."""

    def __init__(self) -> None:
        self._by_name: dict[str, Dim] = {}
        self._taken: set[Dim] = set()
        self._free = FreeNames(lambda word: not _is_symbol(word) or symbol(word) in self._taken)

    def dim(self, message: Any, otherwise: str) -> Dim:
        """A dimension of a declared shape; a symbol of its own where the file leaves it open."""
        if message.WhichOneof("value") == "dim_value" and message.dim_value >= 1:
            return int(message.dim_value)
        named: str = message.dim_param if message.WhichOneof("value") == "dim_param" else ""
        key = named if re.search(r"\w", named) else f"?{otherwise}"
        if key not in self._by_name:
            self._by_name[key] = self._new(key, otherwise)
            self._taken.add(self._by_name[key])
        return self._by_name[key]

    def _new(self, key: str, otherwise: str) -> Dim:
        """The dimension that a name is, an expression too, or else a symbol much like it."""
        try:
            if len(key) <= _LONGEST and isinstance(dim := parse_dim(key), DimExpr):
                return dim
        except ShapeError:
            pass
        given = otherwise if key.startswith("?") else key
        word = re.sub(r"[^A-Za-z0-9_]+", "_", given[:_LONGEST]).strip("_")
        return symbol(self._free(word if re.match(r"[A-Za-z_]", word) else f"d_{word}"))


def _is_symbol(word: str) -> bool:
    """Whether a word may be a symbol: some mean something else in the text form."""
    try:
        symbol(word)
    except ShapeError:
        return False
    return True


def inputs_of(
    graph: Any, stored: set[str], given: object
) -> tuple[dict[str, TensorType], list[Known]]:
    """The types of the inputs of a graph that are not stored in it, as fixed by the caller.

    Args:
        graph: the ``GraphProto``.
        stored: the names of what is stored.
        given: by name, shapes, types, and arrays, which have a shape too.

    Returns:
        The types of the inputs that a call gives, and what is given here.

    Raises:
        GraphError: a name that no input has, or an input without a type.
        ShapeError: a shape that contradicts the declared one.
        TypeMismatch: what is not by name, or an array of another dtype.
    """
    what = "inputs are shapes or arrays by name"
    need({} if given is None else given, Mapping, what, "inputs={'x': ...}")
    entries: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    arrays = {n: np.asarray(a) for n, a in entries.items() if isinstance(a, ARRAYS)}
    exact = {n: g.shape for n, g in entries.items() if isinstance(g, (*ARRAYS, TensorType))}
    shapes = {**entries, **exact}
    declared = {value.name: value for value in graph.input if value.name not in stored}
    for name in shapes:
        if name not in declared:
            raise GraphError(
                f"the model has no input called {name!r}",
                fix=did_you_mean(name, declared, f"its inputs are {', '.join(declared)}"),
            )
    known = Sizes()
    bound: dict[str, Dim] = {}
    types = {}
    for name, value in declared.items():
        types[name] = _type(name, value.type, known, shapes.get(name), bound, name in exact)
    constants = [
        Known(n, check_feed(Input(n, types[n], Role.DATA), array).copy(), types[n].dtype)
        for n, array in arrays.items()
    ]
    # A size that the caller fixes is fixed wherever the file has the same symbol.
    return {
        name: type_
        if name in shapes
        else type_.with_shape(substitute(d, bound) for d in type_.shape)
        for name, type_ in types.items()
        if name not in arrays
    }, constants


def _type(
    name: str, message: Any, known: Sizes, given: Any, bound: dict[str, Dim], empty: bool
) -> TensorType:
    """The type of an input; the symbols of the file that ``given`` replaces go to ``bound``.

    Only an array or a type may be ``empty``: a symbol stands for a size of at least 1.
    """
    if message.WhichOneof("value") != "tensor_type":
        raise GraphError(
            f"the input {name!r} is no tensor", fix="cauce takes tensors: export it without others"
        )
    tensor = message.tensor_type
    dtype = dtype_of(tensor.elem_type, f"the input {name!r}")
    open_ = not tensor.HasField("shape")
    dims = [known.dim(dim, f"{name}_{i}") for i, dim in enumerate(tensor.shape.dim)]
    if given is None:
        if open_:
            raise ShapeError(
                f"the file does not say how many dimensions the input {name!r} has",
                fix=f"say it when loading: inputs={{{name!r}: ('N', 3, 224, 224)}}",
            )
        return TensorType(dtype, tuple(dims))
    if not isinstance(given, (tuple, list)):
        raise TypeMismatch(
            f"the shape of {name!r} must be a tuple, got {shown(given)}",
            fix=f"write for example inputs={{{name!r}: ('N', 3, 224, 224)}}, or give an array, "
            "which fixes its elements too",
        )
    shape = tuple(as_dim(dim) for dim in given)
    wrong = [(a, b) for a, b in zip(dims, shape) if a != b and isinstance(a, int)]
    if (not open_ and (wrong or len(dims) != len(shape))) or (0 in shape and not empty):
        raise ShapeError(
            f"the input {name!r} is {TensorType(dtype, tuple(dims))} in the file, "
            f"and cannot be [{', '.join(map(str, shape))}]",
            fix="give a size of at least 1 for each dimension that the file leaves open, "
            "and keep the others",
        )
    for declared, dim in zip(dims, shape):
        if isinstance(declared, DimExpr) and declared.is_symbol:
            bound[str(declared)] = dim
    return TensorType(dtype, shape)
