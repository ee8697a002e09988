"""From nodes to functions: what a kernel emitter works with.

A node becomes one or more *launches*. A launch is a function
``void k(ptr table, ptr dims, i64 first, i64 last, i64 thread)`` that does the tasks ``first .. last
- 1`` of a number of tasks that depends on shapes alone, never on how many threads share them.
``table`` holds the base pointers of the launch's own buffers, ``dims`` the sizes of the symbols:
code knows neither addresses nor buffer numbers, so equal layers share one function. ``thread`` is
the number of the thread that runs it, for scratch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ....ir import Dim, DimExpr, DType, Node, Op, TensorType, Value
from ....ir.dims import FloorDiv, Symbol
from ....ir.layout import Order
from ..abi import rounded_up
from ..lowering.access import Access, lies
from ..registry import ElementwiseFacts, Facts, register
from ..schedule.cost import is_for_one_thread
from ..schedule.schedule import Schedule
from ..target import Target
from .builder import Function, V, i64

OpT = TypeVar("OpT", bound=Op)
ScheduleT = TypeVar("ScheduleT", bound=Schedule)

# How LLVM calls the element types in memory and in registers.
STORED = {
    DType.BOOL: "i8",
    DType.I8: "i8",
    DType.U8: "i8",
    DType.I16: "i16",
    DType.U16: "i16",
    DType.I32: "i32",
    DType.U32: "i32",
    DType.I64: "i64",
    DType.U64: "i64",
    DType.F16: "i16",  # casts alone compute with halves
    DType.BF16: "i16",
    DType.F32: "float",
    DType.F64: "double",
}
COMPUTED = {**STORED, DType.BOOL: "i1"}

PARAMETERS = (
    ("ptr", "table"),
    ("ptr", "dims"),
    ("i64", "first"),
    ("i64", "last"),
    ("i64", "thread"),
)


@dataclass(frozen=True)
class Launch:
    """One function, how many tasks it has, and the buffers it works on.

    Attributes:
        check: the number of the check that it belongs to; 0 where it is a node's own.
        shared: whether it may have one function with others that differ in integers alone.
        alone: whether the thread that calls does it by itself.
        before: others that it does not depend on, whose tasks are done in the same go, first.
        turn: another that it does not depend on, which takes turns with it, task by task.
        parts: those that it was joined of.
    """

    function: Function
    tasks: Dim
    slots: tuple[int, ...]
    check: int = 0
    shared: bool = False
    alone: bool = False
    before: tuple[Launch, ...] = ()
    turn: Launch | None = None
    parts: tuple[Launch, ...] = ()

    def beside(self, others: Sequence[Launch]) -> Launch:
        """This launch with others that neither read nor write what it does."""
        if not others:
            return self
        alone = all(launch.alone for launch in (*others, self))
        return replace(self, alone=alone, before=(*others, *self.before))

    @property
    def members(self) -> tuple[Launch, ...]:
        """All that is done in one go, in the order of its buffers."""
        turn = () if self.turn is None else (self.turn,)
        return (*self.before, replace(self, before=(), turn=None), *turn)


@dataclass(frozen=True)
class Scratch:
    """A buffer that lives for one node; ``per_thread`` says whether each thread has one."""

    slot: int
    nbytes: Dim
    per_thread: bool = False


class Stage:
    """A function being written: its builder, its buffers and its dimensions."""

    def __init__(
        self,
        target: Target,
        symbols: Sequence[str],
        name: str = "kernel",
        parameters: Sequence[tuple[str, str]] = PARAMETERS,
        result: str = "void",
    ) -> None:
        self.f = Function(name, parameters, result, target.converts_halves)
        self.target = target
        self._symbols = list(symbols)
        self._dims: dict[Dim, V] = {}
        self._pointers: dict[int, V] = {}
        self._table, self._dim_table, self.first, self.last, *thread = self.f.parameters
        self._thread = thread[0] if thread else None  # entries are run by one

    def pointer(self, slot: int) -> V:
        """The base pointer of a buffer; ask for it outside of loops."""
        if slot not in self._pointers:
            place = self.f.at(self._table, len(self._pointers), 8)
            self._pointers[slot] = self.f.load(place, "ptr", 8)
        return self._pointers[slot]

    def own_pointer(self, scratch: Scratch) -> V:
        """The base pointer of a scratch of this thread's own; ask for it outside of loops."""
        assert scratch.per_thread and self._thread is not None
        size = self.dim(rounded_up(scratch.nbytes))
        return self.f.at(self.pointer(scratch.slot), self.f.mul(self._thread, size))

    @property
    def slots(self) -> tuple[int, ...]:
        """The buffers asked for, in the order of the function's table."""
        return tuple(self._pointers)

    def base(self, access: Access) -> V:
        """The address of the first element of an array; ask for it outside of loops."""
        pointer = self.pointer(access.slot)
        return self.f.at(pointer, self.dim(access.start), access.dtype.itemsize)

    def dim(self, dim: Dim) -> V:
        """A dimension as a value; ask for it outside of loops."""
        if isinstance(dim, int):
            return i64(dim)
        if dim not in self._dims:
            self._dims[dim] = self._expression(dim)
        return self._dims[dim]

    def dim_here(self, dim: Dim) -> V:
        """A dimension as a value, computed where it is asked for: within a loop, too."""
        known = self._dims
        self._dims = dict(known)
        try:
            return self.dim(dim)
        finally:
            self._dims = known

    def _expression(self, dim: DimExpr) -> V:
        total = i64(0)
        for monomial, coefficient in dim.terms:
            term = i64(coefficient)
            for atom in monomial:
                term = self.f.mul(term, self._atom(atom))
            total = self.f.add(total, term)
        return total

    def _atom(self, atom: Symbol | FloorDiv) -> V:
        if isinstance(atom, FloorDiv):
            # Sizes are not negative, so division towards zero is floor division.
            return self.f.op("sdiv", self.dim(atom.numerator), self.dim(atom.denominator))
        place = self._symbols.index(atom.name)
        return self.f.load(self.f.at(self._dim_table, place, 8), "i64", 8)

    @contextmanager
    def tasks(self) -> Iterator[V]:
        """The loop over the tasks of this call; gives the number of the task."""
        with self.f.loop(self.last, self.first) as loop:
            yield loop.index


