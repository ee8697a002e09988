"""Import of what chooses between graphs or repeats one, where that is known while importing."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import DType, Value
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Concat, Reshape, Slice
from .call import Call
from .rules import Known, Made, Operand, imports


@imports("If")
def _if(n: Call) -> Made:
    """If-1 to 25: the branch that the condition, which must be known, takes."""
    chosen = bool(n.numbers(0, "condition").reshape(-1)[0])
    n.ignore("then_branch", "else_branch")
    return n.enter("then_branch" if chosen else "else_branch", ())


@imports("Loop")
def _loop(n: Call) -> Made:
    """Loop-1 to 25, written out: how often it runs must be known, each condition too.

    The body takes (iteration, condition, carried...) and gives (condition, carried..., scanned...).
    """
    most = int(n.numbers(0, "trip count").reshape(-1)[0]) if n.has(0) else None
    going = not n.has(1) or bool(n.numbers(1, "condition").reshape(-1)[0])
    carried: list[Operand] = [n.operand(place) for place in range(2, len(n.operands))]
    scanned: list[list[Value]] = [[] for _ in range(n.outputs - len(carried))]
    step = 0
    n.attribute("body")
    while going and (most is None or step < most):
        given = (Known.of(step), Known.of(True, DType.BOOL), *carried)
        condition, *made = n.enter("body", given, f".{step}")
        carried = made[: len(carried)]
        for rows, row in zip(scanned, made[len(carried) :]):
            rows.append(_row(n, n.as_value(row), 0))
        if not isinstance(condition, Known):
            raise n.unknown("its condition is computed when the network runs", condition)
        going, step = bool(condition.array.reshape(-1)[0]), step + 1
    if any(not rows for rows in scanned):
        raise n.refuse("it runs no time, and gives what it would have made")
    return (*carried, *(_joined(n, rows, 0) for rows in scanned))


@imports("Scan")
def _scan(n: Call) -> Made:
    """Scan-9 to 25, written out: the length of what is scanned must be known.

    The body takes (carried..., elements...) and gives (carried..., scanned...). Scan-8 has a batch.
    """
    if n.opset < 9:
        raise n.refuse("it scans batches of sequences", "export the model with opset 9 or newer")
    count = n.integer("num_scan_inputs", 0)
    carried: list[Operand] = [n.operand(i) for i in range(len(n.operands) - count)]
    sequences = [n.value(i) for i in range(len(carried), len(n.operands))]
    axes = _each(n, "scan_input_axes", len(sequences))
    turned = _each(n, "scan_input_directions", len(sequences))
    out_axes = _each(n, "scan_output_axes", n.outputs - len(carried))
    out_turned = _each(n, "scan_output_directions", n.outputs - len(carried))
    axes = [normalize_axis(a, x.type.rank, "Scan") for a, x in zip(axes, sequences)]
    sizes = {x.type.shape[axis] for x, axis in zip(sequences, axes)}
    (length,) = sizes if len(sizes) == 1 else (0,)
    if not isinstance(length, int):
        raise n.unknown(f"it scans a length of {length}, which is not known", length)
    if length < 1:
        raise n.refuse("it scans nothing, or what differs in length")
    scanned: list[list[Value]] = [[] for _ in out_axes]
    for step in range(length):
        places = [length - 1 - step if back else step for back in turned]
        elements = [_element(n, x, axis, place) for x, axis, place in zip(sequences, axes, places)]
        made = n.enter("body", (*carried, *elements), f".{step}")
        carried = list(made[: len(carried)])
        for rows, row, axis in zip(scanned, made[len(carried) :], out_axes):
            rows.append(_row(n, n.as_value(row), axis))
    results = [
        _joined(n, rows[::-1] if back else rows, axis)
        for rows, axis, back in zip(scanned, out_axes, out_turned)
    ]
    return (*carried, *results)


def _each(n: Call, name: str, count: int) -> list[int]:
    """One int for each operand or result; 0 where the attribute is left out."""
    found = n.ints(name) or (0,) * count
    if len(found) != count:
        raise n.refuse(f"{name} {list(found)} for {count} of them")
    return list(found)


def _element(n: Call, x: Value, axis: int, place: int) -> Value:
    """x at a place along an axis, without it."""
    rest = tuple(dim for i, dim in enumerate(x.type.shape) if i != axis)
    return n.b(Reshape(rest), n.b(Slice((axis,), (place,), (place + 1,)), x))


def _row(n: Call, x: Value, axis: int) -> Value:
    """x with a new axis of size 1."""
    axis = normalize_axis(axis, x.type.rank + 1, n.op_type)
    shape = x.type.shape
    return n.b(Reshape((*shape[:axis], 1, *shape[axis:])), x)


def _joined(n: Call, rows: Sequence[Value], axis: int) -> Value:
    axis = normalize_axis(axis, rows[0].type.rank, n.op_type)
    return n.b(Concat(axis), *rows) if len(rows) > 1 else rows[0]
