"""Where do two ways of running a network begin to differ? Node by node, with the user's lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .backends.executable import TAP
from .compiler import compile
from .frontends.model import Model
from .ir import Array, Graph, Location, Role, Value, evaluate
from .ir.attributes import not_negative
from .ir.display import html_of
from .ir.errors import AttributeMistake, GraphError
from .ir.evaluate import check_feeds
from .ir.tracebacks import user_facing
from .ir.validation import difference
from .peer import in_onnxruntime

REFERENCE = "reference"
ONNX_RUNTIME = "onnxruntime"
Feeds = Mapping[str, object]


@dataclass(frozen=True)
class NodeDifference:
    """One value of the graph: max|a - b| / max|b| between a backend and the first one.

    Attributes:
        kept: whether the program gives every value of the graph; False for one that the passes and
            the backend may join as they do for a user.

    Examples:
        >>> model = cauce.network(lambda x: nn.relu(x)).init(x=(3,))
        >>> row = cauce.compare(model, np.float32([-1, 0, 2])).rows[0]
        >>> row.value, row.op, row.backend, row.difference
        ('relu1', 'relu', 'numpy', 0.0)
    """

    value: str
    op: str
    backend: str
    difference: float
    loc: Location | None
    kept: bool = True


@dataclass(frozen=True, repr=False)
class Comparison:
    """What :func:`compare` found, of arrays of any shape and dtype.

    Attributes:
        rows: for every backend but the first every value, in the order of the graph; then for
            every backend outputs and updates, of the graph as :func:`cauce.compile` compiles it.
        tolerance: what counts as a difference.
        narrowed: where these alone differ on a backend, the first value that does so as a further
            output.

    Examples:
        >>> model = models.lenet5.init(image=("N", 1, 28, 28), seed=0)
        >>> found = cauce.compare(model, np.ones((1, 1, 28, 28), np.float32))
        >>> found.first
        >>> found.largest < found.tolerance
        True
    """

    rows: tuple[NodeDifference, ...]
    tolerance: float
    narrowed: tuple[NodeDifference, ...] = ()

    @property
    def first(self) -> NodeDifference | None:
        """The first value that differs by more than the tolerance; None where none does."""
        kept = (row for row in self.rows if row.kept)
        found = (row for row in (*kept, *self.narrowed, *self.rows) if self._differs(row))
        return next(found, None)

    @property
    def largest(self) -> float:
        """The largest difference of all."""
        return max((row.difference for row in self.rows), default=0.0)

    def _differs(self, row: NodeDifference) -> bool:
        return row.difference > self.tolerance

    def __repr__(self) -> str:
        return f"<Comparison: {str(self).partition(chr(10))[0]}>"

    def _repr_html_(self) -> str | None:
        """The largest differences for a notebook, as a table."""
        return html_of("comparison", self)

    def __str__(self) -> str:
        first, count = self.first, sum(row.kept for row in self.rows)
        if first is None:
            return f"all {count} values agree, the largest difference is {self.largest:.1e}"
        where = "\n" + first.loc.describe("  ") if first.loc else ""
        found = (
            f"%{first.value} = {first.op} differs first: by {first.difference:.1e} "
            f"on {first.backend}{where}"
        )
        if first.kept:
            return found
        joined = [row for row in self.rows if row.backend == first.backend and not row.kept]
        names = dict.fromkeys(f"%{row.value}" for row in joined if self._differs(row))
        return (
            f"{found}\n  It does so in the program that compile makes, which gives a wrong "
            f"{', '.join(names)}.\n  All {count} values agree where each is an output, so passes "
            "or the backend join nodes wrongly: Executable.plan() shows which"
        )


@user_facing
def compare(
    model: Model | Graph,
    inputs: Mapping[str, object] | Sequence[object] | Array,
    backends: Sequence[str] = (REFERENCE, "numpy"),
    tolerance: float = 1e-4,
) -> Comparison:
    """Run every node on several backends and find the first whose results differ.

    The graph is compiled twice for each backend. Once it is so without passes and with every value
    as an output, so that every node is there to be seen; what nodes become together, a convolution
    with its activation say, is not seen in this way. So it is compiled as :func:`cauce.compile`
    does, too, and its outputs and updates are compared. Where these alone differ, the value at
    which they begin to is looked for by compiling the graph again with one value beside the
    outputs, some ten times for a hundred nodes.

    Inputs have the shapes and dtypes of the graph; differences are of float64.

    Args:
        model: a model (its inference graph is run), or a graph.
        inputs: one array, arrays in order, or by name; for a graph, all its inputs by name.
        backends: the first is what the others are held against; ``"reference"`` is the plain
            evaluator, ``"onnxruntime"`` runs what ``export_onnx`` writes.
        tolerance: the largest max|a - b| / max|b| that counts as equal.

    Raises:
        AttributeMistake: fewer than two backends; a tolerance that is none.
        GraphError: another number of arrays, or a missing one.
        ShapeError, TypeMismatch: an array that does not fit.
        MissingExtra: a backend, or ONNX Runtime, that is not installed.

    Examples:
        >>> model = models.lenet5.init(image=("N", 1, 28, 28), seed=0)
        >>> found = cauce.compare(model, np.ones((1, 1, 28, 28), np.float32))
        >>> found.first is None, found.largest < 1e-5
        (True, True)
        >>> found.rows[0].value, found.rows[0].op, found.rows[0].backend
        ('c1', 'conv2d', 'numpy')
    """
    tolerance = not_negative(tolerance, "tolerance", "write tolerance=1e-4, or leave it out")
    if len(backends) < 2:
        raise AttributeMistake(
            f"comparing takes two backends or more, got {list(backends)}",
            fix='pass for example backends=("reference", "numpy")',
        )
    graph = model.graph if isinstance(model, Model) else model
    feeds = {**(model.state_dict() if isinstance(model, Model) else {}), **_named(graph, inputs)}
    feeds = {value.name: feeds[value.name] for value in graph.inputs if value.name in feeds}
    kept = {name: _all_values(graph, feeds, name) for name in backends}
    given = check_feeds(graph.inputs, feeds, graph.name)
    base = {**{v.name: a for v, a in zip(graph.inputs, given)}, **kept[backends[0]]}
    rows = [
        _row(value, name, kept[name][value.name], base)
        for node in graph.nodes
        for value in node.results
        for name in backends[1:]
    ]
    # The first backend joins nodes, too.
    joining = [name for name in backends if name != REFERENCE]
    leaving = {name: _leaving(graph, feeds, name) for name in joining}
    ends = dict.fromkeys((*graph.outputs.values(), *graph.updates.values()))
    joined = [
        _row(value, name, leaving[name][value], base, kept=False)
        for value in ends
        for name in joining
    ]
    narrowed = []
    for name in joining:
        own = (row for row in (*rows, *joined) if row.backend == name)
        differ = [row for row in own if row.difference > tolerance]
        if differ and not differ[0].kept:
            narrowed.append(_Narrowing(graph, feeds, name, base, tolerance).first(differ[0]))
    return Comparison((*rows, *joined), tolerance, tuple(narrowed))


def _named(
    graph: Graph, inputs: Mapping[str, object] | Sequence[object] | Array
) -> dict[str, object]:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    names = [value.name for value in graph.inputs_with(Role.DATA)]
    arrays = [inputs] if len(names) == 1 and not isinstance(inputs, (tuple, list)) else list(inputs)
    if len(arrays) != len(names):
        raise GraphError(
            f"{graph.name} takes ({', '.join(names)}), got {len(arrays)} arrays",
            fix="give an array for each, in this order or by name",
        )
    return dict(zip(names, arrays))


def _all_values(graph: Graph, feeds: Feeds, backend: str) -> dict[str, Array]:
    if backend == REFERENCE:
        seen: dict[str, Array] = {}
        evaluate(graph, feeds, watch=lambda value, array: seen.__setitem__(value.name, array))
        return seen
    bare = graph.copy()
    bare.updates.clear()
    bare.outputs = {value.name: value for node in bare.nodes for value in node.results}
    if backend == ONNX_RUNTIME:
        return in_onnxruntime(bare, feeds)
    executable = compile(bare, backend, passes=())
    executable.load_state_dict(feeds)
    called = {value.name for value in executable.inputs}
    return executable.run({name: array for name, array in feeds.items() if name in called})


def _row(
    value: Value, backend: str, array: Array, base: Mapping[str, Array], kept: bool = True
) -> NodeDifference:
    gap = difference(array, base[value.name])
    op = value.node.op.name if value.node else "input"
    return NodeDifference(value.name, op, backend, gap, value.loc, kept)


def _leaving(graph: Graph, feeds: Feeds, backend: str) -> dict[Value, Array]:
    """What outputs and updates are in the program that a user compiles."""
    if backend == ONNX_RUNTIME:
        left = in_onnxruntime(graph, feeds)
        return {
            **{value: left[f"{target.name}.new"] for target, value in graph.updates.items()},
            **{value: left[name] for name, value in graph.outputs.items()},
        }
    executable = compile(graph, backend)
    executable.load_state_dict(feeds)
    updated = {target.name: feeds[target.name] for target in graph.updates}
    state = executable.new_state(updated) if updated else None
    found = executable.run({v.name: feeds[v.name] for v in executable.inputs}, state)
    after = state.read() if state else {}
    return {
        **{value: after[target.name] for target, value in graph.updates.items()},
        **{value: found[name] for name, value in graph.outputs.items()},
    }


class _Narrowing:
    """Looks for the first value that differs in a program that joins nodes.

    Each value tried is one more output of the graph, which is compiled anew.
    """

    def __init__(
        self, graph: Graph, feeds: Feeds, backend: str, base: Mapping[str, Array], tolerance: float
    ) -> None:
        self.graph, self.feeds, self.backend = graph, feeds, backend
        self.base, self.tolerance = base, tolerance
        self._rows: dict[str, NodeDifference] = {}

    def first(self, end: NodeDifference) -> NodeDifference:
        """The first value, of those that an output or an update is made of, that differs while all
        that it is computed from agree."""
        self._rows[end.value] = end
        value = self.graph.value(end.value)
        while True:
            value = self._halve(value)
            operands = value.node.operands if value.node else ()
            wrong = [operand for operand in operands if operand.node and self._differs(operand)]
            if not wrong:
                return self._row(value)
            value = wrong[0]

    def _halve(self, value: Value) -> Value:
        """A value that differs, of which the one before it, in order, agrees."""
        line = [*_made_of(value), value]
        low, high = 0, len(line) - 1
        while low < high:
            middle = (low + high) // 2
            if self._differs(line[middle]):
                high = middle
            else:
                low = middle + 1
        return line[high]

    def _differs(self, value: Value) -> bool:
        return self._row(value).difference > self.tolerance

    def _row(self, value: Value) -> NodeDifference:
        if value.name not in self._rows:
            graph = self.graph.copy()
            own = graph.value(value.name)
            graph.outputs.setdefault(f"{TAP}{value.name}", own)
            array = _leaving(graph, self.feeds, self.backend)[own]
            self._rows[value.name] = _row(value, self.backend, array, self.base, kept=False)
        return self._rows[value.name]


def _made_of(value: Value) -> list[Value]:
    """The results that ``value`` is computed from, in order."""
    needed, found = {value}, []
    for node in value.node.graph.nodes_reversed if value.node else ():
        if needed.intersection(node.results):
            needed.update(node.operands)
            found += [result for result in reversed(node.results) if result in needed]
    return [result for result in reversed(found) if result is not value]
