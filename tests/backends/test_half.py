"""Half precision in NumPy: every op computes with float32, and its result is rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cauce
from cauce.backends.numpy import KERNELS
from cauce.backends.numpy.half import round_half
from cauce.ir import Array, Builder, DType, Graph, Role, TensorType, evaluate
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Exp
from cauce.ir.ops.fused import Fused

from ..api.nets import shapes, small

HALF = np.dtype(np.float16)


def boundaries() -> Array:
    """Every finite half, every midpoint of neighbours, and the float32 before and after it."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    above = np.append(halves[1:], np.float32(65536))
    middle = (halves + above) / 2
    near = [np.nextafter(middle, np.float32(end)) for end in (0, np.inf)]
    positive = np.concatenate([halves, middle, *near, np.float32([np.inf, 1e38, 1e-45])])
    return np.concatenate([positive, -positive])


def test_rounding_is_numpys_conversion() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 2**20, dtype=np.uint64)
    for x in (boundaries(), bits.astype(np.uint32).view(np.float32)):
        with np.errstate(all="ignore"):
            wanted, found = x.astype(HALF).astype(np.float32), round_half(x)
        numbers = ~np.isnan(x)
        assert np.array_equal(found.view(np.uint32)[numbers], wanted.view(np.uint32)[numbers])
        assert np.isnan(found[~numbers]).all()
    assert round_half(np.float32(2049)) == 2048


def test_a_convolution_adds_in_float32() -> None:
    """4096 ones, one for each row of the kernel: halves stay at 2048, where they count by twos."""
    graph, ones = Graph(), np.ones((1, 1, 4096, 1), HALF)
    x, w = (graph.add_input(name, TensorType.of(ones)) for name in ("x", "w"))
    graph.outputs["y"] = Builder(graph)(Conv2d(), x, w)
    feeds = {"x": ones, "w": ones}
    compiled = cauce.compile(graph, "numpy")
    for found in (evaluate(graph, feeds).outputs["y"], compiled.run(feeds)["y"]):
        assert found.dtype == HALF
        assert found.item() == 4096


def test_each_op_rounds_its_result() -> None:
    """exp(12) is beyond a half: infinity, though one op later it would be finite again."""

    @cauce.network
    def net(x):
        return x.exp() * 1e-3

    x = np.array([[0.0, 1.0, 11.0, 12.0]], HALF)
    with np.errstate(over="ignore"):
        each = np.exp(x.astype(np.float32)).astype(HALF)
        wanted = (each.astype(np.float32) * np.float32(HALF.type(1e-3))).astype(HALF)
    graph = net.graph(x=TensorType.make("f16", ("N", 4)))
    for found in (evaluate(graph, {"x": x}).outputs["output"], cauce.compile(graph, "numpy")(x)):
        assert np.array_equal(found, wanted)
    assert np.isinf(wanted[0, 3])


def watched(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """The dtypes of all operands that kernels get from now on."""
    seen: set[Any] = set()

    def watch(kernel: Any) -> Any:
        def run(op: Any, memory: Any, *operands: Any) -> Any:
            seen.update(x.dtype for x in operands)
            return kernel(op, memory, *operands)

        return run

    for cls, kernel in list(KERNELS.items()):
        monkeypatch.setitem(KERNELS, cls, watch(kernel))
    return seen


def test_no_kernel_computes_with_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(monkeypatch)
    model = small.init(image=("N", 1, 6, 6), dtype="f16", drop=0.0)
    x = shapes(6).images.astype(HALF)
    kept = x.copy()
    predict = cauce.compile(model, "numpy")
    found = predict(x)
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1, momentum=0.9), backend="numpy")
    step(step.init(), (x, np.arange(6) % 3))
    assert np.dtype(np.float32) in seen and HALF not in seen
    assert found.dtype == HALF
    assert np.array_equal(x, kept)
    out = np.empty_like(found)
    predict(x, out=out)
    assert np.array_equal(out, found)


def test_results_are_near_those_of_float64() -> None:
    model, half = (small.init(image=("N", 1, 6, 6), dtype=d, drop=0.0) for d in ("f64", "f16"))
    model.load_state_dict(
        {n: a.astype(np.float64) for n, a in half.state_dict().items() if a.dtype == HALF},
        strict=False,
    )
    images, labels = shapes(12).images.astype(HALF), shapes(12).labels
    wide = cauce.compile(model, "numpy")(images.astype(np.float64))
    np.testing.assert_allclose(cauce.compile(half, "numpy")(images), wide, rtol=0.02, atol=0.02)
    losses = {}
    for own, dtype in ((model, np.float64), (half, HALF)):
        step = cauce.train_step(own, "cross_entropy", cauce.SGD(0.2, momentum=0.9), backend="numpy")
        state = step.init()
        losses[dtype] = [step(state, (images.astype(dtype), labels)).loss for _ in range(10)]
        assert state.read()["conv1.weight"].dtype == dtype
        assert state.read()["bn1.running_var"].dtype == dtype
    assert losses[HALF][-1] < 0.5 * losses[HALF][0]
    np.testing.assert_allclose(losses[HALF], losses[np.float64], rtol=0.05, atol=0.02)


def test_values_that_only_pass_through() -> None:
    """An input, a parameter and a state that leave as they came, and a region."""
    graph = Graph()
    types = TensorType.make("f16", (3,))
    x = graph.add_input("x", types)
    w = graph.add_input("w", types, Role.PARAMETER)
    s = graph.add_input("s", types, Role.STATE)
    body = Graph("body")
    inner = body.add_input("inner", types)
    body.outputs["y"] = Builder(body)(Exp(), inner)
    b = Builder(graph)
    graph.outputs = {"x": x, "w": w, "s": s, "region": b(Fused(body), x), "sum": b(Add(), x, s)}
    graph.updates[s] = graph.outputs["sum"]
    arrays = {n: np.array([1.5, -2.25, 3e-7], HALF) * HALF.type(k) for k, n in enumerate("xws", 1)}
    wanted = evaluate(graph, arrays)
    compiled = cauce.compile(graph, "numpy", passes=())
    compiled.load_state_dict({"w": arrays["w"]})
    state = compiled.new_state({"s": arrays["s"]})
    found = compiled.run({"x": arrays["x"]}, state)
    for name, array in wanted.outputs.items():
        assert found[name].dtype == HALF
        assert np.array_equal(found[name], array), name
    assert np.array_equal(state.read()["s"], wanted.updates["s"])
    assert DType.F16.widen(arrays["x"]).dtype == np.float32
    found["x"][:] = 0
    assert arrays["x"].all()
