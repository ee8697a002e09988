"""Import of norms."""

from __future__ import annotations

from ...ir import DType, Op, Role, Value
from ...ir.dims import product
from ...ir.onnx.tensors import dtype_of
from ...ir.ops.elementwise import Add, Cast, Mul
from ...ir.ops.normalize import BatchNorm, BatchNormTrain
from ...ir.ops.response_norm import LocalResponseNorm, LpNorm
from ...ir.ops.sample_norm import GroupNorm, LayerNorm, MeanVarianceNorm, RMSNorm
from ...ir.ops.shape import Expand, Reshape
from .call import Call
from .rules import Made, imports


@imports("BatchNormalization")
def _batch_norm(n: Call) -> Made:
    """BatchNormalization-1 to 15: spatial before 9, is_test before 7; training by the number of
    outputs before 14, by training_mode since.

    Of x with more than five dimensions those behind the channels are made one, and where
    spatial=0, with a mean for each place, all but the batch.
    """
    n.ignore("consumed_inputs")
    source = n.value(0)
    batch, rest = source.type.shape[:1], source.type.shape[1:]
    spatial = n.integer("spatial", 1) == 1
    if not spatial:
        shape = (*batch, product(rest))
    elif source.type.rank > 5:
        shape = (*batch, rest[0], product(rest[1:]))
    else:
        shape = source.type.shape
    x = n.b(Reshape(shape), source) if shape != source.type.shape else source
    channels = [n.weight(1), n.weight(2), n.weight(3, Role.STATE), n.weight(4, Role.STATE)]
    given = channels[2].type.shape
    if not spatial:
        channels = [n.b(Reshape(shape[1:]), channel) for channel in channels]
    # The statistics may be wider than x; what is computed is not.
    gamma, beta, mean, variance = (_as(n, channel, x.type.dtype) for channel in channels)
    epsilon, momentum = n.real("epsilon", 1e-5), n.real("momentum", 0.9)
    is_test = n.integer("is_test", 0) if n.opset < 7 else 0
    if n.opset < 14:
        training = any(n.wants(i) for i in range(1, n.outputs)) and not is_test
    else:
        training = bool(n.integer("training_mode", 0))
    if not training:
        n.only(1)
        # 1 - momentum as a decimal number, such as 0.1: a float32 has some seven digits.
        n.training.shares[mean.name] = round(1 - momentum, 7)
        y = n.b(BatchNorm(epsilon), x, gamma, beta, mean, variance)
        return y if x is source else n.b(Reshape(source.type.shape), y)
    # Its parts: the op itself would become the inference form when the model is compiled for that.
    made = BatchNormTrain(epsilon).decompose(n.b, x, gamma, beta)
    assert isinstance(made, tuple)
    y, *batch_statistics = made
    running = []
    for old, new, channel in zip((mean, variance), batch_statistics, channels[2:]):
        kept = n.b(Mul(), old, n.scalar(momentum, old))
        moved = n.b(Add(), kept, n.b(Mul(), new, n.scalar(1 - momentum, new)))
        running.append(_as(n, moved, channel.type.dtype))
    statistics = [*running, *batch_statistics][: max(n.outputs - 1, 0)]
    if not spatial:
        statistics = [n.b(Reshape(given), one) for one in statistics]
    return (y if x is source else n.b(Reshape(source.type.shape), y), *statistics)


def _as(n: Call, x: Value, dtype: DType) -> Value:
    return x if x.type.dtype is dtype else n.b(Cast(dtype), x)


def _computed(n: Call, op: Op, *operands: Value) -> tuple[Value, ...]:
    """A norm in the dtype of stash_type, where that is wider, with its first result as x's.

    Other results stay in that dtype, as ONNX has them.
    """
    stash = dtype_of(n.integer("stash_type", 1), "the attribute stash_type")
    dtype = operands[0].type.dtype
    wide = stash if stash.is_float and stash.itemsize > dtype.itemsize else dtype
    y, *statistics = n.b.results(op, *(_as(n, operand, wide) for operand in operands))
    return (_as(n, y, dtype), *(_as(n, one, stash) for one in statistics))


@imports("LayerNormalization")
def _layer_norm(n: Call) -> Made:
    """LayerNormalization-17: with mean and 1 / deviation as results."""
    factors = [n.weight(place) for place in (1, 2) if n.has(place)]
    op = LayerNorm(n.integer("axis", -1), n.real("epsilon", 1e-5))
    made = _computed(n, op, n.value(0), *factors)
    return tuple(made[place] for place in range(3) if place == 0 or n.wants(place))


@imports("RMSNormalization")
def _rms_norm(n: Call) -> Made:
    """RMSNormalization-23."""
    op = RMSNorm(n.integer("axis", -1), n.real("epsilon", 1e-5))
    return _computed(n, op, n.value(0), n.weight(1))[0]


@imports("InstanceNormalization")
def _instance_norm(n: Call) -> Made:
    """InstanceNormalization-1 to 22."""
    n.ignore("consumed_inputs")
    return n.b(GroupNorm(None, n.real("epsilon", 1e-5)), n.value(0), n.weight(1), n.weight(2))


@imports("GroupNormalization")
def _group_norm(n: Call) -> Made:
    """GroupNormalization-18: scale and bias are those of groups; 21: of channels, stash_type."""
    x, factors = n.value(0), [n.weight(1), n.weight(2)]
    op = GroupNorm(n.integer("num_groups", 1), n.real("epsilon", 1e-5))
    _, groups, members = op.grouped(x.type)
    if n.opset < 21:
        column, wide, flat = Reshape((groups, 1)), Expand((groups, members)), x.type.shape[1:2]
        factors = [n.b(Reshape(flat), n.b(wide, n.b(column, factor))) for factor in factors]
    return _computed(n, op, x, *factors)[0]


@imports("MeanVarianceNormalization")
def _mean_variance_norm(n: Call) -> Made:
    """MeanVarianceNormalization-9 and 13."""
    return n.b(MeanVarianceNorm(n.ints("axes") or (0, 2, 3)), n.value(0))


@imports("LpNormalization")
def _lp_norm(n: Call) -> Made:
    """LpNormalization-1; 22: 0 where the norm is 0."""
    return n.b(LpNorm(n.integer("axis", -1), n.integer("p", 2)), n.value(0))


@imports("LRN")
def _local_response_norm(n: Call) -> Made:
    """LRN-1 and 13: of an even window the larger half is after the channel."""
    op = LocalResponseNorm(
        n.integer("size", 0), n.real("alpha", 1e-4), n.real("beta", 0.75), n.real("bias", 1.0)
    )
    return n.b(op, n.value(0))
