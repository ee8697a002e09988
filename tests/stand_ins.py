"""Stand-ins of several tests: a tensor of another library, and native code that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cauce.backends.llvm.codegen.builder import V
from cauce.backends.llvm.codegen.code import Stage
from cauce.backends.llvm.codegen.kernels import kernel as kernels
from cauce.ir import Array, Node, Value
from cauce.ir.ops.activation import Relu


class TorchTensor:
    """Stands for a tensor of torch on the CPU: NumPy makes an array of it, and that is all."""

    __module__ = "torch"

    def __init__(self, array: Array) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self._array


def forget_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels leave out the relu behind their sums."""
    compute = kernels.compute_nodes

    def forget(
        stage: Stage, nodes: Sequence[Node], known: dict[Value, V], lanes: int
    ) -> dict[Value, V]:
        for node in nodes:
            if isinstance(node.op, Relu):
                known[node.result] = known[node.operands[0]]
            else:
                compute(stage, [node], known, lanes)
        return known

    monkeypatch.setattr(kernels, "compute_nodes", forget)
