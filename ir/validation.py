"""Translation validation: the reference is run before and after each pass, on random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import CompileError
from .evaluate import evaluate
from .graph import Graph, Input, Role
from .pass_manager import Instrument, Pass
from .types import Array

Feeds = dict[str, Array]


def random_feeds(graph: Graph, sizes: Mapping[str, int] | None = None, seed: int = 0) -> Feeds:
    """Random arrays for every input of ``graph``.

    Floats: data and parameters are normal, state (running variances, say) lies in 0.5..1.5 and
    hyperparameters are 0.1. Integers and bools are 0 or 1, which every class index may be.

    Args:
        graph: whose inputs to feed.
        sizes: the sizes of symbols; 2 for those not given.
        seed: of the random generator.
    """
    rng = np.random.default_rng(seed)
    bindings = dict.fromkeys(graph.symbols(), 2) | dict(sizes or {})
    return {value.name: _random(value, bindings, rng) for value in graph.inputs}


def _random(value: Input, bindings: Mapping[str, int], rng: np.random.Generator) -> Array:
    dtype = value.type.dtype
    shape = tuple(int(dim) for dim in value.type.bind(bindings).shape)  # type: ignore[arg-type]
    if not dtype.is_float:
        return rng.integers(0, 2, shape).astype(dtype.numpy)
    if value.role is Role.HYPERPARAMETER:
        return dtype.round(np.full(shape, 0.1))
    if value.role is Role.STATE:
        return dtype.round(rng.uniform(0.5, 1.5, shape))
    return dtype.round(rng.standard_normal(shape))


def perturbed(feeds: Feeds, relative: float | None = None, seed: int = 0) -> Feeds:
    """The arrays with every float moved a little: by at most ``relative`` of itself, or in its last
    digits where that is None."""
    rng = np.random.default_rng(seed)
    moved = {}
    for name, array in feeds.items():
        if array.dtype.kind == "f":
            step = 4 * np.finfo(array.dtype).eps if relative is None else relative
            array = (array * (1 + rng.uniform(-step, step, array.shape))).astype(array.dtype)
        moved[name] = array
    return moved


def difference(left: Array, right: Array) -> float:
    """max|left - right| / max|right|, with equal infinities and NaNs taken as equal."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return float("inf")
    if not left.size:
        return 0.0
    if left.dtype.kind in "biu":
        return 0.0 if np.array_equal(left, right) else float("inf")
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if same.all():
        return 0.0
    with np.errstate(invalid="ignore"):
        gap = np.abs(left - right)[~same].max()
    scale = np.abs(right[np.isfinite(right)]).max(initial=0.0)
    return float("inf") if not np.isfinite(gap) else float(gap / scale if scale else gap)


@dataclass
class TranslationValidation(Instrument):
    """Raises CompileError when a pass changes what a graph computes.

    A result may move by the tolerance, and by what it moves when the inputs change in their last
    digits, a hundred times over: a gradient that is zero but for rounding (that of a bias before a
    batch norm) is another one each time it is computed. Where the text of the graph is as before,
    the pass changed nothing, and nothing is run.

    Args:
        feeds: gives arrays for the inputs of a graph; :func:`random_feeds` by default. After a pass
            that puts sizes in the place of symbols they have these sizes.
        tolerance: the largest relative difference allowed, by the bytes of a float.
    """

    feeds: Callable[[Graph], Feeds] = random_feeds
    tolerance: Mapping[int, float] = field(default_factory=lambda: {8: 1e-9, 4: 1e-4, 2: 5e-2})
    _before: Graph = field(default_factory=Graph)

    def before(self, pass_: Pass, graph: Graph) -> None:
        self._before = graph.copy()

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        if graph.same_as(self._before):
            return
        inputs = self.feeds(_sized(self._before, graph))
        before = self._results(self._before, inputs)
        moved = self._results(self._before, perturbed(inputs))
        after = self._results(graph, inputs)
        if after.keys() != before.keys():
            raise CompileError(f"pass {pass_.name} changed the outputs of {graph.name}")
        values = (*graph.outputs.values(), *graph.updates.values())
        for (name, array), value in zip(after.items(), values):
            gap = difference(array, before[name])
            noise = 100 * difference(moved[name], before[name])
            allowed = self.tolerance.get(value.type.dtype.itemsize, 0.0) + noise
            if gap > allowed:
                raise CompileError(
                    f"pass {pass_.name} changed output {name}: by {gap:.2e} relative, "
                    f"where {allowed:.2e} is allowed"
                )

    def _results(self, graph: Graph, feeds: Feeds) -> dict[str, Array]:
        known = {value.name for value in graph.inputs}
        result = evaluate(graph, {name: feeds[name] for name in feeds if name in known})
        updates = {f"update {name}": array for name, array in result.updates.items()}
        return {**result.outputs, **updates}


def _sized(before: Graph, after: Graph) -> Graph:
    """``before``; where inputs have other types after the pass, these inputs alone."""
    types = {value.name: value.type for value in after.inputs}
    if all(types.get(value.name, value.type) == value.type for value in before.inputs):
        return before
    sized = Graph(before.name)
    for value in before.inputs:
        sized.add_input(value.name, types.get(value.name, value.type), value.role)
    return sized
