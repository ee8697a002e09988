"""Element types and tensor types."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

from .dims import Dim, as_dim, product, substitute
from .errors import TypeMismatch
from .layout import Layout
from .record import Record
from .tracebacks import user_facing

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class DType(enum.Enum):
    """ONNX's numeric element types and bool, by the short names that LLVM and the text form use.

    A :class:`TensorType` joins one of them and a shape.

    Attributes:
        is_float: whether this is a floating-point type.
        is_integer: whether this is a signed or unsigned integer type; bool is neither.
        itemsize: bytes of one element.
        numpy: the NumPy type that carries the values. NumPy has no bfloat16: its values are carried
            in float32 arrays, rounded by :meth:`round` after every op, which gives what a bfloat16
            unit with float32 arithmetic does.

    Examples:
        >>> from cauce.ir import DType
        >>> DType.of("float32"), DType.of(np.int64), str(DType.F16)
        (DType.F32, DType.I64, 'f16')
        >>> DType.BF16.round(np.array([1.001])), DType.F16.widen(np.ones(1, np.float16)).dtype
        (array([1.], dtype=float32), dtype('float32'))
        >>> DType.U8.is_integer, DType.BOOL.is_integer, DType.F64.itemsize
        (True, False, 8)
    """

    BOOL = "bool"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"

    def __init__(self, short: str) -> None:
        kind = short.rstrip("0123456789")
        self.is_float = kind in ("f", "bf")
        self.is_integer = kind in ("i", "u")
        self.itemsize = int(short[len(kind) :] or 8) // 8
        carrier = {"bool": "?", "bf": "f4"}.get(kind, f"{kind}{self.itemsize}")
        self.numpy = np.dtype(carrier)

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"DType.{self.name}"

    def round(self, array: Array) -> Array:
        """``array`` in this type's NumPy carrier, rounded to the values the type has."""
        array = np.asarray(array, dtype=self.numpy)
        if self is not DType.BF16:
            return array
        bits = array.view(np.uint32)
        # Round to nearest, ties to even, on the upper 16 bits; NaN keeps a set mantissa bit.
        rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
        rounded = np.where(np.isnan(array), bits | np.uint32(0x00400000), rounded)
        return (rounded & np.uint32(0xFFFF0000)).view(np.float32)

    def widen(self, array: Array) -> Array:
        """``array`` of this type as arithmetic takes it: f16 in float32, as bf16 always is.

        So an op on halves computes with float32 and rounds once, its result. (Arithmetic on halves
        rounds each step: 4096 ones added one by one stay at 2048.)
        """
        return array.astype(np.float32) if self is DType.F16 else array

    @staticmethod
    def of(value: object) -> DType:
        """The dtype that ``value`` names: ``"f32"``, ``"float32"``, ``np.float32``, a DType.

        Raises:
            TypeMismatch: cauce has no such type.
        """
        if isinstance(value, DType):
            return value
        found = None
        if isinstance(value, str):
            # Not through NumPy, whose "f8" counts bytes where "i8" here counts bits.
            found = _BY_NAME.get(value)
        elif value is not None:  # which NumPy takes for float64
            with suppress(TypeError):
                given = np.dtype(value)  # type: ignore[call-overload]
                found = DType.BF16 if is_bfloat16(given) else _BY_NUMPY.get(given)
        if found is None:
            names = ", ".join(map(str, DType))
            raise TypeMismatch(f"{value!r} is not a dtype", fix=f"use one of {names}")
        return found


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is the bfloat16 that ml_dtypes adds to NumPy; float32 holds all its values."""
    return dtype.name == "bfloat16"


def cast(array: Array, dtype: DType) -> tuple[Array, Array]:
    """A new array with the values of ``array`` in ``dtype``, and where they do not fit.

    A float fits when it does not become infinite (an infinity does fit, and rounding is no loss),
    an integer or a bool when it stays the same number.

    Returns:
        The converted array in the carrier of ``dtype``, and a mask of the same shape.
    """
    if array.dtype == dtype.numpy and dtype is not DType.BF16:
        return array.copy(), np.zeros(array.shape, np.bool_)
    with np.errstate(all="ignore"):
        converted = dtype.round(np.array(array, dtype.numpy))
    if dtype.is_float:
        return converted, np.isinf(converted) & ~np.isinf(array)
    return converted, converted != array


_BY_NUMPY = {dtype.numpy: dtype for dtype in DType if dtype is not DType.BF16}
_BY_NAME = {
    **{dtype.value: dtype for dtype in DType},
    **{numpy.name: dtype for numpy, dtype in _BY_NUMPY.items()},
    "bfloat16": DType.BF16,
}


class TensorType(Record):
    """A dtype and a shape, printed as ``f32[N,64,56,56]``; a scalar is ``f32[]``.

    In a graph that a backend has lowered, ``layout`` says how the array lies in memory. It has no
    part in what the type means: types that differ in it alone are equal.

    Attributes:
        dtype: of the elements.
        shape: ints, and expressions over symbols.
        layout: how it lies in memory; None where no backend has said.

    Examples:
        >>> from cauce.ir import DType, TensorType
        >>> image = TensorType.make("float32", ("N", 3, 4, 4))
        >>> print(image, image.rank, image.size, image.nbytes, image.bind({"N": 2}))
        f32[N,3,4,4] 4 48*N 192*N f32[2,3,4,4]
        >>> print(image.with_dtype(DType.U8), image.with_shape((2, 2)), TensorType.of(np.zeros(3)))
        u8[N,3,4,4] f32[2,2] f64[3]
    """

    dtype: DType
    shape: tuple[Dim, ...]
    layout: Layout | None = None

    # Graphs are full of types: what they need most does not go through the general methods.

    def __init__(self, dtype: DType, shape: tuple[Dim, ...], layout: Layout | None = None) -> None:
        vars(self).update(dtype=dtype, shape=shape, layout=layout)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorType):
            return NotImplemented
        return self.dtype is other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    @staticmethod
    @user_facing
    def make(dtype: object, shape: Iterable[object]) -> TensorType:
        """A type from what a user may write, such as ``("float32", ("N", 3, 32, 32))``.

        Raises:
            TypeMismatch: no dtype.
            ShapeError: a size that is none.
        """
        return TensorType(DType.of(dtype), tuple(as_dim(dim) for dim in shape))

    @staticmethod
    def of(array: Array) -> TensorType:
        """The type of a NumPy array."""
        return TensorType(DType.of(array.dtype), array.shape)

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """Bytes of all elements."""
        return product((self.dtype.itemsize, *self.shape))

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        """The same dtype with another shape."""
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another dtype."""
        return TensorType(dtype, self.shape)

    def bind(self, bindings: Mapping[str, int]) -> TensorType:
        """The type with the bound symbols replaced by their sizes."""
        shape = tuple([substitute(dim, bindings) for dim in self.shape])
        return TensorType(self.dtype, shape, self.layout)

    def __str__(self) -> str:
        lies = str(self.layout) if self.layout and self.shape else ""
        return f"{self.dtype}[{','.join(str(dim) for dim in self.shape)}]{lies}"
