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
from pathlib import Path
from typing import Any

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


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, plain or compressed by gzip (known by its content, not its name).

    Raises:
        DataError: another format, or more or fewer elements than the header announces.
    """
    data = _decompressed(Path(existing(path)))
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        codes = ", ".join(f"{code:02x}" for code in _DTYPES)
        raise DataError(
            f"{path} is no IDX file: it begins with {data[:4].hex(' ') or 'nothing'}, "
            f"not with 00 00, a type code ({codes}) and the number of dimensions",
            fix="give the path of an IDX file, as it is or compressed by gzip",
        )
    dtype, rank = _DTYPES[data[2]], data[3]
    header = 4 + 4 * rank
    if len(data) < header:
        raise DataError(
            f"{path} is truncated: a header of {rank} dimensions takes {header} bytes, "
            f"the file holds {len(data)}",
            fix="fetch the file again",
        )
    shape = struct.unpack(f">{rank}I", data[4:header])
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - header
    if found != expected:
        raise DataError(
            f"{path} {'is truncated' if found < expected else 'is too long'}: its header announces "
            f"{' x '.join(map(str, shape))} elements of {dtype.name}, {expected} bytes, "
            f"{found} follow",
            fix="fetch the file again",
        )
    array = np.frombuffer(data, dtype, offset=header).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} begins as a gzip file, but does not decompress: {error}",
            fix="fetch the file again",
        ) from error
