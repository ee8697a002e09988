"""Growers of what changes the size of images, and of what moves their elements."""

from __future__ import annotations

from cauce.ir import Dim
from cauce.ir.ops.rearrange import BORDERS, BorderPad, DepthToSpace, SpaceToDepth, Tile
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


# ---- elements elsewhere ------------------------------------------------------------------------


@grows(BorderPad)
def border_pad(net: Net) -> None:
    x = net.picture()
    wide = [isinstance(dim, int) and dim >= 2 for dim in x.type.shape]
    pads = tuple(net.draw.choice((0, 0), (1, 1), (0, 1)) if w else (0, 0) for w in wide)
    net.keep(net.b(BorderPad(pads, net.draw.choice(*BORDERS)), x), exact=True)


@grows(Tile)
def tile(net: Net) -> None:
    x = net.floating(lambda type_: type_.rank >= 1)
    op = Tile(tuple(net.draw.choice(1, 1, 2) for _ in x.type.shape))
    net.keep(net.b(op, x), exact=True)


@grows(DepthToSpace, SpaceToDepth)
def blocks(net: Net) -> None:
    mode = net.draw.choice("DCR", "CRD")
    if net.op is DepthToSpace:
        shape = (net.symbol("N"), 4 * net.size(1, 3), *net.draw.pair(1, 4))
        net.keep(net.b(DepthToSpace(2, mode), net.data(shape)), exact=True)
    else:
        rows, columns = net.draw.pair(1, 3)
        shape = (net.symbol("N"), net.size(1, 3), 2 * rows, 2 * columns)
        net.keep(net.b(SpaceToDepth(2, mode), net.data(shape)), exact=True)
