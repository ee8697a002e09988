"""Import of batch normalisation."""

from __future__ import annotations

from ...ir import Role
from ...ir.dims import product
from ...ir.ops.normalize import BatchNorm
from ...ir.ops.shape import Reshape
from .call import Call
from .rules import Made, imports


@imports("BatchNormalization")
def _batch_norm(n: Call) -> Made:
    """BatchNormalization-1 to 8: spatial, before 7 is_test; since 14 training_mode."""
    n.ignore("consumed_inputs", "is_test")
    if n.integer("spatial", 1) != 1:
        raise n.refuse("spatial=0, a mean for each place", "normalise each channel: spatial=1")
    if n.integer("training_mode", 0):
        raise n.refuse("training_mode=1", "export the model for inference (model.eval())")
    n.only(1)
    x = source = n.value(0)
    lead, rest = source.type.shape[:2], source.type.shape[2:]
    if source.type.rank > 4:
        x = n.b(Reshape((*lead, product(rest))), source)
    gamma, beta = n.weight(1), n.weight(2)
    mean, variance = n.weight(3, Role.STATE), n.weight(4, Role.STATE)
    # 1 - momentum as a decimal number, such as 0.1: a float32 has some seven digits.
    n.training.shares[mean.name] = round(1 - n.real("momentum", 0.9), 7)
    y = n.b(BatchNorm(n.real("epsilon", 1e-5)), x, gamma, beta, mean, variance)
    return y if x is source else n.b(Reshape(source.type.shape), y)
