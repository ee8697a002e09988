"""What an op is: one class that holds its whole meaning, and the registry of all of them.

An op is a frozen dataclass (a :class:`Record`) of its typed attributes. To define one, subclass
:class:`Op`, give ``name``, ``operands`` and ``results``, and write the facets: ``infer``,
``reference``, ``gradient`` and, for an op that is made of others, ``decompose``. The constructor
brings each attribute into one canonical form by its annotation, so equal ops compare equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from .attributes import ATTRIBUTE_KINDS
from .dims import Dim, DimExpr, substitute
from .dims import symbols as dim_symbols
from .errors import GraphError, UnsupportedOp, did_you_mean
from .record import Record
from .tracebacks import user_facing
from .types import Array, TensorType

if TYPE_CHECKING:
    from .graph import Graph, Node, Value

Types: TypeAlias = TensorType | tuple[TensorType, ...]
Arrays: TypeAlias = Array | tuple[Array, ...]
Values: TypeAlias = "Value | tuple[Value, ...]"
Gradients: TypeAlias = "Sequence[Value | None]"


class Cost(Record):
    """What one evaluation costs.

    Attributes:
        flops: floating-point operations, a size or an expression over symbols.
        bytes: those read and written, each once.

    Examples:
        >>> text = "graph g(%x: f32[N,4]) -> f32[N,4] { %y = relu(%x) : f32[N,4] return %y }"
        >>> next(cauce.parse(text).nodes).cost
        Cost(flops=<dim 4*N>, bytes=<dim 32*N>)
    """

    flops: Dim
    bytes: Dim


class Op(Record):
    """Base class of all ops; the docstring of each gives its formula and its source.

    Class variables:
        name: the op's name in the text form.
        operands: names of the operands; ``"bias?"`` is optional, ``"*xs"`` any number of them.
        results: names of the results.
        flops_per_element: floating-point operations for each element of the first operand; None
            where :meth:`flops` counts otherwise.
        elementwise: whether each element of the result depends only on the elements of the
            (broadcast) operands at the same place; such ops can be fused into one region.
        zero_gradient: whether the gradient is zero wherever there is one: indices, comparisons.
        collective: whether it takes part of all ranks of a run; such ops run in the order of the
            graph, on every rank, and never beforehand.
        exact: whether it makes halves of halves without rounding: it moves or chooses elements,
            say, or drops their fraction.

    Shapes and dtypes are checked by :meth:`infer`; :func:`register` makes an op known.

    Raises:
        AttributeMistake: a value that an attribute cannot have.

    Examples:
        >>> from cauce.ir import TensorType, lookup
        >>> from cauce.ir.ops.pool import MaxPool2d
        >>> op = MaxPool2d(kernel_size=2)
        >>> dict(op.attributes())["stride"], op.with_attributes(stride=1).stride
        ((2, 2), (1, 1))
        >>> image = TensorType.make("f32", ("N", 3, 8, 8))
        >>> print(op.infer(image))
        f32[N,3,4,4]
        >>> op.flops([image], [op.infer(image)]), op.cost([image], [op.infer(image)]).bytes
        (<dim 192*N>, <dim 960*N>)
        >>> op.reference(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)).ravel()
        array([ 5.,  7., 13., 15.], dtype=float32)
        >>> op.is_composite, op.has_gradient, op.symbols(), op.bind({"N": 2}) == op
        (False, True, frozenset(), True)
        >>> op.indices(image), op.regions(), "kernel_size" in op.kinds()
        ({}, [], True)
        >>> op.check()
        >>> op.check_run(image.bind({"N": 2}))

        What an op is made of, and how its gradient is written:

        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> b = cauce.ir.Builder(graph)
        >>> linear = next(node for node in graph.nodes if node.op.name == "linear")
        >>> linear.op.decompose(b, *linear.operands)
        <%add: f32[N,84]>
        >>> relu = next(node for node in graph.nodes if node.op.name == "relu")
        >>> relu.op.gradient(b, relu, relu.result)[0].type == relu.operands[0].type
        True
    """

    name: ClassVar[str]
    operands: ClassVar[tuple[str, ...]] = ("x",)
    results: ClassVar[tuple[str, ...]] = ("y",)
    flops_per_element: ClassVar[int | None] = None
    elementwise: ClassVar[bool] = False
    zero_gradient: ClassVar[bool] = False
    collective: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        values = vars(self)
        for name in self._names:
            coerce = ATTRIBUTE_KINDS[str(self._kinds[name])]
            values[name] = coerce(values[name], name)
        self.check()

    def check(self) -> None:
        """Check the attributes together, once each has its canonical form.

        Raises:
            AttributeMistake: values that cannot be.
        """

    def infer(self, *args: Any, **kwargs: Any) -> Types:
        """The result types, from the operand types.

        Raises:
            ShapeError: shapes that do not fit.
            TypeMismatch: a dtype the op does not take.
            NotImplementedError: the class has none.
        """
        raise NotImplementedError

    def check_run(self, *operands: TensorType) -> None:
        """Check the sizes of a run, all of them known, beyond what :meth:`infer` asks.

        A graph may hold a node that cannot run: of a network of one image, say, the training form.

        Raises:
            ShapeError: sizes with which no run makes sense.
        """

    def reference(self, *args: Any, **kwargs: Any) -> Arrays:
        """The results, from the operand arrays: short, obviously right, the oracle of everything.

        Symbols in the attributes are replaced by sizes before this is called.

        Raises:
            NotImplementedError: the class has none.
        """
        raise NotImplementedError

    def gradient(self, *args: Any, **kwargs: Any) -> Gradients:
        """Write the gradient of a node: ``gradient(b, node, *dys)``.

        ``b`` is a :class:`Builder` that writes into the graph of ``node``, which gives operands and
        results; ``dys`` are the gradients of the loss by each result, None where one is zero.

        Returns:
            One value for each operand, or None where it is zero or not defined (integers).

        Raises:
            UnsupportedOp: the op has no gradient rule.
        """
        if self.zero_gradient:
            node: Node = args[1]
            return (None,) * len(node.operands)
        if self.is_composite:
            raise UnsupportedOp(f"{self.name} is differentiated through its decomposition")
        raise UnsupportedOp(
            f"{self.name} has no gradient rule",
            fix=f"write {type(self).__name__}.gradient, or keep it out of the path to the loss",
        )

    def decompose(self, *args: Any, **kwargs: Any) -> Values:
        """Write the op as others it is made of, for composites: ``decompose(b, *operands)``.

        Raises:
            UnsupportedOp: the op is not made of others.
        """
        raise UnsupportedOp(f"{self.name} is a primitive: it does not decompose")

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Dim:
        """Floating-point operations; one for each result element unless an op says otherwise."""
        if self.flops_per_element is None:
            return product_sum(results)
        return self.flops_per_element * operands[0].size

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        """FLOPs, and the bytes of all operands and results, each touched once."""
        return Cost(self.flops(operands, results), sum(t.nbytes for t in (*operands, *results)))

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        """The places of operands that are indices, each with the size that they choose among."""
        return {}

    def regions(self) -> list[Graph]:
        """The attributes that are graphs."""
        from .graph import Graph

        return [value for _, value in self.attributes() if isinstance(value, Graph)]

    @property
    def is_composite(self) -> bool:
        """Whether the op is made of others (has a ``decompose``)."""
        return type(self).decompose is not Op.decompose

    @property
    def has_gradient(self) -> bool:
        """Whether the op has a gradient, of its own or through its decomposition."""
        own = type(self).gradient is not Op.gradient or self.zero_gradient
        return own or self.is_composite

    @classmethod
    @cache
    def arity(cls) -> tuple[int, int | None]:
        """The least and the greatest number of operands; None for no limit."""
        least = sum(not operand.endswith("?") and operand[0] != "*" for operand in cls.operands)
        many = any(operand[0] == "*" for operand in cls.operands)
        return least, None if many else len(cls.operands)

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """The attributes in order, each with its value."""
        for name in self._names:
            yield name, getattr(self, name)

    @classmethod
    def kinds(cls) -> Mapping[str, Any]:
        """The annotation of each attribute, in order."""
        return cls._kinds

    @classmethod
    @cache
    def defaults(cls) -> Mapping[str, Any]:
        """The attributes that may be left out, each with its value then."""
        kinds = {name: ATTRIBUTE_KINDS[str(kind)] for name, kind in cls._kinds.items()}
        return {name: kinds[name](value, name) for name, value in cls._defaults.items()}

    def with_attributes(self: OpT, **changes: Any) -> OpT:
        """The same op with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def symbols(self) -> frozenset[str]:
        """The names of the dimension symbols in the attributes."""
        return frozenset().union(*(_symbols(value) for _, value in self.attributes()))

    def bind(self: OpT, bindings: Mapping[str, int]) -> OpT:
        """The op with symbols in its attributes replaced by sizes."""
        if not self.symbols():
            return self
        return self.with_attributes(
            **{name: _bind(value, bindings) for name, value in self.attributes()}
        )


