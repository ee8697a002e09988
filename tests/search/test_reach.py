"""What random networks hold: all that once was wrong, and what is like it."""

from __future__ import annotations

from collections import Counter

import pytest

from cauce.ir import Graph, Node, Role, Value
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight
from cauce.ir.ops.linear import Linear, MatMul
from cauce.ir.ops.loss import CrossEntropy
from cauce.ir.ops.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from cauce.ir.ops.shape import Concat, Gather, OneHot, Transpose

from ..backends.winograd_cases import STRIDED
from ..net import LANES
from .trial import PARTS, drawn, primitives, setup_of

CONVOLUTIONS = (Conv2d, Conv2dBackwardData, Conv2dBackwardWeight)
PRODUCTS = (Linear, MatMul)
ANCHORS = (*CONVOLUTIONS, *PRODUCTS, AvgPool2d, MaxPool2d, GlobalAvgPool2d)
WEIGHTY = (*CONVOLUTIONS, *PRODUCTS)
INDEXED = {Gather: 1, CrossEntropy: 1, OneHot: 0}


def turned(value: Value) -> bool:
    return value.node is not None and isinstance(value.node.op, Transpose)


def met(graph: Graph, node: Node) -> set[str]:
    """What a node shows of the list below."""
    found, op = set(), node.op
    name = type(op).__name__
    if isinstance(op, ANCHORS):
        x = node.operands[0]
        found |= {f"1 in axis {axis}" for axis, dim in enumerate(x.type.shape) if dim == 1}
        found |= {f"{dim} lanes" for dim in x.type.shape if dim in LANES}
        found |= {f"turned before {name}"} if turned(x) else set()
        behind = any(isinstance(user.op, Transpose) for user in node.result.users)
        found |= {f"turned behind {name}"} if behind else set()
    if isinstance(op, WEIGHTY):
        weight = node.operands[1]
        others = [user for user in node.result.users if user.op.elementwise]
        found |= {f"{name} of a value and itself"} if node.operands[0] is weight else set()
        found |= (
            {f"{name} beside its weight"} if any(weight in u.operands for u in others) else set()
        )
        found |= {f"a turned weight of {name}"} if turned(weight) else set()
        layers = {user.path for user in weight.users if isinstance(user.op, WEIGHTY)}
        shared = len(layers) > 1 and weight in graph.inputs_with(Role.PARAMETER)
        found |= {"a shared parameter"} if shared else set()
    if isinstance(op, Concat):
        parts = node.operands
        inner = [p for p in parts if p.node is not None and isinstance(p.node.op, Concat)]
        nested = any(p in whole.node.operands for whole in inner for p in parts if whole.node)
        axis = op.axis % node.result.type.rank
        found |= {f"a value twice along {axis}"} if len(set(parts)) < len(parts) else set()
        found |= {f"nested along {axis}"} if inner else set()
        found |= {"a value in a whole and beside it"} if nested else set()
    if type(op) in INDEXED and node.operands[INDEXED[type(op)]].node is not None:
        found.add(f"computed indices of {name}")
    return found


def features(graph: Graph) -> set[str]:
    found = set().union(*(met(graph, node) for node in graph.nodes))
    outputs = list(graph.outputs.values())
    found |= {"an input as output"} if any(value in outputs for value in graph.inputs) else set()
    found |= {"a value as two outputs"} if len(set(outputs)) < len(outputs) else set()
    updates = list(graph.updates.values())
    found |= {"an update as output"} if set(updates) & set(outputs) else set()
    found |= {"an input as update"} if set(updates) & set(graph.inputs) else set()
    swapped = any(graph.updates.get(new) is old for old, new in graph.updates.items())  # type: ignore[call-overload]
    return found | ({"two states change places"} if swapped else set())


WANTED = [
    *(f"1 in axis {axis}" for axis in range(4)),
    *(f"{size} lanes" for size in LANES),
    *(f"turned {place} {op.__name__}" for place in ("before", "behind") for op in ANCHORS),
    *(f"{op.__name__} beside its weight" for op in (Conv2d, Linear, MatMul)),
    *(f"{op.__name__} of a value and itself" for op in (Conv2d, Linear, MatMul)),
    *(f"a turned weight of {op.__name__}" for op in (Conv2d, Conv2dBackwardData, Linear, MatMul)),
    *(f"{what} along {axis}" for what in ("a value twice", "nested") for axis in range(4)),
    "a value in a whole and beside it",
    *(f"computed indices of {op.__name__}" for op in INDEXED),
    "a shared parameter",
    "an input as output",
    "a value as two outputs",
    "an update as output",
    "an input as update",
    "two states change places",
]


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    """In how many of some networks each shows."""
    found: Counter[str] = Counter()
    for name in ("inference-f32", "step-f64"):
        for seed in range(1000):
            found.update(features(drawn(PARTS[name], seed)[0]))
    return found


@pytest.mark.slow
def test_random_networks_reach_all_of_it(counts: Counter[str]) -> None:
    rare = {what: counts[what] for what in WANTED if counts[what] < 2}
    assert not rare, rare


def test_random_networks_reach_the_algorithm_of_winograd() -> None:
    """In every tile, where it is cauce's own choice and where it is made to run."""
    tiles = set()
    for part in (name for name in PARTS if name.endswith("f32")):
        chosen, forced = 0, 0
        for seed in range(90):
            graph = drawn(PARTS[part], seed)[0]
            setup = setup_of(primitives(graph), seed)
            chosen += bool(setup.tiles and not setup.schedules)
            forced += bool(setup.tiles and setup.schedules)
            tiles |= set(setup.tiles)
        assert chosen >= 2 and forced >= 4, part
    assert tiles == {*STRIDED, *STRIDED.values()}
