"""Copies that transpose an array: what lies side by side in the source lies apart in the result.

Element by element, each would come from another line of the cache, and another page. Squares of
as many rows as a vector has lanes are transposed in registers instead, so that both arrays are gone
through in vectors; what is left over at the edges goes element by element.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .....ir import Dim
from .....ir.dims import ceil_div, product
from .....ir.layout import Order
from ...lowering.access import Access, Shape
from ...schedule.tasks import SQUARES, transposes_in_registers
from ..builder import vector
from ..code import STORED, NodeCode
from ..iteration import Placed, collapse, unravel
from .elementwise import write_elementwise


@dataclass(frozen=True)
class TransposedCopy:
    """A copy over a space of few axes.

    Attributes:
        sizes: of the axes.
        source, result: the arrays.
        near: the axis along which the source lies side by side.
        far: the axis along which the result does.
    """

    sizes: Shape
    source: Access
    result: Access
    near: int
    far: int

    def part(self, axis: int, first: Dim, count: Dim) -> TransposedCopy:
        """The copy of ``count`` places along an axis, from ``first`` on."""

        def moved(access: Access) -> Access:
            return replace(access, start=access.start + access.strides[axis] * first)

        sizes = (*self.sizes[:axis], count, *self.sizes[axis + 1 :])
        return replace(self, sizes=sizes, source=moved(self.source), result=moved(self.result))


def write_copy(
    code: NodeCode, space: Shape, source: Access, result: Access, order: Order | None = None
) -> None:
    """Write what copies over a space, in the given order of its axes."""
    copy = find_transpose(space, source, result, order)
    if copy is None:
        _write_plain(code, space, source, result, order)
        return
    item = result.dtype.itemsize
    lanes = code.target.lanes(item)
    near, far = copy.sizes[copy.near], copy.sizes[copy.far]
    if not transposes_in_registers(product(copy.sizes), (near, far), lanes, item):
        _write_plain(code, space, source, result, order)
        return
    _write_squares(code, copy, lanes)
    columns, rows = near // lanes * lanes, far // lanes * lanes
    rests = (
        copy.part(copy.near, columns, near - columns),
        copy.part(copy.near, 0, columns).part(copy.far, rows, far - rows),
    )
    for rest in rests:
        if product(rest.sizes) != 0:
            _write_plain(code, rest.sizes, rest.source, rest.result)


def find_transpose(
    space: Shape, source: Access, result: Access, order: Order | None
) -> TransposedCopy | None:
    """The copy as a transposed one, if it is; axes that both arrays step over evenly are one."""
    order = tuple(range(len(space))) if order is None else order
    sizes, (read, written) = collapse(
        tuple(space[axis] for axis in order),
        [tuple(access.strides[axis] for axis in order) for access in (source, result)],
    )
    if 1 not in read or 1 not in written or read.index(1) == written.index(1):
        return None
    source, result = replace(source, strides=read), replace(result, strides=written)
    return TransposedCopy(sizes, source, result, read.index(1), written.index(1))


def _write_plain(
    code: NodeCode, space: Shape, source: Access, result: Access, order: Order | None = None
) -> None:
    write_elementwise(code, space, [source], result, lambda stage, lanes, values: values[0], order)


def _write_squares(code: NodeCode, copy: TransposedCopy, lanes: int) -> None:
    """Write the launch that copies whole squares: a task is a run of them along ``far``, and goes
    along ``near``."""
    near, far = copy.near, copy.far
    others = [axis for axis in range(len(copy.sizes)) if axis not in (near, far)]
    counts = (*(copy.sizes[axis] for axis in others), ceil_div(copy.sizes[far] // lanes, SQUARES))
    with code.stage(product(counts)) as stage:
        f, axes = stage.f, (*others, near, far)
        arrays = [Placed.of(stage, access, axes) for access in (copy.source, copy.result)]
        extents = [stage.dim(count) for count in counts]
        whole = stage.dim(copy.sizes[far] // lanes * lanes)
        length = stage.dim(copy.sizes[near] // lanes * lanes)
        with stage.tasks() as task:
            *outer, run = unravel(stage, task, extents)
            start = f.mul(run, SQUARES * lanes)
            end = f.intrinsic("smin", f.add(start, SQUARES * lanes), whole)
            within = [array.within(*outer) for array in arrays]
            with f.loop(length, step=lanes) as column, f.loop(end, start, lanes) as row:
                source, result = (
                    replace(array, pointer=array.at(column.index, row.index)) for array in within
                )
                _write_square(source, result, lanes)


def _write_square(source: Placed, result: Placed, lanes: int) -> None:
    """Read one vector from each row, exchange rows and lanes, and write them."""
    f, item = source.f, source.dtype.itemsize
    kind = vector(STORED[source.dtype], lanes)
    rows = [f.load(source.at(0, row), kind, item) for row in range(lanes)]
    # Blocks beside the diagonal change places: of one element, then of two, of four, ...
    width = 1
    while width < lanes:
        first = [lane if not lane & width else lane - width + lanes for lane in range(lanes)]
        second = [lane + width if not lane & width else lane + lanes for lane in range(lanes)]
        for row in range(lanes):
            if not row & width:
                above, below = rows[row], rows[row + width]
                rows[row] = f.shuffle(above, below, first)
                rows[row + width] = f.shuffle(above, below, second)
        width *= 2
    for row, value in enumerate(rows):
        f.store(value, result.at(row), item)
