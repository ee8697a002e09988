"""Parameters in a file beside the model, where they are more than an ONNX file holds.

The format: github.com/onnx/onnx, docs/ExternalData.md.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...ir import Array, DType
from ...ir.files import replacing
from ...ir.onnx.tensors import NUMBERS, raw

if TYPE_CHECKING:
    from onnx import TensorProto

# A protobuf message, and so an ONNX file, ends below 2 GiB; nodes and names take some of it.
MOST = 2**31 - 2**26
# Smaller arrays stay in the model: what infers shapes reads them.
_SMALL = 1024
# As the format advises, so that the file can be mapped into memory.
_PAGE = 4096

Initializers = Mapping[str, tuple[Array, DType]]


def nbytes(initializers: Initializers) -> int:
    """The bytes of all initializers together."""
    return sum(array.size * dtype.itemsize for array, dtype in initializers.values())


class DataFile:
    """The larger initializers of a model, side by side in one file.

    The file is named by its contents: a model and its data can then be replaced without a moment
    in which they do not belong together.
    """

    def __init__(self, initializers: Initializers) -> None:
        self._arrays = {
            name: (array, dtype)
            for name, (array, dtype) in initializers.items()
            if array.size * dtype.itemsize >= _SMALL
        }
        self._offsets: dict[str, int] = {}
        end = 0
        for name, (array, dtype) in self._arrays.items():
            self._offsets[name] = end
            end += -(-array.size * dtype.itemsize // _PAGE) * _PAGE
        digest = hashlib.sha256()
        for piece in self._pieces():
            digest.update(piece)
        self._digest = digest.hexdigest()[:16]

    def path(self, model: Path) -> Path:
        """Where the data of a model lie: beside it, and named after it."""
        return model.with_name(f"{model.name}.{self._digest}.data")

    def tensor(self, name: str, location: str) -> TensorProto | None:
        """The initializer as one that lies in the file ``location``; None if it does not."""
        from onnx import TensorProto

        if name not in self._arrays:
            return None
        array, dtype = self._arrays[name]
        proto = TensorProto(
            name=name,
            data_type=NUMBERS[dtype],
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        length = array.size * dtype.itemsize
        entries = {"location": location, "offset": self._offsets[name], "length": length}
        for key, value in entries.items():
            proto.external_data.add(key=key, value=str(value))
        return proto

    def write(self, path: Path) -> None:
        """Write the file, all or nothing.

        Raises:
            OSError: it cannot be written.
        """
        with replacing(path) as temporary, temporary.open("wb") as file:
            for piece in self._pieces():
                file.write(piece)

    def _pieces(self) -> Iterator[bytes]:
        """The contents: every array, filled up to whole pages."""
        for array, dtype in self._arrays.values():
            content = raw(array, dtype)
            yield content
            yield bytes(-len(content) % _PAGE)


def remove_others(model: Path, keep: Path | None) -> None:
    """Remove the data of earlier exports to the same file."""
    ours = re.compile(re.escape(model.name) + r"\.[0-9a-f]{16}\.data")
    for name in os.listdir(model.parent):
        path = model.parent / name
        if ours.fullmatch(name) and path != keep:
            path.unlink(missing_ok=True)
