"""Import of constants and of what a graph passes on."""

from __future__ import annotations

import numpy as np

from ...ir import DType, Literal
from ...ir.dims import product
from ...ir.onnx.tensors import decode_sparse
from ...ir.ops.constant import Constant
from ...ir.ops.shape import Expand
from .call import Call
from .rules import Known, Made, imports


@imports("Constant")
def _constant(n: Call) -> Made:
    """Constant-1: value; 11: sparse_value; 12: numbers as attributes."""
    kinds = {"value_float": DType.F32, "value_floats": DType.F32}
    kinds |= {"value_int": DType.I64, "value_ints": DType.I64}
    if (found := n.attribute("value")) is not None:
        return Known("", *n.decode(found.t), stored=True)
    if (found := n.attribute("sparse_value")) is not None:
        return Known("", *decode_sparse(found.sparse_tensor, None), stored=True)
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
    """Identity-1."""
    return n.operand(0)


@imports("Dropout")
def _dropout(n: Call) -> Made:
    """Dropout-1 and 7: ratio; 10: mask is bool; 12: ratio and training_mode are operands."""
    n.ignore("ratio", "is_test", "consumed_inputs", "seed")
    if n.has(2) and np.any(n.numbers(2, "training_mode")):
        raise n.refuse("it drops in training", "export the model for inference")
    if not n.wants(1):
        return n.operand(0)
    x = n.value(0)
    return x, n.b(Expand(x.type.shape), n.b(Constant(Literal(True, DType.BOOL))))
