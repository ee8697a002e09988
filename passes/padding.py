"""Padding merged into the ops that pad by themselves.

The convolution and its two backward ops are transposes of one another, and each has its rule, so
that in a training graph too nothing is left that needs the padded tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Value
from ..ir.attributes import Padding, Pair
from ..ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from ..ir.ops.pool import AvgPool2d, FixedWindows, MaxPool2d
from ..ir.ops.shape import Pad, Slice
from ..ir.pass_manager import Rewrite
from ..ir.rewrite import Match, OpPattern, Rule, Var

X, Y = Var("x"), Var("y")
PADDED = OpPattern(Pad, X, name="pad")


def added(left: Sequence[Pair], right: Sequence[Pair]) -> Padding:
    """The sum of two paddings."""
    rows, columns = (
        (before + more_before, after + more_after)
        for (before, after), (more_before, more_after) in zip(left, right)
    )
    return (rows, columns)


def not_spatial(pad: Pad, value: float) -> str | None:
    """Why ``pad`` is not a border of ``value`` along the last two of four dimensions."""
    if pad.value != value:
        return f"the borders hold {pad.value}, not {value}"
    if any(map(any, pad.pads[:-2])):
        return f"it pads other dimensions than rows and columns: {list(pad.pads)}"
    return None


class PadPad(Rule):
    """pad(pad(x, p, v), q, v) = pad(x, p + q, v)"""

    pattern = OpPattern(Pad, OpPattern(Pad, X, name="inner"), name="outer")

    def check(self, match: Match) -> str | None:
        inner, outer = match.op("inner", Pad), match.op("outer", Pad)
        if inner.value != outer.value:
            return f"the inner borders hold {inner.value}, the outer ones {outer.value}"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        inner, outer = match.op("inner", Pad), match.op("outer", Pad)
        pads = tuple((p[0] + q[0], p[1] + q[1]) for p, q in zip(inner.pads, outer.pads))
        return b(outer.with_attributes(pads=pads), match["x"])


class PadConv(Rule):
    """conv2d(pad(x, p, 0), w) = conv2d(x, w) padding=p, and so for the gradient of the weight"""

    pattern = OpPattern((Conv2d, Conv2dBackwardWeight), PADDED, Y, name="conv", rest="bias")

    def check(self, match: Match) -> str | None:
        return not_spatial(match.op("pad", Pad), 0)

    def replace(self, b: Builder, match: Match) -> Value:
        conv = match.nodes["conv"].op
        assert isinstance(conv, (Conv2d, Conv2dBackwardWeight))
        padding = added(conv.padding, match.op("pad", Pad).pads[-2:])
        return b(conv.with_attributes(padding=padding), match["x"], *match.root.operands[1:])


class ConvDataSlice(Rule):
    """conv2d_backward_data(dy, w)[p_top : H - p_bottom, ...] = the same with padding=p"""

    pattern = OpPattern(Slice, OpPattern(Conv2dBackwardData, X, Y, name="conv"), name="slice")
    alone = ("conv",)

    def check(self, match: Match) -> str | None:
        borders = self._borders(match)
        return borders if isinstance(borders, str) else None

    def replace(self, b: Builder, match: Match) -> Value:
        conv, borders = match.op("conv", Conv2dBackwardData), self._borders(match)
        assert not isinstance(borders, str)
        padding, size = added(conv.padding, borders), match.root.result.type.shape[2:]
        return b(conv.with_attributes(padding=padding, size=size), match["x"], match["y"])

    def _borders(self, match: Match) -> Padding | str:
        """The rows and columns that the slice takes away, or why that is not all it does."""
        wide = match.root.operands[0].type.shape
        cut = {2: (0, 0), 3: (0, 0)}
        for axis, start, stop, step in match.op("slice", Slice).bounds(4):
            end = wide[axis] - stop
            if axis < 2 or step != 1 or not isinstance(start, int) or not isinstance(end, int):
                return f"along axis {axis} it takes {start}:{stop}:{step} of {wide[axis]}"
            cut[axis] = (start, end)
        return (cut[2], cut[3])


class _PadPool(Rule):
    """Base of rules that merge a pad into a pooling op, matched as ``pool``."""

    border: float

    def merged(self, match: Match) -> MaxPool2d | AvgPool2d:
        """The pooling op with the borders as its padding."""
        raise NotImplementedError

    def check(self, match: Match) -> str | None:
        pad, pool = match.op("pad", Pad), match.op("pool", FixedWindows)
        refused = not_spatial(pad, self.border)
        if refused is None:
            padding = added(pool.padding, pad.pads[-2:])
            for axis, what in enumerate(("rows", "columns")):
                if max(padding[axis]) >= pool.extent(axis):
                    return f"a window of {pool.extent(axis)} {what} would hold padding alone"
            type_ = self.merged(match).infer(match["x"].type)
            if type_ != match.root.result.type:
                return f"ceil mode would drop windows that start in the padding: {type_}"
        return refused

    def replace(self, b: Builder, match: Match) -> Value:
        return b(self.merged(match), match["x"])


class PadAvgPool(_PadPool):
    """avg_pool2d(pad(x, p, 0)) = avg_pool2d(x) padding=p, whose borders count as cells"""

    pattern = OpPattern(AvgPool2d, PADDED, name="pool")
    border = 0.0

    def check(self, match: Match) -> str | None:
        pool = match.op("pool", AvgPool2d)
        if pool.padding != ((0, 0), (0, 0)) and not pool.count_include_pad:
            return f"its own padding {pool.padding} does not count, the borders do"
        return super().check(match)

    def merged(self, match: Match) -> AvgPool2d:
        pool = match.op("pool", AvgPool2d)
        padding = added(pool.padding, match.op("pad", Pad).pads[-2:])
        return pool.with_attributes(padding=padding, count_include_pad=True)


class PadMaxPool(_PadPool):
    """max_pool2d(pad(x, p, -inf)) = max_pool2d(x) padding=p"""

    pattern = OpPattern(MaxPool2d, PADDED, name="pool")
    border = -float("inf")

    def merged(self, match: Match) -> MaxPool2d:
        pool = match.op("pool", MaxPool2d)
        return pool.with_attributes(padding=added(pool.padding, match.op("pad", Pad).pads[-2:]))


class MergePadding(Rewrite):
    """Merges pads with one another and into convolutions and pooling ops."""

    name = "merge_padding"
    rules = (PadPad(), PadConv(), ConvDataSlice(), PadAvgPool(), PadMaxPool())
