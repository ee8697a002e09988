"""Where values live: every plan is run in a memory that knows whose every element is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

import cauce
from cauce import models
from cauce.backends.llvm import abi as artifact
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.plan import Plan
from cauce.backends.llvm.schedule import batches
from cauce.backends.llvm.target import Target
from cauce.frontends.network import Network
from cauce.ir import Graph
from cauce.ir.pass_manager import run_passes
from cauce.passes.pipelines import PRIMITIVES, TRAINING

from ..net import SIZES
from ..networks import networks, several
from .simulated import Sizes, simulate
from .small_networks import NETWORKS, ZOO, dense, inference, names, residual, training

# Plans differ in the blocks of weights, the padding and what is read channel by channel. No code
# runs here, so the machine need not have these.
TARGETS = {
    "host": Target.host(),
    **{name: Target.named(name, "x86_64-linux") for name in ("scalar", "avx2", "avx512")},
}
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
every_network = pytest.mark.parametrize("network", NETWORKS, ids=names)


def hold(graph: Graph, target: Target, *calls: Sizes) -> None:
    """Both plans of a graph find all that they read, for the sizes of each call."""
    made = build(graph, target)
    simulate(made.prepare, {})
    for sizes in calls:
        simulate(made.main, sizes, made.lowered.schedules)


def images(*counts: int) -> list[Sizes]:
    return [{"N": count} for count in counts]


@every_target
@every_network
def test_inference(network: Network, target: Target) -> None:
    hold(inference(network), target, *images(1, 2, 3, 4, 5))


@every_target
@every_network
def test_a_step_of_training(network: Network, target: Target) -> None:
    hold(training(network), target, *images(1, 4))


@pytest.mark.parametrize("optimizer", [cauce.SGD(0.1), cauce.Adam(0.1)], ids=["sgd", "adam"])
def test_the_state_of_optimizers(optimizer: cauce.Optimizer) -> None:
    hold(training(residual, optimizer=optimizer), TARGETS["host"], *images(3))


@pytest.mark.parametrize("worth", [0, 1 << 40], ids=["one stage", "two stages"])
@pytest.mark.parametrize("cut", [0, 1 << 40], ids=["cut", "whole"])
@every_network
def test_batches_in_pieces(
    network: Network, cut: int, worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the products at the end in one go, and without; in stages, and without."""
    monkeypatch.setattr(batches, "_LARGE", cut)
    monkeypatch.setattr(batches, "_WORTH", worth)
    # Strictly: else the algorithm of a convolution may be another where the batch is known.
    plan = build(inference(network), TARGETS["host"], precision="strict").main
    assert plan.batch is not None
    assert (plan.batch.stages[-1].end < len(plan.launches)) == (cut == 0)
    fixed = build(inference(network, batch=5), TARGETS["host"], precision="strict").main
    assert fixed.given and fixed.spans == plan.spans
    assert len(plan.batch.stages) == (2 if worth else 1)
    ends = [stage.end for stage in plan.batch.stages]
    for first, second in ((1, 1), (2, 3), (3, 1)):
        some = {ends[0]: artifact.Share(first, 1), ends[-1]: artifact.Share(second, 1)}
        monkeypatch.setattr(
            artifact.BatchStage, "share", lambda self, count, threads, some=some: some[self.end]
        )
        for sizes in images(1, 2, 5, 6):
            simulate(plan, sizes)
        simulate(fixed, {})


