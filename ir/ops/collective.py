"""What several ranks compute together: a run of one graph by several processes, each on its part
of the data."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import Dim
from ..graph import Node, Value
from ..op import Gradients, Op, register
from ..types import Array, TensorType
from .broadcast import need_number


@register
class AllReduce(Op):
    """y = the sum of x over all ranks, x itself where there is one.

    Every rank gets the sum, added up in the order of the ranks. The graph is run by all of them;
    a ``Communicator`` that is handed to the run does the sum. The reference and a run without one
    are those of one rank. The gradient of the sum of all ranks' losses is the same op: y of each
    rank depends on x of all (MPI 4.1, section 6.9.6, MPI_Allreduce).
    """

    name = "all_reduce"
    collective = True

    def infer(self, x: TensorType) -> TensorType:
        need_number(self.name, x)
        return x

    def reference(self, x: Array) -> Array:
        return x.copy()

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(self, dy),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        return 0
