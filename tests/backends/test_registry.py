"""An anchor op from outside the tree: it works by its registration alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm import registry
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.builder import i64
from cauce.backends.llvm.codegen.code import NodeCode, emits
from cauce.backends.llvm.codegen.kernels.elementwise import load, store
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.lowering.kernels import anchor_of
from cauce.backends.llvm.registry import Facts, Types, known_facts
from cauce.backends.llvm.schedule.schedule import Choice, Schedule, Setting
from cauce.backends.llvm.target import Target
from cauce.ir import Array, Builder, Graph, Op, TensorType, symbol
from cauce.ir.errors import CompileError, UnsupportedOp
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.fused import Kernel
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


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    emits(ReversedRows, facts=ReversedRowsFacts())(write_reversed_rows)
    yield
    del registry._REGISTRY[ReversedRows]


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


def test_without_its_registration_it_is_refused() -> None:
    facts = known_facts(ReversedRows())
    assert facts is not None
    del registry._REGISTRY[ReversedRows]
    try:
        with pytest.raises(UnsupportedOp, match="no kernel for reversed_rows"):
            build(graph(), Target.host())
    finally:
        registry.register(ReversedRows, facts, write_reversed_rows)
