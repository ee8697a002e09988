"""Random networks over the whole op registry, as a hypothesis strategy or from a seed.

:func:`networks` draws graphs: an image of random size with a symbolic batch, parameters, and nodes
written by *growers*, one for each registered op and some that let values meet in several roles
(``tests/growers_*.py``). A grower takes values that are there already, or adds an input, so that
ops meet in all combinations.

Values are kept tame, so that two right evaluations agree: logarithms get positive values, what
decides by comparing (``greater``, ``argmax``, ``sign``) gets values that no rounding has touched.
What is left of chaos (a maximum of nearly equal values, say) is filtered out by :func:`tame`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from cauce.ir import Array, DType, Graph, Op, Role, Value, evaluate
from cauce.ir.evaluate import bind_symbols, evaluate_node
from cauce.ir.ops.activation import Tanh
from cauce.ir.ops.elementwise import Add, Mul
from cauce.ir.ops.reduce import Mean
from cauce.ir.ops.update import SGDUpdate
from cauce.ir.rewrite import decompose_unless
from cauce.ir.validation import Feeds, difference, perturbed, random_feeds
from cauce.passes.autodiff import gradients

from .facets.sample import Draw
from .growers_roles import deep_convolution
from .net import SIZES, Grower, Net, growers, roles

# Every second op of a network is one of these, so that most look like what people train.
TYPICAL = (
    "conv2d",
    "relu",
    "batch_norm",
    "batch_norm_train",
    "max_pool2d",
    "avg_pool2d",
    "add",
    "mul",
    "linear",
    "flatten",
    "dropout",
    "pad",
    "concat",
    "transpose",
    "global_avg_pool2d",
)


def several() -> int:
    """How many networks a test tries: twice as many as other examples, thoroughly four times."""
    examples = settings.default.max_examples
    return (4 if examples >= 100 else 2) * examples


@st.composite
def networks(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    dtype: str = "f64",
    training: bool = False,
    *,
    symbols: Sequence[str] = ("N", "H", "W"),
    ops: Sequence[type[Op]] | None = None,
    include: Sequence[type[Op] | Grower] = (),
    most: int = 8,
) -> Graph:
    """A random network.

    Args:
        draw: given by hypothesis.
        dtype: of its floating-point values, f64 or f32.
        training: whether its outputs are a loss and the gradients by its parameters.
        symbols: which of N, H and W are symbols; the others are sizes.
        ops: the ops to choose from (a grower may need others beside them); all by default, and
            the growers that belong to no op.
        include: ops, or growers, that it holds in any case.
        most: the greatest number of other ops.
    """
    net = Net(Draw(draw, Op), DType.of(dtype), symbols)
    # The ops come from a seed: hypothesis would favour a few. Failures shrink to fewer of them.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    plan = planned(rng, draw(st.sampled_from(range(1, most + 1))), ops)
    for item in include:
        plan.insert(net.draw.int(0, len(plan)), item)
    grow(net, plan)
    finish(net, training)
    return net.graph


def planned(
    rng: np.random.Generator, count: int, ops: Sequence[type[Op]] | None = None
) -> list[type[Op] | Grower]:
    """So many ops, and growers that belong to none, at random; every third plan of all ops has a
    deep convolution beside them."""
    known = sorted(growers() if ops is None else ops, key=lambda op: op.name)
    typical = [op for op in known if op.name in TYPICAL] or known
    several = list(roles()) if ops is None else known
    plan: list[type[Op] | Grower] = []
    for _ in range(count):
        chance = rng.random()
        choices = typical if chance < 0.5 else known if chance < 0.85 else several
        plan.append(choices[rng.integers(len(choices))])
    if ops is None and rng.random() < 1 / 3:
        plan.insert(int(rng.integers(len(plan) + 1)), deep_convolution)
    return plan


def grow(net: Net, plan: Sequence[type[Op] | Grower]) -> None:
    """Let growers write into a network that holds an image."""
    net.image()
    for item in plan:
        net.grow(item)


def finish(net: Net, training: bool, step: bool | None = None) -> None:
    """Choose the outputs: most of what nothing reads (the rest is dead code), or a loss and its
    gradients; and sometimes a value from within, an input, or a value for another time.

    Args:
        net: a network that has grown.
        training: whether its outputs are a loss and the gradients by its parameters.
        step: whether parameters are updated from their gradients, which then are no outputs; each
            by chance where None.
    """
    outputs = net.graph.outputs
    inner = [value for value in net.live if value.node is not None]
    if inner and net.draw.int(0, 3) == 3:
        # Before the gradients: these may replace nodes by their decompositions.
        outputs["inner"] = net.draw.choice(*inner)
    if training:
        _finish_training(net, step)
    leaves = [value for value in _leaves(net.graph) if not net.graph.leaves(value)]
    for value in [v for v in leaves if net.draw.int(0, 5) < 5] or leaves[:1]:
        outputs[value.name] = value
    if not outputs or net.draw.int(0, 9) == 9:
        outputs["given"] = net.draw.choice(*net.graph.inputs)
    if net.draw.int(0, 9) == 9:
        outputs["again"] = net.draw.choice(*outputs.values(), *net.graph.updates.values())


def _leaves(graph: Graph) -> list[Value]:
    """The results that nothing reads."""
    return [v for node in graph.nodes for v in node.results if not v.users]


def _finish_training(net: Net, step: bool | None) -> None:
    """Make a loss of all the floats that nothing reads; outputs are it and its gradients."""
    at, graph = net.b, net.graph
    at.path, at.loc = "loss", None
    ends = [v for v in _leaves(graph) if net.is_float(v) and not graph.leaves(v)]
    ends = ends or [net.floating()]
    loss: Value | None = None
    for value in ends:
        part = at(Mean(), at(Mul(), value, at(Tanh(), value))) if value.type.rank else value
        loss = part if loss is None else at(Add(), loss, part)
    assert loss is not None
    parameters = graph.inputs_with(Role.PARAMETER)
    wrt = [v for v in parameters if net.is_float(v) and v not in graph.updates]
    wrt = wrt or [value for value in graph.inputs if net.is_float(value)]
    graph.outputs["loss"] = loss
    for value, grad in zip(wrt, gradients(graph, loss, wrt)):
        if grad is None:
            continue
        updated = net.draw.flag() if step is None else step
        if value.role is Role.PARAMETER and updated:
            graph.updates[value] = at(SGDUpdate(), value, grad, net.rate())
        else:
            graph.outputs[f"grad {value.name}"] = grad


def feeds_for(graph: Graph, seed: int = 0, sizes: Mapping[str, int] = SIZES) -> Feeds:
    """Arrays for the inputs of a drawn network."""
    return random_feeds(graph, sizes, seed)


def results_of(graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """Outputs and updates of a network by the reference; feeds it has no input for are ignored."""
    names = {value.name for value in graph.inputs}
    result = evaluate(graph, {name: feed for name, feed in feeds.items() if name in names})
    return {**result.outputs, **{f"update {name}": new for name, new in result.updates.items()}}


def tame(
    graph: Graph, feeds: Feeds, *, relative: float = 1e-13, amplification: float = 1e3
) -> bool:
    """Whether all results are finite, and change little where the inputs change a little.

    A network that is not tame cannot be compared between two right evaluations: near a kink or a
    tie, or where a result is rounding noise around 0. For f32, ``relative=1e-6`` and
    ``amplification=30`` suit a comparison to 1e-4.

    Where the inputs are moved, values that must be equal stay equal, and what only their roundings
    make is not seen: the variance of a constant channel, which a batch norm divides by. So f32 is
    also evaluated with other roundings.
    """
    before = results_of(graph, feeds)
    others = [results_of(graph, perturbed(feeds, relative))]
    if any(array.dtype == np.float32 for array in feeds.values()):
        others.append(otherwise_rounded(graph, feeds))
    return all(
        bool(np.isfinite(array).all())
        and all(difference(other[name], array) < relative * amplification for other in others)
        for name, array in before.items()
    )


def otherwise_rounded(graph: Graph, feeds: Feeds, seed: int = 0) -> dict[str, Array]:
    """Outputs and updates as another right evaluation may find them.

    Composites are taken apart, and for every f32 that an op had to round one of the floats beside
    it is taken, each on its own. What an op only moves or selects stays as it is.
    """
    twin = graph.copy()
    decompose_unless(twin, lambda node: not node.op.is_composite, "", repr)
    rng = np.random.default_rng(seed)
    given = [feeds[value.name] for value in twin.inputs]
    sizes = bind_symbols([value.type for value in twin.inputs], given)
    found: dict[Value, Array] = dict(zip(twin.inputs, given))
    for node in twin.nodes:
        operands = [found[value] for value in node.operands]
        results = evaluate_node(node, operands, sizes)
        if any(array.dtype == np.float32 for array in results):
            wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in operands]
            with np.errstate(all="ignore"):
                exact = node.op.bind(sizes).reference(*wide)
            exact = exact if isinstance(exact, tuple) else (exact,)
            results = tuple(map(partial(_beside, rng), results, exact))
        found.update(zip(node.results, results))
    outputs = {name: found[value] for name, value in twin.outputs.items()}
    return {**outputs, **{f"update {v.name}": found[new] for v, new in twin.updates.items()}}


def _beside(rng: np.random.Generator, array: Array, exact: Array) -> Array:
    """Where an array was rounded, a float beside."""
    if array.dtype != np.float32:
        return array
    towards = np.where(rng.random(array.shape) < 0.5, np.float32(-np.inf), np.float32(np.inf))
    rounded = (array != exact) & np.isfinite(array)
    return np.where(rounded, np.nextafter(array, towards), array)


def apart(found: Array, wanted: Array) -> float:
    """max|found - wanted|, relative to the greatest element of ``wanted`` where it is above 1."""
    gap = difference(found, wanted)
    most = float(np.abs(wanted).max(initial=0)) if wanted.dtype.kind == "f" else 1.0
    return gap * most if 0 < most < 1 else gap
