"""``cauce show``, ``cauce convert`` and ``cauce export``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce.frontends.summary import KEY, stored, summarize
from cauce.ir.tensors_file import load_tensors, save_tensors

from .calls import SHAPE, Call


def test_show_prints_the_layers(folder: Path, model: cauce.Model, call: Call) -> None:
    done = call("show", "net.safetensors")
    rows = [row.split() for row in model.summary(print_fn=None).splitlines() if "---" not in row]
    assert [row.split() for row in done.out.splitlines() if "---" not in row] == rows
    assert (done.code, done.err) == (0, "")


def test_show_counts_for_a_batch(folder: Path, model: cauce.Model, call: Call) -> None:
    found = call("show", "net.safetensors", "--json", "--batch", 3).json
    assert (found["name"], found["batch"]) == ("small", 3)
    assert found["parameters"] == model.parameter_count()
    assert found == summarize(model, 3).data
    assert found["flops"] == 3 * call("show", "net.safetensors", "--json").json["flops"] > 0
    assert found["inputs"] == {"image": "f32[N,1,6,6]"}
    assert list(found["outputs"].values()) == ["f32[N,3]"]


def test_a_file_holds_its_summary(folder: Path, tmp_path: Path, model, call: Call) -> None:
    assert stored("net.safetensors") == summarize(model) == summarize(cauce.load("net.safetensors"))
    assert [stored(name) for name in ("net.onnx", "net.py", "missing", ".")] == [None] * 4
    arrays, metadata = load_tensors("net.safetensors")
    earlier = {name: text for name, text in metadata.items() if name != KEY}
    for number, others in enumerate(
        (earlier, {**earlier, KEY: "[]"}, {**earlier, KEY: '{"a": 1}'})
    ):
        path = tmp_path / f"{number}.safetensors"
        save_tensors(path, arrays, others)
        assert stored(path) is None
        assert call("show", path).out == call("show", "net.safetensors").out
    content = (folder / "net.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    done = call("show", tmp_path / "cut.safetensors", "--graph")
    assert done.code == 1 and "is damaged" in done.err


def test_a_saved_model_is_shown_without_numpy(folder: Path) -> None:
    script = (
        "import sys; from cauce.commands.main import main; "
        "main(['show', 'net.safetensors']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *shown, loaded = done.stdout.splitlines()
    assert shown[-1].startswith("small: ")
    assert not {"numpy", "cauce.ir", "hashlib", "tempfile"} & set(loaded.split())


def test_show_prints_graphs(folder: Path, model: cauce.Model, call: Call) -> None:
    for option, graph in (((), model.graph), (("--training",), model.training_graph)):
        text = call("show", "--graph", *option, "net.safetensors").out
        assert cauce.parse(text, graph.constants()).same_as(graph)
        assert call("show", "--graph", *option, "net.safetensors", "--json").json["graph"] in text


def test_what_an_onnx_file_says_of_training_is_shown(folder: Path, call: Call) -> None:
    done = call("show", "net.onnx")
    assert "in training 2 batch norms" in done.out
    assert call("show", "net.onnx", "--json").json["origin"] in done.out


@pytest.mark.parametrize("command", ["convert", "export"])
@pytest.mark.parametrize("source", ["net.safetensors", "net.onnx", "net.py:ready"])
def test_any_model_becomes_onnx(
    command: str, source: str, folder: Path, tmp_path: Path, call: Call
) -> None:
    target = tmp_path / "out.onnx"
    done = call(command, source, target)
    assert (done.code, done.out) == (0, "")
    made = cauce.load_onnx(target)
    image = np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32)
    (found,) = (cauce.compile(made, "numpy")(image),)
    if source != "net.py:ready":
        expected = cauce.compile(cauce.load("net.safetensors"), "numpy")(image)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sizes_and_opsets_of_onnx_files(folder: Path, tmp_path: Path, call: Call) -> None:
    import onnx

    target = tmp_path / "out.onnx"
    done = call(
        *("convert", "net.safetensors", target, "--shape", "image=2,1,6,6"),
        *("--opset", 15, "--ir-version", 8, "--json"),
    )
    assert done.json == {
        "model": "small",
        "target": str(target),
        "bytes": target.stat().st_size,
    }
    written = onnx.load(target)
    assert (written.opset_import[0].version, written.ir_version) == (15, 8)
    dims = written.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [2, 1, 6, 6]


@pytest.mark.parametrize("source", ["net.safetensors", "net.onnx"])
def test_models_become_files_of_cauce(
    source: str, folder: Path, tmp_path: Path, call: Call
) -> None:
    assert call("convert", source, tmp_path / "a.safetensors").code == 0
    again = cauce.load(tmp_path / "a.safetensors")
    first = cauce.load(source) if source.endswith("s") else cauce.load_onnx(source)
    assert again.graph.same_as(first.graph)
    assert again.training_graph.same_as(first.training_graph)
    assert all(np.array_equal(again.values[name], array) for name, array in first.values.items())


def test_graphs_become_text(folder: Path, model: cauce.Model, tmp_path: Path, call: Call) -> None:
    for option, graph in (((), model.graph), (("--training",), model.training_graph)):
        assert call("convert", "net.safetensors", tmp_path / "a.txt", *option).code == 0
        text = (tmp_path / "a.txt").read_text(encoding="utf-8")
        assert cauce.parse(text, graph.constants()).same_as(graph)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.pt"], "out.pt ends in .pt, which names no format"),
        (["out"], "ends in nothing"),
        (["out.txt", "--opset", "15"], "leave out --opset"),
        (["out.onnx", "--training"], "leave out --training"),
        (["out.onnx", "--opset", "3"], "opset"),
        (["missing/out.txt"], "there is no folder missing"),
        (["missing/out.safetensors"], "there is no folder missing"),
    ],
)
def test_targets_that_are_refused(
    arguments: list[str], message: str, folder: Path, call: Call
) -> None:
    done = call("convert", "net.safetensors", *arguments)
    assert done.code == 1 and message in done.err
    assert not (folder / arguments[0]).exists()


def test_a_model_with_a_graph_for_each_size_asks_for_it(
    folder: Path, tmp_path: Path, call: Call
) -> None:
    """SAME_UPPER with a stride of 2 pads by the parity of the size."""
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, "H", "W"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    node = helper.make_node(
        "MaxPool", ["image"], ["out"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"
    )
    graph = helper.make_graph([node], "open", [image], [out])
    path = tmp_path / "open.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    done = call("show", path)
    assert done.code == 1
    assert "has one graph for each" in done.err and "--shape image=N,1,H,W" in done.err
    assert call("show", path, "--shape", "image=N,1,7,7").code == 0


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path, call: Call) -> None:
    """Names of ONNX files may hold any characters, escape sequences of terminals among them."""
    from onnx import TensorProto, helper, save

    bad = "x\x1b]0;owned\x07\u202e\x9b31m\r\n"
    image = helper.make_tensor_value_info(bad, TensorProto.FLOAT, ["N", 3])
    out = helper.make_tensor_value_info(f"{bad}out", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node("Relu", [bad], [f"{bad}out"], name=f"{bad}node")
    path = tmp_path / "bad.onnx"
    save(
        helper.make_model(
            helper.make_graph([node], bad, [image], [out]),
            opset_imports=[helper.make_opsetid("", 18)],
        ),
        path,
    )
    for arguments in (
        ["show", path],
        ["show", path, "--graph"],
        ["show", path, "--json"],
        ["passes", path, "--diff"],
        ["passes", path, "--summary"],
        ["plan", path, "--backend", "numpy"],
        ["show", path, "--shape", "nothing=3"],
        ["show", str(path) + bad],
    ):
        done = call(*arguments)
        for character in "\x1b\x07\u202e\x9b\r":
            assert character not in done.out + done.err, arguments


def test_a_shape_is_for_an_input(folder: Path, call: Call) -> None:
    assert call("show", "net.onnx", "--shape", SHAPE).code == 0
    done = call("show", "net.onnx", "--shape", "image=2,1,6,5")
    assert done.code == 1 and "image" in done.err
