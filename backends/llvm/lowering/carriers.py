"""bfloat16 at the border of a program: NumPy has none, so arrays of it come and go as float32."""

from __future__ import annotations

from ....ir import Builder, DType, Graph, Value
from ....ir.ops.elementwise import Cast
from ....ir.ops.fused import Fused, enclose


def carry_bfloat16(graph: Graph) -> None:
    """Let inputs, outputs and updates in bf16 be float32, with casts behind and before them.

    Within the program bf16 has 16 bits. A cast joins the elementwise node beside it, so that it
    takes no pass over memory of its own.
    """
    for source in graph.inputs:
        if source.type.dtype is DType.BF16:
            _carry_input(graph, source)
    leaving = [*graph.outputs.values(), *graph.updates.values()]
    for value in dict.fromkeys(leaving):
        if value.type.dtype is DType.BF16:
            _carry_result(graph, value)


def _carry_input(graph: Graph, value: Value) -> None:
    value.type = value.type.with_dtype(DType.F32)
    for reader in dict.fromkeys(value.users):
        if isinstance(reader.op, Cast):
            if reader.op.to is DType.F32:
                graph.replace(reader.result, value)
                graph.erase(reader)
            continue
        half = Builder.like(reader, before=reader, suffix="bf16")(Cast(DType.BF16), value)
        for place, own in enumerate(reader.operands):
            if own is value:
                reader.replace_operand(place, half)
        if reader.op.elementwise and half.node is not None:
            enclose([half.node, reader], Fused)


def _carry_result(graph: Graph, value: Value) -> None:
    maker = value.node
    assert maker is not None  # inputs are float32 already
    alone = maker.op.elementwise and not value.users
    b = Builder.like(maker, before=maker._next, suffix="f32")
    single = b(Cast(DType.F32), value)
    graph.outputs.update({name: single for name, own in graph.outputs.items() if own is value})
    graph.updates.update({target: single for target, own in graph.updates.items() if own is value})
    if alone and single.node is not None:
        enclose([maker, single.node], Fused)
