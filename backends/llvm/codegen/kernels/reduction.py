"""Reductions over axes: sums, products, extremes, and the indices of extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .....ir import Dim, DType, TensorType
from .....ir.dims import ceil_div, product
from .....ir.layout import Strides
from .....ir.ops import reduce
from ...lowering.access import Access, row_major
from ...registry import Facts, Types
from ...schedule.reduction import Accumulators, reduction
from ...schedule.schedule import Choice, Setting
from ..builder import V, i64
from ..code import COMPUTED, Epilogue, NodeCode, Stage, emits
from ..iteration import collapse
from ..math.elements import compare
from .accumulate import write_job
from .copies import row_operand
from .elementwise import load
from .jobs import ReductionJob, Side


class _Reduction(Facts):
    anchor = True
    epilogue = True
    prologue = True

    def schedules(
        self, op: reduce.Reduction, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        return [Choice(reduction())]

    def by_image(
        self, op: reduce.Reduction, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return 0 not in reduce.normalize_axes(op.axes, operands[0].rank, op.name)


class _ArgExtreme(Facts):
    def by_image(
        self,
        op: reduce.ArgMax | reduce.ArgMin,
        operands: Types,
        result: TensorType,
        of_images: Sequence[bool],
    ) -> bool:
        return reduce.normalize_axis(op.axis, operands[0].rank, op.name) != 0


@emits(reduce.Sum, reduce.Mean, reduce.Prod, reduce.Max, reduce.Min, facts=_Reduction())
def reduction_over_axes(code: NodeCode) -> None:
    """A reduction over any axes, of an operand that is read or computed on the fly."""
    op = code.op(reduce.Reduction)
    (x,) = code.operand_types
    if isinstance(op, reduce.Mean):
        code.epilogue = _divided(code.epilogue, op.count(x), x.dtype)
        op = reduce.Sum(op.axes, op.keepdims)
    axes = reduce.normalize_axes(op.axes, x.rank, op.name)
    before, schedule = code.prologue, code.schedule
    assert before is not None and isinstance(schedule, Accumulators)
    after = code.epilogue or Epilogue((), lambda stage, lanes, total, values: total)
    kept = [axis for axis in before.order if axis not in axes]
    summed = [axis for axis in before.order if axis in axes]
    # Where a kept axis is in the result.
    places = kept if op.keepdims else [sorted(kept).index(axis) for axis in kept]
    sources = before.operands
    results = (code.result_access(), *after.operands)
    outer, outer_steps = collapse(
        _chosen(x.shape, kept),
        [
            *(_chosen(access.strides, kept) for access in sources),
            *(_chosen(access.strides, places) for access in results),
        ],
    )
    inner, inner_steps = collapse(
        _chosen(x.shape, summed), [_chosen(access.strides, summed) for access in sources]
    )
    if not inner or 0 in inner:
        inner, inner_steps = (0 if inner else 1,), [(1,)] * len(sources)
    innermost = [axis for axis in before.order if x.shape[axis] != 1][-1:]
    result, *others = map(Side, results, outer_steps[len(sources) :])
    write_reduction(
        code,
        ReductionJob(
            op,
            x.dtype,
            outer,
            inner,
            across=any(axis in kept for axis in innermost),
            sources=tuple(map(Side, sources, outer_steps, inner_steps)),
            compute=before.apply or _same,
            accumulators=schedule.computed if before.apply else schedule.plain,
            result=result,
            others=tuple(others),
            finish=after.apply,
        ),
        schedule,
    )


def _divided(after: Epilogue | None, count: Dim, dtype: DType) -> Epilogue:
    """What becomes of a sum of ``count`` terms whose mean is wanted."""

    def apply(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        f = stage.f
        terms = f.cast("sitofp", stage.dim_here(count), COMPUTED[dtype])
        mean = f.op("fdiv", total, f.broadcast(terms, lanes))
        return after.apply(stage, lanes, mean, values) if after else mean

    return Epilogue(after.operands if after else (), apply)


def _same(stage: Stage, lanes: int, values: Sequence[V]) -> V:
    (value,) = values
    return value


def _chosen(dims: Strides, axes: list[int]) -> Strides:
    return tuple(dims[axis] for axis in axes)


def write_reduction(code: NodeCode, job: ReductionJob, schedule: Accumulators) -> None:
    """Write a reduction; what is long is cut into parts first, which are merged in order."""
    if 0 in job.kept:
        return
    cut = schedule.cut(job.summed, _step(code, job))
    if cut is None:
        write_job(code, job)
        return
    axis, length = cut
    size = job.summed[axis]
    count = ceil_div(size, length)
    # The parts lie outermost, so that results which lie side by side stay so.
    parts = (*job.summed[:axis], count)
    scratch = Access(code.scratch(product((*parts, *job.kept)) * job.dtype.itemsize), job.dtype, ())
    even = isinstance(size, int) and size % length == 0
    write_job(
        code,
        replace(
            job,
            kept=(*parts, *job.kept),
            summed=(length, *job.summed[axis + 1 :]),
            sources=tuple(
                replace(
                    side,
                    kept=(*side.summed[:axis], side.summed[axis] * length, *side.kept),
                    summed=side.summed[axis:],
                )
                for side in job.sources
            ),
            result=Side(scratch, row_major((*parts, *job.kept))),
            others=(),
            finish=None,
            part=None if even else axis,
            end=size,
        ),
    )
    merged = replace(
        job,
        summed=(product(parts),),
        across=bool(job.kept),
        sources=(Side(scratch, row_major(job.kept), (product(job.kept),)),),
        compute=_same,
        accumulators=schedule.plain,
    )
    # Numbers that are not known are cut once.
    if isinstance(merged.summed[0], int):
        write_reduction(code, merged, schedule)
    else:
        write_job(code, merged)


def _step(code: NodeCode, job: ReductionJob) -> int:
    """How many elements of each result are added up side by side."""
    lanes = job.lanes(code)
    if job.across:
        return min(job.rows(len(panel)) for panel in job.panels(lanes) if panel)
    return job.accumulators * lanes


@emits(reduce.ArgMax, reduce.ArgMin, facts=_ArgExtreme())
def arg_extreme(code: NodeCode) -> None:
    """The index of the first or last extreme element along one axis; NaN counts before numbers."""
    op = code.node.op
    assert isinstance(op, (reduce.ArgMax, reduce.ArgMin))
    better_than = "g" if isinstance(op, reduce.ArgMax) else "l"
    better_than += "e" if op.select_last_index else "t"
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
                better = compare(f, better_than, found, best, x.dtype)
                if x.dtype.is_float:
                    nan = f.compare("fcmp uno", found, found)
                    if not op.select_last_index:
                        nan = f.op("and", nan, f.compare("fcmp ord", best, best))
                    better = f.op("or", nan, better)
                loop.next(f.select(better, found, best), f.select(better, loop.index, place))
            f.store(loop.results[1], f.at(target, task, 8), 8)
