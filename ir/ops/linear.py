"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..builder import Builder
from ..dims import Dim
from ..errors import ShapeError
from ..graph import Node, Value
from ..op import Gradients, Op, Values, product_sum, register
from ..types import Array, TensorType
from .broadcast import broadcast, need_float, same_dtype, sum_to
from .elementwise import Add
from .shape import Transpose


@register
class MatMul(Op):
    """z = x @ y over the last two dimensions, the others broadcast. ONNX MatMul-13.

    Both operands have at least two dimensions.
    """

    name = "matmul"
    operands = ("x", "y")
    results = ("z",)

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        need_float(self.name, x, y)
        return product_type(self.name, x, y)

    def reference(self, x: Array, y: Array) -> Array:
        return np.matmul(x, y)

    def gradient(self, b: Builder, node: Node, dz: Value) -> Gradients:
        x, y = node.operands
        dx = b(MatMul(), dz, swap_last(b, y))
        dy = b(MatMul(), swap_last(b, x), dz)
        return (sum_to(b, dx, x.type.shape), sum_to(b, dy, y.type.shape))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return 2 * product_sum(results) * operands[0].shape[-1]


def product_type(op: str, x: TensorType, y: TensorType) -> TensorType:
    """The type of x @ y.

    Raises:
        ShapeError, TypeMismatch: they do not fit one another.
    """
    dtype = same_dtype(op, x, y)
    if x.rank < 2 or y.rank < 2:
        raise ShapeError(
            f"{op} takes at least two dimensions, got {x} and {y}",
            fix="reshape a vector to one row or one column",
        )
    if x.shape[-1] != y.shape[-2]:
        raise ShapeError(
            f"{op}: {x} has {x.shape[-1]} columns, {y} has {y.shape[-2]} rows",
            fix="the columns of the first must be as many as the rows of the second: permute "
            "or reshape one of them",
        )
    lead = broadcast(x.shape[:-2], y.shape[:-2]) if x.rank > 2 or y.rank > 2 else ()
    return TensorType(dtype, (*lead, x.shape[-2], y.shape[-1]))


def swap_last(b: Builder, value: Value) -> Value:
    """Write ``value`` with its last two dimensions exchanged."""
    return b(Transpose(_last_swapped(value.type.rank)), value)


def swaps_last(op: Transpose) -> bool:
    """Whether a transpose exchanges the last two dimensions, and moves no others."""
    return len(op.perm) >= 2 and tuple(op.perm) == _last_swapped(len(op.perm))


def _last_swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


@register
class Linear(Op):
    """y = x @ weight.T + bias, weight [out, in] as in PyTorch. ONNX Gemm-13 with transB.

    x is [..., in]; the leading dimensions are kept.
    """

    name = "linear"
    operands = ("x", "weight", "bias?")

    def infer(
        self, x: TensorType, weight: TensorType, bias: TensorType | None = None
    ) -> TensorType:
        operands = (x, weight) if bias is None else (x, weight, bias)
        need_float(self.name, *operands)
        same_dtype(self.name, *operands)
        if weight.rank != 2 or x.rank < 2 or x.shape[-1] != weight.shape[1]:
            raise ShapeError(
                f"linear: {x} has {x.shape[-1] if x.rank else 0} features, "
                f"the weight {weight} takes {weight.shape[-1] if weight.rank else 0}",
                fix="flatten the input first, or give the weight as many columns as features",
            )
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ShapeError(f"linear: the bias {bias} does not fit the weight {weight}")
        return x.with_shape((*x.shape[:-1], weight.shape[0]))

    def reference(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        y: Array = x @ weight.T
        return y if bias is None else y + bias

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, weight, *bias = operands
        y = b(MatMul(), x, swap_last(b, weight))
        return b(Add(), y, bias[0]) if bias else y

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        count = product_sum(results)
        return 2 * count * operands[1].shape[1] + (count if len(operands) == 3 else 0)
