"""The text form: golden text, round trips of everything it can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import (
    Builder,
    DType,
    Frame,
    Graph,
    Literal,
    Location,
    Role,
    TensorType,
    parse,
    symbol,
    verify,
)
from cauce.ir.errors import ParseError
from cauce.ir.ops.activation import Clip, LeakyRelu, Relu
from cauce.ir.ops.constant import Constant, DimSize
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Cast, Mul
from cauce.ir.ops.fused import Fused
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.ops.reduce import Sum
from cauce.ir.ops.shape import Pad, Reshape, Slice

F32 = TensorType.make("f32", ("N", 4))


def one(op: Any, *types: TensorType) -> Graph:
    """A graph of one op."""
    graph = Graph("one")
    inputs = [graph.add_input(f"x{i}", type_) for i, type_ in enumerate(types)]
    graph.outputs = {value.name: value for value in Builder(graph).results(op, *inputs)}
    return graph


def round_trip(graph: Graph) -> Graph:
    """``graph`` printed and parsed, with its own constants; everything visible is the same."""
    verify(graph)
    text = str(graph)
    twin = parse(text, graph.constants())
    assert str(twin) == text
    assert twin.same_as(graph)
    assert [v.name for v in twin.values] == [v.name for v in graph.values]
    assert [v.type for v in twin.values] == [v.type for v in graph.values]
    assert [n.loc is None for n in twin.nodes] == [n.loc is None for n in graph.nodes]
    return twin


def the_op(graph: Graph) -> Any:
    (node,) = graph.nodes
    return node.op


# ---- golden ------------------------------------------------------------------------------------

GOLDEN = """\
graph block(%image: f32[N,3,H,W], %mask: bool[N]) -> (f32[N,8,(H + 1)//2,(W + 1)//2], f32[8]) {
  @stage1.conv.weight: f32[8,3,3,3] parameter
  @stage1.bn.gamma: f32[8] parameter
  @stage1.bn.beta: f32[8] parameter
  @stage1.bn.mean: f32[8] state
  @lr: f32[] hyperparameter
  %stage1.conv = conv2d(%image, @stage1.conv.weight) stride=2 padding=1 : \
f32[N,8,(H + 1)//2,(W + 1)//2] loc(net.py:14 < net.py:31)
  %stage1.bn, %stage1.bn~mean, %stage1.bn~variance = batch_norm_train(%stage1.conv, \
@stage1.bn.gamma, @stage1.bn.beta) epsilon=0.001 : \
f32[N,8,(H + 1)//2,(W + 1)//2], f32[8], f32[8] loc(net.py:15 < net.py:31)
  %act = fused(%stage1.bn) body=graph region(%x: f32[N,8,(H + 1)//2,(W + 1)//2]) -> \
f32[N,8,(H + 1)//2,(W + 1)//2] {
    %leaky = leaky_relu(%x) negative_slope=0.2 : f32[N,8,(H + 1)//2,(W + 1)//2] loc(net.py:16)
    return y=%leaky
  } : f32[N,8,(H + 1)//2,(W + 1)//2]
  %step = mul(%stage1.bn~mean, @lr) : f32[8]
  return %act, mean=%step
  update @stage1.bn.mean = %step
}"""


def test_golden_text() -> None:
    graph = Graph("block")
    image = graph.add_input("image", TensorType.make("f32", ("N", 3, "H", "W")))
    kernel = TensorType.make("f32", (8, 3, 3, 3))
    weight = graph.add_input("stage1.conv.weight", kernel, Role.PARAMETER)
    vector = TensorType.make("f32", (8,))
    gamma = graph.add_input("stage1.bn.gamma", vector, Role.PARAMETER)
    beta = graph.add_input("stage1.bn.beta", vector, Role.PARAMETER)
    mean = graph.add_input("stage1.bn.mean", vector, Role.STATE)
    lr = graph.add_input("lr", TensorType.make("f32", ()), Role.HYPERPARAMETER)
    graph.add_input("mask", TensorType.make("bool", ("N",)))

    def at(line: int) -> Location:
        return Location((Frame("/home/user/net.py", 31), Frame("/home/user/net.py", line)))

    conv = Builder(graph, path="stage1.conv", loc=at(14))(Conv2d(2, 1), image, weight)
    bn = Builder(graph, path="stage1.bn", loc=at(15))
    y, batch_mean, _ = bn.results(BatchNormTrain(0.001), conv, gamma, beta)
    body = Graph("region")
    inside = Builder(body, path="leaky", loc=Location((Frame("net.py", 16),)))
    body.outputs = {"y": inside(LeakyRelu(0.2), body.add_input("x", y.type))}
    act = Builder(graph, path="act")(Fused(body), y)
    step = Builder(graph, path="step")(Mul(), batch_mean, lr)
    graph.outputs = {"act": act, "mean": step}
    graph.updates = {mean: step}
    verify(graph)
    assert str(graph) == GOLDEN


def test_golden_text_reads_back() -> None:
    graph = parse(GOLDEN)
    assert str(graph) == GOLDEN
    assert [value.role for value in graph.inputs] == [
        Role.DATA,
        Role.DATA,
        *[Role.PARAMETER] * 3,
        Role.STATE,
        Role.HYPERPARAMETER,
    ]
    twin = round_trip(graph.copy())
    assert twin.updates[twin.inputs[5]] is twin.value("step")


def test_spaces_lines_and_comments_mean_nothing() -> None:
    dense = "graph g(%x:f32[N,4])->f32[N,4]{%y=relu(%x):f32[N,4] return%y}"
    loose = """
        # a comment
        graph g ( %x : f32[ N , 4 ] )
          -> f32 [N,4]   # another
        {
          %y
            = relu ( %x )
            : f32[N,4]
          return
            %y
        }   # the last
    """
    assert parse(dense).same_as(parse(loose))


def test_without_locations() -> None:
    assert "loc(" not in parse(GOLDEN).to_text(locations=False)


def test_outputs_take_the_name_of_their_value_unless_they_have_one() -> None:
    graph = parse("""graph g(%x: f32[]) -> (f32[], f32[], f32[]) {
      %y = relu(%x) : f32[]
      return %y, again=%y, input=%x
    }""")
    assert {name: value.name for name, value in graph.outputs.items()} == {
        "y": "y",
        "again": "y",
        "input": "x",
    }
    round_trip(graph)


def test_nothing_at_all() -> None:
    graph = Graph("empty")
    assert str(graph) == "graph empty() -> () {\n  return\n}"
    round_trip(graph)


# ---- names -------------------------------------------------------------------------------------

WEIRD = [
    "x",
    "0",
    "7up",
    "layer-1/conv.weight",
    "stage2.block1.conv1~grad",
    "a~1",
    "return",
    "update",
    "graph",
    "loc",
    "f32",
    "dense",
    "inf",
    "with space",
    'quo"te',
    "back\\slash",
    "new\nline",
    "ñandú",
    "日本",
    "%percent",
    "@at",
    "a->b",
    "a//b",
    "trailing.",
    "-leading",
    "a=b",
    "#hash",
    "1e5",
    "1.5",
    "12.",
    "_",
    "a--b",
    "",
]


@pytest.mark.parametrize("name", WEIRD)
@pytest.mark.parametrize("role", [Role.DATA, Role.STATE])
def test_weird_names_of_everything(name: str, role: Role) -> None:
    graph = Graph(name)
    x = graph.add_input(name, F32, role)
    y = graph.add_node(Relu(), (x,), names=(name + "2",)).result
    graph.outputs = {name: y, name + "2": y}
    if role is Role.STATE:
        graph.updates = {graph.inputs[0]: y}
    twin = round_trip(graph)
    assert twin.name == name and list(twin.outputs) == [name, name + "2"]
    assert twin.inputs[0].name == name and twin.inputs[0].role is role


@given(st.text(max_size=6), st.text(max_size=6))
def test_any_name(first: str, second: str) -> None:
    graph = Graph(second)
    x = graph.add_input(first, F32)
    graph.outputs = {second: graph.add_node(Relu(), (x,), path=second).result}
    twin = round_trip(graph)
    assert twin.name == second and twin.inputs[0].name == first and second in twin.outputs


def test_a_data_input_and_a_result_share_one_space_with_the_others() -> None:
    with pytest.raises(ParseError, match="'x' already"):
        parse("graph g(%x: f32[]) -> f32[] { @x: f32[] state return %x }")


# ---- numbers -----------------------------------------------------------------------------------

FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    1 / 3,
    1e-5,
    1e300,
    5e-324,  # the least denormal
    2.225073858507201e-308,  # the greatest
    1.7976931348623157e308,
    1e22,
    123456789012345680.0,
    math.inf,
    -math.inf,
    math.nan,
]


@pytest.mark.parametrize("value", FLOATS)
def test_floats_are_exact(value: float) -> None:
    twin = round_trip(one(Pad(((0, 0), (1, 2)), value), F32))
    again = the_op(twin).value
    assert type(again) is float
    assert np.float64(again).tobytes() == np.float64(value).tobytes() or math.isnan(value)
    assert math.isnan(again) == math.isnan(value)


@given(st.floats(), st.floats())
def test_any_float(low: float, high: float) -> None:
    low, high = sorted((low, high))
    if math.isnan(low) or math.isnan(high):
        return
    op = the_op(round_trip(one(Clip(low, high), F32)))
    assert (op.min, op.max) == (low, high)
    assert math.copysign(1, op.min) == math.copysign(1, low)


def test_ints_and_floats_stay_what_they_are() -> None:
    assert "negative_slope=2.0" in str(one(LeakyRelu(2), F32))
    op = the_op(round_trip(one(Pad(((0, 0), (1, 2)), -3), F32)))
    assert op == Pad(((0, 0), (1, 2)), -3.0) and type(op.value) is float


@pytest.mark.parametrize(
    ("op", "shown"),
    [
        (Conv2d(), ""),
        (Conv2d(2, 1), " stride=2 padding=1"),
        (Conv2d((2, 1), (1, 2)), " stride=[2, 1] padding=[[1, 1], [2, 2]]"),
        (Conv2d(padding=((0, 1), (1, 0)), groups=1), " padding=[[0, 1], [1, 0]]"),
    ],
)
def test_windows_are_one_number_where_all_parts_agree(op: Conv2d, shown: str) -> None:
    graph = one(op, TensorType.make("f32", (1, 2, 9, 9)), TensorType.make("f32", (2, 2, 3, 3)))
    assert f"conv2d(%x0, %x1){shown} :" in str(graph)
    assert the_op(round_trip(graph)) == op


def test_none_true_lists_and_dims() -> None:
    n, h = symbol("N"), symbol("H")
    type_ = TensorType.make("f32", ("N", "2*H"))
    assert "axes=[] keepdims=true" in str(one(Sum((), True), type_))
    assert "axes=none" not in str(one(Sum(), type_))
    for op in (
        Sum((), True),
        Sum((0,)),
        Sum((-1, 0), False),
        Reshape((n * 2, h)),
        Reshape((2, n, 1, h)),
        Slice((0, 1), (0, h), (n, 2 * h), (1, 2)),
        Slice((1,), (h // 2 - 0,), ((3 * h + 1) // 2,)),
        Clip(None, 1.0),
        Clip(),
        Cast("bf16"),
    ):
        assert the_op(round_trip(one(op, type_))) == op
    size = DimSize((n - 1) * (h // 2) - 3 * h)
    graph = one(size)
    graph.add_input("x", type_)
    assert the_op(round_trip(graph)) == size


# ---- constants ---------------------------------------------------------------------------------


def constant(values: object, dtype: DType) -> Literal:
    literal = Literal(values, dtype)
    again = the_op(round_trip(one(Constant(literal)))).value
    assert isinstance(again, Literal)
    assert again == literal and again.type == literal.type
    assert again.array.tobytes() == literal.array.tobytes()
    return again


INT_BOUNDS = {d: np.iinfo(d.numpy) for d in DType if d.is_integer}


@pytest.mark.parametrize("dtype", INT_BOUNDS, ids=str)
def test_literals_of_integers(dtype: DType) -> None:
    bounds = INT_BOUNDS[dtype]
    constant(np.array([bounds.min, 0, 1, bounds.max], dtype.numpy), dtype)


@pytest.mark.parametrize("dtype", [d for d in DType if d.is_float], ids=str)
def test_literals_of_floats(dtype: DType) -> None:
    finfo = np.finfo(dtype.numpy)
    values = [0.0, -0.0, 0.1, 1 / 3, 1e-3, 65504.0, math.inf, -math.inf, math.nan]
    extremes = [finfo.max, -finfo.max, finfo.tiny, finfo.smallest_subnormal, finfo.eps]
    constant(np.array([*values, *extremes], dtype.numpy), dtype)


def test_literals_of_bool_scalars_and_empties() -> None:
    constant([[True, False], [False, True]], DType.BOOL)
    assert constant(3.5, DType.F32).type == TensorType(DType.F32, ())
    assert constant(np.zeros((2, 0, 3)), DType.F64).type == TensorType(DType.F64, (2, 0, 3))
    assert "value=dense(f32[], [3.5])" in str(one(Constant(Literal(3.5, DType.F32))))
    assert "dense(bool[2], [true, false])" in str(one(Constant(Literal([True, False]))))
    assert "dense(f16[2], [1.0, nan])" in str(one(Constant(Literal([1, math.nan], "f16"))))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_any_bits_of_f32(bits: list[int]) -> None:
    array = np.array(bits, np.uint32).view(np.float32)
    # All NaN are one NaN to the text.
    constant(np.where(np.isnan(array), np.float32(np.nan), array), DType.F32)


def test_large_constants_go_beside_the_text_by_digest() -> None:
    array = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    body = Graph("body")
    b = Builder(body)
    x = body.add_input("x", TensorType.make("f32", (9, 9)))
    body.outputs = {"y": b(Add(), x, b(Constant(Literal(array))))}
    graph = Graph("large")
    first = Builder(graph)(Constant(Literal(array + 1)))
    graph.outputs = {"y": Builder(graph)(Fused(body), first)}
    digests = [Literal(array + 1).digest, Literal(array).digest]
    assert list(graph.constants()) == digests
    assert f'value=digest(f32[9,9], "{digests[0]}")' in str(graph)
    twin = round_trip(graph)
    assert twin.constants().keys() == graph.constants().keys()
    np.testing.assert_array_equal(twin.constants()[digests[1]], array)
    with pytest.raises(ParseError, match="was not given") as caught:
        parse(str(graph))
    assert "graph.constants()" in str(caught.value)
    wrong = {digests[0]: array, digests[1]: array}
    with pytest.raises(ParseError, match="is another one"):
        parse(str(graph), wrong)


# ---- regions and locations ---------------------------------------------------------------------


def test_regions_nest() -> None:
    inner = Graph("inner")
    inner.outputs = {"y": Builder(inner)(Relu(), inner.add_input("x", F32))}
    outer = Graph("outer graph")
    outer.outputs = {"y": Builder(outer)(Fused(inner), outer.add_input("x", F32))}
    twin = round_trip(one(Fused(outer), F32))
    body = the_op(twin).body
    assert body.name == "outer graph" and body.same_as(outer)
    assert the_op(body).body.same_as(inner)


@pytest.mark.parametrize("file", ["net.py", "my net.py", "ñ.py", "-c", "<stdin>", "a:b.py", "net"])
def test_locations(file: str) -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    loc = Location((Frame("main.py", 300), Frame(file, 1), Frame(file, 22)))
    graph.outputs = {"y": Builder(graph, loc=loc)(Relu(), x)}
    (node,) = round_trip(graph).nodes
    assert node.loc == loc


def test_locations_are_printed_by_file_name_and_kept_apart_from_equality() -> None:
    graph = Graph()
    x = graph.add_input("x", F32)
    loc = Location((Frame("/home/user/train.py", 31), Frame("/home/user/net.py", 14)))
    graph.outputs = {"y": Builder(graph, loc=loc)(Relu(), x)}
    assert str(graph).count("loc(net.py:14 < train.py:31)") == 1
    other = graph.copy()
    next(other.nodes).loc = None
    assert other.same_as(graph)
