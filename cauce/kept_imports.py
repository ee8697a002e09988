"""What ``load_onnx`` makes of a file, kept from one process to the next.

An entry holds graphs as text, and of the weights only what is small: where the others lie in the
user's own files. Its key covers the file but for the large tensors, the inputs as given, and every
source file of cauce. Some large tensors decide what the graph is (indices, say): an entry has their
digests, and counts for nothing where the file has others there by now. No entry is ever needed: one
that cannot be read, or says what is not so, is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .backends.llvm.runtime.cache import default_store
from .backends.llvm.runtime.key import sources
from .frontends.onnx.reading import Opened
from .frontends.onnx.rules import from_elsewhere
from .ir import Array, DimExpr, DType, Frame, Graph, Input, Location, Role, TensorType
from .ir.digest import digest, digest_of
from .ir.errors import CauceError
from .ir.onnx.tensors import Decoder, Place
from .ir.record import Record
from .ir.unknown import Unknown
from .ir.unread import UnreadGraph, text_of
from .ir.version import VERSION

_MODEL, _INTERFACE = "model", "interface"
_MOST = 2**25  # bytes of the arrays of an entry
_ALIGN = 64  # of what stands in an entry


class Content(Record):
    """A model as it is kept.

    Attributes:
        name: of the network.
        graph: its inference form.
        training: what the training form is made of.
        values: its weights by name.
        shares: those of a batch in running statistics, by the name of the running mean.
        origin: as a model has it.
        metadata: what the file says of itself.
    """

    name: str
    graph: UnreadGraph
    training: UnreadGraph
    values: Mapping[str, Array]
    shares: tuple[tuple[str, float], ...]
    origin: str
    metadata: Mapping[str, str]

    def written(self, places: Mapping[str, Place], decode: Decoder) -> bytes | None:
        """The entry; None where it would be large.

        Args:
            places: where those values lie that are as they are in the file.
            decode: reads them.
        """
        held = [array for name, array in self.values.items() if name not in places]
        held += [*self.graph.constants.values(), *self.training.constants.values()]
        if sum(array.nbytes for array in held) > _MOST:
            return None
        parts = _Parts()
        graphs = [self.graph] if self.training is self.graph else [self.graph, self.training]
        values = {
            name: _written_place(places[name]) if name in places else parts.array(array)
            for name, array in self.values.items()
        }
        used = [place for place in decode.places if place.used]
        return parts.entry(
            kind=_MODEL,
            name=self.name,
            graphs=[
                {
                    "text": parts.add(graph.text),
                    "key": graph.key,
                    "constants": {name: parts.array(a) for name, a in graph.constants.items()},
                }
                for graph in graphs
            ],
            values=values,
            used=[[_written_place(p), digest(decode.content(p)).hex()] for p in used],
            shares=self.shares,
            origin=self.origin,
            metadata=self.metadata,
        )

    @staticmethod
    def read(entry: _Entry, decode: Decoder) -> Content | None:
        """The model of an entry; None where its file has other contents by now."""
        fields = entry.fields
        for place, wanted in fields["used"]:
            if digest(decode.content(_read_place(place))).hex() != wanted:
                return None
        graphs = [
            UnreadGraph(
                entry.bytes(graph["text"]),
                {name: entry.array(array) for name, array in graph["constants"].items()},
                graph["key"],
            )
            for graph in fields["graphs"]
        ]
        values = {
            name: decode.again(_read_place(at)) if "file" in at else entry.array(at)
            for name, at in fields["values"].items()
        }
        shares = tuple((name, share) for name, share in fields["shares"])
        return Content(
            fields["name"],
            graphs[0],
            graphs[-1],
            values,
            shares,
            fields["origin"],
            fields["metadata"],
        )


class Interface(Record):
    """What goes into a model that is made for each size, and what comes out.

    Attributes:
        name: of the network.
        inputs: what a call takes.
        outputs: the names of what it gives.
        error: why it is not made yet, where there is a reason.
        metadata: what the file says of itself.
    """

    name: str
    inputs: Sequence[Input]
    outputs: Sequence[str]
    error: Unknown | None
    metadata: Mapping[str, str]

    def written(self) -> bytes:
        """The entry."""
        parts, graph, error = _Parts(), Graph(self.name), self.error
        for value in self.inputs:
            graph.add_input(value.name, value.type)
        assert error is not None, "what has no reason is not kept"
        frames = error.loc.frames if error.loc is not None else ()
        return parts.entry(
            kind=_INTERFACE,
            text=parts.add(text_of(graph)),
            outputs=list(self.outputs),
            what=error.what,
            sizes=sorted(error.sizes),
            inputs=error.inputs,
            path=error.path,
            metadata=self.metadata,
            frames=[[frame.file, frame.line] for frame in frames],
        )

    @staticmethod
    def read(entry: _Entry) -> Interface:
        """The interface of an entry."""
        from .ir import parse

        fields = entry.fields
        graph = parse(entry.bytes(fields["text"]).decode("utf-8", "surrogatepass"))
        error = Unknown(fields["what"], sizes=fields["sizes"], inputs=fields["inputs"])
        frames = tuple(Frame(file, line) for file, line in fields["frames"])
        error.at(fields["path"], Location(frames) if frames else None)
        inputs, outputs = graph.inputs_with(Role.DATA), fields["outputs"]
        return Interface(graph.name, inputs, outputs, error, fields["metadata"])


def key_of(opened: Opened, given: object, purpose: str) -> str | None:
    """The key of what a file becomes; None where nothing is kept, or none can be said.

    Args:
        opened: the file.
        given: the inputs as given by name.
        purpose: what it is made for.
    """
    said = _said(given)
    if said is None or default_store().limit <= 0 or from_elsewhere() or opened.digest is None:
        return None
    return digest_of(VERSION, sources("onnx"), purpose, opened.name, opened.digest, said)


def find(opened: Opened, key: str | None) -> Content | Interface | None:
    """What is kept under a key; None where there is nothing, or nothing that holds."""
    found = None if key is None else default_store().get(key)
    if found is None:
        return None
    try:
        entry = _Entry(found)
        if entry.fields["kind"] == _INTERFACE:
            return Interface.read(entry)
        return Content.read(entry, opened.decode)
    except (CauceError, ValueError, TypeError, LookupError, AttributeError):
        return None  # the file has changed since, or the entry is no such: made anew, it says why


def keep(key: str | None, entry: bytes | None) -> None:
    """Keep an entry."""
    if key is not None and entry is not None:
        default_store().put(key, entry)


def name_of(content: bytes) -> str | None:
    """The name of the network that an entry is of; None for what is no entry."""
    try:
        name = _Entry(content).fields["name"]
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def _said(given: object) -> str | None:
    """Inputs as text that tells them from all others; None for what no input can be."""
    if not isinstance(given, Mapping):
        return None
    parts = []
    for name, what in given.items():
        if isinstance(what, (np.ndarray, np.generic)) and what.dtype.kind in "biuf":
            said = f"{what.dtype.str} {what.shape} {digest(np.ascontiguousarray(what).data).hex()}"
        elif isinstance(what, TensorType):
            said = str(what)
        elif isinstance(what, (tuple, list)) and all(type(d) in (int, str) for d in what):
            said = repr(list(what))
        elif isinstance(what, (tuple, list)) and all(isinstance(d, (int, DimExpr)) for d in what):
            said = " ".join(map(str, what))
        else:
            return None
        parts.append((name, type(what).__name__, said))
    return repr(parts)


# ---- the format --------------------------------------------------------------------------------


class _Parts:
    """An entry while it is written: the parts that its fields refer to by number."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, content: bytes) -> int:
        """The number of a part."""
        self._parts.append(content)
        return len(self._parts) - 1

    def array(self, array: Array) -> dict[str, Any]:
        """What is said of an array, which becomes a part."""
        part = self.add(np.ascontiguousarray(array).tobytes())
        return {"part": part, "dtype": array.dtype.str, "shape": array.shape}

    def entry(self, **fields: object) -> bytes:
        """The length of the fields, eight bytes; the fields, in JSON; the parts, aligned."""
        fields["parts"] = list(map(len, self._parts))
        head = json.dumps(fields).encode()
        pieces = [len(head).to_bytes(8, "little"), head]
        at = 8 + len(head)
        for part in self._parts:
            pieces += [bytes(-at % _ALIGN), part]
            at += -at % _ALIGN + len(part)
        return b"".join(pieces)


class _Entry:
    """An entry as it is read.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, content: bytes) -> None:
        at = 8 + int.from_bytes(content[:8], "little")
        self.fields: dict[str, Any] = json.loads(content[8:at])
        self._parts = []
        for length in self.fields["parts"]:
            at += -at % _ALIGN
            self._parts.append(memoryview(content)[at : at + length])
            at += length
        if at != len(content):
            raise ValueError("an entry does not end where its parts do")

    def bytes(self, number: int) -> bytes:
        """A part."""
        return bytes(self._parts[number])

    def array(self, said: Mapping[str, Any]) -> Array:
        """An array, as a view of its part where that is aligned."""
        found = np.frombuffer(self._parts[said["part"]], said["dtype"]).reshape(said["shape"])
        return found if found.flags.aligned else found.copy()


def _written_place(place: Place) -> dict[str, Any]:
    return {
        "dtype": place.dtype.value,
        "shape": place.shape,
        "start": place.start,
        "file": place.file,
    }


def _read_place(said: Mapping[str, Any]) -> Place:
    return Place(DType(said["dtype"]), tuple(said["shape"]), said["start"], said["file"])
