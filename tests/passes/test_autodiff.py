"""What differentiation writes into a graph: gradients, and nothing that nobody reads."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce.frontends.network import Network
from cauce.ir import Graph, Role, evaluate, parse
from cauce.ir.validation import random_feeds
from cauce.objective import write_loss
from cauce.passes.optimizer_step import add_training_step
from cauce.passes.properties import no_dead_code

from ..api.nets import small
from ..backends.small_networks import NETWORKS, names

# Only the gradient of one factor is asked for, of one operand, of the weight alone.
PRODUCT = """
graph g(%x: f64[N,3], %y: f64[N,3]) -> f64[] {
  @w: f64[2,3] parameter
  %m = mul(%x, %y) : f64[N,3]
  %l = linear(%m, @w) : f64[N,2]
  %s = sum(%l) : f64[]
  return %s
}"""


@pytest.mark.parametrize("wrt", [["x"], ["y"], ["w"], ["m", "y"], ["l"], ["s"]])
def test_no_gradient_is_written_that_nobody_reads(wrt: list[str]) -> None:
    graph = parse(PRODUCT)
    found = cauce.gradients(graph.value("s"), [graph.value(name) for name in wrt])
    for name, gradient in zip(wrt, found):
        graph.outputs[f"d{name}"] = gradient
    graph.verify()
    assert no_dead_code(graph) is None
    feeds = random_feeds(graph, {"N": 4})
    results = evaluate(graph, feeds).outputs
    x, y, w = feeds["x"], feeds["y"], feeds["w"]
    wanted = {
        "x": y * w.sum(0),
        "y": x * w.sum(0),
        "w": np.tile((x * y).sum(0), (2, 1)),
        "m": np.tile(w.sum(0), (4, 1)),
        "l": np.ones((4, 2)),
        "s": np.array(1.0),
    }
    for name in wrt:
        np.testing.assert_allclose(results[f"d{name}"], wanted[name])


def test_what_stood_there_before_stays() -> None:
    graph = parse(PRODUCT.replace("  %s = sum", "  %own = exp(%x) : f64[N,3]\n  %s = sum"))
    cauce.gradients(graph.value("s"), [graph.value("x")])
    assert graph.value("own").node is not None  # it is not read yet, but the user's


def test_a_loss_that_is_what_is_asked_for() -> None:
    graph = Graph("g")
    loss = graph.add_input("loss", cauce.ir.TensorType.make("f32", ()))
    (gradient,) = cauce.gradients(loss, [loss], graph)
    graph.outputs["gradient"] = gradient
    assert evaluate(graph, {"loss": np.float32(3)}).outputs["gradient"] == 1


@pytest.mark.parametrize("network", NETWORKS, ids=names)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_of_training_has_no_dead_nodes(network: Network, frozen: bool) -> None:
    graph = network.graph(image=("N", 3, 8, 8), training=True)
    step_graph(graph, frozen)
    assert no_dead_code(graph) is None


def step_graph(graph: Graph, frozen: bool) -> None:
    """A step that trains all parameters, or the last alone."""
    write_loss(graph, "cross_entropy", ("accuracy",))
    parameters = graph.inputs_with(Role.PARAMETER)
    chosen = parameters[-1:] if frozen else parameters
    add_training_step(graph, "loss", cauce.Adam(0.1), chosen, cauce.ClipNorm(1.0))


def test_a_network_with_a_gradient_in_it_has_no_dead_nodes() -> None:
    @cauce.network
    def penalised(image):
        y = small(image)
        loss = (y * y).mean()
        (slope,) = cauce.gradients(loss, [image])
        return loss, (slope * slope).mean()

    model = penalised.init(image=("N", 1, 6, 6))
    assert no_dead_code(model.graph) is None
