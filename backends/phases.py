"""The transpose of a strided convolution, by phases: places of x that lie a stride apart are
reached by the same taps of the kernel. Each phase is a convolution of dy, of stride 1, with those
taps alone (Dumoulin and Visin 2016, section 4.5, without the zeros between).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product as combinations

from ..ir import Dim
from ..ir.ops.conv import ConvBase, extent


@dataclass(frozen=True)
class Phase:
    """The places ``first``, first + stride, ... of x along an axis, ``count`` of them.

    Place first + stride*m takes dy from ``row + m - k*apart`` through tap ``tap + k*step``, for the
    ``taps`` values of k from 0 on.
    """

    first: int
    count: Dim
    row: int
    apart: int
    tap: int
    step: int
    taps: int


def phases(
    op: ConvBase, kernel: Sequence[int], size: Sequence[Dim]
) -> Iterator[tuple[Phase, Phase]]:
    """The phases of both axes of x, of ``size``; those without places are left out."""
    for down, across in combinations(*(along(op, axis, kernel[axis]) for axis in range(2))):
        counts = [
            (size[axis] - phase.first + (op.stride[axis] - 1)) // op.stride[axis]
            for axis, phase in enumerate((down, across))
        ]
        if 0 not in counts:
            yield replace(down, count=counts[0]), replace(across, count=counts[1])


def along(op: ConvBase, axis: int, kernel: int) -> list[Phase]:
    """The phases along one axis of x, their counts left open."""
    stride, before, dilation = op.stride[axis], op.padding[axis][0], op.dilation[axis]
    common = math.gcd(stride, dilation)
    step, apart = stride // common, dilation // common
    found = []
    for first in range(stride):
        rows = {tap: divmod(first + before - tap * dilation, stride) for tap in range(step)}
        fitting = [tap for tap, (_, rest) in rows.items() if rest == 0 and tap < kernel]
        tap = fitting[0] if fitting else 0
        taps = len(range(tap, kernel, step)) if fitting else 0
        found.append(Phase(first, 0, rows[tap][0], apart, tap, step, taps))
    return found


def reach(op: ConvBase, axis: int, kernel: int) -> tuple[int, int]:
    """How far before and after dy, along an axis, zeros are read for x."""
    stride, after = op.stride[axis], op.padding[axis][1]
    used = (phase for phase in along(op, axis, kernel) if phase.taps)
    lowest = min(phase.row - (phase.taps - 1) * phase.apart for phase in used)
    return max(0, -lowest), max(0, -((after - extent(kernel, op.dilation[axis]) + 1) // stride))
