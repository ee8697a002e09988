"""compile, taps, gradients: the graph as users handle it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Builder, Graph, Literal, Role, TensorType, evaluate
from cauce.ir.errors import (
    AttributeMistake,
    CompileError,
    GraphError,
    MissingExtra,
    TypeMismatch,
)
from cauce.ir.ops.activation import Tanh
from cauce.ir.ops.constant import Constant
from cauce.ir.ops.elementwise import Mul
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.ops.reduce import Sum
from cauce.ir.pass_manager import Pass, PrintGraphs, Timing, run_passes
from cauce.passes.pipelines import FUSE

from .nets import batch, small


@pytest.fixture(scope="module")
def model() -> cauce.Model:
    return small.init(image=("N", 1, 6, 6), seed=1)


def expected(model: cauce.Model, image: np.ndarray) -> np.ndarray:
    values = model.state_dict()
    known = {v.name: values[v.name] for v in model.graph.inputs if v.name in values}
    return evaluate(model.graph, {"image": image, **known}).outputs["output"]


def test_one_executable_runs_any_batch(model: cauce.Model) -> None:
    predict = cauce.compile(model)
    for count in (8, 3, 16, 1):
        image = batch(count)["image"]
        result = predict(image)
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(result, expected(model, image), rtol=1e-4, atol=1e-5)


def test_a_fixed_batch_is_held_to(model: cauce.Model) -> None:
    predict = cauce.compile(model, batch=4)
    assert predict(batch(4)["image"]).shape == (4, 3)
    with pytest.raises(cauce.CauceError, match="dimension 0 is 3, not 4"):
        predict(batch(3)["image"])
    with pytest.raises(AttributeMistake, match="at least 1"):
        cauce.compile(model, batch=0)
    with pytest.raises(GraphError, match="its batch is not free"):
        cauce.compile(small.init(image=(2, 1, 6, 6)), batch=4)


def test_a_scalar_has_no_batch_to_fix() -> None:
    @cauce.network
    def scaled(x, factor):
        return x * factor

    run = cauce.compile(scaled.init(x=("N", 2), factor=()), batch=3)
    np.testing.assert_array_equal(run(np.ones((3, 2), np.float32), 2.0), np.full((3, 2), 2))


def test_new_weights_need_no_recompile(model: cauce.Model) -> None:
    predict = cauce.compile(model)
    program = predict.program
    other = small.init(image=("N", 1, 6, 6), seed=2)
    image = batch()["image"]
    before = predict(image)
    predict.load_state_dict(other.state_dict())
    assert predict.program is program
    np.testing.assert_allclose(predict(image), expected(other, image), rtol=1e-4, atol=1e-5)
    assert not np.allclose(before, predict(image))


def test_batch_norm_is_folded_into_what_prepare_runs(model: cauce.Model) -> None:
    seen: list[str] = []
    cauce.compile(model, instruments=[PrintGraphs(seen.append), Timing()])
    assert "batch_norm" in seen[0] and "batch_norm(" not in seen[-1]


def test_taps_give_what_the_layer_computes(model: cauce.Model) -> None:
    tapped = cauce.compile(model, taps=["conv2", "bn1"])
    image = batch()["image"]
    result, taps = tapped.tapped(image)
    np.testing.assert_allclose(result, expected(model, image), rtol=1e-4, atol=1e-5)
    seen = {}
    values = {v.name: model.state_dict()[v.name] for v in model.graph.inputs if v.name != "image"}
    evaluate(
        model.graph, {"image": image, **values}, watch=lambda v, a: seen.__setitem__(v.name, a)
    )
    assert list(taps) == ["conv2", "bn1"]
    for name, array in taps.items():
        np.testing.assert_allclose(array, seen[name], rtol=1e-4, atol=1e-5)
    assert isinstance(tapped(image), np.ndarray)
    with pytest.raises(GraphError, match="did you mean conv"):
        cauce.compile(model, taps=["conv9"])


def test_validation_catches_a_pass_that_changes_the_meaning(model: cauce.Model) -> None:
    class Halve(Pass):
        name = "halve"

        def run(self, graph: Graph) -> bool:
            output = graph.outputs["output"]
            b = Builder(graph)
            graph.outputs["output"] = b(Mul(), output, b(Constant(Literal(0.5))))
            return True

    with pytest.raises(CompileError, match="pass halve changed output output"):
        cauce.compile(model, passes=[Halve()], validate=True)
    cauce.compile(model, validate=True)
    assert cauce.compile(model, batch=4, validate=True).inputs[0].type.shape[0] == 4


def test_what_compile_does_not_take(model: cauce.Model) -> None:
    with pytest.raises(TypeMismatch, match="takes a Model or a Graph"):
        cauce.compile(small)  # type: ignore[arg-type]
    with pytest.raises(AttributeMistake, match="no backend 'gpu'"):
        cauce.compile(model, backend="gpu")
    with pytest.raises(GraphError, match="has no parameter values yet"):
        cauce.compile(model.graph)(batch()["image"])


def directional(graph: Graph, loss: str, feeds: dict, name: str, gradient: np.ndarray) -> None:
    """Check a gradient against central differences in a random direction."""
    direction = np.random.default_rng(5).standard_normal(feeds[name].shape)
    step = 1e-5
    moved = [
        evaluate(graph, {**feeds, name: feeds[name] + sign * step * direction}).outputs[loss]
        for sign in (1, -1)
    ]
    numeric = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(np.sum(gradient * direction), numeric, rtol=1e-6)


def test_a_parsed_graph_differentiates() -> None:
    graph = cauce.parse(
        """graph g(%x: f64[N,3]) -> f64[] {
          @w: f64[2,3] parameter
          %linear = linear(%x, @w) : f64[N,2]
          %y = softmax(%linear) : f64[N,2]
          %square = mul(%y, %y) : f64[N,2]
          %loss = mean(%square) : f64[]
          return loss=%loss
        }"""
    )
    (dw,) = cauce.gradients(graph.value("loss"), [graph.value("w")])
    graph.outputs["dw"] = dw
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((4, 3)), "w": rng.standard_normal((2, 3))}
    directional(graph, "loss", feeds, "w", evaluate(graph, feeds).outputs["dw"])


def test_a_fused_graph_differentiates_like_the_unfused_one() -> None:
    text = """graph g(%x: f64[N,3]) -> f64[] {
      %a = tanh(%x) : f64[N,3]
      %b = exp(%a) : f64[N,3]
      %c = mul(%a, %b) : f64[N,3]
      %loss = sum(%c) : f64[]
      return loss=%loss
    }"""
    plain, fused = cauce.parse(text), cauce.parse(text)
    assert run_passes(fused, FUSE)
    assert any(node.op.name == "fused" for node in fused.nodes)
    x = np.random.default_rng(0).standard_normal((4, 3))
    for graph in (plain, fused):
        (graph.outputs["dx"],) = cauce.gradients(graph.value("loss"), [graph.value("x")])
        graph.verify()
    results = [evaluate(graph, {"x": x}).outputs["dx"] for graph in (plain, fused)]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)
    directional(plain, "loss", {"x": x}, "x", results[0])


def test_a_graph_with_several_results_differentiates() -> None:
    graph = Graph("g")
    x = graph.add_input("x", TensorType.make("f64", ("N", 2, 3, 3)))
    gamma = graph.add_input("gamma", TensorType.make("f64", (2,)), Role.PARAMETER)
    b = Builder(graph)
    y, mean, variance = b.results(BatchNormTrain(), x, gamma, gamma)
    parts = [b(Sum(), b(Tanh(), value)) for value in (y, mean, variance)]
    loss = b(Mul(), b(Mul(), parts[0], parts[1]), parts[2])
    graph.outputs["loss"] = loss
    graph.outputs["dx"], graph.outputs["dgamma"] = cauce.gradients(loss, [x, gamma])
    graph.verify()
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((3, 2, 3, 3)), "gamma": rng.uniform(0.5, 1.5, 2)}
    outputs = evaluate(graph, feeds).outputs
    directional(graph, "loss", feeds, "x", outputs["dx"])
    directional(graph, "loss", feeds, "gamma", outputs["dgamma"])


def test_gradients_within_a_network() -> None:
    @cauce.network
    def penalised(x):
        y = nn.softmax(nn.linear(x, 4))
        score = (y * y).mean()
        (dx,) = cauce.gradients(score, [x])
        return {"score": score, "norm": (dx * dx).sum().sqrt()}

    model = penalised.init(x=("N", 3), dtype="f64")
    out = cauce.compile(model).run({"x": np.random.default_rng(0).standard_normal((5, 3))})
    assert out["norm"] > 0

    @cauce.network
    def unrelated(x, y):
        return cauce.gradients(x.mean(), [y])[0]

    with pytest.raises(GraphError, match="does not depend on %y"):
        unrelated.init(x=("N", 3), y=("N", 3))


def test_native_code_is_the_default_where_it_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.init(image=("N", 1, 6, 6))
    assert cauce.compile(model).backend == cauce.Trainer(model).backend == "llvm"
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert cauce.compile(model).backend == cauce.Trainer(model).backend == "numpy"
    with pytest.raises(MissingExtra, match="the llvm backend needs llvmlite"):
        cauce.compile(model, backend="llvm")
