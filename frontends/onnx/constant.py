"""Import of constants and of what a graph passes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...ir import DType, Literal
from ...ir.dims import product
from ...ir.ops.constant import Constant
from ...ir.ops.random import Dropout, RandomUniform, random_key
from ...ir.ops.shape import Expand
from .call import Call
from .rules import Known, Made, imports


@imports("Constant")
def _constant(n: Call) -> Made:
    """Constant-1: value; 11: sparse_value; 12: numbers as attributes."""
    kinds = {"value_float": DType.F32, "value_floats": DType.F32}
    kinds |= {"value_int": DType.I64, "value_ints": DType.I64}
    if (found := n.attribute("value")) is not None:
        return Known("", *n.decode.placed(found.t), stored=True)
    if (found := n.attribute("sparse_value")) is not None:
        return Known("", *n.decode.sparse(found.sparse_tensor), stored=True)
    for name, dtype in kinds.items():
        if (found := n.attribute(name)) is not None:
            field = {"value_float": "f", "value_int": "i"}.get(name, name.removeprefix("value_"))
            return Known("", np.array(getattr(found, field), dtype.numpy), dtype, stored=True)
    raise n.refuse("it has no value that is a number")


@imports("ConstantOfShape")
def _constant_of_shape(n: Call) -> Made:
    """ConstantOfShape-9."""
    found = n.attribute("value")
    array, dtype = (np.zeros(1, np.float32), DType.F32) if found is None else n.decode(found.t)
    shape = n.dims(0, "shape")
    size = product(shape)
    if dtype is DType.I64 and isinstance(size, int) and size <= 64:
        return Known.of(np.full([int(str(dim)) for dim in shape], int(array.reshape(-1)[0])))
    return n.b(Expand(shape), n.b(Constant(Literal(array.reshape(()), dtype))))


@imports("Identity")
def _identity(n: Call) -> Made:
    """Identity-1. Of a weight it makes another: PyTorch writes weights with equal values once."""
    found = n.operand(0)
    if isinstance(found, Known) and found.weight:
        return replace(found, name="")
    return found


@imports("Dropout")
def _dropout(n: Call) -> Made:
    """Dropout-1 and 7: ratio; 10: mask is bool; 12: ratio and training_mode are operands.

    It is written as it is in training, for which the file's own mode does not matter: inference
    passes on. A ``mask`` that is read is that of inference, and then nothing is dropped.
    """
    n.ignore("is_test", "consumed_inputs", "seed")
    if n.has(2) and np.any(n.numbers(2, "training_mode")):
        raise n.refuse("it drops in training", "export the model for inference")
    found, ratio = n.operand(0), _ratio(n)
    if n.wants(1):
        x = n.value(0)
        n.training.lost += 1
        return x, n.b(Expand(x.type.shape), n.b(Constant(Literal(True, DType.BOOL))))
    if isinstance(found, Known) or ratio is None:
        n.training.lost += 1
        return found
    if ratio == 0:
        return found
    dtype = DType.F64 if found.type.dtype is DType.F64 else DType.F32
    draw = RandomUniform(found.type.shape, n.training.dropouts, dtype)
    n.training.dropouts += 1
    uniform = n.b(draw, random_key(n.b.graph, n.loc))
    return n.b(Dropout(ratio), found, uniform)


def _ratio(n: Call) -> float | None:
    """The probability of a zero; None where the network computes it."""
    if n.opset < 12:
        return n.real("ratio", 0.5)
    if not n.has(1):
        return 0.5
    known = n.known(1)
    return None if known is None else float(str(known.reshape(-1)[0]))
