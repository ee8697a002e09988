"""Launches that are done in one go, each as it would be alone, to the bit.

What is short, the zeros around an image, goes with what comes after it, since each launch has to
wake the threads. And sums of the same array take turns, task by task: a batch norm's backward pass
adds up the gradient, and the gradient times what was normalised. Alone each would read all of it
from memory; so the second finds in a cache what the first has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ....ir import Node
from ....ir.ops.fused import Kernel
from ....ir.ops.reduce import Sum
from ..lowering.kernels import Anchor, anchor_of
from ..target import Target
from .builder import V, i64
from .code import Launch, NodeCode, Stage


def side_by_side(nodes: Iterable[Node]) -> Iterator[tuple[Node, ...]]:
    """The nodes in order, two that can run side by side together."""
    last: Node | None = None
    for node in nodes:
        if last is not None and _share(last, node):
            yield last, node
            last = None
            continue
        if last is not None:
            yield (last,)
        last = node
    if last is not None:
        yield (last,)


def _share(first: Node, second: Node) -> bool:
    """Whether both add up over the batch what is made of one array, neither of the other's sum."""
    if not (isinstance(first.op, Kernel) and isinstance(second.op, Kernel)):
        return False  # most nodes: an anchor is looked for in each kernel alone
    if first.result in second.operands:
        return False
    one, other = anchor_of(first), anchor_of(second)
    if not (isinstance(one.op, Sum) and one.op == other.op):
        return False
    return bool(_arrays(first, one) & _arrays(second, other))


def _arrays(node: Node, anchor: Anchor) -> set[object]:
    """The operands of an anchor that are no smaller than what is made of them."""
    values = [node.operands[place] for place in anchor.places]
    most = max(value.type.rank for value in values)
    return {value for value in values if value.type.rank == most and 1 not in value.type.shape}


def in_turn(codes: list[NodeCode]) -> list[NodeCode]:
    """Let the first launches of two codes take turns; what merges their parts follows."""
    if len(codes) == 2 and all(len(code.launches) > 1 for code in codes):
        one, other = codes
        first, *rest = one.launches
        second, *last = other.launches
        if not (first.before or second.before):
            one.launches = [replace(first, turn=second), *rest]
            other.launches = last
    return codes


def joined(launch: Launch, target: Target, symbols: Sequence[str]) -> Launch:
    """One launch of all that is done in one go; the functions of all members have their names.

    It has as many tasks as the launch itself has, so that threads share them as they would without
    the others, of whose tasks as many belong to each: what takes long is cut as it would be alone.
    Those that take turns do so task by task.
    """
    members = launch.members
    if len(members) == 1:
        return launch
    stage = Stage(target, symbols)
    f = stage.f
    table, dims, first, last, thread = f.parameters
    own = stage.dim(launch.tasks)
    # Without tasks of its own it is called once all the same, for those of the others.
    some = f.intrinsic("smax", own, i64(1))
    last = f.intrinsic("smax", last, f.op("sub", some, own))
    shares: list[tuple[Launch, V, V, V]] = []
    slots: tuple[int, ...] = ()
    for member in members:
        others = stage.dim(member.tasks)
        share = f.op("udiv", f.add(others, f.add(some, -1)), some)
        shares.append((member, f.at(table, len(slots), 8), others, share))
        slots += member.slots

    def call(low: V, high: V) -> None:
        for member, own_table, others, share in shares:
            edges = (f.intrinsic("smin", f.mul(edge, share), others) for edge in (low, high))
            given = member.function.integers or dims
            f.call(member.function.name, own_table, given, *edges, thread)

    if launch.turn is None:
        call(first, last)
    else:
        with f.loop(last, first) as loop:
            call(loop.index, f.add(loop.index, 1))
    f.ret()
    return Launch(f, launch.tasks, slots, launch.check, launch.alone, parts=members)
