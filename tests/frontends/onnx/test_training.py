"""Models from ONNX files in training: batch norms, dropout, heads, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cauce
from cauce import models, nn
from cauce.ir import Array, Role
from cauce.ir.errors import CauceWarning
from cauce.ir.evaluate import evaluate
from cauce.ir.ops.normalize import BatchNorm, BatchNormTrain
from cauce.ir.ops.random import KEY, Dropout
from cauce.passes.inference import ToInference

from .build import agrees, model

node = helper.make_node


def floats(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def curve(network: cauce.Model, backend: str, steps: int = 5) -> tuple[list[float], Any]:
    """The losses of some steps on noise, and the parameters and statistics after them."""
    step = cauce.train_step(
        network, "cross_entropy", cauce.SGD(0.05, momentum=0.9), backend=backend
    )
    state, rng, losses = step.init(seed=3), np.random.default_rng(5), []
    for _ in range(steps):
        images = rng.standard_normal((6, 3, 16, 16)).astype(np.float32)
        state = step(state, (images, rng.integers(0, 10, 6)))
        losses.append(state.loss)
    return losses, state.read()


@cauce.network
def residual(image: nn.Tensor) -> nn.Tensor:
    """A stem and a block of half the size."""
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 8, 3, padding=1, bias=False)))
    y = nn.relu(nn.batch_norm(nn.conv2d(x, 12, 3, stride=2, padding=1, bias=False)))
    y = nn.batch_norm(nn.conv2d(y, 12, 3, padding=1, bias=False))
    x = nn.relu(y + nn.batch_norm(nn.conv2d(x, 12, 1, stride=2)))
    return nn.linear(nn.global_avg_pool(x), 10)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize(
    "network", [residual, pytest.param(models.resnet20, marks=pytest.mark.slow)]
)
def test_a_residual_network_learns_as_the_one_that_was_exported(
    network: cauce.Network, backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    written = network.init(image=("N", 3, 16, 16), seed=1)
    cauce.export_onnx(written, path)
    loaded = cauce.load_onnx(path)
    wanted, after = curve(written, backend)
    got, read = curve(loaded, backend)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert read.keys() == after.keys()
    for name, array in after.items():
        np.testing.assert_allclose(read[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_momentum_of_a_network_survives_a_file(tmp_path: Path) -> None:
    @cauce.network
    def net(x: nn.Tensor) -> nn.Tensor:
        return nn.batch_norm(nn.batch_norm(x, momentum=0.25), name="usual")

    written = net.init(x=("N", 2, 4, 4))
    cauce.export_onnx(written, tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    given = [{a.name: a.f for a in n.attribute}.get("momentum") for n in proto.graph.node]
    assert given == [0.75, None]  # what ONNX takes for granted is left out
    loaded = cauce.load_onnx(proto)
    x = floats(3, 2, 4, 4)
    wanted = evaluate(written.training_graph, {"x": x, **written.values}).updates
    got = evaluate(loaded.training_graph, {"x": x, **loaded.values}).updates
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(got[name], array)


def normalized(momentum: float | None, **attributes: Any) -> onnx.ModelProto:
    """x [N, 3, H, W] through two batch norms that share their weights and statistics."""
    given = attributes if momentum is None else {**attributes, "momentum": momentum}
    statistics = ["scale", "shift", "mean", "var"]
    nodes = [
        node("BatchNormalization", ["x", *statistics], ["a"], "first", **given),
        node("Relu", ["a"], ["b"], "relu"),
        node("BatchNormalization", ["b", *statistics], ["y"], "second", **given),
    ]
    stored = {name: np.abs(floats(3)) + np.float32(0.5) for name in statistics}
    return model(nodes, {"x": ("N", 3, "H", "W")}, ["y"], stored)


@pytest.mark.parametrize("momentum", [None, 0.75])
def test_statistics_that_two_layers_share_move_twice(momentum: float | None) -> None:
    """By a share of 1 - momentum each time, as those of a PyTorch module that is called twice."""
    loaded = agrees(normalized(momentum), {"x": floats(4, 3, 5, 5)})
    values = loaded.state_dict()
    weights = [values[name] for name in ("scale", "shift")]
    x = floats(4, 3, 5, 5)
    results = evaluate(loaded.training_graph, {"x": x, **values})

    share, mean, var = 1 - (momentum or 0.9), values["mean"], values["var"]
    array = x
    for place in range(2):
        batch = (array.mean((0, 2, 3)), array.var((0, 2, 3)))
        count = array.size / 3
        mean = mean * (1 - share) + share * batch[0]
        var = var * (1 - share) + share * batch[1] * count / (count - 1)
        columns = [a[:, None, None] for a in (*batch, *weights)]
        array = (array - columns[0]) / np.sqrt(columns[1] + 1e-5) * columns[2] + columns[3]
        array = np.maximum(array, 0) if place == 0 else array
    np.testing.assert_allclose(results.outputs["y"], array, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results.updates["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(results.updates["var"], var, rtol=1e-5)


def test_what_was_turned_to_training_turns_back() -> None:
    loaded = cauce.load_onnx(normalized(None))
    graph = loaded.training_graph.copy()
    ops = [type(n.op) for n in graph.nodes]
    assert ops.count(BatchNormTrain) == 2 and BatchNorm not in ops
    one = cauce.load_onnx(network()).training_graph.copy()
    ToInference().run(one)
    assert BatchNorm in [type(n.op) for n in one.nodes] and not one.updates
    one.verify()


def network(opset: int = 13, **dropout: Any) -> onnx.ModelProto:
    """Convolution, batch norm, relu, global pool, flatten, dropout and a linear layer."""
    operands = ["f"] if opset < 12 else ["f", "ratio"]
    nodes = [
        node("Conv", ["x", "conv.weight"], ["a"], "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "g", "b", "mean", "var"], ["c"], "bn"),
        *(node("Relu", ["c"], ["d"]), node("GlobalAveragePool", ["d"], ["e"])),
        node("Flatten", ["e"], ["f"]),
        node("Dropout", operands, ["h"], "drop", **dropout),
        node("Gemm", ["h", "fc.weight", "fc.bias"], ["scores"], "fc", transB=1),
    ]
    stored = {"conv.weight": floats(8, 3, 3, 3)}
    stored |= {name: np.abs(floats(8)) for name in ("g", "b", "mean", "var")}
    stored |= {"fc.weight": floats(10, 8), "fc.bias": floats(10)}
    if opset >= 12:
        stored["ratio"] = np.array(0.25, np.float32)
    return model(nodes, {"x": ("N", 3, "H", "W")}, ["scores"], stored, opset)


@pytest.mark.parametrize(
    ("opset", "given", "p"), [(7, {}, 0.5), (10, {"ratio": 0.4}, 0.4), (13, {}, 0.25)]
)
def test_dropout_drops_in_training_alone(opset: int, given: dict[str, float], p: float) -> None:
    loaded = agrees(network(opset, **given), {"x": floats(2, 3, 6, 6)})
    assert not any(isinstance(n.op, Dropout) for n in loaded.graph.nodes)
    (dropped,) = [n.op for n in loaded.training_graph.nodes if isinstance(n.op, Dropout)]
    assert dropped == Dropout(p)
    assert "in training 1 batch norm and 1 dropout; what" in loaded.summary(print_fn=None)
    for backend in ("numpy", "llvm"):
        losses, state = curve(loaded, backend, 3)
        assert np.all(np.isfinite(losses)) and state[KEY].tolist() == [3, 3]


def test_a_dropout_whose_mask_is_read_stays_out() -> None:
    nodes = [node("Dropout", ["x"], ["y", "mask"], "drop")]
    loaded = cauce.load_onnx(model(nodes, {"x": ("N", 2)}, ["y", "mask"]))
    assert KEY not in loaded.state_dict() and not loaded.training_graph.updates
    assert "(1 of which the mask or the ratio is computed stay out)" in loaded.origin


def test_training_survives_a_file(tmp_path: Path) -> None:
    loaded = cauce.load_onnx(network())
    loaded.freeze("g")
    loaded.save(tmp_path / "net.safetensors")
    again = cauce.load(tmp_path / "net.safetensors")
    assert again.training_graph.same_as(loaded.training_graph)
    assert (again.origin, again.frozen) == (loaded.origin, {"g"})
    assert curve(again, "numpy", 2)[0] == curve(loaded, "numpy", 2)[0]


def heads() -> dict[str, tuple[list[onnx.NodeProto], dict[str, Array], set[str]]]:
    """A last layer in every form that files have: its nodes, what is stored, what is replaced."""
    w, b = floats(4, 6), floats(6)
    gemm = [node("Gemm", ["x", "w", "b"], ["y"])]
    matmul = [node("MatMul", ["x", "w"], ["a"])]
    return {
        "gemm": (gemm, {"w": w, "b": b}, {"w", "b"}),
        "gemm, transB": (
            [node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
            {"w": w.T.copy(), "b": b},
            {"w", "b"},
        ),
        "matmul": ([node("MatMul", ["x", "w"], ["y"])], {"w": w}, {"w"}),
        "matmul and add": ([*matmul, node("Add", ["b", "a"], ["y"])], {"w": w, "b": b}, {"w", "b"}),
        "bias [1, C]": (
            [*matmul, node("Add", ["a", "b"], ["y"])],
            {"w": w, "b": b[None]},
            {"w", "b"},
        ),
        "and softmax": (
            [node("Gemm", ["x", "w", "b"], ["a"]), node("Softmax", ["a"], ["y"])],
            {"w": w, "b": b},
            {"w", "b"},
        ),
    }


@pytest.mark.parametrize("form", heads())
def test_another_head(form: str) -> None:
    nodes, stored, replaced = heads()[form]
    body = [node("Gemm", ["image", "first"], ["x"])]
    proto = model([*body, *nodes], {"image": ("N", 3)}, ["y"], {**stored, "first": floats(3, 4)})
    loaded = agrees(proto, {"image": floats(2, 3)})
    other = loaded.replace_head(9, seed=4)
    assert cauce.compile(other)(floats(2, 3)).shape == (2, 9)
    assert cauce.compile(loaded)(floats(2, 3)).shape == (2, 6)
    before, after = loaded.state_dict(), other.state_dict()
    assert {n for n in before if not np.array_equal(before[n], after[n])} == replaced
    assert np.array_equal(after["w"], loaded.replace_head(9, seed=4).values["w"])
    assert not np.array_equal(after["w"], loaded.replace_head(9, seed=5).values["w"])
    assert 0 < np.abs(after["w"]).max() <= 0.5  # 1 / sqrt(4)
    other.freeze("first")
    step = cauce.train_step(other, "mse_loss", cauce.SGD(0.1), backend="numpy")
    state = step(step.init(), (floats(2, 3), np.zeros((2, 9), np.float32)))
    assert np.array_equal(step.graph.value("first").type.shape, (3, 4))
    assert set(state.read()) == replaced


def test_weights_with_equal_values_stay_apart() -> None:
    """PyTorch writes weights that are equal once, and the others as Identity of it."""
    nodes = [
        node("Identity", ["bn1.weight"], ["bn2.weight"]),
        node("Mul", ["x", "bn1.weight"], ["a"]),
        node("Mul", ["a", "bn2.weight"], ["y"]),
    ]
    loaded = agrees(
        model(nodes, {"x": ("N", 2)}, ["y"], {"bn1.weight": floats(2)}), {"x": floats(3, 2)}
    )
    assert [p.name for p in loaded.parameters] == ["bn1.weight", "bn2.weight"]


def test_names_with_brackets_are_frozen_by_name() -> None:
    nodes = [node("Mul", ["x", "w[0]"], ["a"]), node("Mul", ["a", "w0"], ["y"])]
    stored = {"w[0]": floats(2), "w0": floats(2)}
    loaded = cauce.load_onnx(model(nodes, {"x": ("N", 2)}, ["y"], stored))
    loaded.freeze("w[0]")
    assert loaded.frozen == {"w[0]"}
    loaded.unfreeze("*")
    loaded.freeze("w[0-9]")
    assert loaded.frozen == {"w0"}


def test_cross_entropy_of_a_softmax_is_warned_of() -> None:
    @cauce.network
    def net(x: nn.Tensor) -> nn.Tensor:
        return nn.softmax(nn.linear(x, 3))

    with pytest.warns(CauceWarning, match="ends in softmax"):
        cauce.train_step(net.init(x=("N", 2)), "cross_entropy", cauce.SGD(0.1), backend="numpy")


def test_states_are_those_of_batch_norms() -> None:
    loaded = cauce.load_onnx(network())
    assert [s.name for s in loaded.graph.inputs_with(Role.STATE)] == ["mean", "var"]
    assert list(loaded.state_dict()) == [
        *("conv.weight", "g", "b", "mean", "var", "fc.weight", "fc.bias", KEY)
    ]


# Files that PyTorch 2.13 wrote of the module in docs/coming-from-pytorch.md, without the names of
# its source files: by the exporter of today as on that page, by the older one, and by the first
# with what it does for inference. The losses and statistics are those of PyTorch in training.
FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize("name", ["torch_dynamo", "torch_script"])
def test_a_file_of_pytorch_learns_as_it_does_there(name: str) -> None:
    data, loaded = np.load(FILES / "torch_net.npz"), cauce.load_onnx(FILES / f"{name}.onnx")
    got = cauce.compile(loaded)(data["image"])
    np.testing.assert_allclose(got, data["scores"], rtol=1e-4, atol=1e-6)
    losses, after = curve(loaded, "numpy")
    np.testing.assert_allclose(losses, data["losses"], rtol=1e-5)
    moved = {key.removeprefix("after ") for key in data if key.startswith("after ")}
    assert moved == {n for n in loaded.state_dict() if "running" in n}
    for key in moved:
        np.testing.assert_allclose(after[key], data[f"after {key}"], rtol=1e-4, atol=1e-6)


def test_what_the_exporter_has_folded_is_trained_as_it_is() -> None:
    data = np.load(FILES / "torch_net.npz")
    loaded = cauce.load_onnx(FILES / "torch_folded.onnx")
    got = cauce.compile(loaded)(data["image"])
    np.testing.assert_allclose(got, data["scores"], rtol=1e-4, atol=1e-6)
    assert "in training no batch norms and no dropouts" in loaded.summary(print_fn=None)
    losses, _ = curve(loaded, "numpy", 3)
    assert np.all(np.isfinite(losses))
