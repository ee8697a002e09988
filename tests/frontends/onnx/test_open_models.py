"""Models whose graph depends on sizes, or on values of inputs: made for those of each call."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cauce
from cauce.backends.recent import LIMIT
from cauce.importing import open_onnx
from cauce.ir.errors import AttributeMistake, CauceError, GraphError, ShapeError, UnsupportedOp

from ...backends.onnx_models import run
from .build import model

node = helper.make_node
_RANDOM = np.random.default_rng(3)


def floats(*shape: int) -> Any:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def same(auto: str = "SAME_UPPER") -> onnx.ModelProto:
    """A pool whose padding depends on the parity of H and W."""
    pool = node("MaxPool", ["x"], ["y"], "p", kernel_shape=[3, 3], strides=[2, 2], auto_pad=auto)
    return model([pool], {"x": ("N", 2, "H", "W")}, ["y"])


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_a_graph_is_made_for_each_size_of_the_symbols_that_it_depends_on(
    auto: str, backend: str
) -> None:
    proto = same(auto)
    loaded = cauce.load_onnx(proto)
    assert repr(loaded) == "<Model small: (x: f32[N,2,H,W]) -> (y), made for each H>"
    predict = cauce.compile(loaded, backend)
    assert "specialised on H (the last 16 kept: none yet)" in repr(predict)
    for shape in ((1, 2, 7, 8), (3, 2, 7, 8), (2, 2, 8, 5), (1, 2, 7, 8)):
        x = floats(*shape)
        np.testing.assert_array_equal(predict(x), run(proto, {"x": x})["y"])
    assert "specialised on H, W (the last 16 kept: H=8, W=5; H=7, W=8)" in repr(predict)
    assert predict.plan().startswith("small, specialised on H, W (the last 16 kept: H=8, W=5; ")
    assert str(predict.outputs["y"]) == "f32[N,2,4,4]"
    assert [str(v.type) for v in predict.inputs] == ["f32[N,2,H,W]"]
    assert predict.profile(floats(1, 2, 7, 8))[-1].op == "max_pool2d"


def test_what_is_kept_is_bounded() -> None:
    predict = cauce.compile(cauce.load_onnx(same()), "numpy")
    for height in range(1, LIMIT + 5):
        predict(floats(1, 2, height, 1))
    assert "H=4," not in repr(predict) and "H=5," in repr(predict)


def test_the_plan_of_sizes_that_were_not_called() -> None:
    predict = cauce.compile(cauce.load_onnx(same(), inputs={"x": ("N", 2, "H", 8)}))
    assert predict.plan() == "small, specialised on H (the last 16 kept: none yet)"
    assert "f32[N,2,5,8]" in predict.plan(H=5, N=1)
    with pytest.raises(GraphError, match="no symbol called 'K'"):
        predict.plan(K=5)


def test_options_reach_what_is_compiled_later() -> None:
    loaded = cauce.load_onnx(same())
    predict = cauce.compile(loaded, "numpy", batch=2, taps=["p"], validate=True)
    result, taps = predict.tapped(floats(2, 2, 3, 3))
    np.testing.assert_array_equal(taps["p"], result)
    with pytest.raises(ShapeError, match="dimension 0 is 1, not 2"):
        predict(floats(1, 2, 3, 3))
    with pytest.raises(AttributeMistake, match="threads"):
        cauce.compile(loaded, threads=-1)(floats(1, 2, 3, 3))


def test_an_open_model_and_its_executable_are_copied_and_sent() -> None:
    loaded, x = cauce.load_onnx(same()), floats(1, 2, 5, 6)
    predict = cauce.compile(loaded, "numpy")
    wanted = predict(x)
    for twin in (copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        np.testing.assert_array_equal(cauce.compile(twin, "numpy")(x), wanted)
    for other in (copy.deepcopy(predict), pickle.loads(pickle.dumps(predict))):
        np.testing.assert_array_equal(other(x), wanted)


def test_what_needs_a_graph_says_how_to_get_one(tmp_path: Path) -> None:
    loaded = cauce.load_onnx(same())
    predict = cauce.compile(loaded, "numpy")
    asked: list[Any] = [
        lambda: loaded.graph,
        lambda: loaded.summary(),
        lambda: loaded.state_dict(),
        lambda: loaded.freeze("*"),
        lambda: cauce.export_onnx(loaded, tmp_path / "net.onnx"),
        lambda: cauce.Trainer(loaded, optimizer=cauce.SGD(0.1)),
        lambda: predict.graph,
        lambda: predict.load_state_dict({}),
    ]
    for ask in asked:
        with pytest.raises(GraphError, match="for each H") as caught:
            ask()
        assert "inputs={" in str(caught.value)
    fixed = cauce.load_onnx(same(), inputs={"x": ("N", 2, 5, 6)})
    assert str(fixed.graph.outputs["y"].type) == "f32[N,2,3,3]"


def test_a_size_of_0_is_not_one_that_a_symbol_stands_for() -> None:
    """Split of H in two parts, of which the first is larger: for H = 0 both are empty."""
    nodes = [node("Split", ["x"], ["a", "b"], num_outputs=2)]
    predict = cauce.compile(cauce.load_onnx(model(nodes, {"x": ("H", 3)}, ["a", "b"])), "numpy")
    assert [part.shape for part in predict(floats(0, 3))] == [(0, 3), (0, 3)]
    assert [part.shape for part in predict(floats(5, 3))] == [(3, 3), (2, 3)]


# ---- values of inputs --------------------------------------------------------------------------


def reshape() -> onnx.ModelProto:
    nodes = [node("Add", ["n", "m"], ["k"]), node("Reshape", ["x", "k"], ["y"], "r")]
    return model(nodes, {"x": ("N", 4), "n": ints(0, 0), "m": ints(0, 0)}, ["y"])


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_values_of_inputs_are_taken_from_each_call_where_that_is_asked_for(backend: str) -> None:
    loaded = open_onnx(reshape())
    predict = cauce.compile(loaded, backend)
    x = floats(3, 4)
    for n, m in ((ints(2, 0), ints(2, -1)), (ints(-1, 0), ints(0, 2)), (ints(2, 0), ints(2, -1))):
        np.testing.assert_array_equal(predict(x, n, m), x.reshape(n + m))
    assert "specialised on the value of m, the value of n" in repr(predict)
    assert len(predict._made.keys()) == 2
    with pytest.raises(CauceError):
        predict(x, ints(5, 0), ints(0, -1))


def test_values_are_refused_elsewhere_and_where_they_are_many() -> None:
    with pytest.raises(UnsupportedOp, match="give the value of m and n when loading"):
        cauce.load_onnx(reshape())
    nodes = [node("Reshape", ["x", "n"], ["y"], "r")]
    proto = model(nodes, {"x": ("N", 4), "n": np.zeros(5000, np.int64)}, ["y"])
    predict = cauce.compile(open_onnx(proto), "numpy")
    with pytest.raises(GraphError, match="has 5000 elements, and may have 4096"):
        predict(floats(3, 4), np.ones(5000, np.int64))


def test_a_value_that_is_asked_for_at_the_first_call_is_an_error_of_load_onnx() -> None:
    """The padding asks for H first, and the shape for n then."""
    pool = node("MaxPool", ["x"], ["p"], "p", kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER")
    nodes = [pool, node("Reshape", ["p", "n"], ["y"], "r")]
    proto = model(nodes, {"x": (1, 2, "H"), "n": ints(0)}, ["y"])
    predict = cauce.compile(cauce.load_onnx(proto), "numpy")
    with pytest.raises(GraphError, match="give the value of n when loading"):
        predict(floats(1, 2, 5), ints(-1))
    predict = cauce.compile(cauce.load_onnx(proto, inputs={"n": ints(-1)}), "numpy")
    assert predict(floats(1, 2, 5)).shape == (6,)
