"""Small ONNX models, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

import cauce
from cauce.ir import Array

from ...backends.onnx_models import assert_agree, run

Stored = Mapping[str, Any]
# IR version 3 is that of opset 7 and 8, where weights stand among the inputs too.
_OLD_IR, _IR = 3, 10


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[Any, ...] | Array],
    outputs: Sequence[str],
    stored: Stored | None = None,
    opset: int = 18,
) -> ModelProto:
    """A model of nodes; inputs by shape (f32) or by an array like them."""
    declared = []
    for name, like in inputs.items():
        array = like if isinstance(like, np.ndarray) else np.zeros(0, np.float32)
        shape = like.shape if isinstance(like, np.ndarray) else like
        number = helper.np_dtype_to_tensor_dtype(array.dtype)
        declared.append(helper.make_tensor_value_info(name, number, shape))
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (stored or {}).items()]
    if opset < 9:
        declared += [
            helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors
        ]
    leaves = [ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "small", declared, leaves, tensors)
    return helper.make_model(
        graph,
        ir_version=_OLD_IR if opset < 9 else _IR,
        opset_imports=[helper.make_opsetid("", opset)],
    )


def single(
    op_type: str, feeds: Mapping[str, Array], stored: Stored, opset: int, **attributes: Any
) -> ModelProto:
    """A model of one node; its operands are the feeds, and then what is stored."""
    absent = {name for name, array in stored.items() if array is None}
    operands = ["" if name in absent else name for name in (*feeds, *stored)]
    node = helper.make_node(op_type, operands, ["out"], f"the_{op_type}", **attributes)
    kept = {name: array for name, array in stored.items() if array is not None}
    return model([node], dict(feeds), ["out"], kept, opset)


def agrees(proto: ModelProto, feeds: Mapping[str, Array], **options: Any) -> cauce.Model:
    """The model as loaded, which gives what ONNX Runtime does on both backends."""
    wanted = run(proto, feeds)
    loaded = cauce.load_onnx(proto, **options)
    for backend in ("numpy", "llvm"):
        got = cauce.compile(loaded, backend=backend)(**feeds)
        arrays = got if isinstance(got, tuple) else (got,)
        named = dict(zip(loaded.graph.outputs, arrays, strict=True))
        for name, array in wanted.items():
            infinite = ~np.isfinite(array)
            np.testing.assert_array_equal(named[name][infinite], array[infinite])
        assert_agree(_finite(named), _finite(wanted), 1e-5)
    return loaded


def _finite(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays with zeros for infinities, by whose size no difference is to be measured."""
    return {
        name: np.where(np.isfinite(array), array, np.zeros_like(array))
        for name, array in arrays.items()
    }
