"""Convolutions and their gradients: algorithm, register tile, order of loops.

The vectors run over channels: over the outputs of a group, or, where each group has one channel
(depthwise), over the groups. Axes are called n (images), g (groups), o (outputs of a group), c
(inputs of a group), i and j (rows and columns of the result), r and s (taps).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ....ir import Dim, DType, TensorType
from ....ir.dims import ceil_div, sizes
from ....ir.ops import conv
from ...phases import phases, reach
from ..target import Target
from . import winograd
from .layouts import is_better_planar
from .schedule import (
    MOST_PARTS,
    Choice,
    Schedule,
    Setting,
    Sizes,
    Tiled,
    even_pieces,
    known,
    mistake_of,
    tile_text,
)
from .tiles import Blocks, Tiling, columns_of, groups_of, vectors_of

# What data costs that comes from beyond the third-level cache, where one unit is a byte from it.
_MEMORY_COST = 4

# Gradients of weights: at least so many pixels make a block, and as many as stay in a first-level
# cache, with the bytes that a tile reads of dy for each.
_PIXELS, _DY_BYTES = 64, 128

# Into how many parts the batch is split where a weight of no more bytes is differentiated.
_PARTS, _SMALL_WEIGHT = 8, 512 * 1024

# What lies outside of what, and in words.
ORDERS = {
    "rows": "all filters for each row",
    "filters": "all rows for each group of filters",
    "images": "all images for each group of filters",
}


class Direct(Tiled):
    """Sums in registers over taps and channels, as the definition has them.

    The columns of the tile lie along "j", or it has some rows "i" of a few columns each; its
    vectors are of outputs.

    Attributes:
        order: of the loops around the tile, a key of ``ORDERS``.
    """

    algorithm: ClassVar[str] = "direct"
    order: str

    def mistake(self, own: Any, target: Target) -> str | None:
        if self.order not in ORDERS:
            return f"there is no order {self.order!r}; there are {', '.join(ORDERS)}"
        return super().mistake(own, target)

    def __str__(self) -> str:
        return f"direct, {tile_text(self.columns, self.vectors)}, {ORDERS[self.order]}"

    def tiling(self, sizes: Sizes) -> Tiling:
        """The loops for these sizes."""
        vector, *filters = filter_axes(sizes)
        before, behind = _ORDER_AXES[self.order]
        return Tiling(
            vector,
            self.vectors,
            self.columns,
            ("i", "j"),
            ("r", "s", "c"),
            (*before, *filters),
            behind,
        )


_ORDER_AXES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "rows": (("n", "i"), ()),
    "filters": (("n",), ("i",)),
    "images": ((), ("n", "i")),
}


class DirectPhases(Schedule):
    """The gradient of the input: a direct convolution of stride 1 for each phase of the stride.

    Attributes:
        phases: their schedules, in the order of ``phases.py``.
    """

    algorithm: ClassVar[str] = "direct"
    phases: tuple[Direct, ...]

    def __str__(self) -> str:
        return "; ".join(dict.fromkeys(map(str, self.phases))) or "nothing"

    def block(self, lanes: int) -> int:
        return self.phases[0].block(lanes) if self.phases else lanes

    def mistake(self, own: Any, target: Target) -> str | None:
        for mine, its in zip(self.phases, own.phases):
            if (mistake := mistake_of(mine, its, target)) is not None:
                return mistake
        if len({phase.vectors for phase in self.phases}) > 1:
            return "all phases read one weight, so their tiles have equally many vectors"
        return super().mistake(own, target)


class BackwardWeight(Tiled):
    """The gradient of the weight: for each tap and channel a sum over images and pixels.

    The columns of the tile are input channels "c" (where there is one, taps), its vectors are of
    outputs.

    Attributes:
        parts: into how many the batch is split; each is summed for itself, then they are added in
            order.
        blocks: along which of "n" and "i" the sum goes in steps of how many.
        row_tasks: whether the rows of taps are tasks.
    """

    algorithm: ClassVar[str] = "direct"
    parts: int
    blocks: Blocks
    row_tasks: bool

    def mistake(self, own: Any, target: Target) -> str | None:
        if not 1 <= self.parts <= MOST_PARTS or any(count < 1 for _, count in self.blocks):
            return f"parts and blocks are 1 at least, and parts {MOST_PARTS} at the most"
        if dict(self.blocks).keys() != dict(own.blocks).keys():
            return f"its blocks lie along {', '.join(dict(own.blocks))}"
        return super().mistake(own, target)

    def __str__(self) -> str:
        blocks = " and ".join(f"{count} of {axis}" for axis, count in self.blocks)
        parts = f", batch in {self.parts} parts" if self.parts > 1 else ""
        return f"direct, {tile_text(self.columns, self.vectors)}, blocks of {blocks}{parts}"

    def tiling(self, sizes: Sizes) -> Tiling:
        """The loops for these sizes, in which "p" counts the parts."""
        vector, *filters = filter_axes(sizes)
        rows: tuple[str, ...] = ("r",) if self.row_tasks else ()
        return Tiling(
            vector,
            self.vectors,
            self.columns,
            _weight_columns(sizes),
            ("n", "i", "j"),
            ("p", *filters, *rows),
            blocks=self.blocks,
            within=("s",) if rows else ("r", "s"),
        )


def filter_axes(sizes: Sizes) -> tuple[str, str]:
    """The axis across the lanes, outputs of a group or groups of one, then the other of them."""
    return ("g", "o") if sizes["o"] == 1 and sizes["g"] != 1 else ("o", "g")


def convolution_sizes(
    op: conv.ConvBase, batch: Dim, y: TensorType, weight: TensorType
) -> dict[str, Dim]:
    """The sizes of all axes of a convolution with the result ``y``."""
    out_channels, in_channels, rows, columns = weight.shape
    return {
        "n": batch,
        "g": op.groups,
        "o": out_channels // op.groups,
        "c": in_channels,
        "i": y.shape[2],
        "j": y.shape[3],
        "r": rows,
        "s": columns,
    }


def conv2d(
    op: conv.Conv2d, operands: Sequence[TensorType], y: TensorType, setting: Setting
) -> list[Choice]:
    """The schedules of a convolution of x [N, C, H, W] with a weight [O, C/groups, R, S]."""
    (x, weight), target = operands[:2], setting.target
    _, (left, right) = op.padding
    # An image of few channels is read one channel after the other.
    deep = 1 if is_better_planar(x, target) else x.shape[1]
    row = deep * (x.shape[3] + (left + right)) * op.stride[0]
    sizes = convolution_sizes(op, x.shape[0], y, weight)
    direct = _direct(sizes, row, x.dtype.itemsize, target)
    return _with_winograd(direct, op, weight, x, y, setting)


def _with_winograd(
    direct: Schedule,
    op: conv.ConvBase,
    weight: TensorType,
    image: TensorType,
    result: TensorType,
    setting: Setting,
) -> list[Choice]:
    """The direct algorithm, and Winograd's where it can be, the cheapest first."""
    problem = _winograd_problem(op, weight, image, result, setting)
    if problem is None or not setting.packed:
        return [Choice(direct)]
    own = winograd.choices(problem, setting)
    return _cheapest(Choice(direct, problem.direct(setting)), *own)


