"""What surrounds single nodes: weights, names, sizes, constants, files, and what is refused."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cauce
from cauce.ir import Role
from cauce.ir.errors import (
    CauceError,
    DataError,
    GraphError,
    MissingExtra,
    MissingFile,
    ShapeError,
    TypeMismatch,
    UnsupportedOp,
)

from .build import agrees, model

node = helper.make_node
_RANDOM = np.random.default_rng(3)


def floats(*shape: int) -> Any:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def network(opset: int = 18) -> onnx.ModelProto:
    """Convolution, batch norm, relu, global pool, flatten and a linear layer."""
    nodes = [
        node("Conv", ["x", "conv.weight"], ["a"], "/stem/conv/Conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "bn.g", "bn.b", "bn.mean", "bn.var"], ["c"], "/stem/bn"),
        node("Relu", ["c"], ["d"], "/relu~1"),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"], "flat ten"),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["scores"], "fc", transB=1),
    ]
    stored = {
        "conv.weight": floats(4, 3, 3, 3),
        "bn.g": floats(4),
        "bn.b": floats(4),
        "bn.mean": floats(4),
        "bn.var": floats(4) ** 2,
        "fc.weight": floats(5, 4),
        "fc.bias": floats(5),
    }
    return model(nodes, {"x": ("batch", 3, "H", "W")}, ["scores"], stored, opset)


@pytest.mark.parametrize("opset", [7, 8, 18])
def test_a_network_keeps_its_names(opset: int) -> None:
    """In IR version 3, which goes with opset 7 and 8, the weights stand among the inputs too."""
    loaded = agrees(network(opset), {"x": floats(2, 3, 6, 8)})
    assert str(loaded.graph.inputs_with(Role.DATA)[0].type) == "f32[batch,3,H,W]"
    assert [p.name for p in loaded.parameters] == [
        *("conv.weight", "bn.g", "bn.b", "fc.weight", "fc.bias")
    ]
    assert [s.name for s in loaded.graph.inputs_with(Role.STATE)] == ["bn.mean", "bn.var"]
    paths = [n.path for n in loaded.graph.nodes]
    assert paths == ["stem.conv.Conv", "stem.bn", "relu_1", "GlobalAveragePool_3", "flat ten", "fc"]
    assert str(next(loaded.graph.nodes).loc) == f"model Conv-{opset} stem.conv.Conv:1"
    assert list(loaded.graph.outputs) == ["scores"]
    assert cauce.parse(loaded.graph.to_text()).to_text() == loaded.graph.to_text()


def test_a_loaded_model_is_saved_exported_and_given_another_head(tmp_path: Path) -> None:
    proto, x = network(), floats(2, 3, 6, 8)
    loaded = cauce.load_onnx(proto)
    wanted = cauce.compile(loaded)(x)
    loaded.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(
        cauce.compile(cauce.load(tmp_path / "net.safetensors"))(x), wanted
    )
    cauce.export_onnx(loaded, tmp_path / "net.onnx")
    agrees(onnx.load(tmp_path / "net.onnx"), {"x": x})
    assert cauce.compile(loaded.replace_head(7))(x).shape == (2, 7)
    loaded.freeze("conv.*")


def test_inputs_fix_sizes_wherever_they_stand() -> None:
    nodes = [node("Add", ["x", "y"], ["z"])]
    proto = model(nodes, {"x": ("N", 3), "y": ("N", 3)}, ["z"])
    loaded = cauce.load_onnx(proto, inputs={"x": (4, 3)})
    assert [str(v.type) for v in loaded.graph.inputs] == ["f32[4,3]", "f32[4,3]"]
    loaded = cauce.load_onnx(proto, inputs={"x": ("B", 3)})
    assert [str(v.type) for v in loaded.graph.inputs] == ["f32[B,3]", "f32[B,3]"]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"x": (4, 5)}, ShapeError, r"is f32\[N,3\] in the file, and cannot be \[4, 5\]"),
        ({"x": (4, 3, 1)}, ShapeError, "cannot be"),
        ({"x": (0, 3)}, ShapeError, "cannot be"),
        ({"x": 4}, TypeMismatch, "must be a tuple"),
        ({"z": (4, 3)}, GraphError, "no input called 'z'"),
        ([4, 3], TypeMismatch, "inputs are shapes or arrays by name"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    given: Any, kind: type[CauceError], message: str
) -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": ("N", 3)}, ["y"])
    with pytest.raises(kind, match=message):
        cauce.load_onnx(proto, inputs=given)


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        (("batch_size", 3), "f32[batch_size,3]"),
        (("N", "N"), "f32[N,N]"),
        ((None, None), "f32[x_0,x_1]"),
        (("?", "?"), "f32[x_0,x_1]"),
        ((-1, 0), "f32[x_0,x_1]"),
        (("2*H", "(W + 1)//2"), "f32[2*H,(W + 1)//2]"),
        (("a b", "a~b"), "f32[a_b,a_b_1]"),
        (("none", "f32"), "f32[none_1,f32_1]"),
        (("1", "é"), "f32[d_1,d_]"),
    ],
)
def test_open_sizes_become_symbols(declared: tuple[Any, ...], shown: str) -> None:
    loaded = cauce.load_onnx(model([node("Relu", ["x"], ["y"])], {"x": declared}, ["y"]))
    assert str(loaded.graph.inputs[0].type) == shown


# ---- inputs whose elements are given -----------------------------------------------------------


def test_an_input_that_is_given_as_an_array_becomes_a_constant() -> None:
    nodes = [node("Reshape", ["x", "shape"], ["r"]), node("Slice", ["r", "s", "e"], ["y"])]
    declared = {"x": ("N", 2, 3), "shape": ints(0, -1), "s": ints(1), "e": ints(9)}
    proto = model(nodes, declared, ["y"])
    given = {"shape": ints(0, -1), "s": ints(1), "e": np.array([2**40])}
    x = floats(4, 2, 3)
    loaded = cauce.load_onnx(proto, inputs={**given, "x": (4, 2, 3)})
    assert [v.name for v in loaded.graph.inputs] == ["x"]
    np.testing.assert_array_equal(cauce.compile(loaded, "numpy")(x), x.reshape(4, -1)[1:])


def test_an_array_binds_the_sizes_that_it_has() -> None:
    nodes = [node("Add", ["x", "y"], ["z"])]
    proto = model(nodes, {"x": ("N", 2), "y": ("N", 2)}, ["z"])
    loaded = cauce.load_onnx(proto, inputs={"y": floats(5, 2)})
    assert [str(v.type) for v in loaded.graph.inputs] == ["f32[5,2]"]
    empty = cauce.load_onnx(proto, inputs={"y": floats(0, 2), "x": floats(0, 2)})
    assert [str(v.type) for v in empty.graph.outputs.values()] == ["f32[0,2]"]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (floats(4, 5), ShapeError, r"is f32\[N,3\] in the file, and cannot be \[4, 5\]"),
        (np.zeros((4, 3), np.int64), TypeMismatch, r"takes f32\[4,3\], got an array of int64"),
        (np.float32(1), ShapeError, r"cannot be \[\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    given: Any, kind: type[CauceError], message: str
) -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": ("N", 3)}, ["y"])
    with pytest.raises(kind, match=message):
        cauce.load_onnx(proto, inputs={"x": given})


def test_what_is_computed_from_inputs_names_them_all() -> None:
    nodes = [node("Add", ["n", "m"], ["k"]), node("Reshape", ["x", "k"], ["y"], "n")]
    proto = model(nodes, {"x": ("N", 4), "n": ints(0, 0), "m": ints(0, 0)}, ["y"])
    with pytest.raises(UnsupportedOp, match="computed when the network runs") as caught:
        cauce.load_onnx(proto)
    wanted = "give the value of m and n when loading, inputs={'m': np.array(...), 'n': np.array"
    assert wanted in str(caught.value)
    loaded = cauce.load_onnx(proto, inputs={"n": ints(2, 1), "m": ints(2, -2)})
    assert str(loaded.graph.outputs["y"].type) == "f32[4,N]"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.inputs, str(again.what)) == (("m", "n"), str(caught.value.what))


# ---- constants and arithmetic of shapes --------------------------------------------------------


def constant(name: str, value: Any) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def test_constants_of_several_floats_are_weights() -> None:
    nodes = [constant("w", floats(5, 4)), constant("half", np.float32(0.5))]
    nodes += [node("MatMul", ["x", "w"], ["a"]), node("Mul", ["a", "half"], ["y"])]
    loaded = agrees(model(nodes, {"x": ("N", 5)}, ["y"]), {"x": floats(3, 5)})
    assert [p.name for p in loaded.parameters] == ["w"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"value_float": 1.5},
        {"value_floats": [1.0, 2.0, 3.0]},
        {
            "sparse_value": helper.make_sparse_tensor(
                helper.make_tensor("v", TensorProto.FLOAT, (1,), [5.0]),
                numpy_helper.from_array(np.array([1])),
                (3,),
            )
        },
    ],
)
def test_constants_in_every_form(attributes: dict[str, Any]) -> None:
    nodes = [node("Constant", [], ["c"], **attributes), node("Add", ["x", "c"], ["y"])]
    agrees(model(nodes, {"x": (2, 3)}, ["y"]), {"x": floats(2, 3)})


def test_a_shape_chain_folds() -> None:
    """As PyTorch writes x.view(x.size(0), -1) and x.view(x.size(0) * x.size(2), x.size(3) // 2)."""
    nodes = [node("Shape", ["x"], ["s"])]
    for i, name in enumerate("NCHW"):
        nodes += [constant(f"i{i}", np.int64(i)), node("Gather", ["s", f"i{i}"], [name])]
    nodes += [
        *(constant("zero", ints(0)), constant("two", np.int64(2)), constant("rest", ints(-1))),
        node("Unsqueeze", ["N", "zero"], ["n"]),
        node("Concat", ["n", "rest"], ["flat"], axis=0),
        node("Reshape", ["x", "flat"], ["y"]),
        node("Mul", ["N", "H"], ["NH"]),
        node("Div", ["W", "two"], ["half"]),
        node("Unsqueeze", ["NH", "zero"], ["nh"]),
        node("Unsqueeze", ["half", "zero"], ["h"]),
        node("Concat", ["nh", "rest", "h"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["z"]),
    ]
    declared = {"x": ("N", 3, "H", 8)}
    loaded = agrees(model(nodes, declared, ["y", "z"]), {"x": floats(2, 3, 5, 8)})
    assert [n.op.name for n in loaded.graph.nodes] == ["reshape", "reshape"]
    assert [str(v.type) for v in loaded.graph.outputs.values()] == ["f32[N,24*H]", "f32[H*N,6,4]"]


def test_expand_by_a_shape_that_pytorch_chooses() -> None:
    """x.expand(-1, 4) is Expand(x, Where(wanted == -1, ones, wanted))."""
    nodes = [
        *(node("Shape", ["x"], ["s"]), constant("four", ints(4)), constant("ones", ints(1, 1))),
        *(constant("i", ints(0)), node("Gather", ["s", "i"], ["n"])),
        *(node("Concat", ["n", "four"], ["wanted"], axis=0), constant("minus", ints(-1))),
        node("Equal", ["wanted", "minus"], ["open"]),
        node("Where", ["open", "ones", "wanted"], ["shape"]),
        node("Expand", ["x", "shape"], ["y"]),
    ]
    loaded = agrees(model(nodes, {"x": ("N", 1)}, ["y"]), {"x": floats(3, 1)})
    assert str(loaded.graph.outputs["y"].type) == "f32[N,4]"


def test_sizes_as_values() -> None:
    nodes = [
        *(node("Shape", ["x"], ["s"]), node("Cast", ["s"], ["f"], to=1)),
        node("Mul", ["x", "f"], ["y"]),
    ]
    agrees(model(nodes, {"x": ("N", 2)}, ["y"]), {"x": floats(7, 2)})


def test_slices_of_free_sizes() -> None:
    nodes = [
        *(constant("s", ints(1, -1)), constant("e", ints(2**63 - 1, -(2**63)))),
        *(constant("a", ints(2, 1)), constant("t", ints(2, -1))),
        node("Slice", ["x", "s", "e", "a", "t"], ["y"]),
    ]
    loaded = agrees(model(nodes, {"x": ("N", "C", "L")}, ["y"]), {"x": floats(2, 3, 8)})
    assert str(loaded.graph.outputs["y"].type) == "f32[N,C,L//2]"


def test_split_gives_several_results() -> None:
    for opset, name, sizes in ((11, None, None), (13, "n", ints(1, 4)), (18, None, None)):
        more = {"num_outputs": 2} if opset == 18 else {}
        operands = ["x", *filter(None, [name])]
        nodes = [node("Split", operands, ["a", "b"], axis=1, **more)]
        width = 7 if opset == 18 else 5 if name else 6
        proto = model(nodes, {"x": (2, width)}, ["a", "b"], {name: sizes} if name else {}, opset)
        agrees(proto, {"x": floats(2, width)})


def test_the_mask_of_dropout_keeps_all() -> None:
    nodes = [node("Dropout", ["x"], ["y", "mask"])]
    agrees(model(nodes, {"x": ("N", 2)}, ["y", "mask"]), {"x": floats(3, 2)})


@pytest.mark.parametrize("axis", [0, 1, None])
def test_legacy_broadcasting(axis: int | None) -> None:
    """Opset 6, which ONNX Runtime does not run: by the definition of the attribute axis."""
    shape = (3,) if axis == 0 else (4,)
    given = {} if axis is None else {"axis": axis}
    b = floats(*shape)
    nodes = [node("Add", ["x", "b"], ["y"], broadcast=1, **given)]
    x = floats(3, 4)
    loaded = cauce.load_onnx(model(nodes, {"x": (3, 4)}, ["y"], {"b": b}, 6))
    wanted = x + (b[:, None] if axis == 0 else b)
    np.testing.assert_array_equal(cauce.compile(loaded, backend="numpy")(x), wanted)


# ---- files -------------------------------------------------------------------------------------


def test_a_model_with_external_data_is_read_from_its_path(tmp_path: Path) -> None:
    proto, x = network(), floats(1, 3, 4, 4)
    onnx.save(
        proto, tmp_path / "net.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    assert (tmp_path / "w").stat().st_size > 500
    from_file = cauce.load_onnx(tmp_path / "net.onnx")
    from_bytes = cauce.load_onnx(network().SerializeToString())
    assert from_file.values.keys() == from_bytes.values.keys()
    assert cauce.compile(from_file)(x).shape == (1, 5)
    with pytest.raises(DataError, match="give the path of the model"):
        cauce.load_onnx((tmp_path / "net.onnx").read_bytes())


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        cauce.load_onnx(tmp_path / "none.onnx")
    for content in (b"", b"\xff" * 50, network().SerializeToString()[:-9]):
        with pytest.raises(DataError, match="is no ONNX model with nodes, or is damaged"):
            cauce.load_onnx(content)
    with pytest.raises(TypeMismatch, match="takes a path, bytes or a ModelProto"):
        cauce.load_onnx(3)


def test_without_onnx_the_command_that_installs_it_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match="reading ONNX files needs onnx"):
        cauce.load_onnx(b"")


# ---- what is refused ---------------------------------------------------------------------------


def test_attributes_that_onnx_does_not_have_are_in_the_same_error() -> None:
    nodes = [node("Relu", ["x"], ["a"], "n", slope=2, alpha=1.0), node("Nothing", ["a"], ["b"])]
    nodes += [node("Relu", ["a"], ["c"], "m", slope=2)]
    with pytest.raises(UnsupportedOp) as caught:
        cauce.load_onnx(model(nodes, {"x": ("N", 2)}, ["c"]))
    said = str(caught.value)
    assert "1 operators that cauce does not import, in 1 of its 3 nodes and 2 attributes" in said
    assert "2 x Relu (opset 18) with the attribute slope: n, m" in said
    assert "1 x Relu (opset 18) with the attribute alpha: n" in said
    assert "1 x Nothing (opset 18): node 1" in said


def test_a_version_that_is_none_is_refused() -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": ("N", 2)}, ["y"])
    for version in (0, -1, 2**40):
        proto.opset_import[0].version = version
        with pytest.raises(UnsupportedOp, match=f"is of opset {version}, and cauce knows 1 to"):
            cauce.load_onnx(proto)
    proto.opset_import[0].version = 18
    proto.opset_import.add(domain="ai.onnx", version=9)
    with pytest.raises(DataError, match="of the opsets 9, 18 at once"):
        cauce.load_onnx(proto)


def test_all_missing_operators_are_in_one_error() -> None:
    nodes = [node("LSTM", ["x"], ["a"], f"lstm{i}") for i in range(5)]
    nodes += [node("Relu", ["x"], ["b"]), node("FancyOp", ["x"], ["c"], domain="my.ops")]
    proto = model(nodes, {"x": ("N", 2)}, ["b"])
    proto.opset_import.add(domain="my.ops", version=4)
    with pytest.raises(UnsupportedOp) as caught:
        cauce.load_onnx(proto)
    said = str(caught.value)
    assert "uses 2 operators that cauce does not import, in 6 of its 7 nodes" in said
    assert "5 x LSTM (opset 18): lstm0, lstm1, lstm2, ..." in said
    assert "1 x my.ops.FancyOp (opset 4): node 6" in said
    assert "add-an-onnx-op.md" in said


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y", "m"], "n"),
            "only 1 of its 2 outputs",
        ),
        (node("Conv", ["x", "w3"], ["y"], "n", auto_pad="ODD"), "auto_pad 'ODD'"),
        (node("Reshape", ["x", "shape"], ["y"], "n"), "its shape .* is computed when"),
    ],
)  # fmt: skip
def test_a_form_that_cauce_lacks_names_node_operator_and_opset(
    made: onnx.NodeProto, message: str
) -> None:
    stored = {"w": floats(2), "p": ints(0, 0, 1, 0, 0, 0), "w3": floats(2, 2, 1)}
    proto = model([made], {"x": ("N", 2, 3), "shape": ints(0, 0)}, ["y"], stored)
    with pytest.raises(UnsupportedOp, match=message) as caught:
        cauce.load_onnx(proto)
    assert f"model {made.op_type}-18 n:1" in str(caught.value)
    assert "fix: " in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Relu", ["a"], ["y"], "n")], "reads the tensor 'a', which nothing before it makes"),
        ([node("Relu", ["x"], ["x"], "n")], "defines the tensor 'x' twice"),
        ([node("Relu", [], ["y"], "n")], "has no operand 0"),
        ([node("Flatten", ["x"], ["y"], "n", axis=9)], "axis 9 is out of range"),
        ([node("Split", ["x", "x"], ["y"], "n")], "is computed when the network runs"),
    ],
)
def test_damaged_graphs_are_refused(nodes: list[onnx.NodeProto], message: str) -> None:
    with pytest.raises(CauceError, match=message):
        cauce.load_onnx(model(nodes, {"x": ("N", 2)}, ["y"]))
