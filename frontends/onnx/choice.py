"""Import of what chooses or turns elements by numbers that are known while importing."""

from __future__ import annotations

import numpy as np

from ...ir import DType, Literal
from ...ir.dims import product
from ...ir.onnx.tensors import MOST_FILLED, dtype_of
from ...ir.ops.constant import Constant
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Concat, Flip, Gather, Reshape, Slice
from .call import Call
from .rules import Made, imports


@imports("Compress")
def _compress(n: Call) -> Made:
    """Compress-9; 11: negative axes. Where a condition holds, of all elements without an axis."""
    x = n.value(0)
    chosen = np.flatnonzero(n.numbers(1, "condition"))
    if n.attribute("axis") is None:
        x, axis = n.b(Reshape((product(x.type.shape),)), x), 0
    else:
        axis = normalize_axis(n.integer("axis", 0), x.type.rank, "Compress")
    size = x.type.shape[axis]
    if not isinstance(size, int):
        raise n.unknown(f"it chooses from a size of {size}, which is not known", size)
    if chosen.size and chosen[-1] >= size:
        raise n.refuse(f"its condition holds at {chosen[-1]}, and the size is {size}")
    return n.b(Gather(axis), x, n.b(Constant(Literal(chosen.astype(np.int64), DType.I64))))


@imports("EyeLike")
def _eye_like(n: Call) -> Made:
    """EyeLike-9 and 22: ones on the k-th diagonal of a matrix with the shape of the operand."""
    x = n.value(0)
    given = n.attribute("dtype")
    dtype = x.type.dtype if given is None else dtype_of(given.i, "the result of EyeLike")
    shape = x.type.shape
    if len(shape) != 2:
        raise n.refuse(f"its operand {x.type} is no matrix")
    for size in shape:
        if not isinstance(size, int):
            raise n.unknown(f"it makes a matrix with a size of {size}, which is not known", size)
    rows, columns = (int(str(size)) for size in shape)
    if rows * columns > MOST_FILLED:
        raise n.refuse(f"it makes a matrix of {rows} x {columns}")
    eye = np.eye(rows, columns, n.integer("k", 0), dtype.numpy)
    return n.b(Constant(Literal(eye, dtype)))


@imports("ReverseSequence")
def _reverse_sequence(n: Call) -> Made:
    """ReverseSequence-10: the first so many steps of each sequence of a batch, backwards."""
    x, lengths = n.value(0), n.integers(1, "sequence lengths")
    batch, time = n.integer("batch_axis", 1), n.integer("time_axis", 0)
    if {batch, time} != {0, 1} or x.type.shape[batch] != len(lengths):
        raise n.refuse(f"{len(lengths)} lengths for the batch in axis {batch} of {x.type}")
    parts = []
    for place, length in enumerate(lengths):
        one = n.b(Slice((batch,), (place,), (place + 1,)), x)
        turned = n.b(Flip((time,)), n.b(Slice((time,), (0,), (length,)), one))
        rest = n.b(Slice((time,), (length,), (x.type.shape[time],)), one)
        parts.append(n.b(Concat(time), turned, rest))
    return n.b(Concat(batch), *parts)
