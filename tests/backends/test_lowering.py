"""The lowered graph: it means what the source means, and moves in memory no more than it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings

from cauce import models
from cauce.backends.llvm.codegen import kernels
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.target import Target
from cauce.backends.split import split
from cauce.frontends.network import Network
from cauce.ir import Graph, Node, parse, verify
from cauce.ir.layout import Strided
from cauce.ir.ops.reorder import Reorder
from cauce.ir.ops.shape import Reshape
from cauce.ir.pass_manager import run_passes
from cauce.ir.validation import Feeds, difference, random_feeds
from cauce.passes.pipelines import PRIMITIVES, TRAINING

from ..networks import feeds_for, networks, results_of, several, tame
from ..passes.golden import Case, agree, read
from ..passes.survey import round_trip
from .small_networks import NETWORKS, ZOO, inference, names, training

GOLDEN = Path(__file__).parent / "golden" / "lowered.txt"

assert kernels  # which registers what lowering must know

# Any machine can lower for these.
TARGETS = {name: Target.named(name, "x86_64-linux") for name in ("scalar", "avx2", "avx512")}
TOLERANCE = 1e-9  # in float64

for_both = pytest.mark.parametrize("make", [inference, training])
every_network = pytest.mark.parametrize("network", NETWORKS, ids=names)


def hold(graph: Graph, feeds: Feeds, tolerance: float = TOLERANCE) -> None:
    """The lowered graph is whole, and gives what the source gives."""
    wanted = results_of(graph, feeds)
    for target in TARGETS.values():
        lowered = lower(graph, target).graph
        verify(lowered)
        round_trip(lowered)
        assert all(value.type.layout is not None for value in lowered.values)
        assert lowered.copy().same_as(lowered)
        found = results_of(lowered, feeds)
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            assert difference(found[name], array) < tolerance, (target.name, name)


@for_both
@every_network
def test_networks(network: Network, make: Callable[..., Graph]) -> None:
    graph = make(network, dtype="f64")
    hold(graph, random_feeds(graph, {"N": 3}))


@pytest.mark.parametrize("network, shape, options", ZOO, ids=names)
def test_models(network: Network, shape: tuple[int, ...], options: dict[str, int]) -> None:
    graph = inference(network, *shape, classes=10, dtype="f64", **options)
    hold(graph, random_feeds(graph, {"N": 2}))


TRAINED = [*ZOO[:3], *(pytest.param(*row, marks=pytest.mark.slow) for row in ZOO[3:])]


@pytest.mark.parametrize("network, shape, options", TRAINED, ids=names)
def test_training_of_models(
    network: Network, shape: tuple[int, ...], options: dict[str, int]
) -> None:
    graph = training(network, *shape, classes=10, dtype="f64", **options)
    hold(graph, random_feeds(graph, {"N": 2}))


@pytest.mark.parametrize("trains", [False, True])
def test_random_networks(trains: bool) -> None:
    @settings(max_examples=several())
    @given(networks(training=trains, most=5 if trains else 8))
    def check(graph: Graph) -> None:
        feeds = feeds_for(graph)
        assume(tame(graph, feeds))
        compiled = graph.copy()
        run_passes(compiled, (*TRAINING, *PRIMITIVES))
        hold(graph, feeds)
        hold(compiled, feeds)

    check()


@pytest.mark.parametrize("case", list(read(GOLDEN)), ids=lambda case: case.id)
def test_text(case: Case, accept: bool) -> None:
    graph = parse(case.before)
    agree(case, "before", str(graph), accept)  # written as the text form is printed
    text = str(lower(graph, TARGETS[case.name]).graph)
    agree(case, "after", text, accept)
    assert str(parse(text)) == text
    hold(graph, random_feeds(graph, {"N": 2}), tolerance=1e-5)


# ---- reorders ----------------------------------------------------------------------------------


def reorders(graph: Graph) -> tuple[Graph, list[Node]]:
    """The lowered graph of each call, and its reorders: none moves what another has moved."""
    main = split(lower(graph, TARGETS["avx2"]).graph).main
    found = [node for node in main.nodes if isinstance(node.op, Reorder)]
    assert len({(node.operands, node.result.type.layout) for node in found}) == len(found)
    return main, found


@pytest.mark.parametrize(
    "network, halo",
    [
        (models.resnet18, 3),
        (models.mobilenet_v2, 1),
        (models.densenet121, 3),
        (models.vgg11, 1),
        (models.squeezenet, 0),
    ],
    ids=names,
)
def test_only_the_image_is_moved(network: Network, halo: int) -> None:
    """It comes without the zeros that the first convolution reads around it. All else lies as its
    readers want it, and weights are moved once, before all calls."""
    _, found = reorders(inference(network, 3, 224, 224))
    image = Strided((0, 1, 2, 3), ((halo, halo),) * 2)
    moved = [(node.operands[0].name, node.result.type.layout) for node in found]
    assert moved == ([("image", image)] if halo else [])


@every_network
def test_a_step_moves_what_comes_and_what_goes(network: Network) -> None:
    """Weights, since they change in each step, images, those that a flatten gives back among them,
    and what leaves in rows; nothing between."""
    main, found = reorders(training(network))
    leaving = {*main.outputs.values(), *main.updates.values()}
    for node in found:
        (value,) = node.operands
        comes = value.node is None or isinstance(value.node.op, Reshape)
        assert comes or node.result in leaving, node.path
