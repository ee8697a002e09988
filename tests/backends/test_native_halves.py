"""f16 and bf16 in native code: 16 bits in memory, float32 in registers, NumPy's bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.executable import Executable
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.assemble import assembly
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, DType, Graph, Role, TensorType, evaluate, parse
from cauce.ir.halves import widen_halves
from cauce.ir.op import Op
from cauce.ir.ops import elementwise as ops

from ..api.nets import shapes, small
from .test_half import boundaries
from .test_targets import TARGETS as KINDS
from .test_transcendental import TARGETS

HALF = np.dtype(np.float16)
HALVES = ("f16", "bf16")
EVERY = np.arange(2**16, dtype=np.uint16)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
each_target = pytest.mark.parametrize("target", TARGETS)
each_half = pytest.mark.parametrize("dtype", HALVES)


@cache
def cast(source: str, to: str, target: str) -> Executable:
    text = f"graph g(%x: {source}[N]) -> {to}[N] {{\n  %y = cast(%x) to={to} : {to}[N]\n"
    return Executable(compile_program(parse(text + "  return %y\n}"), target=Target.host(target)))


def bits(array: Array) -> Array:
    return array.view(np.dtype(f"u{array.itemsize}"))


def same(found: Any, wanted: Array) -> None:
    """Equal bits, but for those of NaN beside the sign."""
    numbers = ~np.isnan(wanted)
    assert np.array_equal(np.isnan(found), ~numbers)
    assert np.array_equal(bits(found)[numbers], bits(wanted)[numbers])
    assert np.array_equal(np.signbit(found), np.signbit(wanted))


# ---- conversions -------------------------------------------------------------------------------


@each_target
def test_every_half_is_widened_exactly(target: str) -> None:
    halves = EVERY.view(HALF)
    for to in ("f32", "f64"):
        same(cast("f16", to, target)(halves), halves.astype(to.replace("f", "float")))
    quiet = halves[(EVERY & 0x7E00) == 0x7E00]
    assert np.array_equal(bits(cast("f16", "f32", target)(quiet)), bits(quiet.astype(np.float32)))
    floats = EVERY.view(ml_dtypes.bfloat16).astype(np.float32)
    same(cast("bf16", "f32", target)(floats), floats)


@each_target
def test_numbers_become_the_nearest_half(target: str) -> None:
    rng = np.random.default_rng(0)
    near = boundaries()
    single = rng.integers(0, 2**32, 2**16, dtype=np.uint64).astype(np.uint32).view(np.float32)
    single = np.concatenate([near, single, np.float32([np.nan, -np.nan, 0.0, -0.0])])
    same(cast("f32", "f16", target)(single), single.astype(HALF))
    same(cast("f32", "bf16", target)(single), single.astype(ml_dtypes.bfloat16).astype(np.float32))
    # Beside a tie of halves, by less than float32 sees.
    wide = near.astype(np.float64)
    wide = np.concatenate([wide, wide * (1 + 2.0**-40), wide * (1 - 2.0**-40), [1e300, np.nan]])
    same(cast("f64", "f16", target)(wide), wide.astype(HALF))
    same(cast("f64", "bf16", target)(wide), DType.BF16.round(wide))


@each_target
@pytest.mark.parametrize("other", ["bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"])
def test_casts_of_integers(target: str, other: str) -> None:
    kind = DType.of(other).numpy
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 256, (200, kind.itemsize), dtype=np.uint8).view(kind)[:, 0]
    if other == "bool":
        drawn = drawn != 0
    drawn = np.concatenate([drawn, np.array([0, 1, 100, 65519, 65520, 2051]).astype(kind)])
    halves = np.concatenate(
        [EVERY[::7].view(HALF), np.array([65504, -65504, np.inf, np.nan], HALF)]
    )
    for half in HALVES:
        made = cast(other, half, target)
        assert made(drawn).tobytes() == _reference(made, drawn).tobytes()
        given = halves if half == "f16" else DType.BF16.round(halves.astype(np.float32) * 2.0**20)
        made = cast(half, other, target)
        assert made(given).tobytes() == _reference(made, given).tobytes()


def _reference(compiled: Executable, x: Array) -> Array:
    return evaluate(compiled.graph, {"x": x}).outputs["y"]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "neon"])
def test_no_code_calls_a_function_for_it(name: str) -> None:
    for source, to in (("f16", "f64"), ("f64", "f16"), ("bf16", "f16"), ("u64", "bf16")):
        graph = cast(source, to, TARGETS[0]).graph
        code = assembly(build(graph, KINDS[name]).text, KINDS[name])
        assert "__" not in code.replace("__cauce", ""), code
        if name in ("avx2", "avx512"):
            assert ("vcvtph2ps" in code) == (source == "f16")
            assert ("vcvtps2ph" in code) == (to == "f16")


# ---- arithmetic --------------------------------------------------------------------------------


def graph_of(op: Op, *types: TensorType) -> Graph:
    graph = Graph("g")
    values = [graph.add_input(f"x{place}", type_) for place, type_ in enumerate(types)]
    graph.outputs["y"] = Builder(graph)(op, *values)
    return graph


@each_target
@each_half
def test_each_op_rounds_as_numpy_does(target: str, dtype: str) -> None:
    """x * y + x / y - sqrt(|x|), with a rounding after each op, for all kinds of halves."""
    rng = np.random.default_rng(2)
    own = HALF if dtype == "f16" else np.dtype(ml_dtypes.bfloat16)
    x, y = rng.permutation(EVERY).view(own), rng.permutation(EVERY).view(own)
    graph = Graph("g")
    type_ = TensorType.make(dtype, ("N",))
    a, b_ = graph.add_input("x", type_), graph.add_input("y", type_)
    b = Builder(graph)
    total = b(ops.Add(), b(ops.Mul(), a, b_), b(ops.Div(), a, b_))
    graph.outputs["z"] = b(ops.Sub(), total, b(ops.Sqrt(), b(ops.Abs(), a)))
    found = Executable(compile_program(graph, target=Target.host(target)))(x, y)
    wanted = x * y + x / y - np.sqrt(np.abs(x))
    same(found, wanted if dtype == "f16" else wanted.astype(np.float32))
    compiled = cauce.compile(graph, "llvm")  # in one region
    same(compiled(x, y), wanted if dtype == "f16" else wanted.astype(np.float32))


@each_half
def test_long_sums_round_once(dtype: str) -> None:
    """4096 ones: one by one halves stay at 2048 or 256. A long product ends in pieces, too."""
    ones = np.ones((1, 5000), np.float32 if dtype == "bf16" else HALF)

    @cauce.network
    def net(x):
        return x.sum(dim=1), x @ x.permute(1, 0)

    for found in cauce.compile(net.graph(x=TensorType.make(dtype, (1, 5000))), "llvm")(ones):
        assert found.item() == (5000 if dtype == "f16" else 4992)


@each_half
def test_what_lies_in_memory_has_sixteen_bits(dtype: str) -> None:
    """A value that elementwise ops alone read is kept as a half; inputs and outputs in f16, too."""

    @cauce.network
    def net(x):
        y = (x * 3).exp()
        return y.sum(dim=0), y / 7

    program = cauce.compile(net.graph(x=TensorType.make(dtype, (64, 100))), "llvm").program
    assert "main:\n     0 exp (fused)" in program.plan()
    assert program.plan().endswith("12800 bytes at 0, launches 0 to 2")


# ---- networks ----------------------------------------------------------------------------------


@each_half
def test_training_is_that_of_the_numpy_backend(dtype: str) -> None:
    losses = {}
    for backend in ("llvm", "numpy"):
        model = small.init(image=("N", 1, 6, 6), dtype=dtype, drop=0.0)
        step = cauce.train_step(
            model, "cross_entropy", cauce.SGD(0.2, momentum=0.9), backend=backend
        )
        state = step.init()
        images, labels = shapes(12).images.astype(DType.of(dtype).numpy), shapes(12).labels
        losses[backend] = [step(state, (images, labels)).loss for _ in range(8)]
        assert state.read()["conv1.weight"].dtype == DType.of(dtype).numpy
    assert losses["llvm"][-1] < 0.6 * losses["llvm"][0]
    np.testing.assert_allclose(losses["llvm"], losses["numpy"], rtol=0.05, atol=0.02)


@each_half
def test_values_that_only_pass_through(dtype: str) -> None:
    """Inputs, parameters, states and constants that leave as they came, moved, or in a region."""
    graph = Graph()
    type_ = TensorType.make(dtype, (3,))
    x = graph.add_input("x", type_)
    w = graph.add_input("w", type_, Role.PARAMETER)
    s = graph.add_input("s", type_, Role.STATE)
    b = Builder(graph)
    constant = b(cauce.ir.ops.constant.Constant(cauce.ir.Literal([0.1, 2, -3], dtype)))
    total = b(ops.Add(), x, s)
    graph.outputs = {"x": x, "w": w, "s": s, "c": constant, "sum": total}
    graph.outputs["neg"] = b(ops.Neg(), w)
    graph.updates[s] = total
    kind = DType.of(dtype)
    arrays = {n: kind.round(np.array([1.5, -2.25, 3e-7]) * k) for k, n in enumerate("xws", 1)}
    wanted = evaluate(graph, arrays)
    for passes in ((), None):
        compiled = cauce.compile(graph, "llvm", passes=passes)
        compiled.load_state_dict({"w": arrays["w"]})
        state = compiled.new_state({"s": arrays["s"]})
        found = compiled.run({"x": arrays["x"]}, state)
        for name, array in wanted.outputs.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array), name
        assert np.array_equal(state.read()["s"], wanted.updates["s"])


def test_widening_is_done_once() -> None:
    @cauce.network
    def net(image):
        x = nn.relu(nn.conv2d(image, 4, 3))
        return nn.softmax(nn.flatten(nn.max_pool2d(x, 2)), 1)

    graph = net.init(image=TensorType.make("f16", ("N", 1, 6, 6))).graph.copy()
    assert widen_halves(graph)
    graph.verify()
    for node in graph.nodes:
        if not isinstance(node.op, ops.Cast):
            assert all(v.type.dtype is DType.F32 for v in (*node.operands, *node.results))
    text = str(graph)
    # The image, the filters and the bias; behind the convolution; and at the end.
    assert text.count("to=f16") == 2 and text.count("to=f32") == 4
    assert not widen_halves(graph) and str(graph) == text
