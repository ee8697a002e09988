"""Exported models as a whole: names, interface, metadata, sizes, files, a training step."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import cauce
from cauce.backends.onnx import export, save
from cauce.backends.onnx.rules import RULES, ExportRule, always
from cauce.backends.onnx.writer import Writer
from cauce.ir import (
    Array,
    Builder,
    DType,
    Frame,
    Graph,
    Literal,
    Location,
    Node,
    Op,
    Role,
    TensorType,
    evaluate,
    registry,
)
from cauce.ir.errors import (
    ExportFailure,
    GraphError,
    MissingExtra,
    ShapeError,
    TypeMismatch,
    UnsupportedOp,
)
from cauce.ir.ops.activation import Relu, Sigmoid
from cauce.ir.ops.constant import Constant, scalar
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Cast, Mul
from cauce.ir.ops.linear import Linear
from cauce.ir.ops.loss import CrossEntropy
from cauce.ir.ops.normalize import BatchNorm, BatchNormTrain
from cauce.ir.ops.pool import MaxPool2d
from cauce.ir.ops.random import Dropout, RandomUniform
from cauce.ir.ops.shape import Flatten
from cauce.ir.ops.update import SGDMomentumUpdate
from cauce.passes.autodiff import gradients
from tests.backends.onnx_models import assert_agree, run

LINE = Location((Frame("/home/somebody/net.py", 31), Frame("/home/somebody/net.py", 14)))


def network() -> Graph:
    """A convolution, batch norm, relu, pooling and a linear layer, with a symbolic batch."""
    graph = Graph("network")
    image = graph.add_input("image", TensorType.make("f32", ("N", 1, 8, 8)))

    def parameter(name: str, *shape: int) -> cauce.ir.Input:
        return graph.add_input(name, TensorType(DType.F32, shape), Role.PARAMETER)

    def layer(path: str, op: Op, *operands: cauce.ir.Value) -> cauce.ir.Value:
        return Builder(graph, path=path, loc=LINE)(op, *operands)

    weight = parameter("stage1.conv.weight", 4, 1, 3, 3)
    x = layer("stage1.conv", Conv2d(padding=((1, 1), (1, 1))), image, weight)
    statistics = [parameter(f"stage1.bn.{name}", 4) for name in ("gamma", "beta", "mean", "var")]
    x = layer("stage1.relu", Relu(), layer("stage1.bn", BatchNorm(), x, *statistics))
    x = layer("flatten", Flatten(), layer("pool", MaxPool2d((2, 2)), x))
    weight, bias = parameter("head.weight", 3, 64), parameter("head.bias", 3)
    graph.outputs = {"logits": layer("head", Linear(), x, weight, bias)}
    return graph


def values_for(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Values for all parameters and state, positive as variances must be."""
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.uniform(0.1, 1, value.type.shape).astype(value.type.dtype.numpy)
        for value in graph.inputs_with(Role.PARAMETER, Role.STATE)
    }


def shape_of(info: onnx.ValueInfoProto) -> list[int | str]:
    """Sizes, and names of symbolic dimensions."""
    return [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]


def metadata(node: onnx.NodeProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in node.metadata_props}


# ---- interface ---------------------------------------------------------------------------------


def test_parameters_become_initializers_and_the_batch_stays_symbolic() -> None:
    graph = network()
    parameters = values_for(graph)
    model = export(graph, parameters)
    assert {tensor.name for tensor in model.graph.initializer} >= set(parameters)
    assert [info.name for info in model.graph.input] == ["image"]
    assert shape_of(model.graph.input[0]) == ["N", 1, 8, 8]
    assert [info.name for info in model.graph.output] == ["logits"]
    assert shape_of(model.graph.output[0]) == ["N", 3]
    for batch in (1, 5):
        image = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)
        wanted = evaluate(graph, {"image": image, **parameters}).outputs
        assert_agree(run(model, {"image": image}), wanted, 1e-4)


