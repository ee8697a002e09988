"""Elementwise kernels: any chain of elementwise ops, with broadcasting of any depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .....ir import DType, Node, Value
from .....ir.dims import ceil_div, divide_exactly, product
from .....ir.layout import Order
from .....ir.ops import elementwise
from .....ir.ops.constant import Constant
from .....ir.ops.fused import Fused
from ...lowering.access import Access, Shape
from ...schedule.tasks import RUN_ELEMENTS
from ..builder import V, i64, vector
from ..code import COMPUTED, STORED, Compute, NodeCode, Stage, emits
from ..iteration import Placed, collapse, unravel
from ..math.elements import RULES, element, scalar_constant


def load(stage: Stage, dtype: DType, pointer: V, lanes: int) -> V:
    """Read ``lanes`` elements in the form that arithmetic takes."""
    size = dtype.itemsize
    value = stage.f.load(pointer, vector(STORED[dtype], lanes), size)
    if dtype is DType.BOOL:
        return stage.f.cast("trunc", value, vector("i1", lanes))
    return value


def store(stage: Stage, dtype: DType, value: V, pointer: V, lanes: int) -> None:
    """Write ``lanes`` elements."""
    if dtype is DType.BOOL:
        value = stage.f.cast("zext", value, vector("i8", lanes))
    stage.f.store(value, pointer, dtype.itemsize)


def load_strided(stage: Stage, dtype: DType, pointer: V, lanes: int, step: V) -> V:
    """Read ``lanes`` elements that lie ``step`` elements apart; one for all where that is 0."""
    f = stage.f
    if lanes == 1 or step.text == "1":
        return load(stage, dtype, pointer, lanes)
    if step.text == "0":
        return f.broadcast(load(stage, dtype, pointer, 1), lanes)
    kind = vector(COMPUTED[dtype], lanes)
    value = V("poison", kind)
    for lane in range(lanes):
        one = load(stage, dtype, f.at(pointer, f.mul(step, lane), dtype.itemsize), 1)
        value = f.value(f"insertelement {value}, {one}, i64 {lane}", kind)
    return value


def store_strided(stage: Stage, dtype: DType, value: V, pointer: V, lanes: int, step: V) -> None:
    """Write ``lanes`` elements that lie ``step`` elements apart."""
    f = stage.f
    if lanes == 1 or step.text == "1":
        store(stage, dtype, value, pointer, lanes)
        return
    for lane in range(lanes):
        one = f.value(f"extractelement {value}, i64 {lane}", COMPUTED[dtype])
        store(stage, dtype, one, f.at(pointer, f.mul(step, lane), dtype.itemsize), 1)


def write_elementwise(
    code: NodeCode,
    space: Shape,
    operands: Sequence[Access],
    result: Access,
    compute: Compute,
    order: Order | None = None,
) -> None:
    """Write one launch: result[i] = compute(operands[i]) for every i of ``space``.

    ``order`` is the order of the axes in which it runs; that of the space where None.
    """
    accesses = [*operands, result]
    order = tuple(range(len(space))) if order is None else order
    sizes, strides = collapse(
        tuple(space[axis] for axis in order),
        [tuple(access.strides[axis] for axis in order) for access in accesses],
    )
    widest = max(access.dtype.itemsize for access in accesses)
    even = all(not own or own[-1] in (0, 1) for own in strides) and strides[-1][-1:] in ((1,), ())
    lanes = code.target.lanes(widest) if even else 1
    single = len(sizes) <= 1
    total = product(sizes)
    tasks = ceil_div(total, RUN_ELEMENTS) if single else product(sizes[:-1])
    with code.stage(tasks, total) as stage:
        f = stage.f
        arrays = [
            Placed.of(stage, replace(access, strides=own or (0,)))
            for access, own in zip(accesses, strides)
        ]
        extents = [stage.dim(size) for size in sizes]
        with stage.tasks() as task:
            if single:
                begin = f.mul(task, RUN_ELEMENTS)
                end = f.intrinsic("smin", f.add(begin, RUN_ELEMENTS), stage.dim(total))
                runs = arrays
            else:
                begin, end = i64(0), extents[-1]
                outer = unravel(stage, task, extents[:-1])
                runs = [array.within(*outer) for array in arrays]
            *read, written = runs
            fixed = {
                place: load(stage, run.dtype, run.pointer, 1)
                for place, run in enumerate(read)
                if run.steps[0].text == "0"
            }

            def body(index: V, width: int) -> None:
                values = []
                for place, run in enumerate(read):
                    if place in fixed:
                        values.append(f.broadcast(fixed[place], width))
                    else:
                        values.append(load(stage, run.dtype, run.at(index), width))
                value = compute(stage, width, values)
                store(stage, result.dtype, value, written.at(index), width)

            # RUN_ELEMENTS are whole vectors: only the end of the run may leave a rest.
            whole = divide_exactly(sizes[-1] if sizes else 1, lanes) is not None
            start = begin
            if lanes > 1:
                count = f.op("sub", end, begin)
                even_end = f.add(begin, f.op("and", count, V(str(-lanes), "i64")))
                with f.loop(end if whole else even_end, begin, lanes) as loop:
                    body(loop.index, lanes)
                start = even_end
            if lanes == 1 or not whole:
                with f.loop(end, start) as loop:
                    body(loop.index, 1)


# A cast has no rule: what it does depends on both dtypes.
@emits(elementwise.Cast, *RULES)
def elementwise_op(code: NodeCode) -> None:
    """One elementwise op."""
    op, types = code.node.op, code.operand_types
    _write(code, lambda stage, lanes, values: element(stage.f, op, values, types, lanes))


@emits(Fused)
def region(code: NodeCode) -> None:
    """A region of elementwise ops: its body on registers."""
    op = code.op(Fused)

    def compute(stage: Stage, lanes: int, values: Sequence[V]) -> V:
        known = dict[Value, V](zip(op.body.inputs, values))
        return compute_nodes(stage, op.body.nodes, known, lanes)[op.output]

    _write(code, compute)


def compute_nodes(
    stage: Stage, nodes: Iterable[Node], known: dict[Value, V], lanes: int
) -> dict[Value, V]:
    """Write elementwise nodes and scalar constants on registers; returns ``known``, filled."""
    for node in nodes:
        if isinstance(node.op, Constant):
            literal = node.op.value
            known[node.result] = scalar_constant(literal.array.item(), literal.dtype, lanes)
            continue
        operands = [known[value] for value in node.operands]
        types = [value.type for value in node.operands]
        known[node.result] = element(stage.f, node.op, operands, types, lanes)
    return known


def _write(code: NodeCode, compute: Compute) -> None:
    """Write one launch over the shape of the result, that the operands broadcast to."""
    shape = code.result_types[0].shape
    operands = [
        code.operand_access(place).over(type_.shape, shape)
        for place, type_ in enumerate(code.operand_types)
    ]
    write_elementwise(code, shape, operands, code.result_access(), compute, code.result_order())
