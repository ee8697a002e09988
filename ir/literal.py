"""Constant tensors as attributes: immutable, compared and hashed by their contents."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .types import Array, DType, TensorType


class Literal:
    """A read-only array with its dtype.

    Args:
        value: an array, a number or nested lists of numbers.
        dtype: its dtype; taken from the array where None (Python floats become f32).

    Attributes:
        array: the numbers, of any shape; they cannot be written.
        dtype: as given or found.

    Raises:
        TypeMismatch: a dtype that cauce does not have.

    Examples:
        >>> from cauce.ir import Literal
        >>> half = Literal([0.5, 1.0], "f16")
        >>> half.type == Literal([0.5, 1.0]).type, half == Literal([0.5, 1.0], "f16"), half
        (False, True, Literal(f16[2]))
    """

    def __init__(self, value: object, dtype: object = None) -> None:
        array = np.asarray(value)
        if dtype is None and not isinstance(value, (np.ndarray, np.generic)):
            dtype = DType.F32 if array.dtype == np.float64 else array.dtype
        self.dtype = DType.of(array.dtype if dtype is None else dtype)
        self.array: Array = np.array(self.dtype.round(array), order="C")
        self.array.flags.writeable = False

    @property
    def type(self) -> TensorType:
        """dtype and shape."""
        return TensorType(self.dtype, self.array.shape)

    @cached_property
    def digest(self) -> str:
        """A hash of type and contents."""
        import hashlib

        contents = hashlib.sha256(str(self.type).encode())
        contents.update(self.array.tobytes())
        return "sha256:" + contents.hexdigest()[:32]

    def __reduce__(self) -> tuple[object, ...]:
        return Literal, (self.array, self.dtype)  # read-only at the other end too

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Literal({self.type})"