def test_an_inference_network_needs_no_sizes_at_run_time() -> None:
    """Where 0 and -1 in a reshape say it all, no Shape node is written."""
    model = export(network())
    assert [node.op_type for node in model.graph.node] == [
        "Conv",
        "BatchNormalization",
        "Relu",
        "MaxPool",
        "Reshape",
        "Gemm",
    ]


def test_what_is_not_given_is_an_input() -> None:
    graph = network()
    parameters = values_for(graph)
    bias = parameters.pop("head.bias")
    model = export(graph, parameters)
    assert [info.name for info in model.graph.input] == ["image", "head.bias"]
    image = np.ones((2, 1, 8, 8), np.float32)
    wanted = evaluate(graph, {"image": image, "head.bias": bias, **parameters}).outputs
    assert_agree(run(model, {"image": image, "head.bias": bias}), wanted, 1e-4)


def test_a_parameter_that_does_not_fit_is_refused() -> None:
    graph = network()
    with pytest.raises(GraphError, match=r"no parameter or state called head\.bais"):
        export(graph, {"head.bais": np.zeros(3, np.float32)})
    with pytest.raises(GraphError, match="called image"):
        export(graph, {"image": np.zeros((1, 1, 8, 8), np.float32)})
    with pytest.raises(ShapeError, match="dimension 0 is 4, not 3"):
        export(graph, {"head.bias": np.zeros(4, np.float32)})
    with pytest.raises(TypeMismatch, match="float64"):
        export(graph, {"head.bias": np.zeros(3)})


def test_a_value_with_several_names_leaves_under_each() -> None:
    """Also an input, a parameter and a constant can leave; names that values have are no clash."""
    graph = Graph("names")
    x = graph.add_input("x", TensorType.make("f32", ("N",)))
    w = graph.add_input("w", TensorType(DType.F32, ()), Role.PARAMETER)
    y = Builder(graph, path="y")(Relu(), x)
    z = Builder(graph, path="z")(Sigmoid(), y)
    one = Builder(graph, path="one")(Constant(Literal(1.0)))
    graph.outputs = {"first": y, "second": y, "y": z, "same": x, "parameter": w, "number": one}
    feeds = {"x": np.array([-1.0, 2.0], np.float32)}
    weight = np.float32(3)
    wanted = evaluate(graph, {**feeds, "w": weight}).outputs
    assert_agree(run(export(graph, {"w": weight}), feeds), wanted, 1e-6)


def test_an_output_with_the_name_of_an_input_is_refused() -> None:
    graph = Graph("clash")
    x = graph.add_input("x", TensorType(DType.F32, (2,)))
    graph.outputs = {"x": Builder(graph)(Relu(), x)}
    with pytest.raises(ExportFailure, match="inputs and outputs called x"):
        export(graph)


# ---- names and metadata ------------------------------------------------------------------------


def test_nodes_are_named_by_layer_and_tell_the_source_line() -> None:
    model = export(network())
    names = [node.name for node in model.graph.node]
    assert names == ["stage1.conv", "stage1.bn", "stage1.relu", "pool", "flatten", "head"]
    assert metadata(model.graph.node[0]) == {
        "cauce.path": "stage1.conv",
        "cauce.op": "conv2d",
        "cauce.loc": "net.py:14 < net.py:31",
    }
    assert model.producer_name == "cauce"
    assert model.producer_version == cauce.__version__
    assert model.graph.name == "network"


def test_node_and_tensor_names_are_unique() -> None:
    model = export(training_step())
    names = [node.name for node in model.graph.node]
    tensors = [name for node in model.graph.node for name in node.output]
    tensors += [tensor.name for tensor in model.graph.initializer]
    tensors += [info.name for info in model.graph.input]
    assert len(set(names)) == len(names)
    assert len(set(tensors)) == len(tensors)


def test_types_of_values_between_are_declared() -> None:
    model = export(network())
    declared = {info.name: shape_of(info) for info in model.graph.value_info}
    assert declared["stage1.conv"] == ["N", 4, 8, 8]
    assert declared["flatten"] == ["N", 64]


