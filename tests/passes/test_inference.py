"""To inference: held to an evaluator of its own on random networks; what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from cauce.ir import Array, Graph, Role, Value, parse, registry, verify
from cauce.ir.errors import CompileError, GraphError, UnsupportedOp
from cauce.ir.evaluate import evaluate_node
from cauce.ir.ops.normalize import BatchNorm, BatchNormTrain
from cauce.ir.ops.random import Dropout
from cauce.ir.ops.update import Update
from cauce.ir.pass_manager import run_passes
from cauce.ir.validation import Feeds, difference
from cauce.passes.dead_code import EliminateDead
from cauce.passes.fusion import FuseElementwise, InlineRegions
from cauce.passes.inference import ToInference
from cauce.passes.pipelines import FUSE, INFERENCE
from cauce.passes.properties import inference_only
from tests.net import SIZES
from tests.networks import feeds_for, networks, results_of, tame

from .motifs import motifs

NETWORK_OPS = [
    op
    for op in registry().values()
    if op.__module__.startswith("cauce.") and not issubclass(op, Update)
]


def needed(graph: Graph) -> set[Value]:
    """What the outputs depend on, now or in a later call."""
    found: set[Value] = set()
    pending = list(graph.outputs.values())
    while pending:
        value = pending.pop()
        if value not in found:
            found.add(value)
            pending += value.node.operands if value.node else ()
            pending += [new for target, new in graph.updates.items() if target is value]
    return found


def outputs_in_inference(graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """The outputs with dropout as the identity, and batch norms by their running statistics.

    These are recognised by the names that the growers give them.
    """
    arrays: dict[Value, Array] = {value: feeds[value.name] for value in graph.inputs}
    values = needed(graph)
    for node in graph.nodes:
        if values.isdisjoint(node.results):
            continue
        operands = [arrays[value] for value in node.operands]
        results: tuple[Array, ...]
        if isinstance(node.op, Dropout):
            results = (operands[0],)
        elif isinstance(node.op, BatchNormTrain):
            mean, variance = (feeds[f"{value.name}.running"] for value in node.results[1:])
            y = BatchNorm(node.op.epsilon).reference(*operands, mean, variance)
            results = (y, mean, variance)
        else:
            results = evaluate_node(node, operands, SIZES)
        arrays.update(zip(node.results, results))
    return {name: arrays[value] for name, value in graph.outputs.items()}


def refusal(graph: Graph) -> str | None:
    """Why the graph has no form in inference, if so: by the first batch norm that has none.

    Batch norms that no output needs are not looked at.
    """
    values = needed(graph)
    moved = {target.name: new for target, new in graph.updates.items()}
    for node in graph.nodes:
        if not isinstance(node.op, BatchNormTrain) or values.isdisjoint(node.results):
            continue
        running = [f"{value.name}.running" for value in node.results[1:]]
        if not moved.keys() >= set(running):
            return "has no running statistic"
        # What a running statistic becomes is an output, too.
        if any(moved[name] in graph.outputs.values() for name in running):
            return "is read by more than its update"
    return None


training_ops = (BatchNormTrain, Dropout, motifs()["ConvBatchNorm"])


@settings(max_examples=4 * settings().max_examples)
@given(networks(ops=NETWORK_OPS, include=training_ops))
def test_inference_of_random_networks(graph: Graph) -> None:
    EliminateDead().run(graph)
    reason = refusal(graph)
    if reason is not None:
        with pytest.raises(UnsupportedOp, match=reason):
            ToInference().run(graph)
        return
    feeds = feeds_for(graph)
    wanted = outputs_in_inference(graph, feeds)
    for passes in ((InlineRegions(), ToInference()), INFERENCE, (*INFERENCE, *FUSE)):
        twin = graph.copy()
        run_passes(twin, passes)
        verify(twin)
        assert inference_only(twin) is None
        if not tame(twin, feeds):
            continue
        got = results_of(twin, feeds)
        assert got.keys() >= wanted.keys()
        for name, array in wanted.items():
            assert difference(got[name], array) < 1e-9, name
        if passes[-1] not in FUSE:
            assert not run_passes(twin, passes)


BATCH_NORM = """
graph g(%x: f64[N,2]) -> {types} {{
  @gamma: f64[2] parameter
  @mean: f64[2] state
  @var: f64[2] state
  @other: f64[2] state
  %bn1, %bn1~mean, %bn1~variance = batch_norm_train(%x, @gamma, @gamma) : f64[N,2], f64[2], f64[2] \
loc(net.py:7)
  %m = add(@mean, %bn1~mean) : f64[2]
  %v = add(@var, %bn1~variance) : f64[2]
  %o = add(@other, %bn1~mean) : f64[2]
  %both = add(%bn1~mean, %bn1~variance) : f64[2]
  {end}
}}
"""


def batch_norm(end: str, types: str = "f64[N,2]") -> Graph:
    return parse(BATCH_NORM.format(end=end, types=types))


@pytest.mark.parametrize(
    ("end", "what"),
    [
        ("return %bn1", "the mean of batch_norm_train has no running statistic"),
        (
            "return %bn1\nupdate @mean = %m",
            "the variance of batch_norm_train has no running statistic",
        ),
        (
            "return %bn1\nupdate @mean = %m\nupdate @other = %o\nupdate @var = %v",
            "the mean of batch_norm_train has several running statistics: mean, other",
        ),
        (
            "return %bn1\nupdate @mean = %both\nupdate @var = %v",
            "the mean of batch_norm_train has no running statistic",
        ),
    ],
)
def test_no_running_statistics(end: str, what: str) -> None:
    with pytest.raises(UnsupportedOp) as caught:
        ToInference().run(batch_norm(end))
    assert caught.value.what == what
    assert caught.value.path == "bn1" and str(caught.value.loc) == "net.py:7"


def test_what_follows_a_running_statistic_is_none() -> None:
    """The mean of an averaged teacher, updated from the new running mean."""
    graph = parse("""
        graph g(%x: f64[N,2]) -> f64[N,2] {
          @gamma: f64[2] parameter
          @mean: f64[2] state
          @var: f64[2] state
          @teacher: f64[2] state
          @count: i64[] state
          @momentum: f64[] hyperparameter
          %bn1, %bn1~mean, %bn1~variance = batch_norm_train(%x, @gamma, @gamma) \
: f64[N,2], f64[2], f64[2]
          %share = mul(%bn1~mean, @momentum) : f64[2]
          %m = add(@mean, %share) : f64[2]
          %n = cast(@count) to=f64 : f64[]
          %part = div(%bn1~variance, %n) : f64[2]
          %v = add(@var, %part) : f64[2]
          %t = add(@teacher, %m) : f64[2]
          return %bn1
          update @mean = %m
          update @var = %v
          update @teacher = %t
        }""")
    ToInference().run(graph)
    (node,) = graph.nodes
    assert [value.name for value in node.operands] == ["x", "gamma", "gamma", "mean", "var"]
    assert not graph.updates
    assert [value.name for value in graph.inputs_with(Role.STATE)] == ["mean", "var"]


def test_statistics_of_the_batch_that_are_read() -> None:
    graph = batch_norm(
        "return %bn1, %bn1~mean\nupdate @mean = %m\nupdate @var = %v", "(f64[N,2], f64[2])"
    )
    with pytest.raises(UnsupportedOp, match="%bn1~mean, a statistic of the batch, is read by more"):
        ToInference().run(graph)


def test_a_batch_norm_that_only_serves_its_statistics_goes() -> None:
    graph = batch_norm("return y=%x\nupdate @mean = %m\nupdate @var = %v")
    run_passes(graph, INFERENCE)
    assert not list(graph.nodes) and not graph.updates
    assert [value.name for value in graph.inputs] == ["x", "gamma"]


def test_a_training_step_is_refused() -> None:
    graph = parse("""
        graph step(%x: f64[]) -> f64[] {
          @w: f64[] parameter
          %y = mul(@w, %x) : f64[]
          return %y
          update @w = %y
        }""")
    with pytest.raises(GraphError, match="step updates its parameters"):
        ToInference().run(graph)


def test_regions_are_refused() -> None:
    graph = parse("""
        graph g(%x: f64[N]) -> f64[N] {
          %a = tanh(%x) : f64[N]
          %b = exp(%a) : f64[N]
          return %b
        }""")
    FuseElementwise().run(graph)
    with pytest.raises(CompileError, match="to_inference requires without_regions: %b is"):
        run_passes(graph, [ToInference()])
    assert run_passes(graph, INFERENCE)


def test_state_that_outputs_depend_on_stays() -> None:
    graph = parse("""
        graph counter(%x: f64[N]) -> f64[N] {
          @count: f64[] state
          @step: f64[] state
          @idle: f64[] state
          @unread: f64[] state
          %y = mul(%x, @count) : f64[N]
          %next = add(@count, @step) : f64[]
          %larger = add(@step, @step) : f64[]
          %idle1 = add(@idle, @count) : f64[]
          return %y
          update @count = %next
          update @step = %larger
          update @idle = %idle1
        }""")
    assert ToInference().run(graph)
    assert [value.name for value in graph.inputs] == ["x", "count", "step", "unread"]
    # The outputs of later calls depend on the step, through the count.
    assert [target.name for target in graph.updates] == ["count", "step"]
    assert not ToInference().run(graph)
