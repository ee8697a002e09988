"""Sums over one array run side by side, and stay what they are alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen import plan
from cauce.backends.llvm.codegen.plan import Plan
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.target import Target
from cauce.ir import Builder, Graph, TensorType, Value
from cauce.ir.ops.elementwise import Add, Mul, Sub
from cauce.ir.ops.reduce import Sum

from .simulated import simulate

SHAPE = ("N", 24, 9, 7)
Body = Callable[[Builder, Value, Value], tuple[Value, Value]]


def graph_of(body: Body, dtype: str = "f32") -> Graph:
    """Two results of two images."""
    graph = Graph("sums")
    x, y = (graph.add_input(name, TensorType.make(dtype, SHAPE)) for name in "xy")
    graph.outputs = dict(zip("ab", body(Builder(graph), x, y)))
    return graph


def total(b: Builder, x: Value) -> Value:
    return b(Sum((0, 2, 3)), x)


def plain_first(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    return total(b, x), total(b, b(Mul(), x, y))


def plain_last(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    first = total(b, b(Mul(), x, y))
    return first, total(b, x)


def both_computed(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    return total(b, b(Mul(), x, y)), total(b, b(Sub(), x, y))


def of_others(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    return total(b, x), total(b, y)


def one_after_the_other(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    first = b(Sum((0, 2, 3), True), x)
    return first, total(b, b(Mul(), x, b(Add(), x, first)))


def over_other_axes(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    return total(b, x), b(Sum((0, 1)), x)


TOGETHER = [plain_first, plain_last, both_computed]
APART = [of_others, one_after_the_other, over_other_axes]


def joined(made: Plan) -> int:
    return sum(1 for launch, _ in made.launches if launch.parts)


@pytest.mark.parametrize("body", [*TOGETHER, *APART], ids=lambda body: body.__name__)
def test_what_runs_side_by_side(body: Body) -> None:
    made = build(graph_of(body), Target.host()).main
    assert joined(made) == (body in TOGETHER)


@pytest.mark.parametrize("count", [0, 1, 5, 130])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("body", TOGETHER, ids=lambda body: body.__name__)
def test_each_sum_has_the_bits_that_it_has_alone(
    body: Body, dtype: str, threads: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    graph = graph_of(body, dtype)
    feeds = {
        value.name: rng.standard_normal((count, *SHAPE[1:])).astype(value.type.dtype.numpy)
        for value in graph.inputs
    }
    found = Executable(compile_program(graph, threads=threads)).run(feeds)
    monkeypatch.setattr(plan, "in_turn", lambda codes: codes)
    assert not joined(build(graph, Target.host()).main)
    alone = Executable(compile_program(graph, threads=threads)).run(feeds)
    for name in "ab":
        assert found[name].tobytes() == alone[name].tobytes()


@pytest.mark.parametrize("body", TOGETHER, ids=lambda body: body.__name__)
def test_buffers_are_kept_while_both_run(body: Body) -> None:
    simulate(build(graph_of(body), Target.host()).main, {"N": 5})


def test_the_code_of_a_layer_has_all_functions() -> None:
    graph = graph_of(plain_first)
    text = compile_program(graph).code("llvm", next(graph.nodes).path)
    called = set(re.findall(r"call void (@kernel[.0-9]*)", text))
    assert len(called) == 2
    assert called <= set(re.findall(r"define internal void (@kernel[.0-9]*)", text))
