"""The code of kernel nodes: an op of weight, with what is around it on registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .....ir import Value
from .....ir.layout import Layout
from .....ir.ops.fused import Kernel
from ...lowering.kernels import REDUCTIONS, inputs_read, prologue_of, weighty_of
from ..builder import V
from ..code import EMITTERS, Access, Epilogue, NodeCode, Prologue, Shape, Stage, emits
from .elementwise import compute_nodes


@emits(Kernel)
def kernel(code: NodeCode) -> None:
    """The op of weight, with the rest as its prologue and epilogue."""
    op = code.node.op
    assert isinstance(op, Kernel)
    places: dict[Value, int] = {value: place for place, value in enumerate(op.body.inputs)}
    weighty, before = weighty_of(op), prologue_of(op)
    after = [inner for inner in op.body.nodes if inner not in (*before, weighty)]
    further = inputs_read(op, after)

    def arrays(values: Sequence[Value], space: Shape) -> tuple[Access, ...]:
        return tuple(
            code.operand_access(places[value]).over(value.type.shape, space) for value in values
        )

    def finish(stage: Stage, lanes: int, total: V, values: Sequence[V]) -> V:
        known: dict[Value, V] = {weighty.result: total, **dict(zip(further, values))}
        compute_nodes(stage, after, known, lanes)
        return known[op.output]

    inner = replace(
        code,
        node=weighty,
        accesses={
            **{value: code.operand_access(place) for value, place in places.items()},
            weighty.result: code.result_access(),
        },
        epilogue=Epilogue(arrays(further, op.output.type.shape), finish),
    )
    if isinstance(weighty.op, REDUCTIONS):
        (operand,) = weighty.operands
        sources = inputs_read(op, before) if before else [operand]

        def apply(stage: Stage, lanes: int, values: Sequence[V]) -> V:
            known: dict[Value, V] = dict(zip(sources, values))
            compute_nodes(stage, before, known, lanes)
            return known[operand]

        shape = operand.type.shape
        wide = [value for value in sources if value.type.shape == shape]
        layouts = [code.operand_types[places[value]].layout for value in wide]
        layout = next(iter(layouts), None) or Layout.rows(len(shape))
        inner.prologue = Prologue(arrays(sources, shape), layout.order, apply if before else None)
    EMITTERS[type(weighty.op)](inner)
