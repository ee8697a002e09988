"""Resizing along any axes: nearest neighbours, or sums of neighbours weighted by their distance.

Each axis by itself: place o of the result lies at the coordinate x(o) among the L places of the
operand, by ``coordinate_transformation_mode``. Of two or more axes the weights are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from ..builder import Builder
from ..dims import Dim, divide_exactly, sizes
from ..errors import AttributeMistake, ShapeError, TypeMismatch, did_you_mean
from ..graph import Node, Value
from ..op import Gradients, Op, register
from ..types import Array, TensorType
from .broadcast import need_float
from .reduce import normalize_axes, normalize_axis

# How far a kernel reaches, in places of what it weighs. 0: the nearest place alone.
REACH = {"nearest": 0, "linear": 1, "cubic": 2}
# How far rounding may have moved a coordinate away from a half: ONNX Runtime's number.
HALF = 1e-6
COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"),
    *("align_corners", "asymmetric", "tf_crop_and_resize"),
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class Taps:
    """What each place of a resized axis reads.

    Attributes:
        indices: [places, taps], of the places that are read.
        weights: [places, taps] in float64; a tap that does not count has the weight 0.
        counts: [places, taps], whether a tap counts.
        inside: [places], whether the coordinate lies within the operand, or need not.
    """

    indices: Array
    weights: Array
    counts: Array
    inside: Array


class Resampling(Op):
    """Resize, and its transpose. ``sizes``, ``scales`` and ``roi`` belong to ``axes``.

    Attributes:
        axes: those that are resized.
        sizes: of the result along them.
        scales: by which coordinates are divided; None for (places after) / (places before).
        mode: ``nearest``, ``linear`` or ``cubic``.
        coordinate_transformation_mode: the formula of x(o), as ONNX has it.
        nearest_mode: which whole number is the nearest to x(o).
        cubic_coeff_a: the coefficient a of the cubic kernel, Keys 1981, equation (4).
        exclude_outside: whether places outside of the operand have the weight 0; else the last
            place stands for those beyond it.
        antialias: whether the kernel is wider by 1/scale where that is more than 1.
        roi: the starts and then the ends of what ``tf_crop_and_resize`` takes, as parts of the
            lengths less 1.
    """

    axes: tuple[int, ...]
    sizes: tuple[Dim, ...]
    scales: tuple[float, ...] | None = None
    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    roi: tuple[float, ...] | None = None

    def check(self) -> None:
        for what, known in (
            ("mode", tuple(REACH)),
            ("coordinate_transformation_mode", COORDINATES),
            ("nearest_mode", ROUNDINGS),
        ):
            if (given := getattr(self, what)) not in known:
                raise AttributeMistake(
                    f"{self.name} has no {what} {given!r}",
                    fix=did_you_mean(given, known, f"write one of {', '.join(known)}"),
                )
        count = len(self.axes)
        lengths = {len(self.sizes), count if self.scales is None else len(self.scales)}
        if count == 0 or lengths != {count}:
            raise AttributeMistake(
                f"{self.name}: axes, sizes and scales must be equally many, at least one",
                fix="give one size for each axis: axes=(2, 3), sizes=(64, 64)",
            )
        if not all(0 < scale < np.inf for scale in self.scales or ()):
            raise AttributeMistake(
                f"{self.name}: scales must be finite and above 0, got {self.scales}",
                fix="a scale of 2 doubles an axis, 0.5 halves it",
            )
        if self.antialias and self.mode == "nearest":
            raise AttributeMistake(
                f"{self.name}: antialias is for linear and cubic, not for nearest",
                fix="leave it out, or choose mode='linear'",
            )
        crops = self.coordinate_transformation_mode == "tf_crop_and_resize"
        if crops and len(self.roi or ()) != 2 * count:
            raise AttributeMistake(
                f"{self.name}: tf_crop_and_resize takes a start and an end for each axis, "
                f"got {self.roi}",
                fix="give all starts, and then all ends: roi=(0, 0, 1, 1) for all of two axes",
            )
        if not crops:
            vars(self)["roi"] = None

    def axes_of(self, rank: int) -> list[int]:
        """``axes`` counted from 0, in their order."""
        normalize_axes(self.axes, rank, self.name)  # none twice
        return [normalize_axis(axis, rank, self.name) for axis in self.axes]

    def _resized(self, x: TensorType, transposed: bool = False) -> TensorType:
        """``x`` with the sizes of the result along the axes."""
        if self.mode != "nearest" and not x.dtype.is_float:
            raise TypeMismatch(
                f"{self.name} in mode {self.mode} takes floating-point numbers, got {x}",
                fix="cast it to f32, or choose mode='nearest'",
            )
        shape = list(x.shape)
        for place, (axis, size) in enumerate(zip(self.axes_of(x.rank), self.sizes)):
            if any(isinstance(known, int) and known < 1 for known in (shape[axis], size)):
                raise ShapeError(
                    f"{self.name}: axis {axis} of {x} cannot become {size} long",
                    fix="all sizes before and after must be at least 1",
                )
            pair = (size, shape[axis]) if transposed else (shape[axis], size)
            self._check_scale(place, *pair)
            shape[axis] = size
        return x.with_shape(shape)

    def _check_scale(self, place: int, length: Dim, resized: Dim) -> None:
        """Whether a scale, where it is given, fits the sizes, rounded in any way."""
        if self.scales is None or not (isinstance(length, int) and isinstance(resized, int)):
            return
        exact = self.scales[place] * length
        if not abs(exact - resized) < 1.001:
            raise ShapeError(
                f"{self.name}: a size of {length} times the scale {self.scales[place]} is "
                f"{exact:.6g}, not {resized}",
                fix="give the sizes that the scales make, or no scales",
            )

    def repeats(self, place: int, length: Dim, resized: Dim) -> int | None:
        """How often each place is repeated, where the nearest is asked for and that is all; else
        None."""
        times, coordinates = divide_exactly(resized, length), self.coordinate_transformation_mode
        if self.mode != "nearest" or not isinstance(times, int):
            return None
        if self.scales is not None and self.scales[place] != times:
            return None
        if coordinates == "asymmetric":
            return times if self.nearest_mode == "floor" else None
        centred = coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
        return times if centred and self.nearest_mode.startswith("round") else None

    # ---- taps ----------------------------------------------------------------------------------

    def taps(self, place: int, length: Dim, resized: Dim) -> Dim:
        """How many places at most are read along the axis at ``place`` of ``axes``."""
        reach = REACH[self.mode]
        if not self.antialias:
            return max(2 * reach, 1)
        if self.scales is not None:
            return ceil(2 * reach / min(float(np.float32(self.scales[place])), 1.0))
        return 2 * reach * ((length + resized - 1) // resized)

    def coordinates(self, place: int, length: int, resized: int) -> Array:
        """x(o) for each of ``resized`` places, rounded to float32 as ONNX Runtime does."""
        f32 = np.float32
        at = np.arange(resized, dtype=f32)
        last, end = f32(length - 1), f32(resized - 1)
        scale = self.scale(place, length, resized)
        match self.coordinate_transformation_mode:
            case "align_corners":
                return at * last / end if resized > 1 else np.zeros_like(at)
            case "asymmetric":
                return at / scale
            case "tf_crop_and_resize":
                start, stop = self.crop(place)
                if resized > 1:
                    return start * last + at * (stop - start) * last / end
                return np.full_like(at, f32(0.5) * (start + stop) * last)
            case "pytorch_half_pixel" if resized == 1:
                return np.zeros_like(at)
        x = (at + f32(0.5)) / scale
        if self.coordinate_transformation_mode == "half_pixel_symmetric":
            adjustment = f32(resized) / (scale * f32(length))
            x = f32(length) / f32(2) * (f32(1) - adjustment) + x
        return x - f32(0.5)

    def scale(self, place: int, length: int, resized: int) -> np.float32:
        """By what coordinates along an axis are divided."""
        if self.scales is None:
            return np.float32(resized) / np.float32(length)
        return np.float32(self.scales[place])

    def crop(self, place: int) -> tuple[np.float32, np.float32]:
        """Start and end of what is taken of an axis."""
        assert self.roi is not None
        return np.float32(self.roi[place]), np.float32(self.roi[place + len(self.axes)])

    def nearest(self, x: Array) -> Array:
        """The whole numbers that are nearest, by ``nearest_mode``."""
        below = np.floor(x)
        match self.nearest_mode:
            case "floor":
                return below
            case "ceil":
                return np.ceil(x)
            case "round_prefer_floor":
                return below + (x - below > 0.5 + HALF)
        return below + (x - below >= 0.5 - HALF)

    def kernel(self, distance: Array) -> Array:
        """The weight at a distance: the hat 1 - |d|, or Keys' cubic; 0 beyond its reach."""
        d, a = np.abs(distance), self.cubic_coeff_a
        if self.mode == "linear":
            return np.maximum(1 - d, 0)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    def table(self, place: int, length: int, resized: int) -> Taps:
        """What each place reads: positions p around x(o), with the weight k((p - x(o)) * s) over
        the sum of all. s is 1, or min(scale, 1) where antialiased, and the p within reach count.
        """
        x = self.coordinates(place, length, resized).astype(np.float64)[:, None]
        inside = np.ones(resized, bool)
        if self.coordinate_transformation_mode == "tf_crop_and_resize":
            inside = (x >= 0).ravel() & (x <= length - 1).ravel()
        if self.mode == "nearest":
            where, weights = self.nearest(x), np.ones_like(x)
            counts = np.ones_like(x, bool)
        else:
            reach, (count,) = REACH[self.mode], sizes((self.taps(place, length, resized),))
            s = min(float(self.scale(place, length, resized)), 1.0) if self.antialias else 1.0
            where = np.floor(x - reach / s) + 1 + np.arange(count)
            distance = (where - x) * s
            weights = self.kernel(distance)
            counts = np.full(where.shape, True)
            if self.antialias:
                counts = np.abs(distance) < reach
            if self.exclude_outside:
                weights = np.where((where >= 0) & (where < length), weights, 0)
            with np.errstate(invalid="ignore"):  # where all are outside, and not inside
                weights = weights / weights.sum(axis=1, keepdims=True)
        indices = np.clip(where, 0, length - 1).astype(np.int64)
        counts = counts & inside[:, None]
        return Taps(indices, np.where(counts, weights, 0), counts, inside)


