"""The table of NumPy kernels: one function an op, ``function(op, memory, *operands)``.

Kernels take large results from ``memory`` and never write to their operands; a result may be a
view of one. An op whose plain reference is already one vectorised NumPy expression runs by that
reference, and says so here; every other primitive has a fast function of its own in this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from ...ir import Op
from ...ir.op import Arrays
from ...ir.ops import (
    activation,
    adaptive_pool,
    constant,
    elementwise,
    indexing,
    integers,
    linear,
    reduce,
    scan,
    shape,
)
from .memory import Memory

Kernel: TypeAlias = Callable[..., Arrays]
KernelT = TypeVar("KernelT", bound=Kernel)

KERNELS: dict[type[Op], Kernel] = {}


def kernel(cls: type[Op]) -> Callable[[KernelT], KernelT]:
    """Decorator: the function runs ops of class ``cls``: ``function(op, memory, *operands)``."""

    def add(function: KernelT) -> KernelT:
        KERNELS[cls] = function
        return function

    return add


def by_reference(op: Op, memory: Memory, *operands: Any) -> Arrays:
    """Runs an op by its plain reference."""
    return op.reference(*operands)


_VECTORISED: tuple[type[Op], ...] = (
    *(constant.Constant, constant.DimSize, elementwise.Cast),
    *(activation.Clip, activation.Softmax, activation.LogSoftmax),
    *(reduce.Max, reduce.Min, reduce.Prod, reduce.LogSumExp, reduce.ArgMax, reduce.ArgMin),
    *(indexing.GatherElements, indexing.ScatterElements, indexing.GatherNd, indexing.ScatterNd),
    *(indexing.TopK, indexing.Trilu, indexing.Arange),
    *(integers.TruncDiv, integers.IntegerMatMul, scan.CumSum, scan.CumProd, scan.LinearRecurrence),
    *(shape.Transpose, shape.Concat, shape.Slice, shape.Flip, shape.Gather, shape.OneHot),
    *(adaptive_pool.AdaptiveMaxPool2d, adaptive_pool.AdaptiveMaxPool2dBackward),
    *(adaptive_pool.AdaptiveMaxPool2dSelect, adaptive_pool.AdaptiveAvgPool2d),
    *(adaptive_pool.AdaptiveAvgPool2dBackward, linear.MatMul, linear.Linear),
)
KERNELS.update(dict.fromkeys(_VECTORISED, by_reference))
