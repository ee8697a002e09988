"""A network while it is being drawn: what growers take values from, and write to."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cauce.ir import (
    Builder,
    Dim,
    DType,
    Frame,
    Graph,
    Input,
    Location,
    Op,
    Role,
    TensorType,
    Value,
    symbol,
)
from cauce.ir.dims import substitute
from cauce.ir.ops.activation import Tanh
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Add, Cast, Exp, Greater, Sub
from cauce.ir.ops.shape import Transpose

from .facets.sample import Draw

# What the symbols stand for when a network is run.
SIZES: Mapping[str, int] = {"N": 3, "H": 6, "W": 5}
# Values with more elements than this are not built upon.
LARGEST = 4000
# Sizes about what registers of 4, 8 and 16 lanes hold, and about some of them together.
LANES = (15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 64)

Shape = tuple[Dim, ...]
Grower = Callable[["Net"], None]
_GROWERS: dict[type[Op], Grower] = {}
_ROLES: list[Grower] = []


class Net:
    """A network being drawn.

    Attributes:
        draw: sizes and choices.
        dtype: of all floating-point values (but those behind a cast).
        sizes: what the symbols stand for.
        graph, b: the network and the builder that writes it.
        live: values that growers may use, inputs among them.
        op: the op class that the running grower was asked for.
    """

    def __init__(
        self,
        draw: Draw,
        dtype: DType,
        symbols: Sequence[str],
        sizes: Mapping[str, int] = SIZES,
    ) -> None:
        self.draw = draw
        self.dtype = dtype
        self.sizes = sizes
        self.graph = Graph("network")
        self.b = Builder(self.graph)
        self.live: list[Value] = []
        self.op: type[Op] = Op
        self.symbols = frozenset(symbols)
        self._exact: set[Value] = set()
        self._count: dict[str, int] = {}

    # ---- sizes ---------------------------------------------------------------------------------

    def extent(self, dim: Dim) -> int:
        """The size that a dimension will have."""
        size = substitute(dim, self.sizes)
        assert isinstance(size, int)
        return size

    def symbol(self, name: str) -> Dim:
        """The symbol, or its size where this network has no such symbol."""
        return symbol(name) if name in self.symbols else self.sizes[name]

    def size(self, low: int, high: int) -> int:
        """A number of channels or features: mostly within the bounds, at times 1 or many."""
        match self.draw.int(0, 9):
            case 8:
                return 1
            case 9:
                return self.draw.choice(*LANES)
            case _:
                return self.draw.int(low, high)

    # ---- inputs --------------------------------------------------------------------------------

    def _input(
        self, prefix: str, shape: Sequence[Dim], role: Role, dtype: DType | None, name: str = ""
    ) -> Input:
        if not name:
            number = self._count[prefix] = self._count.get(prefix, 0) + 1
            name = f"{prefix}{number}"
        type_ = TensorType(dtype or self.dtype, tuple(shape))
        value = self.graph.add_input(name, type_, role)
        if role is Role.DATA:
            self._use(value)
        return value

    def _use(self, value: Input) -> None:
        """Let growers take an input as they take a result."""
        self.live.append(value)
        self._exact.add(value)

    def data(self, shape: Sequence[Dim], dtype: DType | None = None) -> Input:
        """A new data input: normal floats, or integers and bools that are 0 or 1."""
        return self._input("x", shape, Role.DATA, dtype)

    def parameter(self, shape: Sequence[Dim]) -> Input:
        """A parameter: normal. At times it is shared with what has another of its shape, or is
        there for elementwise ops and all others too."""
        known = [
            value
            for value in self.graph.inputs_with(Role.PARAMETER)
            if value.type.shape == tuple(shape) and self.is_float(value)
        ]
        if known and self.draw.int(0, 3) == 3:
            return self.draw.choice(*known)
        value = self.new_parameter(shape)
        if self.draw.int(0, 3) == 3:
            self._use(value)
        return value

    def new_parameter(self, shape: Sequence[Dim]) -> Input:
        """A parameter that nothing else has."""
        return self._input("p", shape, Role.PARAMETER, None)

    def state(self, shape: Sequence[Dim], dtype: DType | None = None, name: str = "") -> Input:
        """A new state: floats within 0.5 .. 1.5, integers 0 or 1."""
        return self._input("s", shape, Role.STATE, dtype, name)

    def rate(self) -> Value:
        """A hyperparameter: 0.1."""
        known = self.graph.inputs_with(Role.HYPERPARAMETER)
        return known[0] if known else self._input("rate", (), Role.HYPERPARAMETER, None)

    def image(self) -> Input:
        """A new data input [N, C, H, W]; each of its sizes may be 1."""
        draw = self.draw
        if draw.flag():
            sizes: tuple[Dim, ...] = (self.symbol("H"), self.symbol("W"))
        else:
            sizes = tuple(1 if draw.int(0, 5) == 5 else draw.int(3, 7) for _ in range(2))
        return self.data((self.symbol("N"), self.size(1, 4), *sizes))

    # ---- values --------------------------------------------------------------------------------

    def pick(self, fits: Callable[[Value], bool], else_: Callable[[], Value]) -> Value:
        """A live value that fits, the latest first; a new one where none does."""
        found = [value for value in reversed(self.live) if fits(value)]
        return self.draw.choice(*found) if found else else_()

    def is_float(self, value: Value) -> bool:
        return value.type.dtype is self.dtype

    def floating(self, fits: Callable[[TensorType], bool] = lambda type_: True) -> Value:
        """A floating-point value of any rank, whose type fits; else a new matrix or image."""

        def new() -> Value:
            matrix = TensorType(self.dtype, (self.symbol("N"), self.size(2, 5)))
            if fits(matrix):
                return self.data(matrix.shape)
            # An image of which no size is 1 fits everything that is asked for.
            return self.data((self.symbol("N"), self.draw.int(2, 4), *self.draw.pair(3, 7)))

        return self.pick(lambda value: self.is_float(value) and fits(value.type), new)

    def turned(self, x: Value, fits: Callable[[TensorType], bool] = lambda type_: True) -> Value:
        """``x``, at times with its axes in any other order that fits."""
        if x.type.rank < 2 or self.draw.int(0, 4) < 4:
            return x
        order = self.draw.subset(range(x.type.rank), x.type.rank)
        if not fits(x.type.with_shape(x.type.shape[axis] for axis in order)):
            return x
        y = self.b(Transpose(order), x)
        if x in self._exact:
            self._exact.add(y)
        return y

    def picture(self) -> Value:
        """A floating-point value [N, C, H, W] with a known number of channels."""
        fits = lambda type_: type_.rank == 4 and isinstance(type_.shape[1], int)  # noqa: E731
        return self.turned(self.floating(fits), fits)

    def features(self) -> Value:
        """A floating-point value [..., C] with a known number of features."""
        fits = lambda type_: type_.rank >= 2 and isinstance(type_.shape[-1], int)  # noqa: E731
        return self.turned(self.floating(fits), fits)

    def exact(self, fits: Callable[[TensorType], bool] = lambda type_: True) -> Value:
        """A floating-point value that no rounding has touched."""

        def usable(value: Value) -> bool:
            return value in self._exact and self.is_float(value) and fits(value.type)

        return self.pick(usable, self.image)

    def weight(self, shape: Sequence[Dim]) -> Value:
        """What a layer multiplies by: a parameter, at times computed from one or any live value."""
        shape = tuple(shape)
        match self.draw.int(0, 9):
            case 7:  # one that lies in another order
                order = self.draw.subset(range(len(shape)), len(shape))
                back = tuple(order.index(axis) for axis in range(len(shape)))
                return self.b(Transpose(back), self.parameter([shape[axis] for axis in order]))
            case 8:
                return self.b(Tanh(), self.parameter(shape))
            case 9:
                fits = lambda v: self.is_float(v) and v.type.shape == shape  # noqa: E731
                return self.pick(fits, lambda: self.data(shape))
            case _:
                return self.parameter(shape)

    def integer(self) -> Value:
        """An integer value: 0 or 1."""
        fits = lambda value: value in self._exact and value.type.dtype is DType.I64  # noqa: E731
        return self.pick(fits, lambda: self.indices((self.symbol("N"),)))

    def indices(self, shape: Sequence[Dim]) -> Value:
        """Integers that are 0 or 1: given, or computed."""
        b, one = self.b, lambda: scalar(self.b, 1, DType.I64)
        match self.draw.int(0, 7):
            case 4:
                found = b(Cast(DType.I64), self.data(shape, DType.I32))
            case 5:
                found = b(Sub(), one(), self.data(shape, DType.I64))
            case 6:
                found = b(Sub(), b(Add(), one(), self.data(shape, DType.I64)), one())
            case 7:
                x = self.data(shape)
                found = b(Cast(DType.I64), b(Greater(), x, scalar(b, 0.0, x)))
            case _:
                return self.data(shape, DType.I64)
        self.live.append(found)
        self._exact.add(found)
        return found

    def boolean(self) -> Value:
        """A bool value."""
        fits = lambda value: value.type.dtype is DType.BOOL  # noqa: E731
        return self.pick(fits, lambda: self.data(self.floating().type.shape, DType.BOOL))

    def positive(self, value: Value) -> Value:
        """Write exp(tanh x), which lies within 1/e .. e."""
        return self.b(Exp(), self.b(Tanh(), value))

    def narrower(self, shape: Shape) -> Shape:
        """A shape of known sizes that broadcasts to ``shape``."""
        sizes: list[Dim] = []
        for dim in shape:
            sizes.append(dim if isinstance(dim, int) and self.draw.flag() else 1)
        return tuple(sizes[self.draw.choice(0, len(sizes) // 2, len(sizes)) :])

    def partner(self, x: Value) -> Value:
        """What may stand beside ``x`` in a broadcasting op: a live value of its shape, a
        parameter, or a constant."""
        match self.draw.int(0, 3):
            case 0:
                return self.pick(
                    lambda v: self.is_float(v) and v.type == x.type, lambda: self.data(x.type.shape)
                )
            case 1 | 2:
                return self.parameter(self.narrower(x.type.shape))
            case _:
                return scalar(self.b, self.draw.choice(2.0, 0.5, -1.5, 0.25), x)

    def fits(self, value: Value) -> bool:
        """Whether a value is small enough to be built upon."""
        return self.extent(value.type.size) <= LARGEST

    def keep(self, *values: Value, exact: bool = False) -> None:
        """Let later growers use these values, at times with their axes in another order.

        Args:
            values: what has been written.
            exact: whether they are no more rounded than what they were made of.
        """
        for value in values:
            operands = value.node.operands if value.node else ()
            if exact and all(operand in self._exact for operand in operands):
                self._exact.add(value)
            if self.fits(value):
                self.live.append(self.turned(value))

    def grow(self, item: type[Op] | Grower) -> None:
        """Let the grower of an op, or any other, write."""
        self.at_line()
        if isinstance(item, type):
            self.op = item
            growers()[item](self)
        else:
            item(self)

    def at_line(self) -> None:
        """What is written from here on belongs to a new line of the network's source."""
        line = self._count["line"] = self._count.get("line", 0) + 1
        self.b.path = None if self.draw.flag() else f"block{line % 3}.layer{line}"
        self.b.loc = Location((Frame("net.py", line),)) if self.draw.flag() else None


def grows(*ops: type[Op]) -> Callable[[Grower], Grower]:
    """Decorator: the function writes each of these ops into a network; ``net.op`` says which."""

    def mark(grower: Grower) -> Grower:
        for op in ops:
            assert op not in _GROWERS, f"{op.name} has two growers"
            _GROWERS[op] = grower
        return grower

    return mark


def role(grower: Grower) -> Grower:
    """Decorator: the function lets what is there already meet in ways that chance rarely gives."""
    _ROLES.append(grower)
    return grower


def growers() -> Mapping[type[Op], Grower]:
    """The growers in the modules ``growers_*.py``, by op."""
    _load()
    return _GROWERS


def roles() -> Sequence[Grower]:
    """The growers that belong to no op, in the modules ``growers_*.py``."""
    _load()
    return _ROLES


def _load() -> None:
    for file in sorted(Path(__file__).parent.glob("growers_*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