def _winograd_problem(
    op: conv.ConvBase, weight: TensorType, image: TensorType, result: TensorType, setting: Setting
) -> winograd.Problem | None:
    """A convolution as Winograd's algorithm sees it; None where it does not apply."""
    strides = ((1, 1), (2, 2)) if isinstance(op, conv.Conv2d) else ((1, 1),)
    plain = op.stride in strides and op.dilation == (1, 1) and op.groups == 1
    fits = plain and weight.shape[2:] == (3, 3) and image.dtype is DType.F32
    if not fits or is_better_planar(image, setting.target):
        return None
    channels = image.shape[1]
    assert isinstance(channels, int)
    return winograd.Problem.of(result, channels, op.stride[0], setting)


def _cheapest(*choices: Choice) -> list[Choice]:
    """Choices, the cheapest first."""
    return sorted(choices, key=lambda choice: choice.cycles or 0)


def phase_sizes(
    op: conv.ConvBase, batch: Dim, weight: TensorType, dx: TensorType
) -> list[dict[str, Dim]]:
    """The sizes of the convolution of each phase: its outputs are the inputs of ``op``."""
    base: dict[str, Dim] = {
        "n": batch,
        "g": op.groups,
        "o": weight.shape[1],
        "c": weight.shape[0] // op.groups,
    }
    kernel = sizes(weight.shape[2:])
    return [
        {**base, "i": down.count, "j": across.count, "r": down.taps, "s": across.taps}
        for down, across in phases(op, kernel, dx.shape[2:])
    ]


