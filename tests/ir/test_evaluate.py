"""The plain evaluator: feeds are checked, symbols learnt from them, values watched."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce.ir import Builder, DType, Graph, Role, TensorType, evaluate, parse, symbol
from cauce.ir.errors import CauceError, GraphError, ShapeError, TypeMismatch
from cauce.ir.evaluate import bind_symbols
from cauce.ir.ops.constant import DimSize
from cauce.ir.ops.elementwise import Add, Cast, Div
from cauce.ir.ops.fused import Fused
from cauce.ir.ops.shape import Expand, Reshape

AFFINE = """
graph affine(%x: f32[N,2], %scale: f32[]) -> (f32[N,2], f32[N,2]) {
  @w: f32[2] parameter
  @steps: i64[] state
  %wx = mul(%x, @w) : f32[N,2]
  %y = mul(%wx, %scale) : f32[N,2]
  %one = constant() value=dense(i64[], [1]) : i64[]
  %next = add(@steps, %one) : i64[]
  return y=%y, input=%x
  update @steps = %next
}
"""


def feeds(**changes: object) -> dict[str, object]:
    given: dict[str, object] = {
        "x": np.array([[1, 2], [3, 4], [5, 6]], np.float32),
        "scale": np.float32(2),
        "w": np.array([1, 10], np.float32),
        "steps": np.int64(7),
    }
    return {**given, **changes}


def test_outputs_and_updates_by_name() -> None:
    result = evaluate(parse(AFFINE), feeds())
    assert list(result.outputs) == ["y", "input"]
    np.testing.assert_array_equal(result.outputs["y"], [[2, 40], [6, 80], [10, 120]])
    np.testing.assert_array_equal(result.outputs["input"], feeds()["x"])
    assert result.updates == {"steps": 8}
    assert result.updates["steps"].dtype == np.int64


def test_python_numbers_and_lists_take_the_dtype_of_the_input() -> None:
    result = evaluate(parse(AFFINE), feeds(x=[[1, 2]], scale=0.5, steps=0))
    assert result.outputs["y"].dtype == np.float32
    np.testing.assert_array_equal(result.outputs["y"], [[0.5, 10]])


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("u8", [0, 255], [0, 256]),
        ("i8", [-128, 127], [-129, 0]),
        ("bool", [True, 0], [2, 0]),
        ("i64", [1, 2**62], [1.5, 2.0]),
        ("f16", [1, 0.1], ["1", "0.1"]),
    ],
)
def test_python_numbers_must_fit_the_dtype(
    dtype: str, good: list[object], bad: list[object]
) -> None:
    graph = Graph()
    graph.outputs = {"y": graph.add_input("x", TensorType.make(dtype, (2,)))}
    y = evaluate(graph, {"x": good}).outputs["y"]
    np.testing.assert_array_equal(y, np.array(good, y.dtype))
    with pytest.raises(TypeMismatch, match=rf"input x takes {dtype}\[2\], got \["):
        evaluate(graph, {"x": bad})


def test_watch_sees_every_value_in_order() -> None:
    graph = parse(AFFINE)
    seen = []
    evaluate(graph, feeds(), watch=lambda value, array: seen.append((value, array.shape)))
    assert [value for value, _ in seen] == list(graph.values)
    assert dict(seen)[graph.value("wx")] == (3, 2)


def test_missing_and_unknown_feeds() -> None:
    graph = parse(AFFINE)
    given = feeds(image=1, z=2)
    del given["w"], given["x"]
    with pytest.raises(GraphError) as caught:
        evaluate(graph, given)
    assert caught.value.what == ("no value was given for x, w; affine has no input called image, z")
    assert "affine takes x: f32[N,2], scale: f32[], w: f32[2], steps: i64[]" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "feed", "error", "message"),
    [
        ("x", np.zeros((3, 2)), TypeMismatch, "input x takes f32[N,2], got an array of float64"),
        ("steps", np.int32(1), TypeMismatch, "input steps takes i64[], got an array of int32"),
        ("x", np.zeros(2, np.float32), ShapeError, "got an array of shape (2,) (1 dimensions)"),
        ("scale", np.zeros(1, np.float32), ShapeError, "f32[] (0 dimensions), got an array of"),
        ("w", np.zeros(3, np.float32), ShapeError, "dimension 0 is 3, not 2"),
        ("x", [[1.0, 2.0, 3.0]], ShapeError, "dimension 1 is 3, not 2"),
        ("x", "three", TypeMismatch, "input x takes f32[N,2]"),
        ("x", [[1.0, 2.0], [3.0]], TypeMismatch, "input x takes f32[N,2]"),
        ("steps", 1.5, TypeMismatch, "input steps takes i64[]"),
        ("steps", 2**70, TypeMismatch, "input steps takes i64[]"),
        ("x", [[None, 1.0]], TypeMismatch, "input x takes f32[N,2]"),
    ],
)
def test_feeds_that_do_not_fit(
    name: str, feed: object, error: type[CauceError], message: str
) -> None:
    with pytest.raises(error) as caught:
        evaluate(parse(AFFINE), feeds(**{name: feed}))
    assert message in caught.value.what
    assert f"input {name} " in caught.value.what and caught.value.fix


def test_contradicting_symbols() -> None:
    graph = parse(
        "graph g(%x: f32[N,H], %y: f32[N,H//2]) -> f32[N,H] { return %x }",
    )
    x = np.zeros((2, 5), np.float32)
    evaluate(graph, {"x": x, "y": np.zeros((2, 2), np.float32)})
    with pytest.raises(ShapeError, match="dimension 0 is 3, not N = 2"):
        evaluate(graph, {"x": x, "y": np.zeros((3, 2), np.float32)})
    with pytest.raises(ShapeError, match=r"input y is .* dimension 1 is 3, not H//2 = 2"):
        evaluate(graph, {"x": x, "y": np.zeros((2, 3), np.float32)})


def test_symbols_are_learnt_in_whatever_order_they_appear() -> None:
    types = [TensorType.make("f32", dims) for dims in (("N*H",), ("2*H + 1",), ("N",))]
    arrays = [np.zeros(size, np.float32) for size in (12, 7, 4)]
    assert bind_symbols(types, arrays) == {"H": 3, "N": 4}
    with pytest.raises(ShapeError, match=r"dimension 0 is 13, not H\*N = 12"):
        bind_symbols(types, [np.zeros(13, np.float32), *arrays[1:]])
    # A product of two unknowns tells nothing yet, and contradicts nothing.
    assert bind_symbols(types[:1], arrays[:1]) == {}


def test_symbols_reach_attributes_and_may_come_from_outside() -> None:
    graph = Graph("sizes")
    x = graph.add_input("x", TensorType.make("f32", ("N", 4)))
    b = Builder(graph)
    n, h = symbol("N"), symbol("H")
    size = b(Cast(DType.F32), b(DimSize(n * 4 + h)))
    graph.outputs = {"y": b(Add(), b(Reshape((n * 2, 2)), x), size)}
    y = evaluate(graph, {"x": np.zeros((3, 4), np.float32)}, bindings={"H": 100}).outputs["y"]
    np.testing.assert_array_equal(y, np.full((6, 2), 112, np.float32))
    with pytest.raises(ShapeError, match=r"dimension H \+ 12 is not known"):
        evaluate(graph, {"x": np.zeros((3, 4), np.float32)})


def test_inputs_are_left_as_they_are() -> None:
    given = feeds()
    copies = {name: np.array(array) for name, array in given.items()}
    evaluate(parse(AFFINE), given)
    for name, array in copies.items():
        np.testing.assert_array_equal(given[name], array)


def test_infinities_and_nan_are_values_without_warnings() -> None:
    graph = Graph()
    x, y = (graph.add_input(name, TensorType.make("f32", (3,))) for name in "xy")
    graph.outputs = {"z": Builder(graph)(Div(), x, y)}
    with np.errstate(all="raise"):
        z = evaluate(graph, {"x": [1.0, -1.0, 0.0], "y": [0.0, 0.0, 0.0]}).outputs["z"]
    np.testing.assert_array_equal(z, [np.inf, -np.inf, np.nan])


def test_bfloat16_is_rounded_after_every_op() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType.make("bf16", (2,)))
    y = Builder(graph)(Add(), x, x)
    graph.outputs = {"y": Builder(graph)(Add(), y, x)}
    # 1 + 2**-7 is a bfloat16; three times it is 3 + 3 * 2**-7, a tie between 3.015625 and 3.03125.
    given = np.array([1.0078125, 256.0], np.float32)
    result = evaluate(graph, {"x": given}).outputs["y"]
    np.testing.assert_array_equal(result, [3.03125, 768.0])


def test_errors_of_a_node_name_it() -> None:
    graph = parse("""
        graph lookup(%table: f32[4,2], %index: i64[N]) -> f32[N,2] {
          %stage1.rows = gather(%table, %index) : f32[N,2] loc(net.py:14)
          return %stage1.rows
        }
    """)
    with pytest.raises(ShapeError, match="index 4 is out of range for size 4") as caught:
        evaluate(graph, {"table": np.zeros((4, 2), np.float32), "index": np.array([1, 4])})
    assert caught.value.path == "stage1.rows"
    assert str(caught.value.loc) == "net.py:14"


def test_role_makes_no_difference() -> None:
    for role in Role:
        graph = Graph()
        x = graph.add_input("x", TensorType.make("f32", ()), role)
        graph.outputs = {"y": x}
        assert evaluate(graph, {"x": 2}).outputs["y"] == 2


def test_a_region_may_take_sizes_from_around_it() -> None:
    graph = parse("""
        graph outer(%x: f32[N], %s: f32[]) -> f32[] {
          %scaled = fused(%s) body=graph body(%i: f32[]) -> f32[] {
            %size = dim() size=N : i64[]
            %cast = cast(%size) to=f32 : f32[]
            %y = mul(%i, %cast) : f32[]
            return %y
          } : f32[]
          return %scaled
        }
    """)
    for size in (3, 5):
        feeds = {"x": np.zeros(size, np.float32), "s": 2.0}
        assert evaluate(graph, feeds).outputs["scaled"] == 2 * size


def test_a_region_whose_operands_do_not_tell_every_symbol() -> None:
    """From 3 = (H + 1)//2 no H follows; the sizes in the region cannot be checked against it."""
    graph = parse("""
        graph g(%x: f64[N,H]) -> f64[N,(H + 1)//2] {
          %half = slice(%x) axes=[1] starts=[0] stops=[H] steps=[2] : f64[N,(H + 1)//2]
          %y = fused(%half) body=graph r(%a: f64[N,(H + 1)//2]) -> f64[N,(H + 1)//2] {
            %b = neg(%a) : f64[N,(H + 1)//2]
            return %b
          } : f64[N,(H + 1)//2]
          return %y
        }""")
    x = np.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(evaluate(graph, {"x": x}).outputs["y"], -x[:, ::2])


@pytest.mark.parametrize("backend", ["reference", "numpy", "llvm"])
def test_a_region_knows_the_sizes_that_its_operands_do_not_tell(backend: str) -> None:
    half, odd = TensorType.make("f32", ("(H + 1)//2",)), TensorType.make("f32", (1,))
    body = Graph("region")
    operand, one = body.add_input("half", half), body.add_input("one", odd)
    b = Builder(body)
    body.outputs = {"y": b(Add(), operand, b(Expand(half.shape), one))}
    graph = Graph("outer")
    graph.add_input("x", TensorType.make("f32", ("H",)))
    inputs = [graph.add_input("half", half), graph.add_input("one", odd)]
    graph.outputs = {"y": Builder(graph)(Fused(body), *inputs)}
    given = {"x": np.zeros(4, "f"), "half": np.ones(2, "f"), "one": np.array([3], "f")}
    if backend == "reference":
        found = evaluate(graph, given).outputs["y"]
    else:
        found = cauce.compile(graph, backend)(**given)
    np.testing.assert_array_equal(found, [4, 4])
