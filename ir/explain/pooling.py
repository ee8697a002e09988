"""Windows: the greatest of their cells, and their average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product as combinations

import numpy as np

from ..ops.pool import (
    Average,
    Counting,
    FixedWindows,
    GlobalAvgPool2d,
    MaximumPool,
    Pooling,
    lowest,
)
from ..types import DType
from .explanation import (
    Explanation,
    Site,
    Term,
    equals,
    explains,
    factor,
    result_step,
    shown_number,
    sum_text,
)


def _cells(op: Pooling, axis: int, size: int, window: int, counted: bool) -> Sequence[int]:
    """The places of the cells of a window along an axis, those in the padding too.

    Args:
        op: says what its windows are.
        axis: which.
        size: of the input along it.
        window: the number of the window.
        counted: leave out cells that an average does not count.
    """
    if not isinstance(op, FixedWindows):
        span = op.spans(axis, size)[window]
        return range(span.start, span.stop, span.step or 1)
    kernel, _, (_, after), step = op.geometry(axis)
    start = op.starts(axis, size)[window]
    cells = range(start, start + kernel * step, step)
    if not counted:
        return cells
    assert isinstance(op, Counting)
    low, high = (start, size + after) if op.count_include_pad else (0, size)
    return [cell for cell in cells if low <= cell < high]


def _terms(site: Site, padding: float, counted: bool) -> list[Term]:
    """The cells of the window that an element of y is of, in row-major order."""
    op, x = site.op, site.operands["x"]
    assert isinstance(op, Pooling)
    n, c, *at = site.index
    along = (
        _cells(op, axis, size, window, counted)
        for axis, (size, window) in enumerate(zip(x.shape[2:], at))
    )
    reads = [site.read("x", (n, c, *place), padding) for place in combinations(*along)]
    return [Term((read,), read.value, factor(read.value)) for read in reads]


@explains(MaximumPool)
def _maximum(site: Site) -> Explanation:
    """The greatest cell; of equal ones the first counts, and NaN above all."""
    found = _terms(site, lowest(DType.of(site.operands["x"].dtype)), counted=False)
    values = np.array([term.value for term in found])
    first = int(values.argmax())
    terms = [
        Term(term.reads, term.value, term.text, place == first) for place, term in enumerate(found)
    ]
    greatest = float(values[first])
    listed = ", ".join(shown_number(value) for value in values)
    steps = [f"{site.result} {equals(*values)} max({listed})", result_step(site)]
    return site.explained(terms, greatest, steps, greatest)


@explains(Average)
def _average(site: Site) -> Explanation:
    """The sum of the cells over the number of those that count."""
    op = site.op
    assert isinstance(op, Average)
    terms = _terms(site, 0.0, counted=isinstance(op, FixedWindows))
    divisors = (
        op.divisors(axis, size)[window]
        for axis, (size, window) in enumerate(zip(site.operands["x"].shape[2:], site.index[2:]))
    )
    return _mean(site, terms, math.prod(divisors))


@explains(GlobalAvgPool2d)
def _global_average(site: Site) -> Explanation:
    """The mean of a channel."""
    n, c, *_ = site.index
    size = site.operands["x"].shape[2:]
    reads = [site.read("x", (n, c, *place)) for place in combinations(*map(range, size))]
    return _mean(site, [Term((r,), r.value, factor(r.value)) for r in reads], len(reads))


def _mean(site: Site, terms: Sequence[Term], divisor: int) -> Explanation:
    total = float(np.sum([term.value for term in terms]))
    computed = total / divisor
    exact = equals(*(term.value for term in terms))
    steps = [
        f"{site.result} {exact} ({sum_text(terms)}) / {divisor}",
        f"{site.result} {equals(total)} {shown_number(total)} / {divisor}",
        result_step(site),
    ]
    return site.explained(terms, total, steps, computed)
