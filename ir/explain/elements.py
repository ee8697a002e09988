"""Normalisation, softmax, dropout, and ops that take elements one by one."""

from __future__ import annotations

from itertools import product as combinations

import numpy as np

from ..ops.activation import LogSoftmax, Softmax
from ..ops.normalize import BatchNorm, BatchNormBase, BatchNormTrain
from ..ops.random import Dropout
from ..types import Array
from .explanation import (
    Explanation,
    Read,
    Site,
    Term,
    equals,
    explains,
    factor,
    result_step,
    shown_number,
    sum_text,
)


def _given(read: Read) -> Term:
    """An element that a formula takes by its name."""
    return Term((read,), read.value, shown_number(read.value))


def _line(name: str, formula: str, value: float, *numbers: float) -> str:
    """``name = formula with numbers = value``."""
    return f"{name} {equals(*numbers)} {formula} {equals(value)} {shown_number(value)}"


@explains(BatchNorm)
def _batch_norm(site: Site) -> Explanation:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta."""
    return _normalised(site)


@explains(BatchNormTrain)
def _batch_norm_train(site: Site) -> Explanation:
    """The same with the statistics of the batch, which are results too."""
    if site.result == "y":
        return _normalised(site)
    x, (channel,) = site.operands["x"], site.index
    places = combinations(range(x.shape[0]), *map(range, x.shape[2:]))
    reads = [site.read("x", (n, channel, *rest)) for n, *rest in places]
    mean = site.read("mean", (channel,))
    if site.result == "mean":
        terms = [Term((read,), read.value, factor(read.value)) for read in reads]
    else:
        terms = [
            Term(
                (read, mean),
                (read.value - mean.value) ** 2,
                f"({shown_number(read.value)} - {factor(mean.value)})²",
            )
            for read in reads
        ]
    total = float(np.sum([term.value for term in terms]))
    count = len(terms)
    numbers = [read.value for term in terms for read in term.reads]
    steps = [
        f"{site.result} {equals(*numbers)} ({sum_text(terms)}) / {count}",
        f"{site.result} {equals(total)} {shown_number(total)} / {count}",
        result_step(site),
    ]
    return site.explained(terms, total, steps, total / count)


def _normalised(site: Site) -> Explanation:
    op = site.op
    assert isinstance(op, BatchNormBase)
    channel = (site.index[1],)
    reads = [site.read("x", site.index)]
    names = ("gamma", "beta", "mean", "variance")
    reads += [site.read(name, channel) for name in names]
    x, gamma, beta, mean, variance = (read.value for read in reads)
    centred = x - mean
    deviation = float(np.sqrt(variance + op.epsilon))
    normal = float(np.divide(centred, deviation))
    y = normal * gamma + beta
    steps = [
        _line("x - mean", f"{factor(x)} - {factor(mean)}", centred, x, mean),
        _line(
            "sqrt(variance + epsilon)",
            f"sqrt({shown_number(variance)} + {shown_number(op.epsilon)})",
            deviation,
            variance,
            op.epsilon,
        ),
        _line(
            "normal",
            f"{factor(centred)} / {shown_number(deviation)}",
            normal,
            centred,
            deviation,
        ),
        _line(
            site.result,
            f"{factor(normal)}·{factor(gamma)} + {factor(beta)}",
            y,
            normal,
            gamma,
            beta,
        ),
        result_step(site),
    ]
    return site.explained([_given(read) for read in reads], y, steps, y)


def _row(site: Site, axis: int) -> tuple[list[Read], int]:
    """The elements along an axis through the one at hand, and which of them this is."""
    axis %= len(site.index)
    reads = []
    for k in range(site.operands["x"].shape[axis]):
        place = list(site.index)
        place[axis] = k
        reads.append(site.read("x", place))
    return reads, site.index[axis]


def _powers(site: Site, axis: int) -> tuple[list[Term], int, float, float]:
    """The terms e**(x - max) along an axis, which is at hand, the maximum and the sum."""
    reads, own = _row(site, axis)
    greatest = float(np.max([read.value for read in reads]))
    terms = [
        Term(
            (read,),
            float(np.exp(read.value - greatest)),
            f"e^({shown_number(read.value)} - {factor(greatest)})",
            place == own,
        )
        for place, read in enumerate(reads)
    ]
    return terms, own, greatest, float(np.sum([term.value for term in terms]))


def _sum_lines(terms: list[Term], greatest: float, total: float) -> list[str]:
    values = [term.value for term in terms]
    numbers = [read.value for term in terms for read in term.reads]
    added = " + ".join(map(shown_number, values))
    listed = ", ".join(map(shown_number, numbers))
    return [
        f"max {equals(greatest, *numbers)} max({listed}) = {shown_number(greatest)}",
        f"sum {equals(*numbers)} {sum_text(terms)}",
        _line("sum", added, total, *values),
    ]


@explains(Softmax)
def _softmax(site: Site) -> Explanation:
    """e**(x - max) over the sum of the same along the axis."""
    op = site.op
    assert isinstance(op, Softmax)
    terms, own, greatest, total = _powers(site, op.axis)
    power = terms[own].value
    y = float(np.divide(power, total))
    quotient = f"{shown_number(power)} / {shown_number(total)}"
    steps = [
        *_sum_lines(terms, greatest, total),
        _line(site.result, quotient, y, power, total),
        result_step(site),
    ]
    return site.explained(terms, total, steps, y)


@explains(LogSoftmax)
def _log_softmax(site: Site) -> Explanation:
    """x - max - ln(the sum of e**(x - max)) along the axis."""
    op = site.op
    assert isinstance(op, LogSoftmax)
    terms, own, greatest, total = _powers(site, op.axis)
    x = terms[own].reads[0].value
    y = x - greatest - float(np.log(total))
    difference = f"{factor(x)} - {factor(greatest)} - ln({shown_number(total)})"
    steps = [
        *_sum_lines(terms, greatest, total),
        _line(site.result, difference, y, x, greatest, total),
        result_step(site),
    ]
    return site.explained(terms, total, steps, y)


@explains(Dropout)
def _dropout(site: Site) -> Explanation:
    """0 where the draw is below p, else x / (1 - p)."""
    op = site.op
    assert isinstance(op, Dropout)
    reads = [site.read(name, site.index) for name in ("x", "uniform")]
    x, draw = (read.value for read in reads)
    dropped = draw < op.p or op.p == 1
    relation = "<" if draw < op.p else "≥"
    meant = f"uniform = {shown_number(draw)} {relation} p = {shown_number(op.p)}"
    if dropped:
        y = 0.0
        steps = [f"{meant}: dropped", f"{site.result} = 0"]
    else:
        y = x / (1 - op.p)
        quotient = f"{factor(x)} / (1 - {shown_number(op.p)})"
        steps = [f"{meant}: kept", _line(site.result, quotient, y, x, op.p)]
    steps.append(result_step(site))
    return site.explained([_given(read) for read in reads], y, steps, y)


def elementwise(site: Site) -> Explanation:
    """The op on the elements that stand at the same place, operands broadcast."""
    reads = []
    for name, array in site.operands.items():
        own = site.index[len(site.index) - array.ndim :]
        place = [0 if size == 1 else at for size, at in zip(array.shape, own)]
        reads.append(site.read(name, place))
    cells: list[Array] = [
        array[read.index].reshape(1) for array, read in zip(site.operands.values(), reads)
    ]
    found = site.op.reference(*cells)
    alone: Array = (
        found[list(site.results).index(site.result)] if isinstance(found, tuple) else found
    )
    y = float(np.asarray(alone).reshape(-1)[0])
    listed = ", ".join(f"{read.source} = {shown_number(read.value)}" for read in reads)
    numbers = [read.value for read in reads]
    attributes = ", ".join(f"{name}={value}" for name, value in site.op.attributes())
    named = f"{site.op.name}[{attributes}]" if attributes else site.op.name
    steps = [_line(site.result, f"{named}({listed})", y, *numbers), result_step(site)]
    return site.explained([_given(read) for read in reads], y, steps, y)
