"""Sums of products: convolutions, their transposes, linear layers and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product as combinations

from ..ops.conv import Conv2d, Conv2dBackwardData, Convolution
from ..ops.conv_nd import Conv, ConvTranspose
from ..ops.linear import Linear, MatMul
from .explanation import (
    Explanation,
    Read,
    Site,
    Term,
    equals,
    explains,
    factor,
    result_step,
    sum_text,
)


def _product(left: Read, right: Read) -> Term:
    text = f"{factor(left.value)}·{factor(right.value)}"
    return Term((left, right), left.value * right.value, text)


def _bias(site: Site, channel: int) -> list[Term]:
    """The bias of an output channel as the first term, where there is one."""
    if "bias" not in site.operands:
        return []
    read = site.read("bias", (channel,))
    return [Term((read,), read.value, factor(read.value))]


def _summed(site: Site, terms: Sequence[Term]) -> Explanation:
    total = math.fsum(term.value for term in terms) if _finite(terms) else _loose_sum(terms)
    exact = equals(*(read.value for term in terms for read in term.reads))
    steps = [f"{site.result} {exact} {sum_text(terms)}", result_step(site)]
    if any(len(term.reads) > 1 for term in terms):
        values = " + ".join(factor(term.value) for term in terms)
        steps.insert(1, f"{site.result} {equals(*(term.value for term in terms))} {values}")
    return site.explained(terms, total, steps, total)


def _finite(terms: Sequence[Term]) -> bool:
    return all(math.isfinite(term.value) for term in terms)


def _loose_sum(terms: Sequence[Term]) -> float:
    """With inf and NaN among the terms, which ``fsum`` refuses in part."""
    total = 0.0
    for term in terms:
        total += term.value
    return total


@explains(Conv2d, Conv)
def _convolution(site: Site) -> Explanation:
    """y[n,o,i] = bias[o] + the sum over c, r of weight[o,c,r] * x[n, c, i*S + r*D - P]."""
    op, weight = site.op, site.operands["weight"]
    assert isinstance(op, Convolution)
    n, o, *at = site.index
    per_group = weight.shape[1]
    first = o // (weight.shape[0] // op.groups) * per_group
    terms = _bias(site, o)
    for c, *tap in combinations(range(per_group), *map(range, weight.shape[2:])):
        met = [
            place * stride + t * dilation - before
            for place, stride, t, dilation, (before, _) in zip(
                at, op.stride, tap, op.dilation, op.padding
            )
        ]
        x = site.read("x", (n, first + c, *met))
        terms.append(_product(x, site.read("weight", (o, c, *tap))))
    return _summed(site, terms)


@explains(Conv2dBackwardData, ConvTranspose)
def _transposed(site: Site) -> Explanation:
    """y[n,c,a] = the sum over o, r of x[n,o,i] * weight[o,c,r] where a = i*S + r*D - P."""
    op, weight = site.op, site.operands["weight"]
    assert isinstance(op, Convolution)
    source = next(iter(site.operands))
    n, c, *at = site.index
    inputs = weight.shape[0] // op.groups
    group, channel = divmod(c, weight.shape[1])
    terms = []
    for o, *tap in combinations(range(inputs), *map(range, weight.shape[2:])):
        met = []
        for place, stride, t, dilation, (before, _), size in zip(
            at, op.stride, tap, op.dilation, op.padding, site.operands[source].shape[2:]
        ):
            whole, rest = divmod(place + before - t * dilation, stride)
            if rest == 0 and 0 <= whole < size:
                met.append(whole)
        if len(met) == len(at):
            place = group * inputs + o
            x = site.read(source, (n, place, *met))
            terms.append(_product(x, site.read("weight", (place, channel, *tap))))
    return _summed(site, terms)


@explains(Linear)
def _linear(site: Site) -> Explanation:
    """y[..., o] = bias[o] + the sum over k of x[..., k] * weight[o, k]."""
    *lead, o = site.index
    features = site.operands["weight"].shape[1]
    terms = _bias(site, o)
    for k in range(features):
        terms.append(_product(site.read("x", (*lead, k)), site.read("weight", (o, k))))
    return _summed(site, terms)


@explains(MatMul)
def _matrix_product(site: Site) -> Explanation:
    """z[..., i, j] = the sum over k of x[..., i, k] * y[..., k, j]."""
    *lead, i, j = site.index
    x, y = site.operands["x"], site.operands["y"]

    def own(shape: Sequence[int]) -> list[int]:
        """The leading indices of an operand, which is broadcast."""
        sizes = shape[:-2]
        return [0 if n == 1 else at for n, at in zip(sizes, lead[len(lead) - len(sizes) :])]

    return _summed(
        site,
        [
            _product(site.read("x", (*own(x.shape), i, k)), site.read("y", (*own(y.shape), k, j)))
            for k in range(x.shape[-1])
        ],
    )
