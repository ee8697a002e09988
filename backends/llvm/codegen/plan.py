"""A lowered graph as buffers and launches, and the module that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ....ir import Dim, Graph, Node, Value
from ....ir.errors import CauceError
from ....ir.layout import Strided
from ....ir.location import Location
from ....ir.ops.constant import Constant
from ....ir.types import Array
from ..abi import (
    Batch,
    Binding,
    Buffer,
    Check,
    Entry,
    RankSum,
    Row,
    crossing,
    part_name,
    spans_of,
)
from ..lowering.access import nbytes
from ..lowering.batches import find_batch
from ..lowering.buffers import BufferAssignment, assign_buffers
from ..lowering.indices import index_operands
from ..lowering.kernels import anchor_of
from ..lowering.layouts import Schedules, layout_of
from ..target import Target
from .builder import Module
from .code import Launch, NodeCode
from .joint import in_turn, joined, side_by_side
from .kernels.copies import write_halo
from .kernels.index_checks import write_check
from .merge import share_similar
from .reuse import Written
from .sequence import write_sequence


@dataclass
class Plan:
    """What a lowered graph became.

    Attributes:
        given: the sizes of symbols that are numbers in the source.
        assignment: in which buffer every value lies.
        constants: the arrays of constants, by buffer.
        buffers: what the arena holds.
        launches: in order, each with the node it came from.
        count: how many buffers there are.
        entry: the name of the function that runs all launches.
        checks: of indices, each with the node that reads them.
        status: the buffer in which they note what is wrong; None where there are none.
        reductions: the sums over ranks, in order.
    """

    graph: Graph
    symbols: tuple[str, ...]
    given: Mapping[str, int]
    entry: str
    assignment: BufferAssignment
    constants: dict[int, Array] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    launches: list[tuple[Launch, Node]] = field(default_factory=list)
    count: int = 0
    checks: list[tuple[Check, Node]] = field(default_factory=list)
    status: int | None = None
    reductions: list[RankSum] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Of the function of each launch; those in the module once the plan is added to it."""
        return [launch.function.name for launch, _ in self.launches]

    def slot(self, value: Value) -> int:
        """The buffer that a value lies in."""
        return self.assignment.accesses[value].slot

    def new_slot(self) -> int:
        """A further buffer number."""
        self.count += 1
        return self.count - 1

    def take(self, *codes: NodeCode) -> None:
        """Add what was written for some nodes, which run together after all that is there."""
        start = len(self.launches)
        self.launches += [(launch, code.node) for code in codes for launch in code.launches]
        end = len(self.launches) - 1
        self.buffers += [
            Buffer(s.slot, s.nbytes, start, end, s.per_thread)
            for code in codes
            for s in code.scratches
        ]

    @cached_property
    def batch(self) -> Batch | None:
        """The batch of which images do not meet, if so."""
        if self.reductions:
            return None
        batch = find_batch(self.graph, [node for _, node in self.launches])
        if batch is None:
            return None
        # Micro-batches write what crosses a cut in turn: images must lie one after the other.
        spans = spans_of(len(self.launches), batch, ())
        across = {buffer.slot for buffer in crossing(self.buffers, spans)}
        roots = [root for root in set(self.assignment.roots.values()) if self.slot(root) in across]
        return batch if all(layout_of(root).order[:1] == (0,) for root in roots) else None

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The launches of each function: the first, and the one behind the last."""
        return spans_of(len(self.launches), self.batch, self.reductions)

    def describe(self, source: Graph | None = None) -> Entry:
        """What is needed to run the code.

        Args:
            source: what the graph was made from, which knows the lines of the layers; the graph
                itself where None.
        """
        graph = self.graph
        origins: dict[tuple[str, Location | None], int] = {}
        for number, node in enumerate((source or graph).nodes if self.checks else ()):
            origins.setdefault((node.path, node.loc), number)
        launched = {node for _, node in self.launches}
        nodes = [node for node in graph.nodes if node in launched]
        rows = {node: place for place, node in enumerate(nodes)}

        def binding(name: str, value: Value) -> Binding:
            return Binding(name, self.slot(value), value.type, nbytes(value.type))

        return Entry(
            self.entry,
            self.symbols,
            self.count,
            tuple(slot for launch, _ in self.launches for slot in launch.slots),
            tuple(self.buffers),
            self.constants,
            tuple(binding(value.name, value) for value in graph.inputs),
            tuple(binding(name, value) for name, value in graph.outputs.items()),
            tuple(binding(target.name, value) for target, value in graph.updates.items()),
            frozenset(value.name for value in self.assignment.in_place),
            tuple(map(_row, nodes)),
            tuple(rows[node] for _, node in self.launches),
            self.batch,
            self.given,
            tuple(
                check._replace(origin=origins.get((check.path, node.loc)))
                for check, node in self.checks
            ),
            self.status,
            tuple(self.reductions),
        )


def _row(node: Node) -> Row:
    cost = node.cost
    anchor = anchor_of(node)
    return Row(anchor.path, anchor.op.name, cost.flops, cost.bytes)


def make_plan(
    graph: Graph,
    schedules: Schedules,
    target: Target,
    entry: str,
    symbols: Iterable[str],
    given: Mapping[str, int],
    once: bool = False,
) -> Plan:
    """Assign the buffers of a lowered graph and write the code of every node; ``once`` says that it
    runs once for many calls, so code that is compiled faster serves better."""
    assignment = assign_buffers(graph)
    plan = Plan(graph, tuple(symbols), given, entry, assignment, count=assignment.count)
    written = Written()
    spans: dict[Value, list[int]] = {}
    readers: dict[Value, dict[Dim, Node]] = {}  # of indices, the first for each size
    for node in graph.nodes:
        for value, size in index_operands(node).items():
            readers.setdefault(value, {}).setdefault(size, node)

    def new_code(node: Node, shared: bool = once) -> NodeCode:
        schedule = schedules.get(node.results[0].name)
        names, accesses = plan.symbols, assignment.accesses
        return NodeCode(node, accesses, target, names, plan.new_slot, schedule, shared=shared)

    def check(value: Value) -> None:
        for size, node in readers.get(value, {}).items():
            if plan.status is None:
                plan.status = plan.new_slot()
            code = new_code(node)
            number = len(plan.checks) + 1
            plan.checks.append((write_check(code, value, size, plan.status, number), node))
            plan.take(code)

    for source in graph.inputs:
        check(source)

    def write(node: Node) -> NodeCode:
        """The code of a node, its first launch with what writes the zeros around its results."""
        if isinstance(node.op, Constant):
            plan.constants[plan.slot(node.result)] = node.op.value.array
        halos, code = new_code(node, shared=True), new_code(node)
        for root in roots_of(node):
            layout = layout_of(root)
            if root not in spans and isinstance(layout, Strided) and layout.halo:
                write_halo(halos, root.type, plan.slot(root))
        try:
            written.write(code)
        except CauceError as error:
            error.at(node.path, node.loc)
            raise
        first, rest = code.launches[:1], code.launches[1:]
        code.launches = [launch.beside(halos.launches) for launch in first] or halos.launches
        code.launches += rest
        return code

    def roots_of(node: Node) -> dict[Value, None]:
        return dict.fromkeys(assignment.roots[value] for value in (*node.operands, *node.results))

    for nodes in side_by_side(graph.nodes):
        start = len(plan.launches)
        plan.take(*in_turn([write(node) for node in nodes]))
        for node in nodes:
            if node.op.collective:
                (y,) = node.results
                here = len(plan.launches)
                plan.reductions.append(RankSum(here, plan.slot(y), y.type.dtype, y.type.size))
            for value in node.results:
                check(value)
        roots = [root for node in nodes for root in roots_of(node)]
        end = len(plan.launches) - 1
        for root in roots:
            spans.setdefault(root, [start, end])[1] = end
    for root, (first, last) in spans.items():
        if plan.slot(root) not in assignment.external:
            plan.buffers.append(Buffer(plan.slot(root), nbytes(root.type), first, last))
    return plan


def add_plan(module: Module, plan: Plan, target: Target) -> None:
    """Write the functions of a plan, equal ones once, and those that run them in order.

    ``entry(table, dims, pool, times)`` runs them, and notes the time, two i64 of seconds and
    nanoseconds, before the first launch and after each where ``times`` is not null. Where a batch
    is cut, or ranks sum something up, there is a function for each span, ``entry``, ``entry.part1``
    and so on. Each returns 0, or, at once, the number of a check that failed.
    """
    members = [member for launch, _ in plan.launches for member in launch.members]
    functions = {member.function: member.shared for member in members}
    share_similar(module, [function for function, shared in functions.items() if shared])
    for function, shared in functions.items():
        if not shared:
            module.share(function)
    plan.launches = [(joined(launch, target, plan.symbols), node) for launch, node in plan.launches]
    for launch, _ in plan.launches:
        if launch.parts:
            module.share(launch.function)
    launches = [launch for launch, _ in plan.launches]
    for number, (first, last) in enumerate(plan.spans):
        name, own, before = part_name(plan.entry, number), launches[first:last], launches[:first]
        write_sequence(module, target, plan.symbols, name, own, before, plan.status)
