"""Import of what moves elements."""

from __future__ import annotations

from ...ir import Dim
from ...ir.dims import divide_exactly
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Concat, Flip, Slice, Transpose
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
    """Split-1: sizes are an attribute, or an operand; 2: an attribute; 13: an operand; 18:
    num_outputs, and the last may be smaller."""
    x = n.value(0)
    axis = normalize_axis(n.integer("axis", 0), x.type.rank, "Split")
    size, count = x.type.shape[axis], n.integer("num_outputs", n.outputs)
    if count != n.outputs:
        raise n.refuse(f"num_outputs is {count}, and the outputs are {n.outputs}")
    parts: tuple[Dim, ...] | None = n.ints("split")
    if parts is None and n.has(1):
        parts = n.dims(1, "split")
    if not parts:
        parts = _equal_parts(n, size, count)
    starts: list[Dim] = [0]
    for part in parts:
        starts.append(starts[-1] + part)
    if starts[-1] != size or len(parts) < n.outputs:
        shown = ", ".join(map(str, parts))
        raise n.unknown(f"parts of {shown} do not make a size of {size}", size, *parts)
    made = (n.b(Slice((axis,), (a,), (a + part,)), x) for a, part in zip(starts, parts))
    return tuple(made)


def _equal_parts(n: Call, size: Dim, count: int) -> tuple[Dim, ...]:
    """As many parts, the last of them smaller where they cannot be equal."""
    exact = divide_exactly(size, count)
    if exact is not None:
        return (exact,) * count
    if not isinstance(size, int):
        raise n.unknown(f"{count} equal parts of a size of {size}, which is not known", size)
    each = -(-size // count)
    return tuple(max(min(each, size - each * i), 0) for i in range(count))
