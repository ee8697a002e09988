"""Samples of ops that put elements elsewhere."""

from __future__ import annotations

from cauce.ir.ops.rearrange import BORDERS, BorderPad, DepthToSpace, SpaceToDepth, Tile

from .sample import Draw, Sample, samples


@samples(BorderPad)
def border_pad(draw: Draw) -> Sample:
    shape = draw.shape(0, 4, low=2)
    pads = tuple(draw.pair(0, size - 1) for size in shape)
    return Sample(BorderPad(pads, draw.choice(*BORDERS)), (draw.normal(shape),), (0,))


@samples(Tile)
def tile(draw: Draw) -> Sample:
    shape = draw.shape(0, 4)
    return Sample(Tile(tuple(draw.int(1, 3) for _ in shape)), (draw.normal(shape),), (0,))


@samples(DepthToSpace, SpaceToDepth)
def blocks(draw: Draw) -> Sample:
    r, (n, c, h, w) = draw.int(1, 3), draw.shape(4, 4, high=3)
    wide = draw.op is SpaceToDepth
    shape = (n, c, r * h, r * w) if wide else (n, c * r * r, h, w)
    return Sample(draw.op(r, draw.choice("DCR", "CRD")), (draw.normal(shape),), (0,))
