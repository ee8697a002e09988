"""Native sums and maxima: any axes of arrays that lie in any way, of operands computed on the fly.

A sum may be wrong by a small part of the sum of the absolute values of what it adds; what is exact,
integers and the greatest of given elements, must be right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cauce
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.lowering.buffers import assign_buffers
from cauce.backends.llvm.lowering.kernels import anchor_of
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, DType, Graph, Op, Role, TensorType, Value, symbol
from cauce.ir.errors import AttributeMistake
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Cast, Exp, Less, Mul, Sub
from cauce.ir.ops.fused import Kernel
from cauce.ir.ops.reduce import ArgMax, Max, Reduction, Sum
from cauce.ir.ops.shape import Concat, Transpose
from cauce.passes.fusion import FuseElementwise

from ..facets.sample import Draw
from ..guarded import guarded
from .both import both

TOLERANCE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}
EXAMPLES = 4 * settings.default.max_examples
# Around the lanes of vectors, what several of them hold, and what one task adds up.
COUNTS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 33, 48, 64, 65, 100, 129, 144, 300, 1025, 2100)


@dataclass(frozen=True)
class Before:
    """What is done to each element x, with y, before it is added up.

    Attributes:
        write: into a graph.
        exact: the same on arrays.
        scale: what the error of an element is a small part of.
    """

    write: Callable[[Builder, Value, Value], Value]
    exact: Callable[[Array, Array], Array]
    scale: Callable[[Array, Array], Array]


BEFORE = {
    "nothing": Before(lambda b, x, y: x, lambda x, y: x, lambda x, y: np.abs(x)),
    "product": Before(
        lambda b, x, y: b(Mul(), x, y), lambda x, y: x * y, lambda x, y: np.abs(x * y)
    ),
    "square": Before(
        lambda b, x, y: b(Mul(), *[b(Sub(), x, y)] * 2),
        lambda x, y: (x - y) * (x - y),
        lambda x, y: (np.abs(x) + np.abs(y)) ** 2,
    ),
    "scaled": Before(
        lambda b, x, y: b(Add(), b(Mul(), x, scalar(b, 3, x)), y),
        lambda x, y: x * x.dtype.type(3) + y,
        lambda x, y: np.abs(x * 3) + np.abs(y),
    ),
    "count": Before(
        lambda b, x, y: b(Cast(x.type.dtype), b(Less(), x, y)),
        lambda x, y: (x < y).astype(x.dtype),
        lambda x, y: (x < y).astype(x.dtype),
    ),
}


@dataclass(frozen=True)
class Case:
    """A reduction over ``axes`` of what ``before`` makes of x and y; z is added to the result.

    x and y come in row-major order of the axes in the order ``lies``, y broadcast.
    """

    op: Reduction
    before: str
    x: Array
    y: Array
    z: Array | None
    lies: tuple[int, ...]
    unknown: tuple[int, ...] = ()

    def graph(self) -> Graph:
        """The case as a graph: sizes of the axes in ``unknown`` are symbols."""
        graph = Graph("case")
        b = Builder(graph)

        def lying(name: str, array: Array) -> Value:
            shape = tuple(
                symbol(f"S{axis}") if axis in self.unknown and size == self.x.shape[axis] else size
                for axis, size in enumerate(array.shape)
            )
            type_ = TensorType(DType.of(array.dtype), tuple(shape[axis] for axis in self.lies))
            back = tuple(self.lies.index(axis) for axis in range(len(shape)))
            return b(Transpose(back), graph.add_input(name, type_))

        x = lying("x", self.x)
        y = lying("y", self.y) if self.before != "nothing" else x
        result = b(self.op, BEFORE[self.before].write(b, x, y))
        if self.z is not None:
            z = graph.add_input("z", TensorType.of(self.z))
            result = b(Add(), result, z)
        graph.outputs = {"result": result}
        FuseElementwise().run(graph)
        return graph

    def native(self, target: Target | None = None, threads: int = 1) -> Array:
        """What native code gives."""
        program = compile_program(self.graph(), target, threads)
        arrays = {"x": self.x.transpose(self.lies), "y": self.y.transpose(self.lies), "z": self.z}
        feeds = {
            value.name: np.array(arrays[value.name], order="C") for value in program.graph.inputs
        }
        (result,) = Executable(program).run(guarded(feeds)).values()
        return result

    def hold(self, target: Target | None = None, threads: int = 1) -> None:
        """Compare native code with NumPy."""
        actual = self.native(target, threads)
        floats = self.x.dtype.kind == "f"
        x, y = (a.astype(np.float64) if floats else a for a in (self.x, self.y))
        elements = np.broadcast_to(BEFORE[self.before].exact(x, y), self.x.shape)
        z = 0 if self.z is None else self.z
        reduced = np.sum if isinstance(self.op, Sum) else np.max
        options: dict[str, Any] = {"axis": self.op.axes, "keepdims": self.op.keepdims}
        wanted = reduced(elements, **options)
        wanted = wanted.astype(self.x.dtype) if not floats else wanted
        assert actual.dtype == self.x.dtype and actual.shape == wanted.shape
        if not floats:
            np.testing.assert_array_equal(actual, (wanted + z).astype(self.x.dtype))
            return
        scales = np.broadcast_to(BEFORE[self.before].scale(x, y), self.x.shape)
        scale = reduced(scales, **options) + np.abs(z)
        near = np.abs(actual - (wanted + z)) <= TOLERANCE[self.x.dtype] * scale
        assert near.all(), (np.argwhere(~near)[:3], actual[~near][:3], (wanted + z)[~near][:3])


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Case:
    helper = Draw(draw, Op)
    dtype = np.dtype(helper.choice(*["f4"] * 4, "f8", "i4", "i8", "u1"))
    shape: tuple[int, ...] = ()
    for _ in range(helper.int(1, 4)):
        room = 2**17 // int(np.prod(shape, dtype=int))
        shape += (helper.choice(*[count for count in COUNTS if count <= room]),)
    rank = len(shape)
    axes = helper.subset(range(rank), least=1)
    op = helper.choice(Sum, Sum, Max)(axes, helper.flag())
    unknown = helper.subset(range(rank)) if helper.flag() else ()
    if isinstance(op, Sum) and helper.int(0, 7) == 0:
        empty = helper.choice(*range(rank))
        shape = tuple(0 if axis == empty else size for axis, size in enumerate(shape))
    narrow = [1 if helper.flag() else size for size in shape]
    seed = helper.int(0, 2**16)
    rng = np.random.default_rng(seed)

    def some(shape: Sequence[int]) -> Array:
        if dtype.kind == "f":
            return np.asarray(rng.standard_normal(shape) + 0.5, dtype)
        return np.asarray(rng.integers(0, 100, shape), dtype)

    z = None
    if helper.flag():
        found = np.empty(shape, np.bool_).any(axis=axes, keepdims=op.keepdims).shape
        kept = [axis for axis in range(rank) if op.keepdims or axis not in axes]
        z = some([1 if axis in unknown else size for axis, size in zip(kept, found)])
    lies = tuple(draw(st.permutations(range(rank))))
    before = helper.choice(*BEFORE)
    return Case(op, before, some(shape), some(narrow), z, lies, unknown)


@settings(max_examples=EXAMPLES)
@given(cases())
def test_any_reduction(case: Case) -> None:
    case.hold()


@pytest.mark.parametrize("limit", ["avx512", "avx2", "sse2", "neon", "scalar"])
def test_every_width_of_vectors(limit: str) -> None:
    try:
        target = Target.host(limit)
    except AttributeMistake:
        pytest.skip(f"this processor has no {limit}")

    @settings(max_examples=EXAMPLES // 4)
    @given(cases())
    def check(case: Case) -> None:
        case.hold(target)

    check()


# ---- shapes as they occur ----------------------------------------------------------------------

IMAGE = (0, 2, 3, 1)


def some(*shape: int) -> Array:
    return np.asarray(np.random.default_rng(len(shape)).standard_normal(shape) + 0.5, np.float32)


def image(shape: tuple[int, ...], before: str, axes: tuple[int, ...] = (0, 2, 3)) -> Case:
    """Statistics of the channels of an image that lies channels-last."""
    return Case(Sum(axes), before, some(*shape), some(1, shape[1], 1, 1), None, IMAGE)


LARGE = {
    "few channels": image((33, 16, 20, 20), "square"),
    "many channels": image((9, 200, 14, 14), "square"),
    "batch unknown": Case(
        Sum((0, 2, 3)), "product", some(40, 24, 9, 9), some(40, 24, 9, 9), None, IMAGE, (0,)
    ),
    "all unknown": Case(Sum(), "nothing", some(300, 400), some(1, 1), some(), (1, 0), (0, 1)),
    "rows": Case(Max((1,), True), "scaled", some(500, 1000), some(500, 1), some(500, 1), (0, 1)),
    "columns": Case(Sum((0,)), "nothing", some(700, 3000), some(1, 1), None, (0, 1)),
    "one long row": Case(Sum((1,)), "count", some(2, 700_000), some(2, 1), None, (0, 1)),
    "channels of planes": Case(
        Sum((0, 2, 3)), "square", some(30, 5, 31, 31), some(1, 5, 1, 1), None, (0, 1, 2, 3)
    ),
}


@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE.keys())
def test_bits_do_not_depend_on_threads(case: Case) -> None:
    case.hold(threads=2)
    results = {case.native(threads=threads).tobytes() for threads in (1, 2, 3, 8)}
    assert len(results) == 1


@pytest.mark.parametrize("shape", [(3_000_000,), (1_500_000, 2), (2, 1_500_000), (70, 150, 150, 3)])
@pytest.mark.parametrize("unknown", [False, True])
def test_long_sums_are_exact(shape: tuple[int, ...], unknown: bool) -> None:
    """Equal terms are the worst case: the rounding of every addition goes the same way."""
    x = np.full(shape, 0.1, np.float32)
    axis = int(np.argmax(shape))
    axes = (axis,) if len(shape) < 4 else (0, 1, 2)
    lies = tuple(range(len(shape)))
    case = Case(Sum(axes), "nothing", x, x, None, lies, (axis,) if unknown else ())
    case.hold()


def test_the_greatest_of_awkward_numbers() -> None:
    x = some(5, 70)
    x[0, 3], x[1], x[2, 69] = np.nan, -np.inf, np.inf
    case = Case(Max((1,)), "nothing", x, x, None, (0, 1))
    np.testing.assert_array_equal(case.native(), x.max(1))
    lowest = np.full((3, 70), np.iinfo(np.int32).min, np.int32)
    Case(Max((0,)), "nothing", lowest, lowest, None, (0, 1)).hold()


# ---- kernels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("before", sorted(BEFORE.keys() - {"nothing"}))
@pytest.mark.parametrize("lies", [IMAGE, (0, 1, 2, 3)])
def test_what_is_added_up_is_never_in_memory(before: str, lies: tuple[int, ...]) -> None:
    z = some(7)
    case = Case(Sum((0, 2, 3)), before, some(4, 7, 5, 5), some(1, 7, 1, 1), z, lies)
    graph = lower(case.graph(), Target.host()).graph
    kernels = [node for node in graph.nodes if not isinstance(node.op, Transpose)]
    assert [type(node.op) for node in kernels] == [Kernel]
    assert {value.type.shape for node in kernels for value in node.results} == {(7,)}
    case.hold()


def test_what_others_read_is_written_once() -> None:
    graph = Graph("net")
    x = graph.add_input("x", TensorType.make("f32", (6, 40)))
    b = Builder(graph)
    powers = b(Exp(), x)
    graph.outputs = {"powers": powers, "total": b(Sum((1,)), powers)}
    lowered = lower(graph, Target.host()).graph
    assert [anchor_of(node).op for node in lowered.nodes] == [Exp(), Sum((1,))]
    feeds = guarded({"x": some(6, 40)})
    found = Executable(compile_program(graph)).run(feeds)
    np.testing.assert_allclose(found["powers"], np.exp(feeds["x"]), rtol=1e-6)
    np.testing.assert_allclose(found["total"], np.exp(feeds["x"]).sum(1), rtol=1e-6)


def test_a_result_is_not_written_over_what_is_read_elsewhere() -> None:
    """All shapes are alike here, but the operands are read in another order than results come."""
    graph = Graph("net")
    inputs = [graph.add_input(name, TensorType.make("f32", (9, 1))) for name in "xy"]
    b = Builder(graph)
    x, y = (b(Relu(), value) for value in inputs)
    total = b(Sum((1,), keepdims=True), b(Mul(), x, b(Transpose((1, 0)), y)))
    graph.outputs = {"total": b(Exp(), b(Add(), total, x))}
    feeds = guarded({"x": some(9, 1), "y": some(9, 1) * 0.1})
    (found,) = Executable(compile_program(graph)).run(feeds).values()
    x64, y64 = (np.maximum(a.astype(np.float64), 0) for a in feeds.values())
    np.testing.assert_allclose(found, np.exp((x64 * y64.T).sum(1, keepdims=True) + x64), rtol=1e-5)


def test_the_homes_of_kernels() -> None:
    """What is added to the totals may give them its place; what is added up may not."""
    graph = Graph("net")
    inputs = [graph.add_input(name, TensorType.make("f32", (1, 9))) for name in "xy"]
    b = Builder(graph)
    x, y = (b(Exp(), value) for value in inputs)
    total = b(Add(), b(Sum((0,), keepdims=True), b(Mul(), x, x)), y)
    graph.outputs = {"total": b(Transpose((1, 0)), total)}
    lowered = lower(graph, Target.host()).graph
    (kernel,) = [node for node in lowered.nodes if isinstance(node.op, Kernel)]
    roots = assign_buffers(lowered).roots
    added_up, added = kernel.operands
    assert roots[kernel.result] is roots[added] is not roots[added_up]


@pytest.mark.parametrize("channels", [3, 16, 40])
def test_images_within_frames_and_concatenations(channels: int) -> None:
    """The image is read by a convolution, with zeros around it, as part of a concatenation."""
    graph = Graph("net")
    shape = (symbol("N"), channels, 9, 7)
    x = graph.add_input("x", TensorType(DType.F32, shape))
    mean = graph.add_input("mean", TensorType(DType.F32, (channels, 1, 1)))
    weight = graph.add_input("w", TensorType.make("f32", (4, 2 * channels, 3, 3)), Role.PARAMETER)
    b = Builder(graph)
    part = b(Relu(), x)
    whole = b(Concat(1), b(Exp(), x), part)
    centred = b(Sub(), part, mean)
    graph.outputs = {
        "y": b(Conv2d((1, 1), ((1, 1), (1, 1)), (1, 1), 1), whole, weight),
        "channels": b(Sum((0, 2, 3)), part),
        "squares": b(Sum((0, 2, 3)), b(Mul(), centred, centred)),
        "pixels": b(Max((1,)), part),
        "means": b(Sum((2, 3), keepdims=True), b(Mul(), part, part)),
        "all": b(Sum(), part),
    }
    FuseElementwise().run(graph)
    w = some(4, 2 * channels, 3, 3)
    arrays = guarded({"x": some(5, channels, 9, 7), "mean": some(channels, 1, 1), "w": w})
    executable = Executable(compile_program(graph, threads=2), arrays)
    found = executable.run({name: arrays[name] for name in ("x", "mean")})
    image = np.maximum(arrays["x"].astype(np.float64), 0)
    squares = (image - arrays["mean"]) ** 2
    wanted = {
        "channels": image.sum((0, 2, 3)),
        "squares": squares.sum((0, 2, 3)),
        "pixels": image.max(1),
        "means": (image * image).sum((2, 3), keepdims=True),
        "all": image.sum(),
    }
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.I32], ids=str)
@pytest.mark.parametrize("lies", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_first_greatest(dtype: DType, lies: tuple[int, ...]) -> None:
    """Of equal elements, of NaN, and of an operand that lies in any order."""
    x = np.random.default_rng(0).integers(-2, 3, (4, 17, 3)).astype(dtype.numpy)
    if dtype.is_float:
        x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    graph = Graph("argmax")
    b = Builder(graph)
    source = x.transpose(lies).copy()
    back = Transpose(tuple(lies.index(axis) for axis in range(3)))
    value = b(back, graph.add_input("x", TensorType.of(source)))
    graph.outputs = {str(axis): b(ArgMax(axis), value) for axis in range(3)}
    for found, wanted in both(graph, {"x": source}).values():
        np.testing.assert_array_equal(found, wanted)


def test_rows_within_a_concatenation() -> None:
    """The second part of it begins somewhere within."""
    graph = cauce.parse("""
      graph g(%x: f32[2,5], %y: f32[3,5]) -> (i64[3], f32[5,5]) {
        %a = neg(%x) : f32[2,5]
        %b = neg(%y) : f32[3,5]
        %whole = concat(%a, %b) axis=0 : f32[5,5]
        %place = argmax(%b) axis=1 : i64[3]
        return %place, %whole
      }""")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((rows, 5)).astype(np.float32) for rows in (2, 3))
    for found, wanted in both(graph, {"x": x, "y": y}).values():
        np.testing.assert_array_equal(found, wanted)
