"""Native pooling against the reference: awkward shapes, ties, and arrays that lie within others.

Sums of small integers are exact in any order, so results are compared bit by bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cauce
from cauce import nn
from cauce.backends.executable import Executable
from cauce.backends.llvm.codegen.assemble import compile_text
from cauce.backends.llvm.codegen.builder import Module
from cauce.backends.llvm.codegen.code import Access, NodeCode
from cauce.backends.llvm.codegen.kernels import pooling
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.registry import emitter_of
from cauce.backends.llvm.runtime.library import Library
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, DType, Graph, Node, TensorType
from cauce.ir.dims import substitute, symbol
from cauce.ir.errors import AttributeMistake
from cauce.ir.ops.adaptive_pool import (
    AdaptiveAvgPool2d,
    AdaptiveAvgPool2dBackward,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool2dBackward,
    AdaptiveMaxPool2dSelect,
)
from cauce.ir.ops.pool import (
    AvgPool2d,
    AvgPool2dBackward,
    MaxPool2d,
    MaxPool2dBackward,
    MaxPool2dSelect,
    Pooling,
)

BACKWARD = {
    MaxPool2d: MaxPool2dBackward,
    AdaptiveMaxPool2d: AdaptiveMaxPool2dBackward,
    AvgPool2d: AvgPool2dBackward,
    AdaptiveAvgPool2d: AdaptiveAvgPool2dBackward,
}
SELECT = {MaxPool2d: MaxPool2dSelect, AdaptiveMaxPool2d: AdaptiveMaxPool2dSelect}
UNTOUCHED = 77

# ---- one node, on arrays that lie anywhere ------------------------------------------------------


def in_rows(array: Array) -> Array:
    """As a caller has it."""
    return array.copy()


def channels_last(array: Array) -> Array:
    """The channels of a pixel side by side."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def in_frame(array: Array) -> Array:
    """Channels-last, within a frame, and between other channels."""
    n, c, height, width = array.shape
    whole = np.full((n, height + 3, width + 4, c + 5), UNTOUCHED, array.dtype)
    part = whole[:, 1:-2, 3:-1, 2:-3].transpose(0, 3, 1, 2)
    part[...] = array
    return part


Lay = Callable[[Array], Array]
# In a frame channels are side by side as well.
LAYS: list[Lay] = [in_rows, in_frame]


