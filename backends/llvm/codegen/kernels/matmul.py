"""Matrix products and linear layers, as contractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .....ir import TensorType
from .....ir.dims import ceil_div
from .....ir.layout import Strided
from .....ir.ops import linear
from ...lowering.access import Access, Shape, row_major
from ...registry import Facts, Types, Weight
from ...schedule import matmul as schedules
from ...schedule.schedule import Choice, Setting
from ...schedule.tiles import Loops
from ..code import NodeCode, emits
from .contraction import Contraction, Operand, write_contraction
from .copies import row_operand, write_fill
from .tiles import Steps, add_parts, cut, end_of, write_tiles
from .transpose import write_copy


class _MatMul(Facts):
    anchor = True
    epilogue = True
    reads_weight_once = True

    def weight(self, op: linear.MatMul, operands: Types) -> Weight | None:
        return Weight(1, (0, 1), fixed=True) if operands[1].rank == 2 else None

    def by_image(
        self, op: linear.MatMul, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return list(of_images) == [True, False] and operands[0].rank == result.rank

    def schedules(
        self, op: linear.MatMul, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        x, y = operands
        sizes = {"m": result.shape[-2], "n": result.shape[-1], "k": x.shape[-1]}
        assert isinstance(y.layout, Strided)
        *_, rows, columns = y.layout.strides(y.shape)
        item, lead = result.dtype.itemsize, result.rank - 2
        chosen = schedules.matmul(sizes, lead, columns == 1, rows == 1, item, setting)
        return [Choice(chosen)]


@emits(linear.MatMul, facts=_MatMul())
def matmul(code: NodeCode) -> None:
    """x [..., m, k] times y [..., k, n], the leading axes broadcast."""
    x, y = code.operand_types
    z = code.node.result.type
    lead = z.shape[:-2]
    names = [f"b{axis}" for axis in range(len(lead))]
    sizes: Steps = dict(zip(names, lead))
    sizes |= {"m": z.shape[-2], "n": z.shape[-1], "k": x.shape[-1]}

    def over(access: Access, shape: Shape, rows: str, columns: str) -> Operand:
        wide = access.over(shape, (*lead, *shape[-2:]))
        strides = dict(zip((*names, rows, columns), wide.strides))
        return Operand.of(access, strides)

    arrays, finish = end_of(code, (), bias=False)
    axes = (*names, "m", "n")

    def along(access: Access) -> Operand:
        return Operand.of(access, dict(zip(axes, access.strides)))

    what = Contraction(
        z.dtype,
        sizes,
        along(code.result_access()),
        over(_rows(code, 0), x.shape, "m", "k"),
        over(code.operand_access(1), y.shape, "k", "n"),
        tuple(map(along, arrays)),
        finish,
    )
    schedule = code.schedule
    if isinstance(schedule, schedules.Strips):
        # Blocks of rows (K-blocking) are L2-resident while all rows of x go over them; each adds
        # to the result.
        result = _result(code)
        write_fill(code, z.shape, result, 0)
        part = replace(what, result=along(result), others=(), finish=None)
        write_tiles(code, part, schedule.tiling(tuple(names)))
        _finish(code, result)
        return
    if isinstance(schedule, schedules.Transposed):
        _write_transposed(code, what, schedule)
        return
    assert isinstance(schedule, schedules.Tiles)
    parts = schedule.parts
    if parts == 1:
        write_tiles(code, what, schedule.tiling(tuple(names)))
        return
    chunk = ceil_div(sizes["k"], parts)
    slot = code.scratch(z.nbytes * parts)
    sums = [Access(slot, z.dtype, row_major(z.shape), start=z.size * part) for part in range(parts)]
    one = along(sums[0])
    what = replace(
        what,
        sizes={**sizes, "p": parts, "k": chunk},
        result=replace(one, strides={**one.strides, "p": z.size}),
        a=cut(what.a, "k", chunk),
        b=cut(what.b, "k", chunk),
        others=(),
        finish=None,
        part=("p", "k", sizes["k"]),
    )
    write_tiles(code, what, schedule.tiling(tuple(names)))
    add_parts(code, z.shape, sums, arrays, finish)


def _result(code: NodeCode) -> Access:
    """Where a result is made: in its place, or apart, if something is made of it at the end."""
    z = code.node.result.type
    if code.epilogue is None:
        return code.result_access()
    return Access(code.scratch(z.nbytes), z.dtype, row_major(z.shape))


def _finish(code: NodeCode, result: Access) -> None:
    """Make of a result what is done at its end."""
    if code.epilogue is not None:
        add_parts(code, code.node.result.type.shape, [result], *end_of(code, (), bias=False))


def _write_transposed(code: NodeCode, what: Contraction, schedule: schedules.Transposed) -> None:
    """Write a product with a large matrix whose columns are its rows in memory, as a weight is.

    The other way round: the vectors run over the rows of x, which is transposed for it, and so is
    the result. A task has some columns, and takes a piece of each at a time.
    """
    rows, columns, inner = (what.sizes[axis] for axis in "mnk")
    assert isinstance(columns, int)
    dtype, lanes = what.dtype, code.target.lanes(what.dtype.itemsize)
    vectors = schedule.vectors
    width = vectors * lanes
    wide = ceil_div(rows, width)
    padded = wide * width
    x = Access(code.scratch(inner * padded * dtype.itemsize), dtype, (1, padded))
    # What lies behind the last row is never read again, but to compute on anything takes time.
    end = replace(x, strides=(padded, 1), start=rows)
    write_fill(code, (inner, padded - rows), end, 0)
    source = Access(what.a.slot, dtype, (what.a.strides["m"], what.a.strides["k"]), what.a.start)
    write_copy(code, (rows, inner), source, x)
    z = Access(code.scratch(columns * padded * dtype.itemsize), dtype, (1, padded))
    write_fill(code, (columns * padded,), replace(z, strides=(1,)), 0)

    group = schedule.group
    steps = {"u": width, "t": lanes, "m": 1}
    first = 0
    for size, count in ((group, columns // group), (columns % group, 1)):
        if not size:
            continue
        step = what.b.strides["n"]
        along = {"n": padded, "d": padded * size, **steps}
        total = Operand(z.slot, dtype, along, padded * first)
        part = Contraction(
            dtype,
            {"d": count, "u": wide, "t": vectors, "m": lanes, "n": size, "k": inner},
            total,
            Operand(
                what.b.slot,
                dtype,
                {"n": step, "d": step * size, "k": 1},
                what.b.start + step * first,
            ),
            Operand(x.slot, dtype, {"k": padded, **steps}),
        )
        tile = (("n", schedule.columns_of(size)), ("t", vectors))
        blocks = (("k", schedule.piece),)
        write_contraction(code, part, Loops(("d",), "m", tile, ("k",), blocks, ("u",)))
        first += size * count
    result = _result(code)
    write_copy(code, (rows, columns), z, result)
    _finish(code, result)


def _rows(code: NodeCode, place: int) -> Access:
    """A row-major operand, copied where it lies otherwise."""
    type_ = code.operand_types[place]
    return Access(row_operand(code, place), type_.dtype, row_major(type_.shape))
