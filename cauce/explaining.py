"""Numbers that can be touched: how each element of a small network came about. ``explain``."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence

from .frontends.model import Model
from .frontends.open_model import OpenModel
from .ir import Array, Graph, Input, Node, Role, Value, evaluate
from .ir.attributes import flag
from .ir.dims import substitute
from .ir.errors import GraphError, ShapeError, did_you_mean, need
from .ir.evaluate import bind_symbols, check_feeds
from .ir.explain import Explanation, can_explain
from .ir.tracebacks import user_facing
from .pages.explain_page import Computed, explain_page
from .pages.page import Page

# Operations of the nodes that are explained: every term of every element is on the page.
_MOST_OPERATIONS = 400_000
# Operations of all nodes, which the plain reference computes.
_MOST_OF_ALL = 2_000_000_000


@user_facing
class Explained:
    """A graph that was run, and how each of its elements came about.

    In a notebook it is a page: choose an element of a result by mouse or arrow keys, and see the
    window, the products, the sum and the formula with the numbers put in.

    Attributes:
        graph: the graph that was run.
        arrays: what each of its values was, by name.
        nodes: those that are on the page, in order.

    Args:
        graph: see above.
        nodes: see above.
        feeds: an array for each input, of its shape and dtype, by name.
        bindings: the sizes of the symbols.

    Examples:
        >>> @cauce.network
        ... def net(x):
        ...     return nn.relu(x)
        >>> found = cauce.explain(net.init(x=("N", 2)), np.array([[-1.0, 2.0]], np.float32))
        >>> found, found.arrays["relu1"]
        (<net explained: 1 of 1 nodes>, array([[0., 2.]], dtype=float32))
        >>> print(found.text("relu1", (0, 1)))  # doctest: +ELLIPSIS
        y[0,1] of relu
          ...
            x[0,1]: 2
          y = relu(x = 2) = 2
          y[0,1] = 2
        >>> float(found.explanation("relu1", (0, 0)).value)
        0.0
        >>> found.save("relu.html", start="relu1")
        >>> found.page().title
        'net, number by number'
    """

    def __init__(
        self,
        graph: Graph,
        nodes: Sequence[Node],
        feeds: Mapping[str, Array],
        bindings: Mapping[str, int],
    ) -> None:
        self.graph = graph
        self.nodes = list(nodes)
        self.arrays: dict[str, Array] = {}
        self._bindings = dict(bindings)
        evaluate(graph, feeds, watch=self._keep)
        self._page: Page | None = None

    def _keep(self, value: Value, array: Array) -> None:
        self.arrays[value.name] = array

    def explanation(
        self, name: str, index: Sequence[int], result: str | None = None
    ) -> Explanation:
        """How one element came about, as data.

        Args:
            name: of a value, or a layer path, of which the last node that can be explained is
                taken.
            index: where the element stands; negative ones count from the end.
            result: of which result of the node, where a path is given: ``"mean"``.

        Raises:
            GraphError: there is no such value or layer, or no such result.
            UnsupportedOp: it is computed by an op that cannot be explained.
            OutOfRange: there is no such element.
        """
        node, place = self._found(name)
        if result is not None:
            if result not in node.op.results:
                raise GraphError(
                    f"{node.op.name} has no result called {result!r}",
                    fix=f"its results are {', '.join(node.op.results)}",
                )
            place = node.op.results.index(result)
        return self._computed(node).explanation(index, place)

    def text(self, name: str, index: Sequence[int], result: str | None = None) -> str:
        """How one element came about, as text; see :meth:`explanation`."""
        return str(self.explanation(name, index, result))

    def _found(self, name: str) -> tuple[Node, int]:
        """The node that a value or a layer path names, and which of its results."""
        need(name, str, "a value or a layer is named by text", "write for example 'conv1'")
        for node in self.graph.nodes:
            for place, value in enumerate(node.results):
                if value.name == name:
                    return node, place
        explained = [node for node in self.graph.nodes if can_explain(node.op)]
        of_layer = [node for node in explained if node.path == name]
        if of_layer:
            return of_layer[-1], 0
        if any(value.name == name for value in self.graph.inputs):
            raise GraphError(f"{name} is an input: nothing computes it", fix=self._choices())
        known = [value.name for node in explained for value in node.results]
        raise GraphError(
            f"{self.graph.name} computes no value called {name!r}",
            fix=did_you_mean(name, known, self._choices()),
        )

    def _choices(self) -> str:
        names = [value.name for node in self.nodes for value in node.results]
        more = ", ..." if len(names) > 8 else ""
        return f"choose one of {', '.join(names[:8])}{more}"

    def _computed(self, node: Node) -> Computed:
        operands, results = (
            [self.arrays[value.name] for value in values]
            for values in (node.operands, node.results)
        )
        return Computed(node, node.op.bind(self._bindings), operands, results)

    def page(self, start: str | None = None) -> Page:
        """The page, with the value ``start`` shown first."""
        title = f"{self.graph.name}, number by number"
        return explain_page(title, map(self._computed, self.nodes), start)

    def save(self, path: str | os.PathLike[str], start: str | None = None) -> None:
        """Write the page as one HTML file, all of it or nothing.

        Raises:
            MissingFile: there is no such folder, or ``path`` is one.
            OSError: the file cannot be written.
        """
        self.page(start).save(path)

    def _repr_html_(self) -> str:
        if self._page is None:
            self._page = self.page()
        return self._page._repr_html_()

    def __repr__(self) -> str:
        count = sum(1 for _ in self.graph.nodes)
        return f"<{self.graph.name} explained: {len(self.nodes)} of {count} nodes>"


@user_facing
def explain(
    model: Model | Graph,
    x: object = None,
    *,
    training: bool = False,
    layers: Sequence[str] | None = None,
) -> Explained:
    """How each number of a small network came about: in a notebook, a file, or as text.

    The graph runs by the plain reference, and every value is kept. Convolutions and their
    transposes, linear layers, matrix products, pooling of all kinds, batch norms, softmax, dropout
    and all elementwise ops are explained; other nodes run, and are not on the page.

    Args:
        model: a model, or a graph.
        x: an array for the one data input, of its shape and dtype; for several, arrays by name, or
            a list in order. Of a graph the values of its parameters are given too, by name.
        training: whether the training form of a model is run: batch norms with the statistics of
            the batch, dropout with the draws of the model's random key.
        layers: the layers that the page shows, by their paths or by patterns of the shell, where
            all of them are too much; ``text`` explains any other too.

    Raises:
        GraphError: a missing or unknown input; ``training`` of a graph; a pattern that no layer
            matches.
        ShapeError: an input that does not fit, or a network that is too large to be shown number by
            number.
        TypeMismatch: an array of another dtype.

    Examples:
        >>> @cauce.network
        ... def net(image):
        ...     return nn.max_pool2d(image, 2)
        >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        >>> print(cauce.explain(net.init(image=x.shape), x).text("max_pool1", (0, 0, 0, 1)))
        y[0,0,0,1] of max_pool2d
          y[n,c,i,j] = max of x[n,c,a,b] over the cells (a, b) of window (i, j); NaN wins
            x[0,0,0,2]: 2
            x[0,0,0,3]: 3
            x[0,0,1,2]: 6
            x[0,0,1,3]: 7  <- counts
          y = max(2, 3, 6, 7)
          y[0,0,0,1] = 7
    """
    fix = "make a model with network.init(...)"
    need(model, (Model, Graph), "explain takes a Model or a Graph", fix)
    training = flag(training, "training")
    if isinstance(model, OpenModel):
        raise GraphError(
            f"{model.name} has a graph for each size", fix="load it with inputs= that fix its sizes"
        )
    if isinstance(model, Graph) and training:
        raise GraphError(
            "a graph is run as it stands, in training too",
            fix="pass the graph of training itself: cauce.explain(model.training_graph, feeds)",
        )
    values: Mapping[str, Array] = {}
    if isinstance(model, Model):
        graph, values = model.training_graph if training else model.graph, model.values
    else:
        graph = model
    graph = graph.copy()
    given = _by_name(graph, x)
    held = {v.name: values[v.name] for v in graph.inputs if v.name in values}
    arrays = check_feeds(graph.inputs, {**held, **given}, graph.name)
    bindings = bind_symbols([v.type for v in graph.inputs], arrays, names=graph.inputs)
    nodes = _chosen(graph, layers)
    _check_size(graph, nodes, bindings)
    feeds = {value.name: array for value, array in zip(graph.inputs, arrays)}
    return Explained(graph, nodes, feeds, bindings)


def _chosen(graph: Graph, layers: Sequence[str] | None) -> list[Node]:
    """The nodes that are shown: those that can be explained, of the layers that were asked for.

    Raises:
        GraphError: a pattern that none of them matches.
    """
    nodes = [node for node in graph.nodes if can_explain(node.op)]
    if layers is None:
        return nodes
    need(layers, (list, tuple), "layers= takes a list of names", "write layers=['conv1']")
    paths = list(dict.fromkeys(node.path for node in nodes))
    wanted: set[str] = set()
    for pattern in layers:
        found = {pattern} & set(paths) or set(fnmatch.filter(paths, pattern))
        if not found:
            otherwise = f"choose from {', '.join(paths[:8])}{', ...' * (len(paths) > 8)}"
            raise GraphError(
                f"no layer of {graph.name} that can be explained is called {pattern!r}",
                fix=did_you_mean(pattern, paths, otherwise),
            )
        wanted |= found
    return [node for node in nodes if node.path in wanted]


def _by_name(graph: Graph, x: object) -> dict[str, object]:
    """The arrays that were given, by the names of their inputs."""
    if x is None:
        return {}
    if isinstance(x, Mapping):
        return dict(x)
    data: list[Input] = graph.inputs_with(Role.DATA)
    several = x if isinstance(x, (list, tuple)) and len(data) != 1 else [x]
    if len(several) != len(data):
        takes = ", ".join(f"{value.name}: {value.type}" for value in data)
        raise GraphError(
            f"{graph.name} takes ({takes}), got {len(several)} arrays",
            fix="give an array for each, in this order or by name",
        )
    return {value.name: array for value, array in zip(data, several)}


def _check_size(graph: Graph, nodes: Sequence[Node], bindings: Mapping[str, int]) -> None:
    """Refuse what has too many numbers to be looked at.

    Raises:
        ShapeError: it has.
    """

    def operations(some: Iterable[Node]) -> int:
        counts = (substitute(node.cost.flops, bindings) for node in some)
        return sum(count for count in counts if isinstance(count, int))

    shown, all_of_it = operations(nodes), operations(graph.nodes)
    if shown <= _MOST_OPERATIONS and all_of_it <= _MOST_OF_ALL:
        return
    total, most = (
        (shown, _MOST_OPERATIONS) if shown > _MOST_OPERATIONS else (all_of_it, _MOST_OF_ALL)
    )
    raise ShapeError(
        f"{graph.name} has {total:,} operations with this input, and {most:,} at most can be "
        "looked at number by number",
        fix="choose some layers, layers=['conv1'], one image, x[:1], or the corner of one, "
        "x[:1, :, :12, :12]",
    )
