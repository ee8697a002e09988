"""ONNX's standard interface of backends: what its users call, and what is specialised."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from cauce import onnx_backend
from cauce.ir.errors import AttributeMistake, GraphError, MissingExtra, TypeMismatch, UnsupportedOp
from cauce.onnx_backend import CauceBackend, LLVMBackend, NumpyBackend

from ..frontends.onnx.build import model

node = helper.make_node
BACKENDS = [CauceBackend, NumpyBackend, LLVMBackend]


def floats(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def linear(opset: int = 18) -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["y"]),
        node("Neg", ["h"], ["z"]),
    ]
    return model(nodes, {"x": ("N", 3)}, ["y", "z"], {"w": floats(3, 2)}, opset)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_is_prepared_once_and_run(backend: type[CauceBackend]) -> None:
    assert issubclass(backend, Backend)
    prepared = backend.prepare(linear())
    assert isinstance(prepared, BackendRep)
    name = "llvm" if backend.backend == "auto" else backend.backend
    assert f"<CauceRep <Executable small on {name}: (x: f32[N,3]) -> (y, z)>>" == repr(prepared)
    assert "specialised" not in prepared.executable.plan()
    x = floats(4, 3)
    h = x @ floats(3, 2)
    for inputs in ([x], (x,), x, {"x": x}):
        y, z = prepared.run(inputs)
        np.testing.assert_allclose(y, np.maximum(h, 0), rtol=1e-5)
        np.testing.assert_allclose(z, -h, rtol=1e-5)


def test_stored_weights_among_the_inputs_are_not_given() -> None:
    """In IR version 3 all initializers are listed among the inputs."""
    (y, _) = onnx_backend.run_model(linear(7), [floats(2, 3)])
    assert y.shape == (2, 2)
    with pytest.raises(GraphError, match=r"takes \(x\), got 2 arrays"):
        onnx_backend.prepare(linear(7)).run([floats(2, 3), floats(3, 2)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_of_inputs_are_specialised_on_first_use(backend: type[CauceBackend]) -> None:
    nodes = [node("Reshape", ["x", "shape"], ["y"])]
    prepared = backend.prepare(model(nodes, {"x": ("N", 4), "shape": ints(0, 0)}, ["y"]))
    x = floats(3, 4)
    for shape in (ints(6, 2), ints(-1, 1), ints(6, 2)):
        np.testing.assert_array_equal(prepared.run([x, shape])[0], x.reshape(shape))
    kept = "N=3, shape=[-1, 1]; N=3, shape=[6, 2]"
    assert f"specialised on N, the value of shape (the last 16 kept: {kept})" in repr(prepared)


def test_empty_arrays_are_taken() -> None:
    nodes = [node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    proto = model(nodes, {"x": (2, 0, 3), "axes": ints(1)}, ["y"])
    (y,) = onnx_backend.run_model(proto, [np.zeros((2, 0, 3), np.float32), ints(1)])
    np.testing.assert_array_equal(y, np.zeros((2, 3)))


def test_bfloat16_is_that_of_the_onnx_package() -> None:
    bfloat16 = helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    (y,) = NumpyBackend.run_node(node("Relu", ["x"], ["y"]), [floats(3).astype(bfloat16)])
    assert y.dtype == bfloat16


def test_single_nodes() -> None:
    x = floats(2, 3)
    relu = node("Relu", ["x"], ["y"])
    for inputs in (x, [x], {"x": x}):
        np.testing.assert_array_equal(onnx_backend.run_node(relu, inputs)[0], np.maximum(x, 0))
    softmax = node("Softmax", ["x"], ["y"])
    y = NumpyBackend.run_node(softmax, [floats(1, 2, 2)], opset_version=11)[0]
    np.testing.assert_allclose(y.sum(), 1, rtol=1e-6)
    both = node("Mul", ["x", "x"], ["y"])
    np.testing.assert_array_equal(NumpyBackend.run_node(both, [x])[0], x * x)


def test_devices_and_models_that_are_not_taken() -> None:
    assert onnx_backend.supports_device("CPU") and onnx_backend.supports_device("CPU:0")
    assert not onnx_backend.supports_device("CUDA")
    with pytest.raises(AttributeMistake, match="cauce has no device 'CUDA'"):
        onnx_backend.prepare(linear(), "CUDA")
    strange = model([node("Fancy", ["x"], ["y"])], {"x": ("N", 3)}, ["y"])
    assert onnx_backend.is_compatible(linear()) and not onnx_backend.is_compatible(strange)
    with pytest.raises(UnsupportedOp, match="1 x Fancy"):
        onnx_backend.prepare(strange)


def test_options_are_those_of_compile_and_load_onnx() -> None:
    prepared = LLVMBackend.prepare(linear(), threads=1, inputs={"x": (2, 3)})
    assert str(prepared.executable.inputs[0].type) == "f32[2,3]"
    with pytest.raises(TypeMismatch, match="unexpected keyword argument 'speed'"):
        LLVMBackend.prepare(linear(), speed=2)


def test_without_onnx_the_command_that_installs_it_is_named(monkeypatch: Any) -> None:
    monkeypatch.delitem(sys.modules, "cauce.onnx_backend")
    monkeypatch.setitem(sys.modules, "onnx.backend.base", None)
    with pytest.raises(MissingExtra, match=r"cauce\.onnx_backend needs onnx"):
        import cauce.onnx_backend  # noqa: F401
