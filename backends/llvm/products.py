"""Matrix products and linear layers, as contractions."""

from __future__ import annotations

from dataclasses import replace

from ...ir.dims import ceil_div
from ...ir.ops import linear
from .code import Access, NodeCode, Shape, emits
from .contractions import Contraction, Operand
from .copies import row_operand
from .spaces import row_major
from .tiles import (
    NEAR,
    Steps,
    add_parts,
    columns_of,
    cut,
    end_of,
    groups_of,
    known_bytes,
    write_tiles,
)


@emits(linear.MatMul)
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
        return Operand(access.slot, access.dtype, strides, access.start, access.block, access.apart)

    arrays, finish = end_of(code, (), bias=False)
    axes = (*names, "m", "n")

    def along(access: Access) -> Operand:
        return Operand(access.slot, access.dtype, dict(zip(axes, access.strides)), access.start)

    what = Contraction(
        z.dtype,
        sizes,
        along(code.result_access()),
        over(_rows(code, 0), x.shape, "m", "k"),
        over(code.operand_access(1), y.shape, "k", "n"),
        tuple(map(along, arrays)),
        finish,
    )
    parts = _parts(code, what) if isinstance(sizes["k"], int) else 1
    if parts == 1:
        write_tiles(code, what, "n", ("m",), ("k",), tuple(names))
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
    write_tiles(code, what, "n", ("m",), ("k",), ("p", *names))
    add_parts(code, z.shape, sums, arrays, finish)


def _parts(code: NodeCode, what: Contraction) -> int:
    """Into how many parts the sum is cut: each has a piece of the matrix that stays near.

    One, where the matrix is read once, or all that a tile reads of it stays near.
    """
    sizes, lanes = what.sizes, code.target.lanes(what.dtype.itemsize)
    vectors, *_ = groups_of(sizes["n"], lanes, code.target.registers)
    ((_, rows),) = columns_of([("m", sizes["m"])], code.target.registers, vectors)
    nbytes = known_bytes(what, [sizes["k"]]) * vectors * lanes
    once = isinstance(sizes["m"], int) and sizes["m"] <= rows
    return 1 if once or nbytes <= NEAR else -(-nbytes // (NEAR // 2))


def _rows(code: NodeCode, place: int) -> Access:
    """An operand in row order, copied where it lies otherwise."""
    type_ = code.operand_types[place]
    return Access(row_operand(code, place), type_.dtype, row_major(type_.shape))