# What must not be written over: it is read once more, as itself or as a view.
ONCE_MORE = {
    "a state whose view is multiplied in its update": """
      %view = transpose(@s) perm=[0, 1, 3, 2] : f32[2,3,4,4]
      %product = matmul(%x, %view) : f32[2,3,4,4]
      %new = add(%product, @s) : f32[2,3,4,4]
      %twice = add(%x, %x) : f32[2,3,4,4]
      return %x, %twice
      update @s = %new""",
    "the whole behind its view": """
      %a = exp(%x) : f32[2,3,4,4]
      %view = transpose(%a) perm=[0, 1, 3, 2] : f32[2,3,4,4]
      %b = relu(%view) : f32[2,3,4,4]
      %c = tanh(%a) : f32[2,3,4,4]
      %d = exp(%b) : f32[2,3,4,4]
      return %c, %d""",
    "the view behind the whole": """
      %a = exp(%x) : f32[2,3,4,4]
      %view = transpose(%a) perm=[0, 1, 3, 2] : f32[2,3,4,4]
      %b = relu(%a) : f32[2,3,4,4]
      %c = tanh(%view) : f32[2,3,4,4]
      %d = exp(%b) : f32[2,3,4,4]
      return %c, %d""",
    "the view beside the whole": """
      %a = exp(%x) : f32[2,3,4,4]
      %view = transpose(%a) perm=[0, 1, 3, 2] : f32[2,3,4,4]
      %b = add(%a, %view) : f32[2,3,4,4]
      %c = exp(%b) : f32[2,3,4,4]
      return %c, %x""",
    "the view beside the whole, an image": """
      %a = max_pool2d(%x) kernel_size=1 : f32[2,3,4,4]
      %view = transpose(%a) perm=[0, 1, 3, 2] : f32[2,3,4,4]
      %b = add(%a, %view) : f32[2,3,4,4]
      %c = exp(%b) : f32[2,3,4,4]
      return %c, %x""",
    "a state behind its update": """
      %new = mul(@s, %x) : f32[2,3,4,4]
      %old = exp(@s) : f32[2,3,4,4]
      return %old, %x
      update @s = %new""",
    "a view of a state behind its update": """
      %view = transpose(@s) perm=[0, 1, 3, 2] : f32[2,3,4,4]
      %new = mul(@s, %x) : f32[2,3,4,4]
      %old = exp(%view) : f32[2,3,4,4]
      return %old, %x
      update @s = %new""",
    "a state all of which goes into each element of its update": """
      %old = exp(@s) : f32[2,3,4,4]
      %new = matmul(@s, %x) : f32[2,3,4,4]
      return %old, %x
      update @s = %new""",
    "a state that is given back": """
      %new = mul(@s, %x) : f32[2,3,4,4]
      %twice = add(%x, %x) : f32[2,3,4,4]
      return @s, %twice
      update @s = %new""",
}


@pytest.mark.parametrize("body", ONCE_MORE.values(), ids=ONCE_MORE)
def test_what_is_read_once_more(body: str) -> None:
    head = "graph g(%x: f32[2,3,4,4]) -> (f32[2,3,4,4], f32[2,3,4,4]) {\n @s: f32[2,3,4,4] state"
    hold(cauce.parse(f"{head}{body}\n}}"), TARGETS["host"], {})


LARGE = [
    (models.densenet121, (3, 33, 33), {}),
    pytest.param(models.resnet50, (3, 33, 33), {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("network, shape, options", [*ZOO, *LARGE], ids=names)
def test_models(network: Network, shape: tuple[int, ...], options: dict[str, int]) -> None:
    hold(inference(network, *shape, classes=10, **options), TARGETS["host"], *images(2))


@pytest.mark.parametrize("network, shape, options", ZOO[:4], ids=names)
def test_training_of_models(
    network: Network, shape: tuple[int, ...], options: dict[str, int]
) -> None:
    hold(training(network, *shape, classes=10, **options), TARGETS["host"], *images(2))


@pytest.mark.parametrize("trains", [False, True])
def test_random_networks(trains: bool) -> None:
    targets = list(TARGETS.values())

    @settings(max_examples=several())
    @given(networks(dtype="f32", training=trains, most=5 if trains else 8))
    def check(graph: Graph) -> None:
        compiled = graph.copy()
        run_passes(compiled, (*TRAINING, *PRIMITIVES))
        for made in (graph, compiled):
            hold(made, targets[len(list(graph.nodes)) % len(targets)], SIZES)

    check()


# ---- what is wrong is found --------------------------------------------------------------------


def short_buffer(plan: Plan) -> None:
    plan.buffers[-1] = plan.buffers[-1]._replace(nbytes=plan.buffers[-1].nbytes - 4)


def early_end(plan: Plan) -> None:
    plan.buffers[:] = [b._replace(last=max(b.first, b.last - 1)) for b in plan.buffers]


def wrong_part(plan: Plan) -> None:
    accesses = plan.assignment.accesses
    value = next(
        v for v, root in plan.assignment.roots.items() if root is not v and accesses[v].start
    )
    accesses[value] = replace(accesses[value], start=accesses[value].start + 1)


def no_zeros(plan: Plan) -> None:
    for place, (launch, node) in enumerate(plan.launches):
        kept = tuple(part for part in launch.parts if len(part.slots) > 1)
        plan.launches[place] = replace(launch, parts=kept), node


@pytest.mark.parametrize("damage", [short_buffer, early_end, wrong_part, no_zeros])
def test_damage_is_found(damage: Callable[[Plan], None]) -> None:
    plan = build(inference(dense), TARGETS["avx2"]).main
    simulate(plan, {"N": 2})
    damage(plan)
    with pytest.raises(AssertionError):
        simulate(plan, {"N": 2})
