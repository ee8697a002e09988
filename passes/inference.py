"""From training to inference: no dropout, running statistics in place of those of the batch.

The same for single batch norms that are held in training: :func:`hold_statistics`.

Nothing in a graph says "this is a running statistic". It is found by what it does: a state input
whose update is computed from the mean (or the variance) that a ``batch_norm_train`` gives.
"""

from __future__ import annotations

from collections.abc import Collection

from ..ir import Graph, Input, Node, Role, Value
from ..ir.errors import GraphError, UnsupportedOp
from ..ir.ops.normalize import BatchNorm, BatchNormTrain
from ..ir.ops.random import Dropout
from ..ir.pass_manager import Pass, Rewrite
from ..ir.rewrite import OpPattern, Var, erase_unread, rewrite_node
from .dead_code import EliminateDead
from .matching import ToOperand
from .properties import inference_only, without_regions


class DropoutNothing(ToOperand):
    """dropout(x, uniform) = x, in inference"""

    pattern = OpPattern(Dropout, Var("x"), Var("uniform"))


class RemoveDropout(Rewrite):
    """Takes dropout away. This changes what the graph computes: it is not for training."""

    name = "remove_dropout"
    rules = (DropoutNothing(),)


class ToInference(Pass):
    """Turns the graph of a network in training into that of the network in inference.

    Dropout goes; ``batch_norm_train`` becomes ``batch_norm`` with the running statistics, which are
    updated no more; and so goes every state that no output depends on, such as the random key.

    Raises:
        UnsupportedOp: a batch norm without running statistics, or whose batch statistics are read
            by something else than their update.
        GraphError: a graph that updates its parameters: a training step, not a network.
    """

    name = "to_inference"
    requires = (without_regions,)
    ensures = (inference_only,)

    def run(self, graph: Graph) -> bool:
        trained = [value.name for value in graph.updates if value.role is Role.PARAMETER]
        if trained:
            raise GraphError(
                f"{graph.name} updates its parameters ({', '.join(trained[:3])}): "
                "it is a training step, not a network",
                fix="turn the network itself to inference",
            )
        in_use = [value for value in graph.inputs_with(Role.STATE) if value.users]
        changed = EliminateDead().run(graph)
        changed |= RemoveDropout().run(graph)
        running = _running_statistics(graph)
        changed |= _drop_idle_updates(graph)
        for node in [node for node in graph.nodes if isinstance(node.op, BatchNormTrain)]:
            _normalize_by(node, *(_running(node, place, running) for place in (1, 2)))
            changed = True
        changed |= _drop_idle_updates(graph)
        for value in in_use:
            if not value.users and not graph.leaves(value):
                graph.remove_input(value)
        return changed


def hold_statistics(graph: Graph, held: Collection[str]) -> None:
    """Let the states named in ``held`` keep their values, in a graph in training.

    A batch norm whose running statistics are held normalises by them, as in inference, and their
    number of batches stays too. Names of other inputs are passed over.

    Raises:
        GraphError: a batch norm of which only one running statistic is held.
        UnsupportedOp: a batch norm that is held and has several running statistics, or whose batch
            statistics are read by something else than their update.
    """
    running = _running_statistics(graph)
    kept = [value for value in graph.updates if value.role is Role.STATE and value.name in held]
    read = [value for target in kept for value in _sources(graph.updates[target])[1]]
    counters = [value for value in dict.fromkeys(read) if value.role is Role.STATE]
    for node in [node for node in graph.nodes if isinstance(node.op, BatchNormTrain)]:
        states = [state for value in node.results[1:] for state in running.get(value, [])]
        moving = [state for state in states if state.name not in held]
        if not states or len(moving) == len(states):
            continue
        if moving:
            raise GraphError(
                f"of the running statistics of a batch norm {moving[0].name} moves, the other is "
                "frozen",
                fix=f"freeze both or neither: model.freeze({moving[0].name!r})",
                loc=node.loc,
            )
        _normalize_by(node, *(_running(node, place, running) for place in (1, 2)))
    for target in kept:
        _drop_update(graph, target)
    for counter in counters:
        if counter in graph.updates and _counts_for_itself(graph, counter):
            _drop_update(graph, counter)


