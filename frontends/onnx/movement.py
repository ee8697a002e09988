"""Import of what moves elements."""

from __future__ import annotations

from ...ir import Dim, Value
from ...ir.dims import ceil_div
from ...ir.onnx.pads import pairs_of
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Concat, Flip, Pad, Slice, Transpose
from .call import Call
from .rules import Made, imports
from .sizes import clamped


@imports("Transpose")
def _transpose(n: Call) -> Made:
    """Transpose-1 to 13: the axes in reverse where perm is left out."""
    x = n.value(0)
    perm = n.ints("perm")
    return n.b(Transpose(tuple(reversed(range(x.type.rank))) if perm is None else perm), x)


@imports("Concat")
def _concat(n: Call) -> Made:
    """Concat-1: axis is 1 where left out; 4: always there; 11: negative too."""
    return n.b(Concat(n.integer("axis", 1)), *n.values())


@imports("Slice")
def _slice(n: Call) -> Made:
    """Slice-1: bounds are attributes; 10: operands, and steps. Negative ones go backwards."""
    x = n.value(0)
    starts, ends, axes, steps = _bounds(n)
    axes = axes or tuple(range(len(starts)))
    steps = steps or (1,) * len(starts)
    forward: list[tuple[int, Dim, Dim, int]] = []
    turned = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = normalize_axis(axis, x.type.rank, "Slice")
        size = x.type.shape[axis]
        if step < 0:
            turned.append(axis)
            first, beyond = _backwards(n, start, end, -step, size)
        else:
            first, beyond = clamped(n, start, size), clamped(n, end, size)
            if isinstance(first, int) and isinstance(beyond, int):
                beyond = max(first, beyond)
        forward.append((axis, first, beyond, abs(step)))
    chosen, first_ones, ends_, apart = zip(*forward) if forward else ((), (), (), ())
    y = n.b(Slice(chosen, first_ones, ends_, apart), x)
    return n.b(Flip(tuple(turned)), y) if turned else y


def _bounds(
    n: Call,
) -> tuple[tuple[Dim, ...], tuple[Dim, ...], tuple[int, ...] | None, tuple[int, ...] | None]:
    if n.opset < 10:
        return n.ints("starts") or (), n.ints("ends") or (), n.ints("axes"), None
    axes, steps = (n.integers(i, "axes") if n.has(i) else None for i in (3, 4))
    return n.dims(1, "starts"), n.dims(2, "ends"), axes, steps


def _backwards(n: Call, start: Dim, end: Dim, step: int, size: Dim) -> tuple[Dim, Dim]:
    """The bounds of the same elements forwards, for a step of ``-step``."""
    if not all(isinstance(dim, int) for dim in (start, end, size)):
        whole = isinstance(start, int) and start in (-1, 2**31 - 1, 2**63 - 1)
        if whole and step == 1 and isinstance(end, int) and end <= -(2**31) + 1:
            return 0, size
        raise n.unknown(
            f"a slice backwards from {start} to {end} of a size of {size}", start, end, size
        )
    assert isinstance(start, int) and isinstance(end, int) and isinstance(size, int)
    places = range(size)[slice(start, None if end < -size else end, -step)]
    return (places[-1], places[0] + 1) if places else (0, 0)


@imports("Split")
def _split(n: Call) -> Made:
    """Split-1 and 2: sizes are an attribute; 13: an operand; 18: num_outputs, the last smaller."""
    x = n.value(0)
    axis = normalize_axis(n.integer("axis", 0), x.type.rank, "Split")
    parts, size = n.listed("split", 1, 13), x.type.shape[axis]
    count = n.integer("num_outputs", n.outputs)
    if not parts:
        if not isinstance(size, int):
            raise n.unknown(f"equal parts of a size of {size}, which is not known", size)
        each = ceil_div(size, count)
        assert isinstance(each, int)
        parts = tuple(max(min(each, size - each * i), 0) for i in range(count))
    starts = [sum(parts[:i]) for i in range(len(parts))]
    if sum(parts) != size or len(parts) < n.outputs:
        raise n.refuse(f"parts of {list(parts)} do not make a size of {size}")
    return tuple(n.b(Slice((axis,), (a,), (a + p,)), x) for a, p in zip(starts, parts))


@imports("Pad")
def _pad(n: Call) -> Made:
    """Pad-1: paddings; 2: pads; 11: an operand, and the value; 18: axes. Negative ones cut."""
    x = n.value(0)
    mode = n.text("mode", "constant")
    if mode != "constant":
        raise n.refuse(f"mode {mode!r}: cauce pads with a constant")
    value = n.real("value", 0.0) if n.opset < 11 else 0.0
    pads = n.integers(1, "pads") if n.opset >= 11 else n.ints("pads") or n.ints("paddings") or ()
    if n.opset >= 11 and n.has(2):
        value = float(n.numbers(2, "value").reshape(-1)[0])
    axes = n.integers(3, "axes") if n.has(3) else tuple(range(x.type.rank))
    borders = [(0, 0)] * x.type.rank
    for axis, pair in zip(axes, pairs_of(pads), strict=True):
        borders[normalize_axis(axis, x.type.rank, "Pad")] = pair
    x = _cut(n, x, borders)
    added = tuple((max(before, 0), max(after, 0)) for before, after in borders)
    return n.b(Pad(added, value), x) if any(map(any, added)) else x


def _cut(n: Call, x: Value, borders: list[tuple[int, int]]) -> Value:
    cut = [axis for axis, pair in enumerate(borders) if min(pair) < 0]
    starts = tuple(max(-borders[axis][0], 0) for axis in cut)
    stops = tuple(x.type.shape[axis] - max(-borders[axis][1], 0) for axis in cut)
    return n.b(Slice(tuple(cut), starts, stops), x) if cut else x
