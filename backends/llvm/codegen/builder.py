"""A small emitter of LLVM text IR: typed values, arithmetic, memory, structured loops.

It writes SSA form directly, with phis for what loops carry, so that no optimisation pass is
needed afterwards: code generation alone gives good machine code.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple


class V(NamedTuple):
    """An IR value: its text (``%v7``, ``42``) and its type (``i64``, ``<16 x float>``)."""

    text: str
    type: str

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


Index = V | int


@lru_cache(4096)
def i64(value: int) -> V:
    """An integer constant."""
    return V(str(value), "i64")


def floating(value: float, type: str) -> V:
    """A floating-point constant, exact; LLVM writes floats as the bits of a double."""
    if type == "float":
        value = struct.unpack("f", struct.pack("f", value))[0]
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return V(f"0x{bits:016X}", type)


def vector(type: str, lanes: int) -> str:
    """The type of ``lanes`` elements; the element itself for one lane."""
    return type if lanes == 1 else f"<{lanes} x {type}>"


def lanes_of(type: str) -> tuple[int, str]:
    """How many elements a type has, and the type of one."""
    if not type.startswith("<"):
        return 1, type
    lanes, _, element = type[1:-1].partition(" x ")
    return int(lanes), element


def splat(value: V, lanes: int) -> V:
    """A constant repeated in every lane."""
    if lanes == 1:
        return value
    return V(f"splat ({value})", vector(value.type, lanes))


@dataclass
class Loop:
    """A loop being written: its index, what it carries, and, after it, the last values."""

    index: V
    carried: tuple[V, ...]
    following: tuple[V, ...] = ()
    results: tuple[V, ...] = ()

    def next(self, *values: V) -> None:
        """What the carried values become in the next round."""
        self.following = values


class Function:
    """One function being written, block by block.

    Args:
        name: without the ``@``.
        parameters: (type, name) pairs; attributes may follow the type (``ptr noalias``).
        result: the result type.
        converts_halves: whether the target has instructions between half and float.

    Attributes:
        lines: what is written, an instruction or the name of a block each.
        callees: functions that come into each module that this one does, by name.
        integers: the table that it reads where it was merged with others.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        result: str = "void",
        converts_halves: bool = False,
    ) -> None:
        self.name = name
        self.converts_halves = converts_halves
        self.result = result
        self.parameters = [V(f"%{arg}", type.split()[0]) for type, arg in parameters]
        self._signature = ", ".join(f"{type} %{arg}" for type, arg in parameters)
        self.lines: list[str] = []
        self._count = 0
        self._block = "entry"
        self.declarations: set[str] = set()
        self.callees: dict[str, Function] = {}
        self.integers: V | None = None

    # ---- text ----------------------------------------------------------------------------------

    def text(self, linkage: str = "internal") -> str:
        """The finished function."""
        head = f"define {linkage} {self.result} @{self.name}({self._signature}) #0 {{\nentry:"
        return "\n".join([head.replace("define  ", "define "), *self.lines, "}"])

    def named(self) -> Function:
        """The finished function, with a name that tells it from all others that any module has."""
        digest = hashlib.sha256(self.text().encode()).hexdigest()[:16]
        self.name = f"{self.name}.{digest}"
        return self

    def family(self) -> Iterator[Function]:
        """This function and all that it calls, as far as they are its own."""
        yield self
        for callee in self.callees.values():
            yield from callee.family()

    def fresh(self, prefix: str = "v") -> str:
        """A new local name."""
        self._count += 1
        return f"{prefix}{self._count}"

    def line(self, text: str) -> None:
        """Write one instruction."""
        self.lines.append(f"  {text}")

    def value(self, text: str, type: str) -> V:
        """Write one instruction that gives a value."""
        name = f"%{self.fresh()}"
        self.line(f"{name} = {text}")
        return V(name, type)

    def start(self, block: str) -> None:
        """Begin a block."""
        self.lines.append(f"{block}:")
        self._block = block

    # ---- arithmetic ----------------------------------------------------------------------------

    def op(self, name: str, a: V, b: V) -> V:
        """A binary instruction: ``add``, ``fmul``, ``shl``, ..."""
        return self.value(f"{name} {a.type} {a.text}, {b.text}", a.type)

    def add(self, a: Index, b: Index) -> V:
        """a + b for addresses and counters; folded where both are known."""
        a, b = _index(a), _index(b)
        if _known(a) and _known(b):
            return i64(int(a.text) + int(b.text))
        if "0" in (a.text, b.text):
            return b if a.text == "0" else a
        return self.op("add nsw", a, b)

    def mul(self, a: Index, b: Index) -> V:
        """a * b for addresses and counters; folded where possible."""
        a, b = _index(a), _index(b)
        if _known(a) and _known(b):
            return i64(int(a.text) * int(b.text))
        if "0" in (a.text, b.text):
            return i64(0)
        if "1" in (a.text, b.text):
            return b if a.text == "1" else a
        return self.op("mul nsw", a, b)

    def fma(self, a: V, b: V, c: V) -> V:
        """a * b + c, fused where the target can."""
        return self.intrinsic("fmuladd", a, b, c)

    def intrinsic(self, name: str, *operands: V) -> V:
        """A call of an overloaded intrinsic with the type of its first operand."""
        type = operands[0].type
        full = f"llvm.{name}.{mangled(type)}"
        self.declarations.add(f"declare {type} @{full}({', '.join(v.type for v in operands)})")
        return self.value(f"call {type} @{full}({', '.join(map(str, operands))})", type)

    def compare(self, kind: str, a: V, b: V) -> V:
        """``icmp`` or ``fcmp`` with its predicate: ``compare("fcmp ogt", a, b)``."""
        type = vector("i1", lanes_of(a.type)[0])
        return self.value(f"{kind} {a.type} {a.text}, {b.text}", type)

    def select(self, condition: V, a: V, b: V) -> V:
        """a where the condition holds, else b."""
        return self.value(f"select {condition}, {a}, {b}", a.type)

    def cast(self, how: str, a: V, type: str) -> V:
        """A conversion: ``sitofp``, ``fptrunc``, ``bitcast``, ..."""
        return self.value(f"{how} {a} to {type}", type)

    def saturate(self, how: str, a: V, type: str) -> V:
        """``fptosi`` or ``fptoui``, but the nearest integer for what is out of range, 0 for NaN."""
        full = f"llvm.{how}.sat.{mangled(type)}.{mangled(a.type)}"
        self.declarations.add(f"declare {type} @{full}({a.type})")
        return self.value(f"call {type} @{full}({a})", type)

    def broadcast(self, scalar: V, lanes: int) -> V:
        """A scalar in every lane."""
        if lanes == 1:
            return scalar
        if not scalar.text.startswith("%"):
            return splat(scalar, lanes)
        type = vector(scalar.type, lanes)
        one = self.value(f"insertelement {type} poison, {scalar}, i64 0", type)
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.value(f"shufflevector {one}, {type} poison, {zeros}", type)

    def shuffle(self, a: V, b: V, places: Sequence[int]) -> V:
        """The elements at these places of ``a`` and ``b`` behind one another, two at least."""
        mask = ", ".join(f"i32 {place}" for place in places)
        type = vector(lanes_of(a.type)[1], len(places))
        return self.value(f"shufflevector {a}, {b}, <{len(places)} x i32> <{mask}>", type)

    # ---- memory --------------------------------------------------------------------------------

    def at(self, pointer: V, offset: Index, scale: int = 1) -> V:
        """``pointer`` moved on by ``offset * scale`` bytes."""
        moved = self.mul(offset, scale)
        if moved.text == "0":
            return pointer
        return self.value(f"getelementptr inbounds i8, {pointer}, {moved}", "ptr")

    def local(self, nbytes: int) -> V:
        """Memory of this call's own; ask for it outside of loops."""
        return self.value(f"alloca [{nbytes} x i8], align 64", "ptr")

    def anchored(self, pointer: V) -> V:
        """The pointer, as one that much is addressed from by constants.

        Loop strength reduction would weigh all of these addresses against one another, in time
        that grows faster than their number, and find this. It does not look behind ``freeze``.
        """
        return self.value(f"freeze {pointer}", pointer.type)

    def load(self, pointer: V, type: str, align: int) -> V:
        """Read a value."""
        return self.value(f"load {type}, {pointer}, align {align}", type)

    def store(self, value: V, pointer: V, align: int) -> None:
        """Write a value."""
        self.line(f"store {value}, {pointer}, align {align}")

    def prefetch(self, pointer: V, offset: Index, level: int = 1, write: bool = False) -> None:
        """Bring what lies ``offset`` bytes further, if anything does, into a cache of a level."""
        there = self.value(f"getelementptr i8, {pointer}, {_index(offset)}", "ptr")
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0({there}, i32 {int(write)}, i32 {4 - level}, i32 1)")

    # ---- control -------------------------------------------------------------------------------

    @contextmanager
    def loop(
        self,
        stop: Index,
        start: Index = 0,
        step: int = 1,
        carry: Sequence[V] = (),
        once: bool = False,
    ) -> Iterator[Loop]:
        """A counted loop over ``start .. stop - 1``.

        Args:
            stop: the bound.
            start: the first index.
            step: added each round.
            carry: first values of what goes from round to round; the body calls ``next``.
            once: whether at least one round is certain: the test then stands at the end only.
        """
        stop, start = _index(stop), _index(start)
        if _known(start) and _known(stop) and int(start.text) < int(stop.text):
            if int(start.text) + step >= int(stop.text):  # one round is no loop
                loop = Loop(start, tuple(carry), tuple(carry))
                yield loop
                loop.results = loop.following
                return
            once = True
        before = self._block
        name = self.fresh("loop")
        head, body, done = f"{name}.head", f"{name}.body", f"{name}.done"
        first = body if once else head
        self.line(f"br label %{first}")
        self.start(first)
        place = len(self.lines)
        index = V(f"%{self.fresh('i')}", "i64")
        phis = tuple(V(f"%{self.fresh('c')}", value.type) for value in carry)
        if not once:
            going = self.compare("icmp slt", index, stop)
            self.line(f"br i1 {going.text}, label %{body}, label %{done}")
            self.start(body)
        loop = Loop(index, phis)
        yield loop
        following = self.op("add nsw", index, i64(step))
        end = self._block
        if once:
            going = self.compare("icmp slt", following, stop)
            self.line(f"br i1 {going.text}, label %{body}, label %{done}")
        else:
            self.line(f"br label %{head}")
        header = [
            _phi(index, start, before, following, end),
            *(
                _phi(phi, value, before, new, end)
                for phi, value, new in zip(phis, carry, loop.following, strict=True)
            ),
        ]
        self.lines[place:place] = header
        self.start(done)
        loop.results = loop.following if once else phis

    def call(self, function: str | Function, *operands: V) -> None:
        """Call a function without a result, by its name, or one that was written for any module: it
        comes into each that this function does."""
        if isinstance(function, Function):
            self.callees[function.name] = function
            function = function.name
        self.line(f"call void @{function}({', '.join(map(str, operands))})")

    def ret(self, value: V | None = None) -> None:
        """Return, with a value where the function has a result."""
        self.line(f"ret {value or 'void'}")


