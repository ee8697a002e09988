"""Reductions over axes: sums and maxima, and the index of the first maximum."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Dim, DType
from ...ir.dims import ceil_div, product
from ...ir.ops import reduce
from .code import COMPUTED, Access, NodeCode, Stage, emits
from .copies import row_operand
from .elements import compare, extremum, scalar_constant
from .emitter import V, i64
from .maps import load, store
from .spaces import collapse, offset, row_major, unravel

# A reduction of more elements than this into few results is done in parts first.
PART = 8192


def identity(op: reduce.Reduction, dtype: DType) -> V:
    """What an empty reduction gives."""
    if isinstance(op, reduce.Sum):
        return scalar_constant(0, dtype)
    if dtype.is_float:
        return scalar_constant(float("-inf"), dtype)
    from .elements import is_unsigned

    bits = dtype.itemsize * 8
    return V("0" if is_unsigned(dtype) else str(-(1 << (bits - 1))), COMPUTED[dtype])


def combine(stage: Stage, op: reduce.Reduction, dtype: DType, a: V, b: V) -> V:
    """Two partial results together."""
    if isinstance(op, reduce.Sum):
        return stage.f.op("fadd" if dtype.is_float else "add", a, b)
    return extremum(stage.f, "max", a, b, dtype)


@emits(reduce.Sum, reduce.Max)
def sum_or_max(code: NodeCode) -> None:
    """Sum and max over any axes."""
    op = code.node.op
    assert isinstance(op, reduce.Reduction)
    (x,) = code.operand_types
    axes = reduce.normalize_axes(op.axes, x.rank, op.name)
    strides = code.operand_access(0).strides
    kept = [axis for axis in range(x.rank) if axis not in axes]
    outer, (outer_steps,) = collapse(
        tuple(x.shape[axis] for axis in kept), [tuple(strides[axis] for axis in kept)]
    )
    inner, (inner_steps,) = collapse(
        tuple(x.shape[axis] for axis in axes), [tuple(strides[axis] for axis in axes)]
    )
    write_reduction(
        code,
        op,
        x.dtype,
        code.operand_access(0),
        code.result_access(),
        outer,
        outer_steps,
        inner,
        inner_steps,
    )


def write_reduction(
    code: NodeCode,
    op: reduce.Reduction,
    dtype: DType,
    source: Access,
    result: Access,
    outer: Sequence[Dim],
    outer_steps: Sequence[Dim],
    inner: Sequence[Dim],
    inner_steps: Sequence[Dim],
) -> None:
    """result[o] = reduction of source[o * outer_steps + i * inner_steps] over i.

    Where there are few results, the outermost inner axis is cut into parts first, whose number
    depends on the shapes alone, and the parts are merged in order.
    """
    count = product(tuple(outer))
    parts = _parts(count, inner)
    if parts is None:
        _reduce(code, op, dtype, source, result, outer, outer_steps, inner, inner_steps)
        return
    size = inner[0]
    length = ceil_div(size, parts)
    scratch = Access(code.scratch(count * parts * dtype.itemsize), dtype, ())
    # Part p covers [p * length, min((p + 1) * length, size)) of the first inner axis. Parts come
    # first, so that results which lie side by side stay so.
    _reduce(
        code,
        op,
        dtype,
        source,
        scratch,
        (parts, *outer),
        (inner_steps[0] * length, *outer_steps),
        (length, *inner[1:]),
        inner_steps,
        bound=size,
    )
    _reduce(code, op, dtype, scratch, result, outer, row_major(tuple(outer)), (parts,), (count,))


def _parts(count: Dim, inner: Sequence[Dim]) -> int | None:
    if not inner or not isinstance(count, int) or count >= 64:
        return None
    first = inner[0]
    rest = product(tuple(inner[1:]))
    if isinstance(first, int) and isinstance(rest, int) and first * rest <= PART:
        return None
    return min(first, 64) if isinstance(first, int) else 64


def _reduce(
    code: NodeCode,
    op: reduce.Reduction,
    dtype: DType,
    source: Access,
    result: Access,
    outer: Sequence[Dim],
    outer_steps: Sequence[Dim],
    inner: Sequence[Dim],
    inner_steps: Sequence[Dim],
    bound: Dim | None = None,
) -> None:
    """One launch; ``bound`` ends the first inner axis early in the last part."""
    lanes = code.target.lanes(dtype.itemsize)
    across = len(outer) > (bound is not None) and outer_steps[-1] == 1
    along = bool(inner) and inner_steps[-1] == 1 and not across
    size = dtype.itemsize
    with code.stage(product(tuple(outer[:-1] if across else outer))) as stage:
        f = stage.f
        pointer, target = stage.base(source), stage.base(result)
        extents = [stage.dim(dim) for dim in outer]
        steps = [stage.dim(dim) for dim in outer_steps]
        lengths = [stage.dim(dim) for dim in inner]
        strides = [stage.dim(dim) for dim in inner_steps]
        limit = stage.dim(bound) if bound is not None else None
        with stage.tasks() as task:
            around = extents[:-1] if across else extents
            indices = unravel(stage, task, around)
            base = f.at(pointer, offset(stage, indices, steps[: len(indices)]), size)
            stops = list(lengths)
            if limit is not None:
                # The first index of ``outer`` is the part; the last parts may be empty.
                left = f.op("sub", limit, f.mul(indices[0], lengths[0]))
                left = f.intrinsic("smax", left, i64(0))
                stops[0] = f.intrinsic("smin", lengths[0], left)

            def total(at: V, width: int, start: V) -> V:
                """Reduce over all inner axes from ``at``, ``width`` results side by side."""

                def level(axis: int, at: V, value: V) -> V:
                    if axis == len(stops):
                        found = load(stage, dtype, at, width)
                        return combine(stage, op, dtype, value, found)
                    with f.loop(stops[axis], carry=[value]) as loop:
                        place = f.at(at, f.mul(loop.index, strides[axis]), size)
                        loop.next(level(axis + 1, place, loop.carried[0]))
                    return loop.results[0]

                return level(0, at, start)

            def along_last(at: V) -> V:
                """Reduce with the last inner axis in vectors, then across the lanes."""
                start = f.broadcast(identity(op, dtype), lanes)

                def level(axis: int, at: V, value: V, single: V) -> tuple[V, V]:
                    if axis == len(stops) - 1:
                        stop = stops[axis]
                        even = f.op("and", stop, V(str(-lanes), "i64"))
                        with f.loop(even, step=lanes, carry=[value]) as loop:
                            found = load(stage, dtype, f.at(at, loop.index, size), lanes)
                            loop.next(combine(stage, op, dtype, loop.carried[0], found))
                        (value,) = loop.results
                        with f.loop(stop, even, carry=[single]) as loop:
                            found = load(stage, dtype, f.at(at, loop.index, size), 1)
                            loop.next(combine(stage, op, dtype, loop.carried[0], found))
                        return value, loop.results[0]
                    with f.loop(stops[axis], carry=[value, single]) as loop:
                        place = f.at(at, f.mul(loop.index, strides[axis]), size)
                        loop.next(*level(axis + 1, place, *loop.carried))
                    return loop.results[0], loop.results[1]

                value, single = level(0, at, start, identity(op, dtype))
                for lane in range(lanes):
                    part = f.value(f"extractelement {value}, i64 {lane}", COMPUTED[dtype])
                    single = combine(stage, op, dtype, single, part)
                return single

            if across:
                width = extents[-1]
                even = f.op("and", width, V(str(-lanes), "i64"))
                row = f.mul(task, width)

                def column(index: V, count: int) -> None:
                    start = f.broadcast(identity(op, dtype), count)
                    value = total(f.at(base, index, size), count, start)
                    store(stage, dtype, value, f.at(target, f.add(row, index), size), count)

                with f.loop(even, step=lanes) as loop:
                    column(loop.index, lanes)
                with f.loop(width, even) as loop:
                    column(loop.index, 1)
            else:
                start = identity(op, dtype)
                value = along_last(base) if along and lanes > 1 else total(base, 1, start)
                store(stage, dtype, value, f.at(target, task, size), 1)


@emits(reduce.ArgMax)
def argmax(code: NodeCode) -> None:
    """The index of the first greatest element along one axis; NaN is the greatest."""
    op = code.node.op
    assert isinstance(op, reduce.ArgMax)
    (x,) = code.operand_types
    axis = reduce.normalize_axis(op.axis, x.rank, op.name)
    before, length, after = product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :])
    size = x.dtype.itemsize
    slot = row_operand(code, 0)
    with code.stage(before * after) as stage:
        f = stage.f
        pointer, target = stage.pointer(slot), stage.base(code.result_access())
        stop, step = stage.dim(length), stage.dim(after)
        with stage.tasks() as task:
            row, column = f.op("udiv", task, step), f.op("urem", task, step)
            base = f.at(pointer, f.add(f.mul(row, f.mul(stop, step)), column), size)
            first = load(stage, x.dtype, base, 1)
            with f.loop(stop, start=1, carry=[first, i64(0)]) as loop:
                best, place = loop.carried
                found = load(stage, x.dtype, f.at(base, f.mul(loop.index, step), size), 1)
                better = compare(f, "gt", found, best, x.dtype)
                if x.dtype.is_float:
                    nan = f.compare("fcmp uno", found, found)
                    known = f.compare("fcmp ord", best, best)
                    better = f.op("or", f.op("and", nan, known), better)
                loop.next(f.select(better, found, best), f.select(better, loop.index, place))
            f.store(loop.results[1], f.at(target, task, 8), 8)
