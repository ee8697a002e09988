"""Import of what adds borders, and of what cuts them off."""

from __future__ import annotations

from ...ir import Dim, DType, Literal, Value
from ...ir.attributes import Pair
from ...ir.onnx.pads import pairs_of
from ...ir.ops.constant import Constant
from ...ir.ops.elementwise import Where
from ...ir.ops.rearrange import BorderPad
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.shape import Expand, Pad, Reshape, Slice
from .call import Call
from .rules import Made, imports
from .sizes import least


@imports("Pad")
def _pad(n: Call) -> Made:
    """Pad-1: paddings; 2: pads; 11: an operand, and the value; 18: axes; 19: wrap. Negative pads
    cut, before anything is added."""
    x = n.value(0)
    mode, number = n.text("mode", "constant"), n.real("value", 0.0) if n.opset < 11 else 0.0
    pads = n.integers(1, "pads") if n.opset >= 11 else n.ints("pads") or n.ints("paddings") or ()
    axes = n.integers(3, "axes") if n.has(3) else tuple(range(x.type.rank))
    borders = [(0, 0)] * x.type.rank
    for axis, pair in zip(axes, pairs_of(pads), strict=True):
        borders[normalize_axis(axis, x.type.rank, "Pad")] = pair
    x = _cut(n, x, borders)
    added = tuple((max(before, 0), max(after, 0)) for before, after in borders)
    if not any(map(any, added)):
        return x
    if mode != "constant":
        return n.b(BorderPad(added, mode), x)
    if n.opset < 11 or not n.has(2):
        return n.b(Pad(added, number), x)
    known = n.known(2)
    if known is not None:
        return n.b(Pad(added, float(known.reshape(-1)[0])), x)
    return _pad_with(n, x, added, n.value(2))


def _pad_with(n: Call, x: Value, added: tuple[Pair, ...], number: Value) -> Value:
    """x with borders of a number that the network computes."""
    true = n.b(Constant(Literal(True, DType.BOOL)))
    inside = n.b(Pad(added, 0.0), n.b(Expand(x.type.shape), true))
    return n.b(Where(), inside, n.b(Pad(added, 0.0), x), n.b(Reshape(()), number))


def _cut(n: Call, x: Value, borders: list[Pair]) -> Value:
    cut = [axis for axis, pair in enumerate(borders) if min(pair) < 0]
    starts = tuple(max(-borders[axis][0], 0) for axis in cut)
    stops = tuple(x.type.shape[axis] - max(-borders[axis][1], 0) for axis in cut)
    return n.b(Slice(tuple(cut), starts, stops), x) if cut else x


@imports("CenterCropPad")
def _center_crop_pad(n: Call) -> Made:
    """CenterCropPad-18: what is too long is cut, what is too short padded with 0; of an odd number
    one more comes after than before."""
    x = n.value(0)
    axes = n.ints("axes") or tuple(range(x.type.rank))
    borders = [(0, 0)] * x.type.rank
    cuts: list[tuple[int, Dim, Dim]] = []
    for axis, target in zip(axes, n.dims(1, "shape"), strict=True):
        axis = normalize_axis(axis, x.type.rank, "CenterCropPad")
        size = x.type.shape[axis]
        missing, rest = target - size, least(size - target)
        if isinstance(missing, int) and missing > 0:
            borders[axis] = (missing // 2, missing - missing // 2)
        elif rest is not None and rest >= 0:
            start = (size - target) // 2
            cuts.append((axis, start, start + target))
        else:
            raise n.unknown(
                f"whether a size of {size} is below {target} is not known", size, target
            )
    if cuts:
        chosen, starts, stops = zip(*cuts)
        x = n.b(Slice(chosen, starts, stops), x)
    return n.b(Pad(tuple(borders)), x) if any(map(any, borders)) else x
