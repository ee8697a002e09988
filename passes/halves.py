"""Half precision: what each op means, written out for backends that compute with float32."""

from __future__ import annotations

from ..ir import Graph
from ..ir.halves import widen_halves
from ..ir.pass_manager import Pass


class WidenHalves(Pass):
    """Lets ops compute with float32, with casts between them and f16 or bf16.

    Before composites are taken apart: what they are made of rounds nothing then, as in their own
    reference.
    """

    name = "widen_halves"

    def run(self, graph: Graph) -> bool:
        return widen_halves(graph)
