"""Buffer assignment: a value has a buffer of its own, or lies within another value's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ....ir import Graph, Input, Node, Value
from ....ir.ops.constant import Constant
from ....ir.ops.fused import Kernel
from ..registry import facts_of
from .access import Access
from .concatenation import concat_parts
from .indices import last_check
from .kernels import anchor_of
from .layouts import layout_of


@dataclass
class BufferAssignment:
    """The buffers of a graph.

    Attributes:
        accesses: how every value lies in memory.
        roots: the value whose buffer each value lies in.
        external: buffers that are not in the arena: of inputs, outputs, updates and constants.
        in_place: inputs whose new values are written over the old ones while the graph runs.
        count: how many buffers there are; they are numbered.
    """

    accesses: dict[Value, Access] = field(default_factory=dict)
    roots: dict[Value, Value] = field(default_factory=dict)
    external: set[int] = field(default_factory=set)
    in_place: set[Input] = field(default_factory=set)
    count: int = 0


def assign_buffers(graph: Graph) -> BufferAssignment:
    """Give every value of a lowered graph its place in a buffer.

    A reshape or a transpose is a view of its operand. What is concatenated lies within the whole.
    The result of an elementwise op takes the place of an operand that nothing reads afterwards; so
    do the new values of parameters and state.
    """
    return _Assigner(graph).assignment


class _Assigner:
    def __init__(self, graph: Graph) -> None:
        self.assignment = BufferAssignment()
        self._graph = graph
        self._order = {node: place for place, node in enumerate(graph.nodes)}
        self._parts = concat_parts(graph)
        self._leaving = {id(v) for v in (*graph.outputs.values(), *graph.updates.values())}
        self._last = self._last_reads()
        self._targets = self._updates_in_place()
        self._owners: dict[Value, Value] = {}  # whose elements a buffer holds now, by root
        for source in graph.inputs:
            self.assignment.external.add(self._own(source).slot)
        for node in graph.nodes:
            for value in node.results:
                self._settle(node, value)

    def _own(self, value: Value) -> Access:
        """A buffer of its own."""
        self.assignment.count += 1
        return self._at(value, value, Access.of(self.assignment.count - 1, value.type))

    def _at(self, value: Value, root: Value, access: Access) -> Access:
        self.assignment.accesses[value] = access
        self.assignment.roots[value] = root
        return access

    def _settle(self, node: Node, value: Value) -> None:
        assignment = self.assignment
        if value in assignment.accesses:
            return
        if value in self._parts:
            self._within(value)
            return
        if id(value) in self._leaving:
            target = self._targets.get(value)
            if target is not None:
                self._at(value, target, assignment.accesses[target])
                assignment.in_place.add(target)
            else:
                assignment.external.add(self._own(value).slot)
            return
        access = self._own_or_shared(node, value)
        if isinstance(node.op, Constant):
            assignment.external.add(access.slot)

    def _within(self, value: Value) -> None:
        """The place of what is concatenated: part of the whole's."""
        whole, axis, offset = self._parts[value]
        assert whole.node is not None
        self._settle(whole.node, whole)
        around = self.assignment.accesses[whole]
        start = around.start + offset * around.strides[axis]
        self._at(value, self.assignment.roots[whole], replace(around, start=start))

    def _own_or_shared(self, node: Node, value: Value) -> Access:
        assignment = self.assignment
        if _is_view(node):
            source = node.operands[0]
            access, root = assignment.accesses[source], assignment.roots[source]
            steps = facts_of(node.op).view(node.op, source.type, access.strides, value.type)
            if steps is not None:
                return self._at(value, root, replace(access, strides=steps))
        for source in node.operands:
            if self._may_overwrite(node, source, value):
                root = assignment.roots[source]
                self._owners[root] = value
                return self._at(value, root, assignment.accesses[source])
        return self._own(value)

    def _may_overwrite(self, node: Node, source: Value, value: Value) -> bool:
        """Whether ``value`` can take the place of ``source``, read at the same places alone."""
        assignment = self.assignment
        if not _at_its_place(node, source):
            return False
        root = assignment.roots[source]
        others = [operand for operand in node.operands if operand is not source]
        if assignment.accesses[source].slot in assignment.external or self._is_whole(root):
            return False
        if self._owners.get(root, root) is not source:
            return False
        if any(assignment.roots[other] is root for other in others):
            return False
        alike = source.type == value.type and layout_of(source) == layout_of(value)
        return alike and self._last[source] == self._order[node]

    def _is_whole(self, value: Value) -> bool:
        return any(part.whole is value for part in self._parts.values())

    def _last_reads(self) -> dict[Value, int]:
        """When each value, or a view of it, is last read."""
        last: dict[Value, int] = {}
        for node in reversed(list(self._order)):
            place = self._order[node]
            for value in node.operands:
                reads = [place]
                if _is_view(node):
                    reads.append(last.get(node.result, place))
                last[value] = max(last.get(value, 0), *reads)
        return last

    def _updates_in_place(self) -> dict[Value, Input]:
        """The updates that can be written over the old value: by its last, elementwise reader."""
        graph, last = self._graph, self._last
        checked = last_check(graph)
        first = -1 if checked is None else self._order[checked]
        given = [*graph.outputs.values(), *graph.updates.values()]
        targets: dict[Value, Input] = {}
        for target, value in graph.updates.items():
            node = value.node
            alone = sum(other is value for other in given) == 1
            kept = any(other is target for other in given)
            if node is None or kept or not alone or not _at_its_place(node, target):
                continue
            place = self._order[node]
            views = [user.result for user in target.users if _is_view(user)]
            over = all(last.get(view, -1) < place for view in views)
            # Until the last check of indices has passed, the call may still fail.
            if over and last.get(target, -1) <= place and place > first:
                targets[value] = target
        return targets


def _is_view(node: Node) -> bool:
    return facts_of(node.op).is_view


def _at_its_place(node: Node, value: Value) -> bool:
    """Whether a node that reads ``value`` reads, for each result, the element at the same place.

    An elementwise op does, and so does what stands behind the anchor of a kernel.
    """
    if node.op.elementwise:
        return True
    places = [place for place, operand in enumerate(node.operands) if operand is value]
    return isinstance(node.op, Kernel) and not set(places) & set(anchor_of(node).places)
