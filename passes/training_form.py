"""From inference to training: batch norms take the statistics of the batch, and move their own.

What :mod:`.inference` does, the other way round, for graphs that were made for inference alone: of
an ONNX file, for example. What is folded into weights does not come back.
"""

from __future__ import annotations

from collections import Counter

from ..ir import Builder, Graph, Input, Node, Op, Role, Value
from ..ir.ops.elementwise import Add, Mul
from ..ir.ops.normalize import BatchNorm, BatchNormTrain, moved_statistics
from ..ir.pass_manager import Pass
from ..ir.rewrite import rewrite_node
from .matching import array_of


class ToTraining(Pass):
    """Turns the graph of a network in inference into that of the network in training.

    A ``batch_norm`` whose mean and variance are states becomes ``batch_norm_train``, and the states
    are updated as ``nn.batch_norm`` does: one after the other where several batch norms share them.
    Others stay as they are, and so does dropout, which the graph has already or not at all.

    Attributes:
        shares: the weight of a batch in the running statistics, by the name of the running mean.
        share: that of all others.
    """

    shares: tuple[tuple[str, float], ...] = ()
    share: float = 0.1

    name = "to_training"

    def run(self, graph: Graph) -> bool:
        shares = dict(self.shares)
        running: dict[Value, Value] = {}
        norms = trainable_norms(graph)
        for node in norms:
            *operands, mean, variance = node.operands
            trained = _with_batch_statistics(node, tuple(operands))
            before = (running.get(mean, mean), running.get(variance, variance))
            share = shares.get(mean.name, self.share)
            after = moved_statistics(Builder.like(trained), trained, before, share)
            running.update(zip((mean, variance), after))
        for state, value in running.items():
            assert isinstance(state, Input)
            graph.updates[state] = value
        return bool(norms)


def trainable_norms(graph: Graph) -> list[Node]:
    """The batch norms whose mean and variance are states, each of them in one role alone."""
    norms = [node for node in graph.nodes if isinstance(node.op, BatchNorm)]
    pairs = {node: node.operands[3:] for node in norms}
    uses = Counter(value for pair in dict.fromkeys(pairs.values()) for value in pair)
    return [
        node
        for node, pair in pairs.items()
        if all(uses[state] == 1 and _is_free(graph, state) for state in pair)
    ]


def _is_free(graph: Graph, value: Value) -> bool:
    """Whether ``value`` is a state that nothing updates."""
    return isinstance(value, Input) and value.role is Role.STATE and value not in graph.updates


def _with_batch_statistics(node: Node, operands: tuple[Value, ...]) -> Node:
    """Put ``batch_norm_train`` in the place of a ``batch_norm``."""
    assert isinstance(node.op, BatchNorm)
    op, result = BatchNormTrain(node.op.epsilon), node.result
    rewrite_node(node, lambda b: b(op, *operands))
    assert result.node is not None
    return result.node


def running_shares(graph: Graph) -> dict[str, float]:
    """The weight of a batch in each running statistic of a graph in training, by name.

    Those that are updated as ``nn.batch_norm`` with a momentum does it, once in a step.
    """
    found = {}
    for state, update in graph.updates.items():
        parts = _operands(update, Add)
        kept, taken = (_operands(part, Mul) for part in parts) if parts else ((), ())
        share = array_of(taken[1]) if taken else None
        if state in kept and share is not None and share.size == 1:
            found[state.name] = float(str(share.reshape(-1)[0]))
    return found


def _operands(value: Value, op: type[Op]) -> tuple[Value, ...]:
    """The operands of the node that makes a value; none where that is of another op."""
    node = value.node
    return node.operands if node is not None and isinstance(node.op, op) else ()
