"""A lowered graph as buffers and launches, and the module that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...ir import Dim, Graph, Node, Value
from ...ir.errors import CauceError, UnsupportedOp
from ...ir.ops import shape
from ...ir.ops.constant import Constant
from ...ir.types import Array
from .code import EMITTERS, STORED, Launch, NodeCode, Stage
from .emitter import Function, Module, V
from .layouts import Order, row_order, same_place
from .target import Target

TIMED = ".timed"


@dataclass(frozen=True)
class Buffer:
    """Memory that one call needs: from the first launch that touches it to the last."""

    slot: int
    nbytes: Dim
    first: int
    last: int


@dataclass
class Plan:
    """What a graph became.

    Attributes:
        slots: the buffer number of every value.
        constants: the arrays of constants, by buffer.
        buffers: what the arena holds.
        launches: in order, each with the node it came from.
        count: how many buffers there are.
        entry: the name of the function that runs all launches.
    """

    graph: Graph
    symbols: tuple[str, ...]
    entry: str
    slots: dict[Value, int] = field(default_factory=dict)
    constants: dict[int, Array] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    launches: list[tuple[Launch, Node]] = field(default_factory=list)
    count: int = 0

    @property
    def table(self) -> list[int]:
        """The buffers of all launches, one after the other: what the entry gets pointers to."""
        return [slot for launch, _ in self.launches for slot in launch.slots]

    def new_slot(self) -> int:
        """A further buffer number."""
        self.count += 1
        return self.count - 1


def make_plan(
    graph: Graph,
    target: Target,
    entry: str,
    symbols: Iterable[str],
    orders: Mapping[str, Order],
    blocks: Mapping[str, int],
) -> Plan:
    """Give every value a buffer and write the code of every node.

    Raises:
        UnsupportedOp: a dtype that native code does not know.
    """
    plan = Plan(graph, tuple(symbols), entry)
    roots: dict[Value, Value] = {}
    need_known_dtypes(graph)
    leaving = {id(value) for value in (*graph.outputs.values(), *graph.updates.values())}
    for source in graph.inputs:
        plan.slots[source] = plan.new_slot()
    spans: dict[int, list[int]] = {}
    sizes: dict[int, Dim] = {}
    external = set(plan.slots.values())
    for node in graph.nodes:
        for value in node.results:
            root = roots.get(node.operands[0], node.operands[0]) if node.operands else value
            view = isinstance(node.op, (shape.Reshape, shape.Flatten)) and _in_rows(root, orders)
            if view and id(value) not in leaving and id(root) not in leaving:
                roots[value] = root
                plan.slots[value] = plan.slots[root]
                continue
            slot = plan.slots[value] = plan.new_slot()
            if isinstance(node.op, Constant):
                plan.constants[slot] = node.op.value.array
                external.add(slot)
            elif id(value) in leaving:
                external.add(slot)
            else:
                sizes[slot] = value.type.nbytes
        code = NodeCode(node, plan.slots, target, plan.symbols, plan.new_slot, orders, blocks)
        start = len(plan.launches)
        try:
            EMITTERS[type(node.op)](code)
        except CauceError as error:
            error.at(node.path, node.loc)
            raise
        plan.launches += [(launch, node) for launch in code.launches]
        end = len(plan.launches) - 1
        for scratch in code.scratches:
            plan.buffers.append(Buffer(scratch.slot, scratch.nbytes, start, end))
        for value in (*node.operands, *node.results):
            slot = plan.slots[value]
            if slot in sizes:
                spans.setdefault(slot, [start, end])[1] = end
    for slot, (first, last) in spans.items():
        plan.buffers.append(Buffer(slot, sizes[slot], first, last))
    return plan


def need_known_dtypes(graph: Graph) -> None:
    """Raise UnsupportedOp for a value, regions included, whose dtype native code does not know."""
    for value in graph.values:
        if value.type.dtype not in STORED:
            raise UnsupportedOp(
                f"the llvm backend does not know {value.type.dtype}",
                fix="use f32, or the numpy backend",
                path=value.path,
                loc=value.loc,
            )
    for node in graph.nodes:
        for _, attribute in node.op.attributes():
            if isinstance(attribute, Graph):
                need_known_dtypes(attribute)


def _in_rows(value: Value, orders: Mapping[str, Order]) -> bool:
    """Whether a value lies in row order, so that another shape may look at the same memory."""
    order = orders[value.name]
    return same_place(value.type.shape, order, row_order(len(order)))


def add_plan(module: Module, plan: Plan, target: Target) -> None:
    """Write the functions of a plan, equal ones once, and those that run them in order.

    ``entry(table, dims, pool, times)`` runs them; ``entry.timed`` also notes the time, two i64 of
    seconds and nanoseconds, before the first launch and after each.
    """
    names = [module.share(launch.function) for launch, _ in plan.launches]
    parameters = [("ptr", "table"), ("ptr", "dims"), ("ptr", "pool"), ("ptr", "times")]
    for timed in (False, True):
        stage = Stage(target, plan.symbols, plan.entry + TIMED * timed, parameters)
        f = stage.f
        table, dims, pool, times = f.parameters
        counts = [stage.dim(launch.tasks) for launch, _ in plan.launches]
        used = 0
        for place, (name, tasks) in enumerate(zip(names, counts)):
            if timed:
                _note_time(f, times, place)
            own = f.at(table, used, 8)
            f.line(f"call void @run({pool}, ptr @{name}, {own}, {dims}, {tasks})")
            used += len(plan.launches[place][0].slots)
        if timed:
            _note_time(f, times, len(names))
        f.ret()
        module.add(f, "")


def _note_time(f: Function, times: V, place: int) -> None:
    """Write the monotonic clock into the table of times."""
    f.declarations.add("declare i32 @clock_gettime(i32, ptr)")
    f.value(f"call i32 @clock_gettime(i32 1, {f.at(times, place, 16)})", "i32")
