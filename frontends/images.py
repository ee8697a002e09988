"""Layers that resize images, pad them and exchange their pixels with channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from ..ir.attributes import flag, parts, positive, real
from ..ir.dims import Dim, as_dim
from ..ir.errors import AttributeMistake, ShapeError, did_you_mean, located, need, shown
from ..ir.ops import rearrange, resize
from ..ir.ops import shape as shape_ops
from ..ir.tracebacks import user_facing
from .adaptive_pooling import adaptive_avg_pool2d
from .functional import _layer
from .tensor import Size, Tensor

Sizes = Size | Sequence[Size]
Factors = float | Sequence[float]

# How many spatial dimensions a mode takes, None for any number, and what resize calls it.
_MODES: dict[str, tuple[int | None, str]] = {
    "nearest": (None, "nearest"),
    "nearest-exact": (None, "nearest"),
    "linear": (1, "linear"),
    "bilinear": (2, "linear"),
    "bicubic": (2, "cubic"),
    "trilinear": (3, "linear"),
    "area": (2, "area"),
}
_BORDERS = {"replicate": "edge", "circular": "wrap"}
# Scales are quotients of numbers up to this one, where a size is not known.
_LARGEST_DENOMINATOR = 64


@user_facing
def interpolate(
    x: Tensor,
    size: Sizes | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """x [N, C, ...] resized along its spatial dimensions, as PyTorch's ``interpolate``.

    Place o of the result lies at (o + 1/2)/scale - 1/2 of x, or with ``align_corners`` at
    o * (L - 1)/(R - 1), where L places become R; for ``nearest`` it is floor(o/scale).

    x is floating-point; the result has its dtype.

    Args:
        x: the input.
        size: of the result, one for each spatial dimension or one for all.
        scale_factor: likewise, in place of a size, which is then floor(L * scale_factor).
        mode: ``nearest``, ``nearest-exact``, ``linear`` (of [N, C, L]), ``bilinear``, ``bicubic``,
            ``area`` (of [N, C, H, W]) or ``trilinear`` (of [N, C, D, H, W]).
        align_corners: whether the first and last places lie upon one another.
        recompute_scale_factor: whether coordinates follow from the sizes, and not from the factors.
        antialias: whether what gets smaller is smoothed, in mode ``bilinear`` and ``bicubic``.
        name: the layer's name.

    Raises:
        AttributeMistake: neither or both of size and scale_factor, an unknown mode, or an option
            that the mode does not have.
        ShapeError: x has other dimensions than the mode takes.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.interpolate(x, scale_factor=2)).init(x=("N", 1, 1, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 2]]]]))
        array([[[[1., 1., 2., 2.],
                 [1., 1., 2., 2.]]]], dtype=float32)
    """
    recompute = flag(recompute_scale_factor or False, "recompute_scale_factor")
    options = mode, align_corners, antialias
    return _interpolate("interpolate", name, x, size, scale_factor, *options, recompute)


@user_facing
def upsample(
    x: Tensor,
    size: Sizes | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """x [N, C, ...] resized along its spatial dimensions, as PyTorch's ``Upsample``.

    The arguments, ``size``, ``scale_factor``, ``mode`` and ``align_corners``, are those of
    :func:`interpolate`. x is floating-point; the result has its dtype.

    Raises:
        AttributeMistake, ShapeError, TypeMismatch: as :func:`interpolate`.

    Examples:
        >>> net = cauce.network(lambda x: nn.upsample(x, scale_factor=2, mode="bilinear"))
        >>> cauce.compile(net.init(x=("N", 1, 1, 2)), "numpy")(np.float32([[[[1, 3]]]]))
        array([[[[1. , 1.5, 2.5, 3. ],
                 [1. , 1.5, 2.5, 3. ]]]], dtype=float32)
    """
    return _interpolate("upsample", name, x, size, scale_factor, mode, align_corners)


def _interpolate(
    layer: str,
    name: str | None,
    x: Tensor,
    size: Sizes | None,
    scale_factor: Factors | None,
    mode: str,
    align_corners: bool | None,
    antialias: bool = False,
    recompute: bool = False,
) -> Tensor:
    with located(None):
        kind = _check_mode(x, mode, align_corners, antialias)
        sizes, scales = _targets(x, size, scale_factor)
    if kind == "area":
        return adaptive_avg_pool2d(x, sizes, name=name)  # type: ignore[arg-type]
    corners = "align_corners" if align_corners else "half_pixel"

    def make() -> resize.Resize:
        return resize.Resize(
            tuple(range(2, x.ndim)),
            sizes,
            None if recompute else scales,
            kind,
            "asymmetric" if mode == "nearest" else corners,
            "floor" if mode == "nearest" else "round_prefer_ceil",
            cubic_coeff_a=-0.5 if antialias else -0.75,
            exclude_outside=antialias,
            antialias=antialias,
        )

    return _layer(layer, name, make, x)


def _check_mode(x: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> str:
    """What resize calls the mode, where it takes x and the options."""
    if mode not in _MODES:
        raise AttributeMistake(
            f"interpolate has no mode {shown(mode)}",
            fix=did_you_mean(mode, _MODES, f"write one of {', '.join(_MODES)}"),
        )
    rank, kind = _MODES[mode]
    if x.ndim < 3 or rank not in (None, x.ndim - 2):
        wanted = {1: "[N, C, L]", 2: "[N, C, H, W]", 3: "[N, C, D, H, W]"}.get(rank or 0)
        raise ShapeError(
            f"interpolate with mode {mode!r} takes {wanted or '[N, C, ...]'}, got {x.type}",
            fix="reshape it, or choose another mode: nearest takes any number of dimensions",
        )
    if align_corners is not None and kind not in ("linear", "cubic"):
        raise AttributeMistake(
            f"interpolate: align_corners is not for mode {mode!r}",
            fix="leave it out, or choose mode='bilinear'",
        )
    if flag(antialias, "antialias") and mode not in ("bilinear", "bicubic"):
        raise AttributeMistake(
            f"interpolate: antialias is not for mode {mode!r}",
            fix="leave it out, or choose mode='bilinear'",
        )
    return kind


def _targets(
    x: Tensor, size: Sizes | None, scale_factor: Factors | None
) -> tuple[tuple[Dim, ...], tuple[float, ...] | None]:
    """The spatial sizes of the result, and the scales where they are given."""
    lengths = x.shape[2:]
    if (size is None) == (scale_factor is None):
        raise AttributeMistake(
            "interpolate takes a size or a scale_factor",
            fix="write interpolate(x, scale_factor=2), or interpolate(x, size=(64, 64))",
        )
    given = size if scale_factor is None else scale_factor
    several = parts(given)
    numbers = (given,) * len(lengths) if several is None else several
    if len(numbers) != len(lengths):
        raise AttributeMistake(
            f"interpolate: {len(numbers)} numbers for the {len(lengths)} spatial dimensions of "
            f"{x.type}",
            fix="give one for each of them, or one for all",
        )
    if scale_factor is None:
        return tuple(as_dim(number) for number in numbers), None
    scales = tuple(_positive_real(number) for number in numbers)
    return tuple(_scaled(dim, scale) for dim, scale in zip(lengths, scales)), scales


def _positive_real(number: object) -> float:
    found = real(number)
    if found is None or not 0 < found < math.inf:
        raise AttributeMistake(
            f"scale_factor must be a number above 0, got {shown(number)}",
            fix="write for example scale_factor=2",
        )
    return found


def _scaled(size: Dim, scale: float) -> Dim:
    """floor(size * scale)."""
    if isinstance(size, int):
        return math.floor(size * scale)
    quotient = Fraction(scale).limit_denominator(_LARGEST_DENOMINATOR)
    if float(quotient) != scale:
        raise ShapeError(
            f"interpolate: a size of {size} times {scale} is no expression",
            fix="give a size, or a quotient of small numbers such as 1.5 as scale_factor",
        )
    return size * quotient.numerator // quotient.denominator


@user_facing
def pad(
    x: Tensor,
    pads: Sequence[int] | Sequence[Sequence[int]],
    mode: str = "constant",
    value: float = 0.0,
    *,
    name: str | None = None,
) -> Tensor:
    """x with borders: of a number, or made of x itself.

    x is of any shape and dtype; the result has its dtype.

    Args:
        x: the input.
        pads: (before, after) for every dimension, as ``numpy.pad`` takes them; or as PyTorch's
            ``pad``, one number after the other, those of the last dimension first.
        mode: ``constant``, ``reflect`` (mirrored at the edge), ``replicate`` (the edge itself) or
            ``circular`` (the other end).
        value: of the borders, where they are constant.
        name: the layer's name.

    Raises:
        AttributeMistake: an unknown mode, or pads that cannot be.
        ShapeError: pads for other dimensions than x has, or borders longer than x.

    Examples:
        >>> net = cauce.network(lambda x: nn.pad(x, (1, 2), value=9)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2]]))
        array([[9., 1., 2., 9., 9.]], dtype=float32)
    """

    def make() -> shape_ops.Pad | rearrange.BorderPad:
        known = ("constant", "reflect", *_BORDERS)
        if mode not in known:
            raise AttributeMistake(
                f"pad has no mode {shown(mode)}",
                fix=did_you_mean(mode, known, f"write one of {', '.join(known)}, and value=0.5"),
            )
        borders = _borders(x, pads)
        if mode == "constant":
            return shape_ops.Pad(borders, value)
        return rearrange.BorderPad(borders, _BORDERS.get(mode, mode))

    return _layer("pad", name, make, x)


def _borders(x: Tensor, pads: object) -> tuple[tuple[int, int], ...]:
    """(before, after) for every dimension."""
    flat = parts(pads)
    if flat and not any(parts(item) for item in flat):
        count = len(flat) // 2
        if len(flat) % 2 or count > x.ndim:
            raise AttributeMistake(
                f"pad: {len(flat)} numbers for {x.type}",
                fix="give two for each dimension from the last on: pad(x, (1, 1, 1, 1))",
            )
        last = [(flat[2 * i], flat[2 * i + 1]) for i in range(count)]
        return ((0, 0),) * (x.ndim - count) + tuple(last[::-1])
    for borders in pads if isinstance(pads, (list, tuple)) else [pads]:
        what, fix = "pad takes (before, after) for every dimension", "write [(0, 0), (1, 1)]"
        need(borders, (list, tuple), what, fix)
    return tuple(map(tuple, flat or ()))


@user_facing
def tile(x: Tensor, dims: Sequence[int], *, name: str | None = None) -> Tensor:
    """x, so many times side by side along each dimension, the last ones where fewer are given.

    x is of any shape and dtype. ``dims`` are the numbers of times, one for each of the last
    dimensions.

    Raises:
        AttributeMistake: more numbers than x has dimensions, or one below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.tile(x, (2,))).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2]]))
        array([[1., 2., 1., 2.]], dtype=float32)
    """
    counts = tuple(parts(dims) or (dims,))
    return _layer("tile", name, lambda: rearrange.Tile((1,) * (x.ndim - len(counts)) + counts), x)


@user_facing
def pixel_shuffle(x: Tensor, upscale_factor: int, *, name: str | None = None) -> Tensor:
    """Channels as blocks of pixels: [N, C*r*r, H, W] becomes [N, C, H*r, W*r].

    r is ``upscale_factor``. x is of any dtype, which the result has.

    Raises:
        ShapeError: x has other dimensions, or sizes that r does not divide.
        AttributeMistake: r below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.pixel_shuffle(x, 2)).init(x=("N", 4, 1, 1))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1]], [[2]], [[3]], [[4]]]]))
        array([[[[1., 2.],
                 [3., 4.]]]], dtype=float32)
    """
    r = positive(upscale_factor, "upscale_factor")
    return _layer("pixel_shuffle", name, lambda: rearrange.DepthToSpace(r, "CRD"), x)


@user_facing
def pixel_unshuffle(x: Tensor, downscale_factor: int, *, name: str | None = None) -> Tensor:
    """Blocks of pixels as channels: [N, C, H*r, W*r] becomes [N, C*r*r, H, W].

    r is ``downscale_factor``. x is of any dtype, which the result has.

    Raises:
        ShapeError: x has other dimensions, or sizes that r does not divide.
        AttributeMistake: r below 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.pixel_unshuffle(x, 2)).init(x=("N", 1, 2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[[[1, 2], [3, 4]]]]))
        array([[[[1.]],
        <BLANKLINE>
                [[2.]],
        <BLANKLINE>
                [[3.]],
        <BLANKLINE>
                [[4.]]]], dtype=float32)
    """
    r = positive(downscale_factor, "downscale_factor")
    return _layer("pixel_unshuffle", name, lambda: rearrange.SpaceToDepth(r, "CRD"), x)