class OneNode(NodeCode):
    """A node whose arrays are views of NumPy arrays."""

    def __init__(self, node: Node, arrays: Sequence[Array], symbols: Sequence[str]) -> None:
        self.node, self.target, self.symbols = node, Target.host(), symbols
        self.launches, self.scratches = [], []
        self.slots_used = len(arrays)
        self.arrays = arrays

    def new_slot(self) -> int:
        self.slots_used += 1
        return self.slots_used - 1

    def operand_access(self, place: int) -> Access:
        """Where a view lies within its base."""
        array = self.arrays[place]
        size, start = array.itemsize, array.ctypes.data - base(array).ctypes.data
        steps = tuple(step // size for step in array.strides)
        return Access(place, DType.of(array.dtype), steps, start // size)

    def result_access(self, place: int = 0) -> Access:
        return self.operand_access(len(self.arrays) - 1)


def base(array: Array) -> Array:
    """The whole array that a view looks at."""
    return array if array.base is None else base(array.base)


@dataclass(frozen=True)
class Case:
    """A pooling, which of its ops, and an input of it; the axes in ``symbols`` have no size yet."""

    pooling: Pooling
    kind: str
    shape: tuple[int, int, int, int]
    dtype: DType = DType.F32
    symbols: str = ""

    def node(self, symbolic: bool = False) -> tuple[Pooling, list[TensorType]]:
        """The op, and the types of its operands."""
        named = zip("NCHW", self.shape)
        shape = tuple(
            symbol(name) if symbolic and name in self.symbols else size for name, size in named
        )
        x, op = TensorType(self.dtype, shape), self.pooling
        if self.kind == "forward":
            return op, [x]
        if self.kind == "select":
            return op.sibling(SELECT[type(op)]), [x, x]
        if isinstance(op, (AvgPool2d, AdaptiveAvgPool2d)):
            return op.sibling(BACKWARD[type(op)], size=x.shape[2:]), [op.pooled(x)]
        return op.sibling(BACKWARD[type(op)]), [x, op.pooled(x)]

    @property
    def dims(self) -> dict[str, int]:
        """The sizes of the symbols."""
        return {name: size for name, size in zip("NCHW", self.shape) if name in self.symbols}

    def operands(self, seed: int) -> list[Array]:
        """Small integers, many of them equal; of what is compared some NaN and infinite."""
        r = np.random.default_rng(seed)
        arrays = [
            r.integers(-2, 3, type_.shape).astype(type_.dtype.numpy) for type_ in self.node()[1]
        ]
        if type(self.pooling) in SELECT:
            odd = r.choice([np.nan, -np.inf, np.inf], arrays[0].shape, p=(0.2, 0.7, 0.1))
            arrays[0] = np.where(r.random(odd.shape) < r.choice([0, 0.3, 0.9]), odd, arrays[0])
            arrays[0] = arrays[0].astype(self.dtype.numpy)
        return arrays

    def run(self, operands: Sequence[Array], lay: Lay) -> Array:
        """What native code makes of operands that lie like this."""
        graph = Graph("one")
        op, types = self.node(symbolic=True)
        values = [graph.add_input(f"x{i}", type_) for i, type_ in enumerate(types)]
        (y,) = Builder(graph).results(op, *values)
        shape = tuple(substitute(size, self.dims) for size in y.type.shape)
        arrays = [lay(array) for array in (*operands, np.full(shape, UNTOUCHED, self.dtype.numpy))]
        (node,) = graph.nodes
        code = OneNode(node, arrays, list(self.dims))
        assert pooling  # which registers them
        emitter_of(op)(code)
        execute(code, self.dims)
        for array, operand in zip(arrays, operands):
            np.testing.assert_array_equal(array, operand)
        result = arrays[-1].copy()
        if lay is in_frame:
            for array in arrays:
                array[...] = UNTOUCHED
                assert (base(array) == UNTOUCHED).all(), "what lies around was written"
        return result


def execute(code: OneNode, dims: dict[str, int]) -> None:
    """Compile the launches of a node and run them, the tasks of each in two calls."""
    module, names = Module(), []
    for launch in code.launches:
        launch.function.name = f"launch{len(names)}"
        names.append(launch.function.name)
        module.add(launch.function, "")
    text = module.text(code.target.triple, f'nounwind "target-cpu"="{code.target.cpu}"')
    library = Library(compile_text(text, code.target), code.target)
    buffers = [base(array) for array in code.arrays]
    buffers += [np.full(substitute(s.nbytes, dims), 0xFF, np.uint8) for s in code.scratches]
    table = (ctypes.c_int64 * max(1, len(dims)))(*dims.values())
    for name, launch in zip(names, code.launches):
        pointers = (ctypes.c_void_p * len(launch.slots))(
            *(buffers[slot].ctypes.data for slot in launch.slots)
        )
        function = library.function(name, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3)
        tasks = substitute(launch.tasks, dims)
        # The second half comes first: no task may need another.
        for first, last in ((tasks // 2, tasks), (0, tasks // 2)):
            function(pointers, table, first, last, 0)


# ---- cases --------------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn, cls: type[Pooling], kind: str) -> Case:
    """Windows that dilate, overlap, leave gaps, and are larger than the input with its padding."""
    sides = st.integers(1, 9)
    pooling: Pooling
    if cls in (AdaptiveMaxPool2d, AdaptiveAvgPool2d):
        pooling, height, width = cls(draw(st.tuples(sides, sides))), draw(sides), draw(sides)
    else:
        pooling, height, width = draw(fixed(cls))
    dims = draw(st.sampled_from((1, 1, 2, 3, 33))), draw(st.integers(1, 40)), height, width
    dtype = draw(st.sampled_from((DType.F32, DType.F32, DType.F64)))
    return Case(pooling, kind, dims, dtype, draw(st.sampled_from(("", "", "N", "NHW", "NCHW"))))


@st.composite
def fixed(draw: st.DrawFn, cls: type[Pooling]) -> tuple[Pooling, int, int]:
    """Windows of a fixed size, and an input that holds at least one."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel, dilation = draw(pair), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    more: dict[str, object] = {"dilation": dilation}
    if cls is AvgPool2d:
        dilation, more = (1, 1), {"count_include_pad": draw(st.booleans())}
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    pads = [(draw(st.integers(0, e - 1)), draw(st.integers(0, e - 1))) for e in extents]
    least = [max(1, extent - sum(pad)) for extent, pad in zip(extents, pads)]
    height, width = (draw(st.integers(size, size + 6)) for size in least)
    windows = {"kernel_size": kernel, "stride": draw(pair), "padding": tuple(pads)}
    return cls(**windows, ceil_mode=draw(st.booleans()), **more), height, width


@pytest.mark.parametrize("lay", LAYS)
@pytest.mark.parametrize(
    ("cls", "kind"),
    [
        *((cls, kind) for cls in BACKWARD for kind in ("forward", "backward")),
        *((cls, "select") for cls in SELECT),
    ],
)
def test_native_pooling_is_the_reference(cls: type[Pooling], kind: str, lay: Lay) -> None:
    @given(cases(cls, kind), st.integers(0, 999))
    def check(case: Case, seed: int) -> None:
        operands = case.operands(seed)
        op, _ = case.node()
        np.testing.assert_array_equal(case.run(operands, lay), op.reference(*operands))

    check()


@pytest.mark.parametrize("limit", ["sse2", "avx2", "avx512"])
def test_every_width_of_vectors(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUCE_TARGET", limit)
    try:
        Target.host()
    except AttributeMistake:
        pytest.skip("this processor has no such vectors")
    for channels in (3, 64, 127):
        pooling = MaxPool2d((3, 3), (2, 2), ((1, 1), (1, 1)))
        case = Case(pooling, "backward", (2, channels, 7, 6))
        operands = case.operands(channels)
        wanted = case.node()[0].reference(*operands)
        np.testing.assert_array_equal(case.run(operands, channels_last), wanted)


def test_a_window_of_padding_alone() -> None:
    pooling = MaxPool2d((2, 2), (1, 1), ((1, 1), (1, 1)), dilation=(2, 2))
    x, dy = np.full((1, 20, 1, 3), 5.0), np.full((1, 20, 1, 3), 7.0)
    kinds = {"forward": (x,), "select": (x, x), "backward": (x, dy)}
    shape, found = x.shape, {}
    for kind, operands in kinds.items():
        case = Case(pooling, kind, shape, DType.F64)
        found[kind] = case.run(operands, channels_last)
    assert (found["forward"] == -np.inf).all()
    assert not found["select"].any()
    assert not found["backward"].any()


# ---- within a graph -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pooling",
    [
        MaxPool2d((3, 3), (2, 2), ((1, 1), (1, 1))),
        AvgPool2d((3, 3), (1, 1), ((1, 1), (1, 1))),
        AdaptiveMaxPool2d((3, 4)),
        AdaptiveAvgPool2d((3, 4)),
    ],
    ids=lambda op: op.name,
)
def test_bits_of_gradients_do_not_depend_on_threads(pooling: Pooling) -> None:
    case = Case(pooling, "backward", (5, 37, 11, 10))
    op, types = case.node()
    graph = Graph("gradient")
    b = Builder(graph)
    sources = [graph.add_input(f"x{i}", type_) for i, type_ in enumerate(types)]
    # Windows of one cell bring their input channels-last.
    images = [b(MaxPool2d((1, 1)), source) for source in sources]
    graph.outputs["dx"] = b(MaxPool2d((1, 1)), b(op, *images))
    r = np.random.default_rng(0)
    feeds = [r.standard_normal(type_.shape).astype(np.float32) for type_ in types]
    found = [Executable(compile_program(graph, threads=count))(*feeds) for count in (1, 2, 3, 8)]
    np.testing.assert_allclose(found[0], op.reference(*feeds), rtol=1e-5, atol=1e-5)
    assert len({array.tobytes() for array in found}) == 1


@pytest.mark.parametrize("pool", [nn.adaptive_max_pool2d, nn.adaptive_avg_pool2d])
@pytest.mark.parametrize("output_size", [4, 7, (13, 5)])
def test_adaptive_windows_on_free_sizes(pool: Any, output_size: Any) -> None:
    """Their cells, counted exactly, would be a longer expression than any size may be."""
    model = cauce.network(lambda x: pool(x, output_size)).init(x=("N", 2, "H", "W"), seed=0)
    x = np.random.default_rng(0).random((2, 2, 15, 14), np.float32)
    native, plain = (cauce.compile(model, name)(x) for name in ("llvm", "numpy"))
    np.testing.assert_allclose(native, plain, rtol=1e-6)