@dataclass
class Module:
    """Functions that are compiled together."""

    functions: list[str] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)
    _shared: dict[str, str] = field(default_factory=dict)
    _called: set[str] = field(default_factory=set)

    def share(self, function: Function) -> str:
        """Take in a function, or find an equal one; returns the name it now has in the module."""
        text = function.text()
        known = text in self._shared
        function.name = self._shared.setdefault(text, f"{function.name}.{len(self._shared)}")
        self._called.add(function.name)
        if not known:
            self.add(function)
        return function.name

    def add(self, function: Function, linkage: str = "internal") -> None:
        """Take in a finished function, and those that it brings along, each once."""
        for name, callee in function.callees.items():
            if name not in self._called:
                self._called.add(name)
                self.add(callee)
        self.functions.append(function.text(linkage))
        self.declarations |= function.declarations

    def text(self, triple: str, attributes: str = "nounwind") -> str:
        """The module, for LLVM to parse."""
        parts = [
            f'target triple = "{triple}"',
            *self.functions,
            *sorted(self.declarations),
            f"attributes #0 = {{ {attributes} }}",
        ]
        return "\n\n".join(parts) + "\n"


def _index(value: Index) -> V:
    return i64(value) if isinstance(value, int) else value


def _known(value: V) -> bool:
    """Whether an integer is a constant."""
    return value.text[0] != "%"


def _phi(phi: V, first: V, before: str, following: V, end: str) -> str:
    return (
        f"  {phi.text} = phi {phi.type} [ {first.text}, %{before} ], [ {following.text}, %{end} ]"
    )


def mangled(type: str) -> str:
    """A type as intrinsics spell it: ``v16f32``."""
    lanes, element = lanes_of(type)
    name = {"float": "f32", "double": "f64"}.get(element, element)
    return name if lanes == 1 else f"v{lanes}{name}"
