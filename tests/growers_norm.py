"""Growers of norms of each sample, linear units, and what goes with them."""

from __future__ import annotations

from cauce.ir.ops.activation import Hardmax, LogSoftmax
from cauce.ir.ops.error_function import Erf, Erfc
from cauce.ir.ops.linear_units import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    Mish,
    PRelu,
    Shrink,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
)
from cauce.ir.ops.nll_loss import NLLLoss
from cauce.ir.ops.response_norm import LocalResponseNorm, LpNorm
from cauce.ir.ops.sample_norm import GroupNorm, LayerNorm, MeanVarianceNorm, RMSNorm

from .growers_nn import REDUCTIONS, normalizable
from .net import Net, grows


@grows(Erf, Erfc, HardSigmoid, HardSwish, Mish, Shrink, Softplus, Softsign, Swish, ThresholdedRelu)
def unit(net: Net) -> None:
    net.keep(net.b(net.op(), net.floating()))


@grows(Elu, Gelu)
def unit_of_several_forms(net: Net) -> None:
    ops = (Elu(0.5), Elu(1.5, 1.05)) if net.op is Elu else (Gelu(), Gelu("tanh"))
    net.keep(net.b(net.draw.choice(*ops), net.floating()))


@grows(PRelu)
def prelu(net: Net) -> None:
    x = net.picture()
    slope = net.parameter((x.type.shape[1] if net.draw.flag() else 1, 1, 1))
    net.keep(net.b(PRelu(), x, slope))


@grows(Hardmax)
def hardmax(net: Net) -> None:
    # Of what no rounding has touched: two nearly equal elements could change their order.
    x = net.exact(lambda type_: type_.rank >= 2 and isinstance(type_.shape[1], int))
    net.keep(net.b(Hardmax(1), x), exact=True)


@grows(LayerNorm, RMSNorm)
def trailing_norm(net: Net) -> None:
    x = net.features()
    factors = [net.parameter(x.type.shape[-1:]) for _ in range(1 + (net.op is LayerNorm))]
    net.keep(net.b.results(net.op(epsilon=0.1), x, *factors)[0])


@grows(GroupNorm)
def group_norm(net: Net) -> None:
    x = normalizable(net)
    channels = x.type.shape[1]
    assert isinstance(channels, int)
    groups = net.draw.choice(None, *(g for g in (1, 2, channels) if channels % g == 0))
    factors = (net.parameter((channels,)) for _ in range(2))
    net.keep(net.b(GroupNorm(groups, 0.1), x, *factors))


@grows(MeanVarianceNorm)
def mean_variance_norm(net: Net) -> None:
    # Of inputs: what is constant has the variance 0, and what rounding leaves of it is anything.
    x = net.image()
    net.keep(net.b(MeanVarianceNorm((0, 1, 2, 3)), x))


@grows(LocalResponseNorm)
def local_response_norm(net: Net) -> None:
    size = net.draw.int(2, 5)
    net.keep(net.b(LocalResponseNorm(size, 0.1, before=size // 2), normalizable(net)))


@grows(LpNorm)
def lp_norm(net: Net) -> None:
    net.keep(net.b(LpNorm(1, net.draw.int(1, 2)), net.image()))


@grows(NLLLoss)
def nll_loss(net: Net) -> None:
    x = net.floating(lambda t: t.rank >= 2 and isinstance(t.shape[1], int) and t.shape[1] >= 2)
    target = net.indices((x.type.shape[0], *x.type.shape[2:]))
    weight = [net.b(Softplus(), net.parameter(x.type.shape[1:2]))] * net.draw.int(0, 1)
    # A mean of no target would be NaN.
    op = NLLLoss(net.draw.choice(*REDUCTIONS), net.draw.choice(None, -1))
    net.keep(net.b(op, net.b(LogSoftmax(1), x), target, *weight))
