"""Where do two ways of running a network begin to differ? Node by node, with the user's lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .compiler import compile
from .frontends.model import Model
from .ir import Array, Graph, Location, Role, evaluate
from .ir.errors import AttributeMistake, GraphError
from .ir.tracebacks import user_facing
from .ir.validation import difference

REFERENCE = "reference"


@dataclass(frozen=True)
class NodeDifference:
    """One value of the graph: max|a - b| / max|b| between a backend and the first one."""

    value: str
    op: str
    backend: str
    difference: float
    loc: Location | None


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        rows: every value, in the order of the graph, for every backend but the first.
        tolerance: what counts as a difference.
    """

    rows: tuple[NodeDifference, ...]
    tolerance: float

    @property
    def first(self) -> NodeDifference | None:
        """The first value that differs by more than the tolerance; None where none does."""
        return next((row for row in self.rows if row.difference > self.tolerance), None)

    @property
    def largest(self) -> float:
        """The largest difference of all."""
        return max((row.difference for row in self.rows), default=0.0)

    def __str__(self) -> str:
        first = self.first
        if first is None:
            return (
                f"all {len(self.rows)} values agree, the largest difference is {self.largest:.1e}"
            )
        where = "\n" + first.loc.describe("  ") if first.loc else ""
        return (
            f"%{first.value} = {first.op} differs first: by {first.difference:.1e} "
            f"on {first.backend}{where}"
        )


@user_facing
def compare(
    model: Model | Graph,
    inputs: Mapping[str, object] | Sequence[object] | Array,
    backends: Sequence[str] = (REFERENCE, "numpy"),
    tolerance: float = 1e-4,
) -> Comparison:
    """Run every node on several backends and find the first whose results differ.

    The graph is compiled as it stands, without passes, so that every node is there to be seen.

    Args:
        model: a model (its inference graph is run), or a graph.
        inputs: one array, arrays in order, or by name; for a graph, all its inputs by name.
        backends: the first is what the others are held against; ``"reference"`` is the plain
            evaluator.
        tolerance: the largest max|a - b| / max|b| that counts as equal.

    Raises:
        AttributeMistake: fewer than two backends.
    """
    if len(backends) < 2:
        raise AttributeMistake(
            f"comparing takes two backends or more, got {list(backends)}",
            fix='pass for example backends=("reference", "numpy")',
        )
    graph = model.graph if isinstance(model, Model) else model
    feeds = {**(model.state_dict() if isinstance(model, Model) else {}), **_named(graph, inputs)}
    feeds = {value.name: feeds[value.name] for value in graph.inputs if value.name in feeds}
    results = {name: _all_values(graph, feeds, name) for name in backends}
    base = results[backends[0]]
    rows = [
        NodeDifference(
            value.name,
            node.op.name,
            name,
            difference(results[name][value.name], base[value.name]),
            node.loc,
        )
        for node in graph.nodes
        for value in node.results
        for name in backends[1:]
    ]
    return Comparison(tuple(rows), tolerance)


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


def _all_values(graph: Graph, feeds: Mapping[str, object], backend: str) -> dict[str, Array]:
    if backend == REFERENCE:
        seen: dict[str, Array] = {}
        evaluate(graph, feeds, watch=lambda value, array: seen.__setitem__(value.name, array))
        return seen
    bare = graph.copy()
    bare.updates.clear()
    bare.outputs = {value.name: value for node in bare.nodes for value in node.results}
    executable = compile(bare, backend, passes=())
    executable.load_state_dict(feeds)
    called = {value.name for value in executable.inputs}
    return executable.run({name: array for name, array in feeds.items() if name in called})
