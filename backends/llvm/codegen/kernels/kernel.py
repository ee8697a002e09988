"""The code of kernel nodes: an anchor op, with what is around it on registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .....ir import Value
from .....ir.ops.fused import Kernel
from ...lowering.access import Access, Shape, lies
from ...registry import emitter_of, facts_of
from ..builder import V
from ..code import Epilogue, NodeCode, Prologue, Stage, emits
from .elementwise import compute_nodes


@emits(Kernel)
def kernel(code: NodeCode) -> None:
    """The anchor, with the rest as its prologue and epilogue."""
    op = code.op(Kernel)
    (stage,) = op.stages
    anchor, before, after = stage.anchor, stage.prologue, stage.epilogue
    places: dict[Value, int] = {value: place for place, value in enumerate(op.body.inputs)}
    read = {value for node in after for value in node.operands}
    further = [value for value in places if value in read]

    def arrays(values: Sequence[Value], space: Shape) -> tuple[Access, ...]:
        return tuple(
            code.operand_access(places[value]).over(value.type.shape, space) for value in values
        )

    def finish(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        known: dict[Value, V] = {anchor.result: total, **dict(zip(further, values))}
        return compute_nodes(stage, after, known, lanes)[op.output]

    inner = replace(
        code,
        node=anchor,
        accesses={
            **{value: code.operand_access(place) for value, place in places.items()},
            anchor.result: code.result_access(),
        },
        epilogue=Epilogue(arrays(further, op.output.type.shape), finish) if after else None,
    )
    if facts_of(anchor.op).prologue:
        (operand,) = anchor.operands
        sources = [operand]
        if before:
            taken = {value for node in before for value in node.operands}
            sources = [value for value in places if value in taken]

        def apply(stage: Stage, lanes: int, values: Sequence[V]) -> V:
            return compute_nodes(stage, before, dict(zip(sources, values)), lanes)[operand]

        shape = operand.type.shape
        wide = [code.operand_types[places[v]] for v in sources if v.type.shape == shape]
        order = lies(wide[0] if wide else operand.type).order
        inner.prologue = Prologue(arrays(sources, shape), order, apply if before else None)
    emitter_of(anchor.op)(inner)
