"""The text form: golden text, round trips of everything it can hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import (
    Builder,
    Frame,
    Graph,
    Location,
    Role,
    TensorType,
    parse,
    verify,
)
from cauce.ir.errors import ParseError
from cauce.ir.layout import CHANNELS_LAST, Blocked, Layout, Strided, Transformed
from cauce.ir.ops.activation import LeakyRelu, Relu
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Mul
from cauce.ir.ops.fused import Fused
from cauce.ir.ops.normalize import BatchNormTrain

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


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("0,1,2,3", Strided.row_major(4)),
        ("0,2,3,1 halo 1,2,0,3", Strided(CHANNELS_LAST, halo=((1, 2), (0, 3)))),
        ("blocked 2,3,1,0 by 16", Blocked((2, 3, 1, 0), 16)),
        ("winograd 2,3,1,0 tile 4,2 by 32", Transformed((2, 3, 1, 0), (4, 2), 32)),
        ("winograd 2,3,0,1 tile 5,5 by 8 flip 1", Transformed((2, 3, 0, 1), (5, 5), 8, 1)),
        ("winograd 2,3,1,0 tile 3,3 by 8 stride 2", Transformed((2, 3, 1, 0), (3, 3), 8, 0, 2)),
        ("0,2,3,1 pad 8", Strided(CHANNELS_LAST, pad=8)),
        ("0,2,3,1 halo 1,1,1,1 pad 16", Strided(CHANNELS_LAST, ((1, 1), (1, 1)), 16)),
    ],
)
def test_layouts_read_back(text: str, layout: Layout) -> None:
    type_ = f"f32[N,64,4,4]{{{text}}}"
    node = f'%y = reorder(%x) layout="{text}" : {type_}'
    whole = f"graph g(%x: {type_}) -> {type_} {{\n  {node}\n  return %y\n}}"
    graph = parse(whole)
    assert str(graph) == whole
    assert [value.type.layout for value in graph.values] == [layout, layout]


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
