"""An anchor op from outside the tree: it works by its registration alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm import registry, whole
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.builder import i64
from cauce.backends.llvm.codegen.code import NodeCode, emits
from cauce.backends.llvm.codegen.iteration import Placed, unravel
from cauce.backends.llvm.codegen.kernels.elementwise import load, store
from cauce.backends.llvm.codegen.math.elements import scalar_constant
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.lowering.kernels import anchor_of
from cauce.backends.llvm.registry import Facts, ImageFacts, Types, Weight, known_facts
from cauce.backends.llvm.schedule.schedule import Choice, Schedule, Setting
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, Graph, Op, Role, TensorType, symbol
from cauce.ir.dims import product
from cauce.ir.errors import CompileError, UnsupportedOp
from cauce.ir.layout import CHANNELS_LAST, Blocked, Halo, Strided
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.fused import Fused, Kernel
from cauce.ir.ops.reorder import Reorder
from cauce.ir.ops.shape import Flatten
from tests.guarded import guarded


class ReversedRows(Op):
    """y[i, j] = x[i, n - 1 - j]."""

    name = "reversed_rows"

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return x[:, ::-1]


class Backwards(Schedule):
    """Each row goes through scratch of the thread, so many elements further on.

    Attributes:
        skip: how many elements of the scratch are left out.
    """

    algorithm: ClassVar[str] = "backwards"
    skip: int

    def __str__(self) -> str:
        return f"backwards, {self.skip} left out"

    def mistake(self, own: Any, target: Target) -> str | None:
        if self.skip < 0:
            return "it cannot leave out fewer than none"
        return super().mistake(own, target)


class ReversedRowsFacts(Facts):
    anchor = True
    epilogue = True

    def schedules(
        self, op: Op, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        return [Choice(Backwards(3))]

    def by_image(
        self, op: Op, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return True


def write_reversed_rows(code: NodeCode) -> None:
    """A task is a row: into the scratch from the end on, then out of it in order."""
    (x,), schedule = code.operand_types, code.schedule
    assert isinstance(schedule, Backwards)
    rows, columns = x.shape
    item = x.dtype.itemsize
    scratch = code.thread_scratch((columns + schedule.skip) * item)
    source, result = code.operand_access(0), code.result_access()
    others = code.epilogue.operands if code.epilogue else ()
    with code.stage(rows) as stage:
        f = stage.f
        own = f.at(stage.own_pointer(scratch), schedule.skip, item)
        arrays = (source, result, *others)
        bases = [stage.base(array) for array in arrays]
        steps = [[stage.dim(step) for step in array.strides] for array in arrays]
        count = stage.dim(columns)
        with stage.tasks() as task:
            starts = [
                f.at(base, f.mul(task, step[0]), array.dtype.itemsize)
                for base, step, array in zip(bases, steps, arrays)
            ]
            with f.loop(count) as loop:
                value = load(
                    stage, x.dtype, f.at(starts[0], f.mul(loop.index, steps[0][1]), item), 1
                )
                place = f.op("sub", f.op("sub", count, i64(1)), loop.index)
                store(stage, x.dtype, value, f.at(own, place, item), 1)
            with f.loop(count) as loop:
                value = load(stage, x.dtype, f.at(own, loop.index, item), 1)
                values = [
                    load(stage, array.dtype, f.at(start, f.mul(loop.index, step[1]), item), 1)
                    for start, step, array in zip(starts[2:], steps[2:], others)
                ]
                if code.epilogue:
                    value = code.epilogue.apply(stage, 1, value, values)
                store(
                    stage, x.dtype, value, f.at(starts[1], f.mul(loop.index, steps[1][1]), item), 1
                )


class Above(Op):
    """y[n, k, i, j] = sum over c of w[k, c] * x[n, c, i - 1, j], with zeros above x."""

    name = "above"
    operands = ("x", "w")

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        return x.with_shape((x.shape[0], w.shape[0], *x.shape[2:]))

    def reference(self, x: Array, w: Array) -> Array:
        moved = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        return np.einsum("kc,nchw->nkhw", w, moved)


class OneByOne(Schedule):
    """Element by element, of a weight in blocks of a vector."""

    algorithm: ClassVar[str] = "one by one"

    def block(self, lanes: int) -> int:
        return lanes


class AboveFacts(ImageFacts):
    anchor = True
    epilogue = True

    def images(self, op: Op, operands: Types) -> tuple[int, ...]:
        return (0,)

    def weight(self, op: Op, operands: Types) -> Weight:
        return Weight(1, (1, 0))

    def halo(self, op: Op, operands: Types) -> Halo:
        return ((1, 0), (0, 0))

    def schedules(
        self, op: Op, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        return [Choice(OneByOne())]

    def by_image(
        self, op: Op, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        return not of_images[1]


def write_above(code: NodeCode) -> None:
    """A task is an element."""
    (x, _), y = code.operand_types, code.result_types[0]
    weight, end = code.operand_access(1), code.epilogue
    with code.stage(product(y.shape)) as stage:
        f, extents = stage.f, [stage.dim(size) for size in y.shape]
        own = (code.operand_access(0), weight, code.result_access())
        image, taps, result, *others = (
            Placed.of(stage, access) for access in (*own, *(end.operands if end else ()))
        )
        channels, apart = stage.dim(x.shape[1]), stage.dim(weight.block_stride)
        with stage.tasks() as task:
            n, k, i, j = unravel(stage, task, extents)
            within, start = k, i64(0)
            if weight.block:
                within = f.op("urem", k, i64(weight.block))
                start = f.mul(f.op("udiv", k, i64(weight.block)), apart)
            with f.loop(channels, carry=[scalar_constant(0, x.dtype)]) as loop:
                pixel = image.at(n, loop.index, f.add(i, -1), j)
                tap = f.at(taps.at(within, loop.index), start, x.dtype.itemsize)
                values = [load(stage, x.dtype, pointer, 1) for pointer in (pixel, tap)]
                loop.next(f.fma(*values, loop.carried[0]))
            (total,) = loop.results
            if end is not None:
                values = [load(stage, x.dtype, other.at(n, k, i, j), 1) for other in others]
                total = end.apply(stage, 1, total, values)
            store(stage, x.dtype, total, result.at(n, k, i, j), 1)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    registry.register(Above, AboveFacts(), write_above)
    emits(ReversedRows, facts=ReversedRowsFacts())(write_reversed_rows)
    yield
    del registry._REGISTRY[ReversedRows], registry._REGISTRY[Above]


def graph(columns: int = 7) -> Graph:
    """relu(reversed(x) + y), which is one kernel."""
    found = Graph("net")
    types = TensorType.make("f32", (symbol("N"), columns))
    x, y = (found.add_input(name, types) for name in "xy")
    b = Builder(found, path="turn")
    found.outputs["z"] = b(Relu(), b(Add(), b(ReversedRows(), x), y))
    return found


def wanted(x: Array, y: Array) -> Array:
    return np.maximum(x[:, ::-1] + y, 0)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [0, 1, 40])
def test_it_runs_with_an_epilogue_on_scratch_of_each_thread(rows: int, threads: int) -> None:
    rng = np.random.default_rng(rows)
    x, y = (rng.standard_normal((rows, 7), np.float32) for _ in range(2))
    executable = Executable(compile_program(graph(), threads=threads))
    feeds = guarded({"x": x, "y": y})
    np.testing.assert_array_equal(executable(**feeds), wanted(x, y))


def test_it_is_lowered_planned_and_scheduled_as_ours_are() -> None:
    made = build(graph(), Target.host())
    (kernel,) = [node for node in made.lowered.graph.nodes if isinstance(node.op, Kernel)]
    assert anchor_of(kernel).op == ReversedRows()
    assert made.lowered.schedules == {kernel.result.name: Backwards(3)}
    assert [buffer.per_thread for buffer in made.main.buffers] == [True]
    assert made.main.batch is not None
    plan = Executable(compile_program(graph())).plan(N=4)
    assert f"  {kernel.result.name}: backwards, 3 left out\n" in plan


def test_it_takes_a_schedule_of_ones_own() -> None:
    name = next(iter(build(graph(), Target.host()).lowered.schedules))
    program = compile_program(graph(), threads=2, schedules={name: Backwards(11)})
    assert "backwards, 11 left out" in program.plan()
    x = np.arange(14, dtype=np.float32).reshape(2, 7)
    np.testing.assert_array_equal(Executable(program)(x=x, y=-x), wanted(x, -x))
    with pytest.raises(CompileError, match="cannot leave out fewer than none") as error:
        compile_program(graph(), schedules={name: Backwards(-1)})
    assert "Backwards(skip=3) is cauce's own choice" in str(error.value)


@pytest.mark.parametrize("filters", [3, 16, 35])
@pytest.mark.parametrize("fixed", [True, False])
def test_images_in_a_halo_and_a_packed_weight_are_what_its_facts_say(
    filters: int, fixed: bool
) -> None:
    """Two of them behind one another: the first writes its result within the halo."""
    found = Graph("net")
    role = Role.PARAMETER if fixed else Role.DATA
    x = found.add_input("x", TensorType.make("f32", (symbol("N"), filters, 4, 5)))
    w = found.add_input("w", TensorType.make("f32", (filters, filters)), role)
    b = Builder(found, path="above")
    found.outputs["y"] = b(Above(), b(Relu(), b(Above(), x, w)), w)
    made = build(found, Target.host())
    first, second = (node for node in made.lowered.graph.nodes if isinstance(node.op, Kernel))
    for kernel in (first, second):
        image, weight = (value.type.layout for value in kernel.operands)
        assert isinstance(image, Strided) and image.order == CHANNELS_LAST
        assert image.halo == ((1, 0), (0, 0))
        lanes = Target.host().lanes(4)
        packed = Blocked((1, 0), lanes) if filters >= lanes else Strided((1, 0))
        assert weight == packed
    rng = np.random.default_rng(filters)
    feeds = {
        "x": rng.standard_normal((3, filters, 4, 5), np.float32),
        "w": rng.standard_normal((filters, filters), np.float32),
    }
    executable = Executable(compile_program(found, threads=2), feeds if fixed else None)
    result = executable.run({v.name: guarded(feeds)[v.name] for v in executable.inputs})["y"]
    above = Above().reference
    wanted = above(np.maximum(above(feeds["x"], feeds["w"]), 0), feeds["w"])
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_without_its_registration_it_is_refused() -> None:
    facts = known_facts(ReversedRows())
    assert facts is not None
    del registry._REGISTRY[ReversedRows]
    try:
        with pytest.raises(UnsupportedOp, match="no kernel for reversed_rows"):
            build(graph(), Target.host())
    finally:
        registry.register(ReversedRows, facts, write_reversed_rows)


def test_composites_that_the_pipelines_leave_whole_are_those_that_are_registered() -> None:
    """``whole.py`` says it once more, for it is asked before anything is registered."""
    own = {Fused, Kernel, Reorder, Flatten}  # made by cauce, or a view
    known = {op for op in registry.registered() if op.decompose is not Op.decompose}
    assert known - own == set(whole._COMPOSITES)
