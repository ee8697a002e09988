"""ONNX files as bytes: weights stay where they are, and the rest is bounded, before it is parsed.

A parser would hold each weight beside the file, and a copy is made of each that is read. So what is
large is cut out of the message first: in its place stands a token, and the elements are read from
the file when they are asked for. What is left, nodes and names, may be so large and so deep only.

The format: protobuf.dev/programming-guides/encoding; the numbers of fields: onnx.proto.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping

from ...ir.digest import digest_of
from ...ir.errors import DataError

# Smaller fields stay in the message.
LARGE = 4096
MOST_FIELDS = 2**20  # of all messages that are looked into
MOST_BYTES = 2**28  # of nodes and names
_DEEPEST = 16  # messages within messages
_HEADER = 20  # bytes, two varints, with which a field begins
_WINDOW = 2**13  # bytes in which fields are looked for
# What is looked into: by kind of message, the fields that are messages. Elements have the name of
# their field, of which a tensor has one.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        10: "TensorProto",
        6: "GraphProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {4: "float_data", 9: "raw_data", 10: "double_data"},
}
_RAW_DATA = b"\x4a"  # the tag of field 9, of bytes


class Source:
    """The bytes of a model, and where in them the elements lie that were cut out of its message.

    Args:
        content: the bytes, or the number of an open file, which belongs to this from now on.
    """

    def __init__(self, content: bytes | int) -> None:
        self._content = content
        if isinstance(content, bytes):
            self._size = len(content)
        else:
            self._size = os.fstat(content).st_size
            weakref.finalize(self, os.close, content)
        # A token that no file can hold by design: what a file says is never taken for one.
        self._mark = os.urandom(16)
        self._cut: list[tuple[str, int, int]] = []
        self._fields = 0
        self._window = (b"", 0, -1)

    @classmethod
    def of_file(cls, path: str) -> Source:
        """That of a file, which is read piece by piece, and is what it is now whatever becomes of
        its name."""
        return cls(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))

    def __getstate__(self) -> dict[str, object]:
        """What travels to another process, or is copied: an open file as its bytes."""
        return {**vars(self), "_content": bytes(self.at(0, self._size))}

    def message(self) -> bytes:
        """The model without its large tensors, whose ``raw_data`` are tokens.

        Raises:
            ValueError: it is no protobuf message.
            DataError: it is larger or deeper than a network is.
        """
        self._cut, self._fields, self._window = [], 0, (b"", 0, -1)
        whole = self._without_elements("ModelProto", 0, self._size, 0)
        if len(whole) > MOST_BYTES:
            raise _too("large", f"{len(whole)} bytes beside its weights, of {MOST_BYTES}")
        return whole

    def elements(self, raw_data: bytes, field: str) -> bytes | memoryview | None:
        """What ``raw_data`` stands for; None where it is no token.

        Args:
            raw_data: of a tensor.
            field: where the tensor may have its elements instead: ``float_data``, for example.

        Raises:
            DataError: the elements lie in another field, or the file is shorter by now.
        """
        if len(raw_data) != len(self._mark) + 8 or not raw_data.startswith(self._mark):
            return None
        found, start, count = self._cut[int.from_bytes(raw_data[-8:], "little")]
        if found not in ("raw_data", field):
            raise DataError(
                f"a tensor has {count} bytes of {found}, which is not where its dtype belongs",
                fix="the file is damaged: export it again",
            )
        return self.at(start, count)

    def start(self, raw_data: bytes) -> int | None:
        """Where the elements begin that ``raw_data`` stands for; None where it is no token."""
        if len(raw_data) != len(self._mark) + 8 or not raw_data.startswith(self._mark):
            return None
        return self._cut[int.from_bytes(raw_data[-8:], "little")][1]

    def digest(self, message: bytes) -> str:
        """A digest of all but the large tensors, and of where these lie.

        Args:
            message: what :meth:`message` gave.
        """
        # Tokens differ each time. What stands there instead might stand in a file, but not where
        # something was cut out.
        return digest_of(repr(self._cut), message.replace(self._mark, bytes(len(self._mark))))

    def at(self, start: int, count: int) -> bytes | memoryview:
        """So many bytes from a place on.

        Raises:
            DataError: the file ends before.
        """
        if isinstance(self._content, bytes):
            return memoryview(self._content)[start : start + count]
        content = _read(self._content, count, start)
        while len(content) < count:
            more = _read(self._content, count - len(content), start + len(content))
            if not more:
                raise DataError(
                    "the file became shorter while it was read", fix="load it when it is whole"
                )
            content += more
        return content

    def _window_at(self, place: int) -> tuple[bytes, int, int]:
        """Bytes from a place on, that place, and the last one whose header is in them.

        Zeros follow the end of the model, so that what is read there is as long: a field that takes
        them for its own ends behind the end.
        """
        window = bytes(self.at(place, min(_WINDOW, self._size - place)))
        if place + len(window) == self._size:
            window += bytes(_HEADER)
        self._window = (window, place, place + len(window) - _HEADER)
        return self._window

    def _without_elements(self, kind: str, start: int, end: int, depth: int) -> bytes:
        """The message between two places; what is large in it is cut out."""
        if depth > _DEEPEST:
            raise _too("deep", f"messages within messages more than {_DEEPEST} deep")
        inside, parts = _INSIDE[kind], []
        kept = place = start
        window, first, last = self._window
        while place < end:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise _too("large", f"more than {MOST_FIELDS} fields")
            if not first <= place <= last:
                window, first, last = self._window_at(place)
            begin, at = place, place - first + 1
            tag, size = window[at - 1], 0
            if tag >= 0x80:  # most numbers have one byte, and there are many
                tag, at = _varint(window, at - 1)
            wire = tag & 7
            if wire == 2:
                size, at = window[at], at + 1
                if size >= 0x80:
                    size, at = _varint(window, at - 1)
            elif wire == 0:
                _, at = _varint(window, at)
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise ValueError("no protobuf message")
            place = first + at + size
            if place > end or tag < 8:
                raise ValueError("no protobuf message")
            if size >= LARGE and (found := inside.get(tag >> 3)):
                parts.append(bytes(self.at(kept, begin - kept)))
                kept = place
                if found in _INSIDE:
                    body = self._without_elements(found, place - size, place, depth + 1)
                    parts += [_written(tag), _written(len(body)), body]
                    window, first, last = self._window
                else:
                    token = self._mark + len(self._cut).to_bytes(8, "little")
                    self._cut.append((found, place - size, size))
                    parts += [_RAW_DATA, _written(len(token)), token]
        parts.append(bytes(self.at(kept, end - kept)))
        return b"".join(parts)


def _read(file: int, count: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, count, start)
    os.lseek(file, start, os.SEEK_SET)  # Windows
    return os.read(file, count)


def _varint(content: bytes | memoryview, place: int) -> tuple[int, int]:
    """The number that begins at a place, and where it ends."""
    number = shift = 0
    while place < len(content) and shift < 70:
        byte = content[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
    raise ValueError("no protobuf message")


def _written(number: int) -> bytes:
    """A number as a varint."""
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _too(what: str, found: str) -> DataError:
    return DataError(
        f"the model is too {what}: it has {found}",
        fix="no network is: the file is damaged, or was made to do harm",
    )
