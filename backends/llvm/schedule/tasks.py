"""What launches without a register tile do at a time: elementwise ops, copies, softmax, windows."""

from __future__ import annotations

from ....ir import Dim

# Elements of one task where all lie in one run; so many indices are looked through at a time.
RUN_ELEMENTS = 16384

# Columns of a softmax along another axis than the last that one task has.
SOFTMAX_COLUMNS = 64

# How many vectors of powers are added up before their sum is added to that of the others: rounding
# grows with the terms of each.
SOFTMAX_BLOCK = 64

# Vectors side by side in one run of pixels: enough for their loads to overlap, few enough for
# registers.
PIXEL_VECTORS = 4

# Squares of one task of a transposed copy: so long is a run of the result that is written at a
# time.
SQUARES = 4

# Elements that do not stay in a second-level cache: fewer are read fast enough in any order.
_MANY = 1 << 19

# Bytes of the least elements that vectors exchange.
_LEAST_ITEM = 4


def transposes_in_registers(elements: Dim, sides: tuple[Dim, Dim], lanes: int, item: int) -> bool:
    """Whether a copy that transposes goes by squares of vectors, and not element by element.

    There must be whole squares, as far as is known, of elements that a register takes, and enough
    of them for the time that the code takes to compile.

    Args:
        elements: that are copied.
        sides: the sizes of the axes along which source and result lie side by side.
        lanes: elements of a vector.
        item: bytes of one.
    """
    whole = all(size >= lanes for size in sides if isinstance(size, int))
    fit = lanes > 1 and item >= _LEAST_ITEM and whole
    return fit and (not isinstance(elements, int) or elements >= _MANY)
