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
from .builder import i64
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
    """One launch of all that is done in one go; the functions of all members have their names."""
    members = launch.members
    if len(members) == 1:
        return launch
    stage = Stage(target, symbols)
    write = _write_in_order if launch.turn is None else _write_in_turn
    write(stage, members)
    stage.f.ret()
    tasks = launch.tasks if launch.turn else sum((m.tasks for m in launch.before), launch.tasks)
    slots = tuple(slot for member in members for slot in member.slots)
    return Launch(stage.f, tasks, slots, launch.check, launch.alone, parts=members)


def _write_in_order(stage: Stage, members: Sequence[Launch]) -> None:
    """Of the tasks, each member has the next few."""
    f = stage.f
    table, dims, first, last, thread = f.parameters
    used, begin = 0, i64(0)
    for member in members:
        count = stage.dim(member.tasks)
        low = f.intrinsic("smax", f.op("sub", first, begin), i64(0))
        high = f.intrinsic("smin", f.op("sub", last, begin), count)
        f.call(member.function.name, f.at(table, used, 8), dims, low, high, thread)
        used, begin = used + len(member.slots), f.add(begin, count)


def _write_in_turn(stage: Stage, members: Sequence[Launch]) -> None:
    """A task is one of the first member, and as many of the other as fall to it."""
    f, (one, other) = stage.f, members
    table, dims, _, _, thread = f.parameters
    behind = f.at(table, len(one.slots), 8)
    own, others = stage.dim(one.tasks), stage.dim(other.tasks)
    some = f.intrinsic("smax", own, i64(1))  # it is called without tasks, too
    share = f.op("udiv", f.add(others, f.add(some, -1)), some)
    with stage.tasks() as task:
        after = f.add(task, 1)
        f.call(one.function.name, table, dims, task, after, thread)
        first, last = (f.intrinsic("smin", f.mul(edge, share), others) for edge in (task, after))
        f.call(other.function.name, behind, dims, first, last, thread)