OpT = TypeVar("OpT", bound=Op)


def product_sum(types: Sequence[TensorType]) -> Dim:
    """The number of elements of all ``types`` together."""
    return sum(type_.size for type_ in types)


def _symbols(value: object) -> frozenset[str]:
    if isinstance(value, DimExpr):
        return dim_symbols(value)
    if isinstance(value, tuple):
        return frozenset().union(*(_symbols(item) for item in value))
    return frozenset()


def _bind(value: object, bindings: Mapping[str, int]) -> object:
    if isinstance(value, DimExpr):
        return substitute(value, bindings)
    if isinstance(value, tuple):
        return tuple(_bind(item, bindings) for item in value)
    return value


_REGISTRY: dict[str, type[Op]] = {}


@user_facing
def register(cls: type[OpT]) -> type[OpT]:
    """Class decorator: make the op known by its name.

    Its ``infer`` says which shapes and dtypes it takes.

    Args:
        cls: the class, whose fields are the attributes.

    Raises:
        GraphError: another op has that name, or an attribute is annotated as what none can be.

    Examples:
        A class in a file that begins with ``from __future__ import annotations``:

        >>> from cauce.ir import Op, evaluate, lookup, parse, register
        >>> @register
        ... class Sevenfold(Op):
        ...     name = "sevenfold"
        ...     def infer(self, x): return x
        ...     def reference(self, x): return 7 * x
        >>> lookup("sevenfold") is Sevenfold
        True
        >>> text = "graph g(%x: f32[N]) -> f32[N] { %y = sevenfold(%x) : f32[N] return %y }"
        >>> evaluate(parse(text), {"x": [1.0, 2.0]}).outputs["y"]
        array([ 7., 14.], dtype=float32)
        >>> del cauce.ir.op._REGISTRY["sevenfold"]  # for the examples that follow
    """
    for name, kind in cls._kinds.items():
        if str(kind) not in ATTRIBUTE_KINDS:
            raise GraphError(
                f"{cls.__name__}.{name} is annotated as {kind}, no kind of attribute",
                fix="let the file begin with from __future__ import annotations, and use "
                "int, float, bool, str, DType, Dim, Pair, ..., or tuple[int, ...], or int | None",
            )
    if not cls.__module__.startswith(__package__):
        import_all()  # so that a name that an op of cauce has is found taken
    known = _REGISTRY.get(cls.name)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise GraphError(
            f"an op called {cls.name!r} is registered already ({known.__module__})",
            fix="give the new op a name of its own",
        )
    _REGISTRY[cls.name] = cls
    return cls


def registry() -> Mapping[str, type[Op]]:
    """All registered ops by name; each class says the shapes and dtypes that it takes.

    Examples:
        >>> cauce.ir.registry()["relu"].operands
        ('x',)
    """
    import_all()
    return _REGISTRY


def is_registered(op: Op) -> bool:
    """Whether the class of an op is the one that is registered under its name."""
    return _REGISTRY.get(op.name) is type(op)


def import_all() -> None:
    """Import the families of ops that only some networks have, which registers them."""
    from . import ops

    ops.import_all()


def lookup(name: str) -> type[Op]:
    """The op called ``name``, whose class says the shapes and dtypes that it takes.

    Raises:
        UnsupportedOp: there is none; the message names the nearest.

    Examples:
        >>> op = cauce.ir.lookup("conv2d")(padding=1)
        >>> op.padding, op.operands
        (((1, 1), (1, 1)), ('x', 'weight', 'bias?'))
    """
    from . import ops  # noqa: F401  (registers most of them)

    found = _REGISTRY.get(name) or registry().get(name)
    if found is not None:
        return found
    raise UnsupportedOp(
        f"there is no op called {name!r}",
        fix=did_you_mean(name, _REGISTRY, "`cauce ops` and docs/ops.md list them"),
    )
