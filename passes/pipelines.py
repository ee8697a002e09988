"""The pipelines: tuples of passes, to be run with :func:`cauce.ir.pass_manager.run_passes`."""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Node
from ..ir.pass_manager import Pass, Repeat
from .affine_folding import FoldScales, FoldShifts
from .batch_norm_folding import FoldBatchNorm, NormToScale
from .canonicalize import Canonicalize
from .constant_folding import FoldConstants
from .cse import EliminateCommon
from .dead_code import EliminateDead
from .decompose import Decompose, is_composite
from .fusion import FuseElementwise, InlineRegions, RecomputeCheap
from .halves import WidenHalves
from .inference import ToInference
from .padding import MergePadding
from .recognition import Recognize
from .transpose_rules import SinkTransposes

Pipeline = tuple[Pass, ...]

_SIMPLER = (Canonicalize(), FoldConstants(), EliminateCommon(), EliminateDead())

# One form for everything, nothing twice, nothing in vain. What one pass does makes work for
# another, so they are repeated until none finds any.
SIMPLIFY: Pipeline = (Repeat(_SIMPLER),)

# A network as a person would have written it, from what a converter wrote: in inference form, and
# without numbers that are computed from its weights. Files may hold large constants, which stay.
CLEAN: Pipeline = (
    Repeat(
        (
            Canonicalize(),
            EliminateCommon(),
            EliminateDead(),
            SinkTransposes(),
            MergePadding(),
            FoldShifts(),
            Recognize(),
        )
    ),
)

# A network for inference, from its graph in training or in inference.
INFERENCE: Pipeline = (
    InlineRegions(),
    ToInference(),
    Repeat(
        (
            SinkTransposes(),
            MergePadding(),
            FoldBatchNorm(),
            FoldScales(),
            NormToScale(),
            *_SIMPLER,
        )
    ),
)

# A graph with gradients and updates, which all stay what they are.
TRAINING: Pipeline = (InlineRegions(), MergePadding(), *SIMPLIFY)

# Last, since no other pass looks into regions.
FUSE: Pipeline = (FuseElementwise(),)

# For a backend that compiles primitives: what composites are made of is simplified and fused too.
PRIMITIVES: Pipeline = (WidenHalves(), Decompose(), *SIMPLIFY, RecomputeCheap(), *FUSE)


def primitives(is_whole: Callable[[Node], bool]) -> Pipeline:
    """``PRIMITIVES`` for a backend that computes some composites as they are."""
    widen, _, *rest = PRIMITIVES
    return (widen, Decompose(lambda node: is_composite(node) and not is_whole(node)), *rest)
