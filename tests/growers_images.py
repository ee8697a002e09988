"""Growers of what changes the size of images, and of what moves their elements."""

from __future__ import annotations

from cauce.ir import Dim
from cauce.ir.ops.resize import Resize, ResizeBackward

from .net import Net, grows

# ---- resizing ----------------------------------------------------------------------------------


def resized(net: Net, shape: tuple[Dim, ...]) -> Resize:
    """A resize of the rows, the columns or both of an image."""
    axes = net.draw.subset((2, 3), 1)
    mode = net.draw.choice("nearest", "nearest", "linear", "cubic")
    sizes, scales = [], []
    for axis in axes:
        size, scale = net.draw.choice(
            (2 * shape[axis], 2.0), (2 * shape[axis], 2.0), (shape[axis] // 2 + 1, 0.0), (5, 0.0)
        )
        sizes.append(size)
        scales.append(scale)
    by_scale = all(scales) and net.draw.flag()
    return Resize(
        axes,
        tuple(sizes),
        tuple(scales) if by_scale else None,
        mode,
        net.draw.choice("half_pixel", "align_corners", "asymmetric"),
        net.draw.choice("round_prefer_floor", "floor"),
        antialias=mode != "nearest" and net.draw.flag(),
    )


@grows(Resize)
def resize(net: Net) -> None:
    x = net.picture()
    op = resized(net, x.type.shape)
    net.keep(net.b(op, x), exact=op.mode == "nearest")


@grows(ResizeBackward)
def resize_backward(net: Net) -> None:
    x = net.picture().type
    op = resized(net, x.shape)
    dy = net.data(op.infer(x).shape)
    net.keep(net.b(op.transposed(tuple(x.shape[axis] for axis in op.axes)), dy))