@register
class Resize(Resampling):
    """y[.., o, ..] = sum over p of w(o, p) * x[.., p, ..], and so along each axis.

    A place whose coordinate lies outside of x along any axis is ``extrapolation_value`` with
    ``tf_crop_and_resize``. Linear and cubic take floating-point numbers, nearest any. Coordinates
    are computed in float32, weights from them in float64. ONNX Resize-19, and PyTorch's
    ``interpolate``.
    """

    extrapolation_value: float = 0.0

    name = "resize"

    def infer(self, x: TensorType) -> TensorType:
        return self._resized(x)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        (x,), (y,) = operands, results
        total: Dim = y.size
        for place, axis in enumerate(self.axes_of(x.rank)):
            total = total * self.taps(place, x.shape[axis], y.shape[axis])
        return total if self.mode == "nearest" else 2 * total

    def reference(self, x: Array) -> Array:
        y = x
        for place, (axis, size) in enumerate(zip(self.axes, sizes(self.sizes))):
            y = self.along(y, axis, self.table(place, x.shape[axis], size))
        return y

    def along(self, x: Array, axis: int, taps: Taps) -> Array:
        """x resized along one axis."""
        column = (-1, *(1,) * (x.ndim - 1 - axis % x.ndim))
        if self.mode == "nearest":
            y = np.take(x, taps.indices[:, 0], axis)
        else:
            wide = np.result_type(x.dtype, np.float32)
            y = np.zeros(1, wide)
            for indices, weights, counts in zip(taps.indices.T, taps.weights.T, taps.counts.T):
                part = weights.astype(wide).reshape(column) * np.take(x, indices, axis)
                y = y + np.where(counts.reshape(column), part, 0)
            y = y.astype(x.dtype)
        if taps.inside.all():
            return y
        value = x.dtype.type(self.extrapolation_value)
        return np.where(taps.inside.reshape(column), y, value)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        shape = node.operands[0].type.shape
        return (b(self.transposed(tuple(shape[axis] for axis in self.axes)), dy),)

    def transposed(self, before: tuple[Dim, ...]) -> ResizeBackward:
        """The transpose, for operands with these sizes along the axes."""
        attributes = dict(self.attributes())
        del attributes["extrapolation_value"]
        return ResizeBackward(**{**attributes, "sizes": before})


