"""The DSL: what networks trace to, names and lines, and mistakes shown where they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cauce.frontends import nn
from cauce.frontends.model import Model
from cauce.frontends.network import network
from cauce.frontends.tensor import Tensor
from cauce.ir import Role, TensorType, evaluate, verify
from cauce.ir.errors import (
    DataError,
    GraphError,
    ParseError,
    ShapeError,
)
from cauce.ir.ops.elementwise import Exp, Sub
from cauce.ir.tensors_file import load_tensors, save_tensors
from cauce.ir.version import VERSION
from cauce.loading import load

HERE = Path(__file__).name


@network
def tiny(image, classes=10):
    x = nn.conv2d(image, 4, 3, padding=1)
    x = nn.relu(nn.batch_norm(x))
    x = nn.dropout(nn.global_avg_pool(x), 0.5)
    return nn.linear(x, classes)


def make(function, **shapes):
    return network(function).init(**shapes)


def test_the_graph_reads_like_the_network() -> None:
    text = tiny.init(image=("N", 3, 8, 8)).graph.to_text(locations=False)
    assert text == (
        "graph tiny(%image: f32[N,3,8,8]) -> f32[N,10] {\n"
        "  @conv1.weight: f32[4,3,3,3] parameter\n"
        "  @conv1.bias: f32[4] parameter\n"
        "  @bn1.weight: f32[4] parameter\n"
        "  @bn1.bias: f32[4] parameter\n"
        "  @bn1.running_mean: f32[4] state\n"
        "  @bn1.running_var: f32[4] state\n"
        "  @linear1.weight: f32[10,4] parameter\n"
        "  @linear1.bias: f32[10] parameter\n"
        "  %conv1 = conv2d(%image, @conv1.weight, @conv1.bias) padding=1 : f32[N,4,8,8]\n"
        "  %bn1 = batch_norm(%conv1, @bn1.weight, @bn1.bias, @bn1.running_mean, "
        "@bn1.running_var) : f32[N,4,8,8]\n"
        "  %relu1 = relu(%bn1) : f32[N,4,8,8]\n"
        "  %global_avg_pool1 = global_avg_pool2d(%relu1) : f32[N,4,1,1]\n"
        "  %global_avg_pool1~1 = flatten(%global_avg_pool1) : f32[N,4]\n"
        "  %linear1 = linear(%global_avg_pool1~1, @linear1.weight, @linear1.bias) : f32[N,10]\n"
        "  return output=%linear1\n"
        "}"
    )


def test_training_form_has_batch_statistics_dropout_and_updates() -> None:
    model = tiny.init(image=("N", 3, 8, 8))
    graph = model.training_graph
    verify(graph)
    ops = [node.op.name for node in graph.nodes]
    assert {"batch_norm_train", "random_uniform", "dropout"} <= set(ops)
    updated = {value.name for value in graph.updates}
    assert updated == {"bn1.running_mean", "bn1.running_var", "random.key"}
    shared = {v.name for v in model.graph.inputs} - {"image"}
    assert shared <= {v.name for v in graph.inputs}


def test_running_statistics_follow_pytorch() -> None:
    model = make(lambda x: nn.batch_norm(x, momentum=0.25), x=("N", 2, 3, 3))
    x = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32)
    new = evaluate(model.training_graph, {"x": x, **model.state_dict()}).updates
    mean, unbiased = x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(new["bn1.running_mean"], 0.25 * mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(new["bn1.running_var"], 0.75 + 0.25 * unbiased, rtol=1e-5)


def test_initial_values_depend_on_seed_and_name_only() -> None:
    one = tiny.init(image=("N", 3, 8, 8), seed=1).state_dict()
    again = tiny.init(image=("N", 3, 16, 16), seed=1, classes=5).state_dict()
    other = tiny.init(image=("N", 3, 8, 8), seed=2).state_dict()
    np.testing.assert_array_equal(one["conv1.weight"], again["conv1.weight"])
    assert again["linear1.weight"].shape == (5, 4)
    assert not np.array_equal(one["conv1.weight"], other["conv1.weight"])
    bound = 1 / np.sqrt(27)
    assert np.abs(one["conv1.weight"]).max() <= bound
    assert one["conv1.weight"].dtype == np.float32


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (nn.init.kaiming_normal, 2 / 90),
        (nn.init.kaiming_uniform, 2 / 90),
        (nn.init.kaiming_normal_fan_out, 2 / 180),
        (nn.init.xavier_uniform, 2 / (90 + 180)),
        (nn.init.default_weight, 1 / (3 * 90)),
        (nn.init.normal(0.5), 0.25),
    ],
)
def test_initializers_have_the_variance_of_their_papers(initializer, variance: float) -> None:
    def net(x):
        return nn.conv2d(x, 20, 3, weight_init=initializer)

    weight = make(net, x=("N", 10, 8, 8)).state_dict()["conv1.weight"]
    assert weight.size == 1800 and abs(weight.mean()) < 4 * np.sqrt(variance / 1800)
    np.testing.assert_allclose(weight.var(), variance, rtol=0.15)


def test_scopes_blocks_and_names() -> None:
    @nn.block
    def stage(x, channels):
        return nn.relu(nn.conv2d(x, channels, 1, name="project"))

    def net(x):
        with nn.scope("stem"):
            x = nn.conv2d(x, 4, 3)
        x = stage(stage(x, 4), 8)
        return nn.conv2d(x, 2, 1)

    names = [v.name for v in make(net, x=("N", 3, 9, 9)).parameters if v.name.endswith("weight")]
    assert names == ["stem.conv1.weight", "stage1.project.weight", "stage2.project.weight",
                     "conv1.weight"]  # fmt: skip


def test_any_op_can_be_applied_as_a_layer() -> None:
    def net(image):
        y = nn.apply(Exp(), image, name="grow")
        return nn.apply(Sub(), nn.apply(Exp(), y), y)

    graph = make(net, image=("N", 3)).graph
    assert [node.path for node in graph.nodes] == ["grow", "exp1", "sub1"]
    x = np.array([[0.5, -1.0, 2.0]], np.float32)
    (y,) = evaluate(graph, {"image": x}).outputs.values()
    np.testing.assert_allclose(y, np.exp(np.exp(x)) - np.exp(x), rtol=1e-6)


def test_nodes_carry_the_users_lines_innermost_last() -> None:
    def inner(x):
        return nn.relu(x)

    def net(x):
        return inner(x)

    (node,) = make(net, x=("N", 3)).graph.nodes
    assert node.loc is not None
    # A parallel test process is started by code from a command line, in no file: a user's frame.
    frames = [frame for frame in node.loc.frames if not frame.file.startswith("<")]
    lines = [Path(frame.file).read_text().splitlines()[frame.line - 1] for frame in frames]
    assert "return nn.relu(x)" in lines[-1] and "return inner(x)" in lines[-2]
    assert all(Path(frame.file).name == HERE for frame in frames)


def test_networks_nest_and_return_several_outputs() -> None:
    @network
    def features(x, width=4):
        return nn.relu(nn.conv2d(x, width, 3))

    @network
    def two(x):
        y = features(x, width=6)
        return {"deep": nn.conv2d(y, 2, 1), "mean": y.mean((2, 3))}

    graph = two.init(x=("N", 1, 8, 8)).graph
    assert list(graph.outputs) == ["deep", "mean"]
    assert graph.value("features1.conv1").type == TensorType.make("f32", ("N", 6, 6, 6))


def test_arithmetic_and_slices_agree_with_numpy() -> None:
    def net(x, y):
        z = (2 * x - y / 4 + 1) ** 2 - abs(x)
        z = nn.where(z > 1, z, 0.5)
        part = z[:, 1:, ..., -1]
        total = (1 - part).sum(1, keepdim=True) + z.mean() * z.max()
        return {"part": part, "total": total, "row": z[0, :, ::2, 1:3], "flat": z.reshape("N", -1)}

    model = make(net, x=("N", 3, 4, 5), y=("N", 3, 4, 5))
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, 3, 4, 5)).astype(np.float32) for _ in range(2))
    out = evaluate(model.graph, {"x": x, "y": y}).outputs
    z = (2 * x - y / 4 + 1) ** 2 - abs(x)
    z = np.where(z > 1, z, np.float32(0.5))
    part = z[:, 1:, ..., -1]
    np.testing.assert_allclose(out["part"], part, rtol=1e-5)
    np.testing.assert_allclose(
        out["total"], (1 - part).sum(1, keepdims=True) + z.mean() * z.max(), rtol=1e-5
    )
    np.testing.assert_allclose(out["row"], z[0, :, ::2, 1:3], rtol=1e-5)
    np.testing.assert_allclose(out["flat"], z.reshape(2, -1), rtol=1e-5)


@pytest.mark.parametrize(
    "compute",
    [
        lambda x, m: 2**x,
        lambda x, m: x * np.float32(3) - np.float32(2) * x,
        lambda x, m: np.arange(1, 5, dtype=np.float32) / x,
        lambda x, m: np.float32(2) ** x,
        lambda x, m: np.arange(4, dtype=np.float32) - x,
        lambda x, m: m @ x,
        lambda x, m: x @ m,
        lambda x, m: np.float32(1) < x,
        lambda x, m: np.float32(1) >= x,
    ],
)
def test_numbers_and_arrays_of_numpy_on_either_side(compute) -> None:
    x = np.random.default_rng(1).uniform(0.5, 2, (4, 4)).astype(np.float32)
    m = np.eye(4, dtype=np.float32)[::-1] * 2
    graph = make(lambda x: compute(x, m), x=(4, 4)).graph
    result = evaluate(graph, {"x": x}).outputs["output"]
    assert result.dtype == compute(x, m).dtype
    np.testing.assert_allclose(result, compute(x, m), rtol=1e-6)


def test_maximum_and_minimum_take_a_number_on_either_side() -> None:
    graph = make(lambda x: nn.minimum(1, nn.maximum(x, 0.5)), x=("N",)).graph
    x = np.array([0, 0.75, 2], np.float32)
    np.testing.assert_array_equal(evaluate(graph, {"x": x}).outputs["output"], [0.5, 0.75, 1])


def test_expand_broadcasts_and_keeps_sizes() -> None:
    graph = make(lambda x: x.expand(5, 2, -1, 3), x=(4, 1)).graph
    assert graph.outputs["output"].type == TensorType.make("f32", (5, 2, 4, 3))
    x = np.arange(4, dtype=np.float32)[:, None]
    result = evaluate(graph, {"x": x}).outputs["output"]
    np.testing.assert_array_equal(result, np.broadcast_to(x, (5, 2, 4, 3)))


def test_a_slice_beyond_a_size_that_a_run_reveals_fails() -> None:
    graph = make(lambda x: x[:, -3:], x=("N", "W")).graph
    assert graph.outputs["output"].type == TensorType.make("f32", ("N", 3))
    x = np.arange(4, dtype=np.float32)[None]
    np.testing.assert_array_equal(evaluate(graph, {"x": x}).outputs["output"], x[:, 1:])
    with pytest.raises(ShapeError, match=r"slice \[-1:2\] along axis 1 of f32\[1,2\]"):
        evaluate(graph, {"x": x[:, :2]})
    graph = make(lambda x: x[:, 2:100], x=("N", "W")).graph
    with pytest.raises(ShapeError, match="which has size 4"):
        evaluate(graph, {"x": x})


def test_a_tensor_kept_from_another_trace_is_refused() -> None:
    kept: list[Tensor] = []

    def keep(x):
        kept.append(x)
        return x

    make(keep, x=("N", 3))
    for use in (lambda x: x + kept[0], lambda x: kept[0] + x, lambda x: kept[0]):
        with pytest.raises(GraphError, match="a tensor of network keep is used where") as caught:
            make(use, x=("N", 3))
        assert HERE in str(caught.value)
    with pytest.raises(GraphError, match="a tensor of network keep"):
        kept[0].exp()


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_dropout_in_every_width(dtype: str) -> None:
    model = network(lambda x: nn.dropout(x, 0.25)).init(x=("N", 400), dtype=dtype)
    verify(model.training_graph)
    x = np.ones((2, 400), model.graph.inputs[0].type.dtype.numpy)
    key = np.array([1, 0], np.uint32)
    y = evaluate(model.training_graph, {"x": x, "random.key": key}).outputs["output"]
    assert y.dtype == x.dtype and len(np.unique(y)) == 2
    assert 0.65 < np.mean(y != 0) < 0.85


@pytest.mark.parametrize(
    ("stride", "size", "expected"), [(1, "H", "H"), (1, 7, "7"), (2, 7, "4"), (3, 8, "3")]
)
def test_same_padding(stride: int, size: int | str, expected: str) -> None:
    def net(x):
        return nn.conv2d(x, 1, 3, stride=stride, padding="same")

    shape = make(net, x=("N", 1, size, size)).graph.outputs["output"].type.shape
    assert str(shape[2]) == expected


def test_symbolic_sizes_come_out_in_canonical_form() -> None:
    def net(x):
        return nn.max_pool2d(nn.conv2d(x, 4, 3, stride=2, padding=1), 3, stride=2, padding=1)

    output = make(net, x=("N", 1, "H", "W")).graph.outputs["output"]
    assert str(output.type) == "f32[N,4,(H + 3)//4,(W + 3)//4]"


def test_save_and_load_give_the_same_model(tmp_path: Path) -> None:
    model = tiny.init(image=("N", 3, 8, 8), seed=3)
    model.freeze("conv1.*")
    model.save(tmp_path / "tiny.safetensors")
    back = load(tmp_path / "tiny.safetensors")
    assert back.frozen == {"conv1.weight", "conv1.bias"}
    assert back.graph.same_as(model.graph)
    assert back.training_graph.same_as(model.training_graph)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_the_training_form_of_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    tiny.init(image=("N", 3, 8, 8)).save(path)
    tensors, metadata = load_tensors(path)
    save_tensors(path, tensors, metadata | {"training_graph": "graph g( {}"})
    model = load(path)
    assert model.name == "tiny"
    with pytest.raises(ParseError, match="expected 'value'") as caught:
        model.training_graph  # noqa: B018
    assert caught.value.__notes__ == [f"in {path}, written by cauce {VERSION}"]
    save_tensors(path, {**tensors, "conv1.bias": np.zeros(7, np.float32)}, metadata)
    with pytest.raises(GraphError, match=r"conv1.bias should be f32\[4\], but it has shape \(7,\)"):
        load(path)


def test_values_are_those_of_the_model_and_cannot_be_written() -> None:
    model = tiny.init(image=("N", 3, 8, 8))
    values = model.values
    assert values.keys() == model.state_dict().keys()
    assert np.shares_memory(values["conv1.bias"], model.values["conv1.bias"])
    with pytest.raises(ValueError, match="read-only"):
        values["conv1.bias"][:] = 1
    model.load_state_dict({"conv1.bias": np.ones_like(values["conv1.bias"])}, strict=False)
    assert (model.values["conv1.bias"] == 1).all() and not (values["conv1.bias"] == 1).any()


def test_a_failed_save_leaves_the_earlier_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "tiny.safetensors"
    tiny.init(image=("N", 3, 8, 8)).save(path)
    before = path.read_bytes()

    def full_disk(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        tiny.init(image=("N", 3, 8, 8), seed=9).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_loading_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"not a model at all")
    with pytest.raises(DataError, match="is not a safetensors file"):
        load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "missing.safetensors")


def test_state_dicts_are_copies_and_checked() -> None:
    model = tiny.init(image=("N", 3, 8, 8))
    values = model.state_dict()
    values["conv1.weight"][...] = 0
    assert model.state_dict()["conv1.weight"].any()
    model.load_state_dict(values)
    assert not model.state_dict()["conv1.weight"].any()
    with pytest.raises(ShapeError, match=r"linear1.weight has shape \(10, 4\)"):
        model.load_state_dict(tiny.init(image=("N", 3, 8, 8), classes=7).state_dict())
    with pytest.raises(GraphError, match=r"1 are missing \(conv1.bias\), 0 others"):
        model.load_state_dict({n: a for n, a in values.items() if n != "conv1.bias"})


def test_summary_counts_parameters_and_flops() -> None:
    model = tiny.init(image=("N", 3, 8, 8))
    text = model.summary(print_fn=None)
    parameters = 4 * 3 * 9 + 4 + 4 + 4 + 10 * 4 + 10
    assert model.parameter_count() == parameters
    assert f"tiny: {parameters:,} parameters" in text
    row = next(line for line in text.splitlines() if line.startswith("conv1"))
    assert row.split()[-2:] == ["112", f"{2 * 27 * 4 * 64 + 4 * 64:,}"]


def test_what_a_summary_prints_is_not_returned_to_be_shown_again(capsys) -> None:
    model = tiny.init(image=("N", 3, 8, 8))
    text = model.summary(print_fn=None)
    assert model.summary() is None
    assert capsys.readouterr().out == f"{text}\n"
    lines: list[str] = []
    assert model.summary(2, lines.append) is None
    assert lines == [model.summary(2, print_fn=None)]


def test_a_summary_goes_through_the_inputs_a_fixed_number_of_times(monkeypatch) -> None:
    """Not once for each layer, which has inputs of its own."""

    def passes(layers: int) -> int:
        def deep(x):
            for _ in range(layers):
                x = nn.conv2d(x, 1, 1)
            return x

        model = network(deep).init(x=("N", 1, 1, 1))
        count = 0

        class Counted(list):
            def __iter__(self):
                nonlocal count
                count += 1
                return super().__iter__()

        model.graph.inputs = Counted(model.graph.inputs)
        text = model.summary(print_fn=None)
        assert f"{2 * layers:,} parameters" in text
        return count

    assert passes(2) == passes(20)


def test_a_models_roles() -> None:
    model = tiny.init(image=("N", 3, 8, 8))
    assert isinstance(model, Model)
    roles = {value.name: value.role for value in model.training_graph.inputs}
    assert roles["image"] is Role.DATA
    assert roles["conv1.weight"] is Role.PARAMETER
    assert roles["bn1.running_var"] is roles["random.key"] is Role.STATE
