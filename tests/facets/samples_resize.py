"""Samples of resizing."""

from __future__ import annotations

from typing import Any

from cauce.ir.ops.resize import COORDINATES, ROUNDINGS, Resize, ResizeBackward

from .sample import Draw, Sample, samples

# Of the coordinate modes this one, by scales, is not in the opset that is written.
WRITTEN = [name for name in COORDINATES if name != "half_pixel_symmetric"]


def some_resize(draw: Draw, mode: str) -> tuple[Resize, tuple[int, ...]]:
    """A resize, and the shape of its operand."""
    shape = draw.shape(1, 4)
    axes = draw.subset(range(len(shape)), 1)[:2]
    scales = None
    if draw.flag():
        scales = tuple(draw.choice(2.0, 0.5, 1.5, 0.7) for _ in axes)
    pairs = enumerate(axes)
    lengths = [shape[axis] for axis in axes]
    sizes = [
        draw.int(1, 7) if scales is None else max(int(scales[place] * shape[axis]), 1)
        for place, axis in pairs
    ]
    more: dict[str, Any] = {"coordinate_transformation_mode": draw.choice(*WRITTEN)}
    if more["coordinate_transformation_mode"] == "tf_crop_and_resize":
        more["roi"] = (*(draw.choice(0.0, -0.2, 0.3) for _ in axes), *(0.9 for _ in axes))
        # ONNX Runtime takes the whole of an axis that stays as long as it is.
        sizes = [size + (size == length) for size, length in zip(sizes, lengths)]
        scales = None
    if mode == "nearest":
        more["nearest_mode"] = draw.choice(*ROUNDINGS)
    else:
        more["antialias"] = draw.flag()
        more["exclude_outside"] = mode == "cubic" and draw.flag()
        more["cubic_coeff_a"] = draw.choice(-0.75, -0.5)
    axes = tuple(axis - draw.choice(0, len(shape)) for axis in axes)
    return Resize(axes, tuple(sizes), scales, mode, **more), shape


@samples(Resize)
def resize(draw: Draw) -> Sample:
    op, shape = some_resize(draw, draw.choice("nearest", "linear", "cubic"))
    op = op.with_attributes(extrapolation_value=draw.choice(0.0, -1.5))
    return Sample(op, (draw.normal(shape),), (0,))


@samples(ResizeBackward)
def resize_backward(draw: Draw) -> Sample:
    op, shape = some_resize(draw, draw.choice("nearest", "linear", "cubic"))
    dy = list(shape)
    for axis, size in zip(op.axes, op.sizes):
        assert isinstance(size, int)
        dy[axis] = size
    transposed = op.transposed(tuple(shape[axis] for axis in op.axes))
    return Sample(transposed, (draw.normal(dy),), (0,))
