"""How an array is addressed: a buffer, an element type, strides."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import Dim, DType, TensorType
from ....ir.layout import Blocked, Layout, Packed, Strided, Strides

Shape = tuple[Dim, ...]


def nbytes(type_: TensorType) -> Dim:
    """The bytes of the buffer of an array, with what its layout adds."""
    return lies(type_).size(type_.shape) * type_.dtype.itemsize


def lies(type_: TensorType) -> Layout:
    """The layout of a type; row-major where it has none."""
    return type_.layout or Strided.row_major(type_.rank)


@dataclass(frozen=True)
class Access:
    """An array over a space: its buffer, element type, strides in elements, and first element.

    Of a blocked array the strides hold within a block, and ``block_stride`` is the distance from
    block to block.
    """

    slot: int
    dtype: DType
    strides: tuple[Dim, ...]
    start: Dim = 0
    block: int = 0
    block_stride: Dim = 0

    @staticmethod
    def of(slot: int, type_: TensorType) -> Access:
        """An array of this type over its own shape, lying as its layout says."""
        layout, shape = lies(type_), type_.shape
        if isinstance(layout, Blocked):
            steps, apart = layout.strides(shape), layout.block_stride(shape)
            return Access(slot, type_.dtype, steps, 0, layout.block, apart)
        if isinstance(layout, Packed):
            return Access(slot, type_.dtype, ())  # only what knows the format can read it
        assert isinstance(layout, Strided)
        return Access(slot, type_.dtype, layout.strides(shape), layout.start(shape))

    def over(self, shape: Shape, space: Shape) -> Access:
        """The array, of ``shape``, over a space that it broadcasts to."""
        lead = len(space) - len(shape)
        steps = tuple(
            0 if size == 1 and wide != 1 else step
            for size, wide, step in zip(shape, space[lead:], self.strides)
        )
        return replace(self, strides=(0,) * lead + steps)


def row_major(shape: Shape) -> Strides:
    """The strides, in elements, of a contiguous array."""
    return Strided.row_major(len(shape)).strides(shape)
