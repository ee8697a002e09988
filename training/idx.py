"""The IDX file format, in which MNIST and the data sets made after it are distributed.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section
"File formats". All numbers are big-endian::

    0, 0, type code, number of dimensions      four bytes, the magic number
    the size of each dimension                 an unsigned 32-bit integer each
    the elements, the last dimension fastest
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import IO, Any

import numpy as np

from ..ir.errors import DataError
from ..ir.files import existing
from ..ir.types import Array

_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 2**20  # bytes that are read at a time


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, plain or compressed by gzip (known by its content, not its name).

    No more is read, or inflated, than the header announces.

    Raises:
        DataError: another format, or more or fewer elements than the header announces.
    """
    name = existing(path)
    with open(name, "rb") as plain:
        zipped = plain.read(2) == _GZIP_MAGIC
        plain.seek(0)
        try:
            return _read(gzip.open(plain) if zipped else plain, name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{path} begins as a gzip file, but does not decompress: {error}",
                fix="fetch the file again",
            ) from error


def _read(file: IO[bytes] | gzip.GzipFile, path: str) -> Array:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES:
        codes = ", ".join(f"{code:02x}" for code in _DTYPES)
        raise DataError(
            f"{path} is no IDX file: it begins with {start.hex(' ') or 'nothing'}, "
            f"not with 00 00, a type code ({codes}) and the number of dimensions",
            fix="give the path of an IDX file, as it is or compressed by gzip",
        )
    dtype, rank = _DTYPES[start[2]], start[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(
            f"{path} is truncated: a header of {rank} dimensions takes {4 + 4 * rank} bytes, "
            f"the file holds {4 + len(sizes)}",
            fix="fetch the file again",
        )
    shape = struct.unpack(f">{rank}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    content = bytearray()
    while len(content) <= expected:  # one byte more shows that the file is too long
        piece = file.read(min(_PIECE, expected + 1 - len(content)))
        if not piece:
            break
        content += piece
    if len(content) != expected:
        short = len(content) < expected
        raise DataError(
            f"{path} is {'truncated' if short else 'too long'}: its header announces "
            f"{' x '.join(map(str, shape))} elements of {dtype.name}, {expected} bytes, "
            f"{len(content) if short else 'more'} follow",
            fix="fetch the file again",
        )
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