def conv2d_backward_data(
    op: conv.Conv2dBackwardData, operands: Sequence[TensorType], dx: TensorType, setting: Setting
) -> list[Choice]:
    """The schedules of the gradient of the input, from dy [N, O, H', W'] and the weight."""
    dy, weight = operands
    before, after = reach(op, 1, sizes(weight.shape[2:])[1])
    row = dy.shape[1] * (dy.shape[3] + (before + after))
    item = dy.dtype.itemsize
    each = phase_sizes(op, dy.shape[0], weight, dx)
    direct = DirectPhases(tuple(_direct(phase, row, item, setting.target) for phase in each))
    if any(side > 2 for pair in op.padding for side in pair):
        return [Choice(direct)]  # its tiles would begin within dy
    return _with_winograd(direct, op, weight, dy, dx, setting)


def conv2d_backward_weight(
    op: conv.Conv2dBackwardWeight, operands: Sequence[TensorType], dw: TensorType, setting: Setting
) -> list[Choice]:
    """The schedules of the gradient of the weight, from x and dy."""
    (x, dy), target = operands, setting.target
    small = isinstance(dw.nbytes, int) and dw.nbytes <= _SMALL_WEIGHT
    parts = _PARTS if small else 1
    sizes = convolution_sizes(op, ceil_div(x.shape[0], parts), dy, dw)
    item = x.dtype.itemsize
    vectors = vectors_of(sizes[filter_axes(sizes)[0]], target.lanes(item), target.registers)
    axes = [(axis, sizes[axis]) for axis in _weight_columns(sizes)]
    columns = columns_of(axes, target.registers, vectors)
    blocks = _weight_blocks(op, sizes, item, target)
    direct = BackwardWeight(columns, vectors, parts, blocks, row_tasks=not small)
    problem = _winograd_problem(op, dw, x, dy, setting)
    if problem is None:
        return [Choice(direct)]
    own = winograd.weight_choices(problem, setting)
    return _cheapest(Choice(direct, problem.direct(setting)), *own)


def _weight_columns(sizes: Sizes) -> tuple[str, ...]:
    return ("c",) if sizes["c"] != 1 else ("r", "s")


def _weight_blocks(op: conv.ConvBase, sizes: Sizes, item: int, target: Target) -> Blocks:
    """Along which axes the sum for a weight goes in steps: images, and rows of large ones."""
    rows, columns = sizes["i"], sizes["j"]
    if not isinstance(rows, int) or not isinstance(columns, int) or not rows * columns:
        return (("n", 1),)
    pixel = known([sizes["c"]]) * item * op.stride[0] * op.stride[1] + _DY_BYTES
    pixels = max(_PIXELS, target.caches.first // pixel)
    if rows * columns > pixels:
        return (("n", 1), ("i", even_pieces(rows, max(1, pixels // columns))))
    return (("n", pixels // (rows * columns)),)


def _direct(sizes: Sizes, row: Dim, item: int, target: Target) -> Direct:
    """The order of loops that brings the fewest bytes from beyond the second-level cache.

    Args:
        sizes: of all axes.
        row: how many elements of the image one row of results moves on by.
        item: bytes of an element.
        target: the processor.
    """
    vector, *filters = filter_axes(sizes)
    lanes = target.lanes(item)
    vectors = vectors_of(sizes[vector], lanes, target.registers)
    groups, rest = groups_of(sizes[vector], vectors * lanes)
    weights = item * known(sizes[axis] for axis in "gocrs")
    image = item * known((row, sizes["i"]))
    times = (groups + (rest != 0)) * known(sizes[axis] for axis in filters)

    def cost(nbytes: int, times: int) -> int:
        """What it costs to go through so many bytes again and again."""
        if nbytes <= target.caches.second:
            return 0
        return (1 if nbytes <= target.caches.third else _MEMORY_COST) * nbytes * times

    # With "images" the next image always comes from beyond the third-level cache.
    costs = {
        "rows": cost(weights, known([sizes["i"]])),
        "filters": cost(weights, 1) + cost(image, times),
        "images": _MEMORY_COST * times * image,
    }
    columns = columns_of([("i", sizes["i"]), ("j", sizes["j"])], target.registers, vectors)
    return Direct(columns, vectors, min(costs, key=lambda order: costs[order]))
