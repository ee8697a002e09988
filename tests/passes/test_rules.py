"""Where rules must not see what they look for, and what must not be taken for equal."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.ir import DType, Graph, evaluate, parse
from cauce.ir.pass_manager import run_passes
from cauce.passes.arithmetic_rules import holds
from cauce.passes.canonicalize import Canonicalize
from cauce.passes.constant_folding import FoldConstants
from cauce.passes.cse import EliminateCommon
from cauce.passes.pipelines import SIMPLIFY


def unchanged(text: str) -> None:
    graph = parse(text)
    before = str(graph)
    assert not run_passes(graph, [Canonicalize()])
    assert str(graph) == before


@pytest.mark.parametrize("reader", ["%relu1", "%tanh1"])
def test_no_move_across_a_chain_that_others_read(reader: str) -> None:
    """The reader of the inner value wants it in its own shape."""
    unchanged(f"""
        graph g(%x: f64[N,2,3]) -> (f64[N,2,3], f64[2,3,N]) {{
          %a = transpose(%x) perm=[1, 2, 0] : f64[2,3,N]
          %relu1 = relu(%a) : f64[2,3,N]
          %tanh1 = tanh(%relu1) : f64[2,3,N]
          %y = transpose(%tanh1) perm=[2, 0, 1] : f64[N,2,3]
          return %y, {reader}
        }}""")


def test_no_move_across_a_region_that_broadcasts() -> None:
    unchanged("""
        graph g(%x: f64[2,3]) -> f64[2,3] {
          %a = transpose(%x) perm=[1, 0] : f64[3,2]
          %f = fused(%a) body=graph r(%a: f64[3,2]) -> f64[3,2] {
            %c = constant() value=dense(f64[2], [1.0, 2.0]) : f64[2]
            %m = mul(%a, %c) : f64[3,2]
            return %m
          } : f64[3,2]
          %y = transpose(%f) perm=[1, 0] : f64[2,3]
          return %y
        }""")


def test_a_cast_through_floats_is_held_within_range() -> None:
    """The other way, from u8 to i8 at once, 200 wraps around to -56."""
    text = """
        graph g(%x: u8[3]) -> i8[3] {
          %wide = cast(%x) to=f32 : f32[3]
          %y = cast(%wide) to=i8 : i8[3]
          return %y
        }"""
    unchanged(text)
    x = np.array([0, 127, 200], np.uint8)
    assert evaluate(parse(text), {"x": x}).outputs["y"].tolist() == [0, 127, 127]


def test_what_is_not_folded_by_algebra() -> None:
    """0 * x, x - x and x / x are NaN where x is infinite, and sums are not regrouped."""
    unchanged("""
        graph g(%x: f64[]) -> (f64[], f64[], f64[], f64[]) {
          %zero = constant() value=dense(f64[], [0.0]) : f64[]
          %three = constant() value=dense(f64[], [3.0]) : f64[]
          %a = mul(%x, %zero) : f64[]
          %b = sub(%x, %x) : f64[]
          %c = div(%x, %x) : f64[]
          %sum = add(%x, %three) : f64[]
          %d = add(%sum, %three) : f64[]
          return %a, %b, %c, %d
        }""")


SPECIAL = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 5e-324, 1e308])


@pytest.mark.parametrize(
    "lines",
    [
        "%c = constant() value=dense(f64[], [0.0]) : f64[]\n%y = add(%x, %c) : f64[9]",
        "%c = constant() value=dense(f64[], [1.0]) : f64[]\n%y = pow(%x, %c) : f64[9]",
        "%c = constant() value=dense(f64[], [2.0]) : f64[]\n%y = pow(%x, %c) : f64[9]",
        "%c = constant() value=dense(f64[], [4.0]) : f64[]\n%y = div(%x, %c) : f64[9]",
        "%c = constant() value=dense(f64[], [0.0]) : f64[]\n%y = maximum(%x, %c) : f64[9]",
        "%n = neg(%x) : f64[9]\n%y = sub(%x, %n) : f64[9]",
        "%a = clip(%x) min=-1.0 max=2.0 : f64[9]\n%y = relu(%a) : f64[9]",
        "%a = clip(%x) max=-3.0 : f64[9]\n%y = relu(%a) : f64[9]",
        "%a = sqrt(%x) : f64[9]\n%y = relu(%a) : f64[9]",
        "%y = sum(%x) axes=[] : f64[9]",
    ],
)
def test_infinities_and_nan_stay(lines: str) -> None:
    graph = parse(f"graph g(%x: f64[9]) -> f64[9] {{\n{lines}\nreturn y=%y\n}}")
    (before,) = evaluate(graph, {"x": SPECIAL}).outputs.values()
    assert run_passes(graph, SIMPLIFY)
    (after,) = evaluate(graph, {"x": SPECIAL}).outputs.values()
    np.testing.assert_array_equal(after, before)


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_zeros_of_different_sign_are_different() -> None:
    graph = parse("""
        graph g(%x: f64[N]) -> (f64[N + 1], f64[N + 1]) {
          %a = pad(%x) pads=[[0, 1]] : f64[N + 1]
          %b = pad(%x) pads=[[0, 1]] value=-0.0 : f64[N + 1]
          return %a, %b
        }""")
    assert not EliminateCommon().run(graph)
    assert ops(graph) == ["pad", "pad"]


def test_nan_is_the_same_as_itself() -> None:
    graph = parse("""
        graph g(%x: f64[N]) -> (f64[N + 1], f64[N + 1]) {
          %a = pad(%x) pads=[[0, 1]] value=nan : f64[N + 1]
          %b = pad(%x) pads=[[0, 1]] value=nan : f64[N + 1]
          return %a, %b
        }""")
    assert EliminateCommon().run(graph)
    assert ops(graph) == ["pad"]


def test_a_limit_of_size_that_operands_may_exceed() -> None:
    text = """
        graph g() -> (f64[3], f64[2,3]) {
          %c = constant() value=dense(f64[3], [1.0, 2.0, 3.0]) : f64[3]
          %a = exp(%c) : f64[3]
          %b = expand(%a) shape=[2, 3] : f64[2,3]
          return %a, %b
        }"""
    graph = parse(text)
    assert FoldConstants(limit=2).run(graph)
    assert ops(graph) == ["constant", "expand"]
    assert FoldConstants(limit=6).run(graph)
    assert ops(graph) == ["constant", "constant"]


@pytest.mark.parametrize(
    ("wide", "narrow", "wanted"),
    [
        ("f64", "f32", True),
        ("f32", "f64", False),
        ("f32", "bf16", True),
        ("bf16", "f16", False),
        ("f16", "bf16", False),
        ("bf16", "u8", True),
        ("bf16", "i16", False),
        ("f16", "i8", True),
        ("f16", "i16", False),
        ("f32", "i16", True),
        ("f32", "i32", False),
        ("f64", "i32", True),
        ("f64", "i64", False),
        ("i32", "i16", True),
        ("i32", "u32", False),
        ("i64", "u32", True),
        ("i16", "f16", False),
        ("f32", "bool", True),
        ("bf16", "bool", True),
        ("bool", "i8", False),
    ],
)
def test_which_dtypes_hold_which(wide: str, narrow: str, wanted: bool) -> None:
    assert holds(DType.of(wide), DType.of(narrow)) is wanted