# Makes a vector of elements of the operands at the same places.
Compute = Callable[[Stage, int, Sequence[V]], V]

# Makes of a vector of results and the operands at the same places what is stored.
Finish = Callable[[Stage, int, V, Sequence[V]], V]


@dataclass(frozen=True)
class Prologue:
    """What makes each element of the operand of a node as it is read, on registers.

    Attributes:
        operands: arrays, over the space of the operand.
        order: the axes of that space, outermost first, as the elements lie in memory.
        apply: the arithmetic; None where the operand is read as it is.
    """

    operands: tuple[Access, ...]
    order: Order
    apply: Compute | None = None


@dataclass(frozen=True)
class Epilogue:
    """What becomes of each result of a node before it is stored, on registers.

    Attributes:
        operands: further arrays, over the space of the result.
        apply: the arithmetic.
    """

    operands: tuple[Access, ...]
    apply: Finish


@dataclass
class NodeCode:
    """What an emitter gets: the node, its arrays, and where to put its launches.

    Attributes:
        node: what to compute.
        accesses: how every value lies in memory.
        target: the processor.
        symbols: the names of the dimensions in ``dims``, in order.
        new_slot: gives the number of a further buffer.
        schedule: how the anchor of a kernel runs; None elsewhere.
        prologue: what is done as the operand is read.
        epilogue: what is done before the result is stored.
        shared: whether its launches may have functions with others that differ in integers alone.
    """

    node: Node
    accesses: Mapping[Value, Access]
    target: Target
    symbols: Sequence[str]
    new_slot: Callable[[], int]
    schedule: Schedule | None = None
    prologue: Prologue | None = None
    epilogue: Epilogue | None = None
    shared: bool = False
    launches: list[Launch] = field(default_factory=list)
    scratches: list[Scratch] = field(default_factory=list)

    def op(self, kind: type[OpT]) -> OpT:
        """The op, which is one of a class."""
        op = self.node.op
        assert isinstance(op, kind)
        return op

    def scheduled(self, kind: type[ScheduleT]) -> ScheduleT:
        """The schedule, which is one of a class."""
        assert isinstance(self.schedule, kind)
        return self.schedule

    @property
    def operand_types(self) -> list[TensorType]:
        """The types of the operands."""
        return [value.type for value in self.node.operands]

    @property
    def result_types(self) -> list[TensorType]:
        """The types of the results."""
        return [value.type for value in self.node.results]

    def operand_access(self, place: int) -> Access:
        """An operand over its own shape."""
        return self.accesses[self.node.operands[place]]

    def result_access(self, place: int = 0) -> Access:
        """A result over its own shape."""
        return self.accesses[self.node.results[place]]

    def result_order(self, place: int = 0) -> Order:
        """The order of the axes of a result in memory."""
        return lies(self.node.results[place].type).order

    def scratch(self, nbytes: Dim) -> int:
        """A buffer of this node's own."""
        slot = self.new_slot()
        self.scratches.append(Scratch(slot, nbytes))
        return slot

    def thread_scratch(self, nbytes: Dim) -> Scratch:
        """Memory of this node's own for each thread, which begins as the last task left it."""
        scratch = Scratch(self.new_slot(), nbytes, per_thread=True)
        self.scratches.append(scratch)
        return scratch

    @contextmanager
    def stage(self, tasks: Dim, moved: Dim | None = None) -> Iterator[Stage]:
        """Write one launch with that many tasks; launches run one after the other.

        Args:
            tasks: how many.
            moved: the elements that it writes, where it does nothing else.
        """
        stage = Stage(self.target, self.symbols)
        yield stage
        stage.f.ret()
        alone = moved is not None and is_for_one_thread(moved)
        self.launches.append(Launch(stage.f, tasks, stage.slots, shared=self.shared, alone=alone))


EmitterT = TypeVar("EmitterT", bound=Callable[[NodeCode], None])


def emits(*classes: type[Op], facts: Facts | None = None) -> Callable[[EmitterT], EmitterT]:
    """Decorator: the function writes the code of ops of these classes.

    Args:
        classes: the ops.
        facts: what lowering must know of them; those of any elementwise op, or of one that reads
            and writes row-major arrays, where None.
    """

    def add(function: EmitterT) -> EmitterT:
        for cls in classes:
            known = facts or (ElementwiseFacts() if cls.elementwise else Facts())
            register(cls, known, function)
        return function

    return add
