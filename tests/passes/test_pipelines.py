"""The pipelines on a residual network as people write it."""

from __future__ import annotations

from collections import Counter

import pytest

import cauce
from cauce import nn
from cauce.ir import Builder, Graph, Role, verify
from cauce.ir.ops.elementwise import Mul
from cauce.ir.ops.reduce import Mean
from cauce.ir.pass_manager import Repeat, Timing, Verify, run_passes
from cauce.ir.validation import TranslationValidation, difference, random_feeds
from cauce.passes.autodiff import gradients
from cauce.passes.fusion import InlineRegions
from cauce.passes.pipelines import FUSE, INFERENCE, SIMPLIFY, TRAINING
from cauce.passes.properties import inference_only, no_dead_code, without_regions
from tests.networks import results_of


@cauce.network
def net(image, classes=3):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, padding=1, bias=False)))
    y = nn.relu(nn.batch_norm(nn.conv2d(x, 4, 3, padding=1)))
    y = nn.batch_norm(nn.conv2d(y, 4, 1)) + x
    y = nn.flatten(nn.max_pool2d(nn.batch_norm(y), 2))
    return nn.linear(nn.dropout(y, 0.25), classes)


def traced(training: bool) -> Graph:
    return net.graph(image=("N", 2, 6, 6), dtype="f64", training=training)


def ops_of(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in graph.nodes)


def test_inference_is_what_the_network_says_of_inference() -> None:
    wanted, graph = traced(training=False), traced(training=True)
    assert inference_only(graph) is not None and graph.updates
    run_passes(graph, INFERENCE, [Verify()])
    feeds = random_feeds(wanted)
    assert not graph.updates
    assert [value.name for value in graph.inputs] == [value.name for value in wanted.inputs]
    for name, array in results_of(wanted, feeds).items():
        assert difference(results_of(graph, feeds)[name], array) < 1e-9
    ops = ops_of(graph)
    assert ops["conv2d"] == 3 and ops["linear"] == 1 and ops["max_pool2d"] == 1
    assert not {"batch_norm", "batch_norm_train", "dropout", "random_uniform", "flatten"} & set(ops)
    # The batch norm behind the addition cannot be folded: it is a product and a sum.
    scaled = [value.node.op.name for value in graph.values if value.path == "bn4"][-2:]
    assert scaled == ["mul", "add"]


def test_folded_weights_depend_on_parameters_alone() -> None:
    graph = traced(training=True)
    run_passes(graph, INFERENCE)
    data = set(graph.inputs_with(Role.DATA))
    for node in graph.nodes:
        if node.op.name == "conv2d":
            pending = list(node.operands[1:])
            while pending:
                value = pending.pop()
                assert value not in data
                pending += value.node.operands if value.node else ()


@pytest.mark.parametrize("pipeline", [SIMPLIFY, TRAINING, (*TRAINING, *FUSE)])
def test_training_graphs_stay_what_they_are(pipeline) -> None:
    graph = traced(training=True)
    (logits,) = graph.outputs.values()
    b = Builder(graph, path="loss")
    loss = b(Mean(), b(Mul(), logits, logits))
    parameters = graph.inputs_with(Role.PARAMETER)
    for value, grad in zip(parameters, gradients(graph, loss, parameters)):
        assert grad is not None
        graph.outputs[f"grad {value.name}"] = grad
    inputs, before = [value.name for value in graph.inputs], sum(1 for _ in graph.nodes)
    run_passes(graph, pipeline, [Verify(), TranslationValidation()])
    assert [value.name for value in graph.inputs] == inputs
    assert no_dead_code(graph) is None
    assert sum(1 for _ in graph.nodes) < before
    assert ops_of(graph)["batch_norm_train"] == 4


def test_regions_come_last_and_can_be_undone() -> None:
    graph = traced(training=False)
    run_passes(graph, (*INFERENCE, *FUSE))
    assert without_regions(graph) is not None
    fused = graph.copy()
    run_passes(graph, [InlineRegions()])
    verify(graph)
    assert without_regions(graph) is None and not ops_of(graph)["fused"]
    feeds = random_feeds(graph)
    assert (
        difference(*(next(iter(results_of(twin, feeds).values())) for twin in (graph, fused)))
        < 1e-12
    )
    # What was fused can go through a pipeline again: it is inlined first.
    run_passes(fused, INFERENCE, [TranslationValidation()])
    assert without_regions(fused) is None


def test_a_pipeline_is_a_visible_tuple() -> None:
    timing = Timing()
    run_passes(traced(training=False), (*INFERENCE, *FUSE), [timing])
    (repeat,) = SIMPLIFY
    assert isinstance(repeat, Repeat)
    repeated = [pass_.name for pass_ in repeat.passes]
    assert repeated == ["canonicalize", "fold_constants", "eliminate_common", "eliminate_dead"]
    first = ["sink_transposes", "merge_padding", "fold_batch_norm", "fold_scales", "norm_to_scale"]
    assert [name for name, _ in timing.seconds] == [
        "inline_regions",
        "to_inference",
        *(*first, *repeated) * 2,  # the second round finds nothing
        "fuse_elementwise",
    ]