def test_what_nothing_reads_is_not_written() -> None:
    graph = Graph("dead")
    x = graph.add_input("x", TensorType(DType.F32, (2,)))
    b = Builder(graph)
    b(Mul(), b(Sigmoid(), x), b(Constant(Literal(7.0))))
    graph.outputs = {"y": b(Relu(), x)}
    model = export(graph)
    assert [node.op_type for node in model.graph.node] == ["Relu"]
    assert not model.graph.initializer


def test_equal_constants_are_written_once() -> None:
    graph = Graph("constants")
    x = graph.add_input("x", TensorType(DType.F32, (20,)))
    b = Builder(graph)
    large = np.arange(20.0)
    for _ in range(2):
        x = b(Add(), b(Mul(), x, scalar(b, 2.0, x)), b(Constant(Literal(large, "f32"))))
    graph.outputs = {"y": x}
    model = export(graph)
    assert [list(tensor.dims) for tensor in model.graph.initializer] == [[], [20]]
    feeds = {"x": np.ones(20, np.float32)}
    assert_agree(run(model, feeds), evaluate(graph, feeds).outputs, 1e-6)


@pytest.mark.parametrize("dtype", DType, ids=str)
def test_an_initializer_of_every_dtype(dtype: DType) -> None:
    """Read back by onnx itself; a bfloat16 is carried in a float32."""
    graph = Graph("initializer")
    w = graph.add_input("w", TensorType(dtype, (3,)), Role.PARAMETER)
    graph.outputs = {"y": Builder(graph)(Cast(DType.F64), w)}
    array = dtype.round(np.array([1.7, 0.0, 3.1415927]))
    (tensor,) = export(graph, {"w": array}).graph.initializer
    assert tensor.name == "w"
    stored = onnx.numpy_helper.to_array(tensor)
    np.testing.assert_array_equal(stored.astype(np.float64), array.astype(np.float64))


# ---- failures and files ------------------------------------------------------------------------


class Mystery(Op):
    """y = x, and no backend knows how."""

    name = "mystery"

    def infer(self, x: TensorType) -> TensorType:
        return x


@pytest.fixture
def mysterious(monkeypatch: pytest.MonkeyPatch) -> Graph:
    """A graph with an op that is registered, for as long as the test runs, but has no rule."""
    monkeypatch.setitem(registry(), Mystery.name, Mystery)  # type: ignore[arg-type]
    graph = Graph("mysterious")
    x = graph.add_input("x", TensorType.make("f32", ("N",)))
    graph.outputs = {"y": Builder(graph, path="stage1.odd", loc=LINE)(Mystery(), x)}
    return graph


def test_an_op_without_a_rule_is_named_with_layer_and_line(mysterious: Graph) -> None:
    with pytest.raises(UnsupportedOp, match="no rule for mystery") as caught:
        export(mysterious)
    assert "in layer: stage1.odd" in str(caught.value)
    assert "net.py:14" in str(caught.value)