@register
class ResizeBackward(Resampling):
    """dx[.., p, ..] = sum over o of w(o, p) * dy[.., o, ..]: the transpose of resize.

    ``sizes`` are those of x, the result.
    """

    name = "resize_backward"
    operands = ("dy",)
    results = ("dx",)

    def infer(self, dy: TensorType) -> TensorType:
        need_float(self.name, dy)
        return self._resized(dy, transposed=True)

    def forward(self, after: tuple[Dim, ...]) -> Resize:
        """The resize whose transpose this is; ``after`` are its sizes along the axes."""
        return Resize(**{**dict(self.attributes()), "sizes": after})

    def reference(self, dy: Array) -> Array:
        dx = dy
        for place, (axis, size) in enumerate(zip(self.axes, sizes(self.sizes))):
            taps = self.table(place, size, dy.shape[axis])
            rows = np.moveaxis(dx, axis, 0)
            wide = np.zeros((size, *rows.shape[1:]), np.result_type(dy.dtype, np.float32))
            column = (-1, *(1,) * (rows.ndim - 1))
            for indices, weights, counts in zip(taps.indices.T, taps.weights.T, taps.counts.T):
                part = weights.astype(wide.dtype).reshape(column) * rows
                np.add.at(wide, indices[counts], part[counts])
            dx = np.moveaxis(wide, 0, axis)
        return dx.astype(dy.dtype)

    def gradient(self, b: Builder, node: Node, dx: Value) -> Gradients:
        shape = node.operands[0].type.shape
        return (b(self.forward(tuple(shape[axis] for axis in self.axes)), dx),)