def _counts_for_itself(graph: Graph, counter: Input) -> bool:
    """Whether nothing but its own update reads a state."""
    update = graph.updates[counter]
    return not update.users and not graph.leaves(counter) and {*counter.users} <= {update.node}


def _running_statistics(graph: Graph) -> dict[Value, list[Input]]:
    """For each mean and variance of a batch, the states that run after it.

    The update of such a state is computed from the statistic, the state itself, constants,
    hyperparameters and counters (integers), and nothing else; but the statistic may be that of
    several nodes, of a layer that is applied more than once.
    """
    found: dict[Value, list[Input]] = {}
    for target, update in graph.updates.items():
        statistics, inputs = _sources(update)
        places = {_place(value) for value in statistics}
        if places in ({1}, {2}) and all(
            value is target
            or value.role is Role.HYPERPARAMETER
            or (value.role is Role.STATE and value.type.dtype.is_integer)
            for value in inputs
        ):
            for value in statistics:
                found.setdefault(value, []).append(target)
    return found


def _sources(update: Value) -> tuple[list[Value], list[Input]]:
    """The results of batch norms and the inputs that ``update`` is computed from, not looking
    beyond the batch norms."""
    statistics, inputs = [], []
    seen: set[Value] = set()
    pending = [update]
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if isinstance(value, Input):
            inputs.append(value)
        elif value.node and isinstance(value.node.op, BatchNormTrain):
            statistics.append(value)
        elif value.node:
            pending += value.node.operands
    return statistics, inputs


def _place(value: Value) -> int:
    """Which result of its node ``value`` is."""
    assert value.node is not None
    return value.node.results.index(value)


def _running(node: Node, place: int, running: dict[Value, list[Input]]) -> Input:
    """The running statistic that stands for a result of a batch norm."""
    value, what = node.results[place], node.op.results[place]
    targets = [target for target in running.get(value, []) if target.type == value.type]
    if len(targets) != 1:
        names = ", ".join(target.name for target in targets)
        raise UnsupportedOp(
            f"the {what} of {node.op.name} has "
            + (f"several running statistics: {names}" if names else "no running statistic"),
            fix="let the graph update one state from it, as nn.batch_norm does, "
            "or write batch_norm with the statistics wanted",
            path=node.path,
            loc=node.loc,
        )
    return targets[0]


def _normalize_by(node: Node, mean: Input, variance: Input) -> None:
    """Replace a ``batch_norm_train`` by ``batch_norm``, and take away the updates."""
    graph, path = node.graph, node.path
    for target in (mean, variance):
        _drop_update(graph, target)
    for value in node.results[1:]:
        if value.users or graph.leaves(value):
            raise UnsupportedOp(
                f"%{value.name}, a statistic of the batch, is read by more than its update",
                fix="read the running statistic in its place",
                path=path,
                loc=node.loc,
            )
    if node.results:  # else only the updates read it, and it went with them
        assert isinstance(node.op, BatchNormTrain)
        op, operands = BatchNorm(node.op.epsilon), node.operands
        rewrite_node(node, lambda b: (b(op, *operands, mean, variance), mean, variance))


def _drop_update(graph: Graph, target: Input) -> None:
    """Let ``target`` keep its value, and erase what only computed the new one."""
    update = graph.updates.pop(target, None)
    if update is not None and update.node is not None:
        erase_unread(update.node)


def _drop_idle_updates(graph: Graph) -> bool:
    """Drop the updates of states that no output depends on, now or in a later call."""
    needed: set[Value] = set()
    pending = list(graph.outputs.values())
    while pending:
        value = pending.pop()
        if value not in needed:
            needed.add(value)
            pending += value.node.operands if value.node else ()
            if isinstance(value, Input) and value in graph.updates:
                pending.append(graph.updates[value])
    idle = [target for target in graph.updates if target not in needed]
    for target in idle:
        _drop_update(graph, target)
    return bool(idle)