def test_a_rule_that_writes_nonsense_does_not_pass_the_check(
    mysterious: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(w: Writer, op: Op, node: Node, x: str) -> str:
        return w("Transpose", x, perm=[0, 0])

    monkeypatch.setitem(RULES, Mystery, ExportRule(wrong, {}, always))
    with pytest.raises(ExportFailure, match=r"onnx.checker refuses the model of mysterious"):
        export(mysterious)


def test_a_model_beyond_what_a_message_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in its initializers, constants too; in memory there is no file beside."""
    monkeypatch.setattr("cauce.backends.onnx.exporter.MOST", 500)
    graph = network()
    with pytest.raises(ExportFailure, match=r"take \d+ bytes, .* at most 500 beside") as caught:
        export(graph, values_for(graph))
    assert "save it to a file" in str(caught.value)


def test_without_onnx_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match="pip install 'onnx>="):
        export(network())


def test_a_file_is_replaced_by_a_good_export_only(mysterious: Graph, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    graph = network()
    save(graph, values_for(graph, seed=1), path)
    first = path.read_bytes()
    assert onnx.load_model_from_string(first).graph.name == "network"
    with pytest.raises(UnsupportedOp):
        save(mysterious, {}, path)
    assert path.read_bytes() == first
    save(graph, values_for(graph, seed=2), path)
    assert path.read_bytes() != first
    assert [file.name for file in tmp_path.iterdir()] == ["network.onnx"]


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(training_step(), {}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_exporting_leaves_the_graph_as_it_is() -> None:
    graph = training_step()
    before = graph.to_text()
    export(graph)
    assert graph.to_text() == before


# ---- a training step ---------------------------------------------------------------------------


def training_step() -> Graph:
    """Convolution, batch norm with the batch's statistics, dropout and a linear layer; cross
    entropy; SGD with momentum; a random key that counts its steps."""
    graph = Graph("step")
    b = Builder(graph)

    def add(name: str, dtype: str, shape: tuple[object, ...], role: Role) -> cauce.ir.Input:
        return graph.add_input(name, TensorType.make(dtype, shape), role)

    image = add("image", "f32", ("N", 1, 7, 7), Role.DATA)
    label = add("label", "i64", ("N",), Role.DATA)
    lr = add("lr", "f32", (), Role.HYPERPARAMETER)
    shapes: dict[str, tuple[object, ...]] = {
        "conv.weight": (2, 1, 3, 3),
        "bn.gamma": (2,),
        "bn.beta": (2,),
        "head.weight": (3, 18),
        "head.bias": (3,),
    }
    weights = {name: add(name, "f32", shape, Role.PARAMETER) for name, shape in shapes.items()}
    momenta = {n: add(f"{n}.velocity", "f32", s, Role.STATE) for n, s in shapes.items()}
    running = add("bn.mean", "f32", (2,), Role.STATE)
    key = add("key", "u32", (2,), Role.STATE)

    x = b(Conv2d(stride=(2, 2)), image, weights["conv.weight"])
    x, mean, _ = b.results(BatchNormTrain(), x, weights["bn.gamma"], weights["bn.beta"])
    x = b(Flatten(), b(Relu(), x))
    x = b(Dropout(0.25), x, b(RandomUniform(x.type.shape, stream=3), key))
    logits = b(Linear(), x, weights["head.weight"], weights["head.bias"])
    loss = b(CrossEntropy(), logits, label)
    graph.outputs = {"loss": loss, "logits": logits}
    for (name, weight), grad in zip(weights.items(), gradients(graph, loss, [*weights.values()])):
        assert grad is not None
        update = SGDMomentumUpdate(0.9, weight_decay=1e-3)
        new, velocity = b.results(update, weight, grad, momenta[name], lr)
        graph.updates |= {weight: new, momenta[name]: velocity}
    old, new = (
        b(Mul(), part, scalar(b, share, part)) for part, share in ((running, 0.9), (mean, 0.1))
    )
    graph.updates[running] = b(Add(), old, new)
    graph.updates[key] = b(Add(), key, b(Constant(Literal([0, 1], "u32"))))
    return graph


def test_a_training_step_runs_in_onnx_runtime() -> None:
    """(parameters, state, lr, batch) -> (loss, logits, new parameters, new state), over steps of
    two batch sizes, each fed with what ONNX Runtime returned before."""
    graph = training_step()
    model = export(graph)
    updated = [target.name for target in graph.updates]
    assert [info.name for info in model.graph.output] == [
        "loss",
        "logits",
        *(f"{name}.new" for name in updated),
    ]
    rng = np.random.default_rng(0)
    state = values_for(graph) | {"key": np.array([11, 0], np.uint32)}
    losses = []
    for batch in (4, 4, 3):
        feeds = {
            "image": rng.standard_normal((batch, 1, 7, 7)).astype(np.float32),
            "label": rng.integers(0, 3, batch),
            "lr": np.float32(0.1),
            **state,
        }
        wanted = evaluate(graph, feeds)
        updates = {f"{name}.new": array for name, array in wanted.updates.items()}
        got = run(model, feeds)
        assert_agree(got, {**wanted.outputs, **updates}, 1e-4)
        state = {name: got[f"{name}.new"] for name in updated}
        losses.append(float(got["loss"]))
    assert state["key"].tolist() == [11, 3]
    assert np.isfinite(losses).all()
