"""Import of resizing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ...ir import Array, Dim, Value
from ...ir.ops.reduce import normalize_axis
from ...ir.ops.resize import Resize
from .call import Call
from .rules import Made, imports

# Scales are quotients of numbers up to this one, where a size is not known.
_LARGEST_DENOMINATOR = 64
# What ONNX calls (x + 0.5) / scale is half_pixel and 1/2 more: so other roundings do for it.
_FOR_NN = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}


@imports("Upsample")
def _upsample(n: Call) -> Made:
    """Upsample-1: height_scale and width_scale; 7: scales; 9: an operand, and Resize after that."""
    x = n.value(0)
    if n.opset >= 9:
        scales = n.numbers(1, "scales").reshape(-1)
    elif (listed := n.attribute("scales")) is not None:
        scales = np.array(listed.floats, np.float32)
    else:
        factors = [n.real(name, 1.0) for name in ("height_scale", "width_scale")]
        scales = np.array([1.0] * (x.type.rank - 2) + factors, np.float32)
    return _by_truncation(n, x, scales)


@imports("Resize")
def _resize(n: Call) -> Made:
    """Resize-10: scales alone; 11: roi, sizes, coordinates, cubic; 13: operands may be left out;
    18: axes, antialias, keep_aspect_ratio_policy; 19: half_pixel_symmetric.

    An empty operand is none.
    """
    x = n.value(0)
    if n.opset < 11:
        return _by_truncation(n, x, n.numbers(1, "scales").reshape(-1))
    axes = n.ints("axes") or tuple(range(x.type.rank))
    places = [normalize_axis(axis, x.type.rank, "Resize") for axis in axes]
    before = [x.type.shape[axis] for axis in places]
    policy = n.text("keep_aspect_ratio_policy", "stretch")
    by_scale = _elements(n, 2, "scales")
    scales: list[float] | None = None
    if by_scale is not None:
        scales = [float(scale) for scale in by_scale]
        sizes = [_scaled(n, size, scale) for size, scale in zip(before, scales, strict=True)]
    elif policy == "stretch":
        sizes = list(n.dims(3, "sizes"))
    else:
        scale, sizes = _in_proportion(n, before, n.integers(3, "sizes"), policy)
        scales = [scale] * len(places)
    return _resized(n, x, places, sizes, scales)


def _resized(
    n: Call, x: Value, axes: list[int], sizes: list[Dim], scales: list[float] | None
) -> Value:
    """x resized along those axes that do not stay as they are."""
    mode = n.text("mode", "nearest")
    coordinates = n.text("coordinate_transformation_mode", "half_pixel")
    rounding = n.text("nearest_mode", "round_prefer_floor")
    if coordinates == "tf_half_pixel_for_nn":
        if mode != "nearest" or rounding not in _FOR_NN:
            raise n.refuse(f"tf_half_pixel_for_nn with mode {mode!r} and nearest_mode {rounding!r}")
        coordinates, rounding = "half_pixel", _FOR_NN[rounding]
    crops = (
        _crops(n, len(axes)) if coordinates == "tf_crop_and_resize" else [(0.0, 1.0)] * len(axes)
    )
    factors = [1.0] * len(axes) if scales is None else scales
    kept = [
        place
        for place, axis in enumerate(axes)
        if (sizes[place], factors[place], crops[place]) != (x.type.shape[axis], 1, (0, 1))
    ]
    antialias, extrapolated = n.integer("antialias", 0), n.real("extrapolation_value", 0.0)
    cubic_coeff_a, exclude = n.real("cubic_coeff_a", -0.75), n.integer("exclude_outside", 0)
    if not kept:
        return x
    op = Resize(
        tuple(axes[place] for place in kept),
        tuple(sizes[place] for place in kept),
        None if scales is None else tuple(scales[place] for place in kept),
        mode,
        coordinates,
        rounding,
        cubic_coeff_a,
        bool(exclude),
        bool(antialias) and mode != "nearest",
        tuple(crops[place][end] for end in (0, 1) for place in kept),
        extrapolated,
    )
    return n.b(op, x)


def _crops(n: Call, count: int) -> list[tuple[float, float]]:
    """What is taken of each axis: its start and its end."""
    roi = _elements(n, 1, "roi")
    if roi is None or roi.size != 2 * count:
        raise n.refuse("tf_crop_and_resize without a roi of a start and an end for each axis")
    return [(float(start), float(end)) for start, end in zip(roi[:count], roi[count:])]


def _by_truncation(n: Call, x: Value, scales: Array) -> Value:
    """Resizing before opset 11: place o / scale, rounded down, or up where an axis gets shorter."""
    mode = {"bilinear": "linear"}.get(n.text("mode", "nearest"), n.text("mode", "nearest"))
    for rounding, chosen in (("floor", scales > 1), ("ceil", scales < 1)):
        axes = np.flatnonzero(chosen).tolist()
        if axes:
            factors = tuple(float(scales[axis]) for axis in axes)
            sizes = [_scaled(n, x.type.shape[axis], s) for axis, s in zip(axes, factors)]
            op = Resize(tuple(axes), tuple(sizes), factors, mode, "asymmetric", rounding)
            x = n.b(op, x)
    return x


def _elements(n: Call, place: int, what: str) -> Array | None:
    """The elements of an operand; None where it is left out or empty."""
    found = n.numbers(place, what).reshape(-1) if n.has(place) else None
    return None if found is None or found.size == 0 else found


def _scaled(n: Call, size: Dim, scale: float) -> Dim:
    """floor(size * scale), the product in float32 as ONNX Runtime computes it."""
    if isinstance(size, int):
        return int(np.float32(size) * np.float32(scale))
    quotient = Fraction(scale).limit_denominator(_LARGEST_DENOMINATOR)
    if np.float32(float(quotient)) != np.float32(scale):
        raise n.unknown(f"a size of {size} times {scale} is not known", size)
    return size * quotient.numerator // quotient.denominator


def _in_proportion(
    n: Call, before: list[Dim], sizes: tuple[int, ...], policy: str
) -> tuple[float, list[Dim]]:
    """The scale of all axes with which none gets larger, or none smaller, than its size; and the
    sizes that it makes, halves rounded up."""
    lengths = [size for size in before if isinstance(size, int)]
    if len(lengths) < len(before):
        raise n.unknown(f"keep_aspect_ratio_policy {policy!r} depends on the sizes", *before)
    quotients = [np.float32(a) / np.float32(b) for a, b in zip(sizes, lengths, strict=True)]
    scale = {"not_larger": min, "not_smaller": max}[policy](quotients)
    return float(scale), [int(np.floor(np.float32(length) * scale + 0.5)) for length in lengths]
