"""cauce.compare: which node is wrong, in the program that users have too."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce.backends.numpy import KERNELS
from cauce.comparison import Comparison
from cauce.ir import Graph, parse
from cauce.ir.errors import AttributeMistake, UnsupportedOp
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.update import SGDUpdate
from cauce.ir.pass_manager import Pass
from cauce.passes import pipelines

from ..stand_ins import forget_relu
from .nets import batch, small


@pytest.fixture(autouse=True)
def compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made wrongly must not meet others in the cache."""
    monkeypatch.setenv("CAUCE_CACHE", "0")


def net() -> cauce.Model:
    @cauce.network
    def net(image):
        x = cauce.nn.relu(cauce.nn.conv2d(image, 4, 3, padding=1))
        left = cauce.nn.conv2d(x, 5, 3, bias=False)
        right = cauce.nn.tanh(cauce.nn.conv2d(x, 5, 3, bias=False))
        x = cauce.nn.relu(left) * right
        return cauce.nn.linear(cauce.nn.global_avg_pool(x), 3)

    return net.init(image=("N", 3, 6, 6), seed=0)


IMAGE = np.random.default_rng(0).standard_normal((2, 3, 6, 6), np.float32)


def test_compare_finds_the_first_node_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    agreement = cauce.compare(net(), IMAGE)
    assert agreement.first is None and "all 10 values agree" in str(agreement)
    monkeypatch.setitem(KERNELS, Relu, lambda op, pool, x: np.maximum(x, 0.25))
    found = cauce.compare(net(), IMAGE)
    assert found.first is not None and found.first.kept and found.first.value == "relu1"
    assert "test_compare.py" in str(found)
    with pytest.raises(AttributeMistake, match="two backends or more"):
        cauce.compare(net(), IMAGE, backends=("numpy",))


# ---- wrong where nodes are joined, and there alone ----------------------------------------------


class Forget(Pass):
    """Leaves out a relu, unless what it reads is an output."""

    name = "forget"

    def run(self, graph: Graph) -> bool:
        for node in graph.nodes:
            if isinstance(node.op, Relu) and not graph.leaves(node.operands[0]):
                graph.replace(node.result, node.operands[0])
        return False


def wrong(found: Comparison) -> tuple[str, str]:
    """The first value that differs, and where, found without every value as an output."""
    first = found.first
    assert first is not None and not first.kept and first.difference > 1e-3
    assert all(row.difference < 1e-5 for row in found.rows if row.kept)
    return first.value, first.backend


@pytest.mark.parametrize("backends", [("reference", "numpy"), ("llvm", "numpy")])
def test_a_wrong_pass(backends: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "INFERENCE", (Forget(), *pipelines.INFERENCE))
    found = cauce.compare(net(), IMAGE, backends)
    assert wrong(found) == ("relu1", "numpy" if backends[0] == "reference" else "llvm")
    text = str(found)
    assert "%relu1 = relu differs first" in text and "gives a wrong %linear1." in text
    assert "cauce.nn.relu(cauce.nn.conv2d(image" in text
    assert "All 10 values agree where each is an output" in text


def test_a_wrong_emitter(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_relu(monkeypatch)
    found = cauce.compare(net(), IMAGE, ("reference", "numpy", "llvm"))
    assert wrong(found) == ("relu1", "llvm")
    assert {row.backend for row in found.narrowed} == {"llvm"}
    assert [row.value for row in found.rows if not row.kept] == ["linear1", "linear1"]


def test_a_wrong_emitter_in_one_of_two_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two values side by side the one is named that is wrong, not what comes before or after."""

    @cauce.network
    def branches(image):
        parts = [cauce.nn.conv2d(image, 4, 1) for _ in range(5)]
        parts[3] = cauce.nn.relu(parts[3])
        return cauce.nn.tanh(sum(parts[1:], parts[0]))

    model = branches.init(image=("N", 3, 6, 6), seed=0)
    forget_relu(monkeypatch)
    assert wrong(cauce.compare(model, IMAGE, ("reference", "llvm"))) == ("relu1", "llvm")


STEP = """
graph step(%x: f32[3,4], %rate: f32[]) -> f32[] {
  @w: f32[4,4] parameter
  %y = matmul(%x, @w) : f32[3,4]
  %loss = mean(%y) : f32[]
  %t = transpose(%x) perm=[1, 0] : f32[4,3]
  %g = matmul(%t, %y) : f32[4,4]
  %new = sgd_update(@w, %g, %rate) weight_decay=0.0 : f32[4,4]
  return loss=%loss
  update @w = %new
}
"""


def test_a_wrong_update(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stay(Pass):
        """Leaves a parameter as it is, unless its new value is an output too."""

        name = "stay"

        def run(self, graph: Graph) -> bool:
            for target, value in graph.updates.items():
                assert value.node is not None and isinstance(value.node.op, SGDUpdate)
                if not any(output is value for output in graph.outputs.values()):
                    graph.updates[target] = target
            return False

    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((3, 4), np.float32),
        "w": rng.standard_normal((4, 4), np.float32),
        "rate": np.float32(0.1),
    }
    graph = parse(STEP)
    assert cauce.compare(graph, feeds, ("reference", "numpy", "llvm")).first is None
    monkeypatch.setattr(pipelines, "TRAINING", (*pipelines.TRAINING, Stay()))
    assert wrong(cauce.compare(graph, feeds)) == ("new", "numpy")


def test_an_output_that_is_an_input() -> None:
    graph = parse("graph net(%x: f32[3]) -> (f32[3], f32[3]) {\n  return given=%x, again=%x\n}")
    found = cauce.compare(graph, {"x": np.arange(3, dtype=np.float32)}, ("reference", "llvm"))
    assert found.first is None and [row.op for row in found.rows] == ["input"]


def test_all_backends_agree() -> None:
    model = small.init(image=("N", 1, 6, 6), seed=1)
    found = cauce.compare(model, batch()["image"], ("numpy", "llvm", "reference"))
    assert found.first is None, str(found)


# ---- ONNX Runtime as a side --------------------------------------------------------------------


def test_onnx_runtime_is_a_side(monkeypatch: pytest.MonkeyPatch) -> None:
    agreement = cauce.compare(net(), IMAGE, backends=("onnxruntime", "numpy", "reference"))
    assert agreement.first is None
    assert {row.backend for row in agreement.rows} == {"numpy", "reference", "onnxruntime"}
    monkeypatch.setitem(KERNELS, Relu, lambda op, pool, x: np.maximum(x, 0.25))
    found = cauce.compare(net(), IMAGE, backends=("onnxruntime", "numpy"))
    assert found.first is not None and found.first.value == "relu1"
    turned = cauce.compare(net(), IMAGE, backends=("numpy", "onnxruntime"))
    assert turned.first is not None and turned.first.backend == "onnxruntime"


def test_updates_are_compared_with_onnx_runtime_too() -> None:
    feeds = {
        "x": IMAGE[0, 0, :3, :4],
        "w": IMAGE[1, 1, :4, :4],
        "rate": np.float32(0.1),
    }
    agreement = cauce.compare(parse(STEP), feeds, ("reference", "onnxruntime"))
    assert agreement.first is None


def test_what_onnx_runtime_does_not_run_is_said() -> None:
    @cauce.network
    def wide(x):
        return cauce.nn.conv2d(x, 2, 3)

    model = wide.init(x=(1, 1, 4, 4), dtype="f64", seed=0)
    with pytest.raises(UnsupportedOp, match="ONNX Runtime does not run wide"), pytest.warns():
        cauce.compare(model, np.zeros((1, 1, 4, 4)), backends=("reference", "onnxruntime"))
