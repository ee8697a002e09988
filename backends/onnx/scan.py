"""Export of scans.

CumProd came with opset 26, after what ONNX Runtime has: it is written as the recurrence that it is.
"""

from __future__ import annotations

from ...ir import DType, Node
from ...ir.onnx.tensors import NUMBERS
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.scan import CumSum, LinearRecurrence
from .rules import HALVES_IN_F32, exports
from .writer import Writer

_SMALL = dict.fromkeys((DType.I8, DType.I16, DType.U8, DType.U16), DType.I32)
_WIDE = dict.fromkeys((DType.U32, DType.U64), DType.I64)


@exports(CumSum, carriers={**HALVES_IN_F32, **_SMALL, **_WIDE})
def _cumsum(w: Writer, op: CumSum, node: Node, x: str) -> str:
    axis = w.constant(op.axis, DType.I64)
    return w("CumSum", x, axis, exclusive=int(op.exclusive), reverse=int(op.reverse))


@exports(LinearRecurrence, carriers={**HALVES_IN_F32, **_SMALL, **_WIDE})
def _linear_recurrence(w: Writer, op: LinearRecurrence, node: Node, a: str, x: str) -> str:
    from onnx import helper

    type_ = node.result.type
    axis = normalize_axis(op.axis, type_.rank, op.name)
    rest = (*type_.shape[:axis], *type_.shape[axis + 1 :])
    names = ("last", "a", "x", "following", "y")
    rows = {
        name: helper.make_tensor_value_info(name, NUMBERS[type_.dtype], [None] * len(rest))
        for name in names
    }
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["a", "last"], ["product"]),
            helper.make_node("Add", ["product", "x"], ["following"]),
            helper.make_node("Identity", ["following"], ["y"]),
        ],
        "step",
        [rows[name] for name in names[:3]],
        [rows[name] for name in names[3:]],
    )
    back = int(op.reverse)
    _, y = w.results(
        *(2, "Scan", w("Expand", w.constant(0, type_.dtype), w.ints(rest)), a, x),
        body=body,
        num_scan_inputs=2,
        scan_input_axes=[axis, axis],
        scan_input_directions=[back, back],
        scan_output_axes=[axis],
        scan_output_directions=[back],
    )
    return y
