"""The rewriting engine: patterns, refusals, what becomes of names, outputs and updates."""

from __future__ import annotations

import pytest

from cauce.ir import Builder, Graph, Op, Value, parse, verify
from cauce.ir.errors import CompileError
from cauce.ir.ops.elementwise import Add, Binary, Exp, Log, Mul, Neg, Sub
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.ops.reduce import Mean, Sum, Variance
from cauce.ir.ops.shape import Concat
from cauce.ir.rewrite import (
    Event,
    Match,
    OpPattern,
    Rule,
    Var,
    apply_rules,
    decompose,
    substitute,
    watching,
)

X, Y = Var("x"), Var("y")


def node_of(graph: Graph, name: str):
    node = graph.value(name).node
    assert node is not None
    return node


# ---- patterns ----------------------------------------------------------------------------------

EXAMPLES = parse("""
graph g(%x: f64[N], %y: f64[N]) -> (f64[N], f64[N], f64[3*N]) {
  %n = neg(%y) : f64[N]
  %a = add(%x, %n) : f64[N]
  %s = sub(%x, %x) : f64[N]
  %c = concat(%x, %y, %a) axis=0 : f64[3*N]
  return %a, %s, %c
}""")


def matched(pattern: OpPattern, name: str) -> dict[str, str] | None:
    """The names of what the variables stand for, where the pattern matches."""
    node = node_of(EXAMPLES, name)
    match = Match(node)
    if not pattern.match_node(node, match):
        return None
    return {key: value.name for key, value in match.values.items()}


MINUS = OpPattern(Neg, Y, name="minus")


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        (OpPattern(Add, X, MINUS), "a", {"x": "x", "y": "y"}),
        (OpPattern(Add, MINUS, X), "a", None),
        (OpPattern(Add, MINUS, X, commutative=True), "a", {"x": "x", "y": "y"}),
        (OpPattern(Sub, X, MINUS), "a", None),
        (OpPattern((Sub, Add), X, Y), "a", {"x": "x", "y": "n"}),
        (OpPattern(Binary, X, X), "s", {"x": "x"}),
        (OpPattern(Binary, X, X), "a", None),
        (OpPattern(Op, X), "n", {"x": "y"}),
        (OpPattern(Op, X), "a", None),
        (OpPattern(Concat, X, rest="more"), "c", {"x": "x", "more0": "y", "more1": "a"}),
        (OpPattern(Concat, X), "c", None),
        (OpPattern(Concat, X, X, X, X, rest="more"), "c", None),
    ],
)
def test_pattern(pattern: OpPattern, name: str, wanted: dict[str, str] | None) -> None:
    assert matched(pattern, name) == wanted


def test_a_failed_order_leaves_no_trace() -> None:
    # In the first order x is %x before the second operand fails.
    pattern = OpPattern(Add, X, OpPattern(Exp, X), commutative=True)
    node = node_of(EXAMPLES, "a")
    match = Match(node)
    assert not pattern.match_node(node, match)
    assert not match.values and not match.nodes


# ---- application -------------------------------------------------------------------------------


class ExpLog(Rule):
    """exp(log x) = x"""

    pattern = OpPattern(Exp, OpPattern(Log, X, name="log"))
    alone = ("log",)

    def replace(self, b: Builder, match: Match) -> Value:
        return match["x"]


class SubAddNeg(Rule):
    """x - y = x + -y"""

    pattern = OpPattern(Sub, X, Y)

    def check(self, match: Match) -> str | None:
        return "x and y are the same" if match["x"] is match["y"] else None

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Add(), match["x"], b(Neg(), match["y"]))


class Commute(Rule):
    """x + y = y + x, for ever"""

    pattern = OpPattern(Add, X, Y)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Add(), match["y"], match["x"])


def test_names_outputs_updates_and_locations_stay() -> None:
    graph = parse("""
        graph g(%x: f64[N], %y: f64[N]) -> (f64[N], f64[N]) {
          @s: f64[N] state
          %sub1 = sub(%x, %y) : f64[N] loc(net.py:3)
          %z = mul(%sub1, %sub1) : f64[N]
          return first=%sub1, %z
          update @s = %sub1
        }""")
    value = graph.value("sub1")
    assert apply_rules(graph, [SubAddNeg()])
    verify(graph)
    assert graph.value("sub1") is value and graph.outputs["first"] is value
    assert list(graph.updates.values()) == [value]
    assert str(graph) == (
        "graph g(%x: f64[N], %y: f64[N]) -> (f64[N], f64[N]) {\n"
        "  @s: f64[N] state\n"
        "  %sub1~1 = neg(%y) : f64[N] loc(net.py:3)\n"
        "  %sub1 = add(%x, %sub1~1) : f64[N] loc(net.py:3)\n"
        "  %z = mul(%sub1, %sub1) : f64[N]\n"
        "  return first=%sub1, %z\n"
        "  update @s = %sub1\n"
        "}"
    )


def test_what_was_there_keeps_its_name() -> None:
    graph = parse("""
        graph g(%x: f64[N]) -> f64[N] {
          %a~grad = tanh(%x) : f64[N]
          %b = log(%a~grad) : f64[N]
          %a~grad2 = exp(%b) : f64[N]
          return y=%a~grad2
        }""")
    assert apply_rules(graph, [ExpLog()])
    verify(graph)
    assert graph.outputs["y"].name == "a~grad"
    assert [node.op.name for node in graph.nodes] == ["tanh"]


def test_refusals_are_events() -> None:
    graph = parse("""
        graph g(%x: f64[N]) -> (f64[N], f64[N], f64[N]) {
          %log1 = log(%x) : f64[N]
          %exp1 = exp(%log1) : f64[N]
          %sub1 = sub(%x, %x) : f64[N]
          return %exp1, %log1, %sub1
        }""")
    outer: list[Event] = []
    inner: list[Event] = []
    with watching(outer.append):
        with watching(inner.append):
            assert not apply_rules(graph, [ExpLog(), SubAddNeg()])
        graph.outputs.pop("log1")
        assert apply_rules(graph, [ExpLog(), SubAddNeg()])
    equation = str(ExpLog.__doc__)
    refused = Event("SubAddNeg", "sub1", "x and y are the same", str(SubAddNeg.__doc__))
    assert inner == [Event("ExpLog", "exp1", "%log1 has other readers", equation), refused]
    assert outer == [*inner, Event("ExpLog", "exp1", None, equation), refused]


def test_one_rule_makes_work_for_another() -> None:
    graph = parse("""
        graph g(%x: f64[N], %y: f64[N]) -> f64[N] {
          %l1 = log(%x) : f64[N]
          %l2 = log(%l1) : f64[N]
          %e1 = exp(%l2) : f64[N]
          %e2 = exp(%e1) : f64[N]
          return z=%e2
        }""")
    assert apply_rules(graph, [ExpLog()])
    assert not list(graph.nodes) and graph.outputs["z"] is graph.value("x")


def test_rules_without_end() -> None:
    graph = parse("""
        graph g(%x: f64[N], %y: f64[N]) -> f64[N] {
          %z = add(%x, %y) : f64[N]
          return %z
        }""")
    with pytest.raises(CompileError, match=r"do not come to an end; they fired \{'Commute': 11\}"):
        apply_rules(graph, [Commute()], limit=10)


def test_a_replacement_of_another_type() -> None:
    class Wrong(Rule):
        """x + y = sum(x), which it is not"""

        pattern = OpPattern(Add, X, Y)

        def replace(self, b: Builder, match: Match) -> Value:
            return b(Sum(), match["x"])

    graph = parse("""
        graph g(%x: f64[N], %y: f64[N]) -> f64[N] {
          %z = add(%x, %y) : f64[N] loc(net.py:4)
          return %z
        }""")
    with pytest.raises(CompileError, match=r"%z is f64\[N\], it cannot be replaced") as caught:
        apply_rules(graph, [Wrong()])
    assert str(caught.value.loc) == "net.py:4"


# ---- several results ---------------------------------------------------------------------------

BATCH_NORM = """
graph g(%x: f64[N,2]) -> (f64[N,2], f64[2]) {
  @w: f64[2] parameter
  @s: f64[2] state
  %bn1, %bn1~mean, %bn1~variance = batch_norm_train(%x, @w, @w) : f64[N,2], f64[2], f64[2]
  return %bn1, mean=%bn1~mean
  update @s = %bn1~variance
}"""


def test_every_result_takes_over() -> None:
    class Statistics(Rule):
        """batch_norm_train = its decomposition, by hand"""

        pattern = OpPattern(BatchNormTrain, X, Y, Y)

        def replace(self, b: Builder, match: Match) -> tuple[Value, ...]:
            mean, variance = b(Mean((0,)), match["x"]), b(Variance((0,)), match["x"])
            return (b(Mul(), b(Sub(), match["x"], mean), variance), mean, variance)

    graph = parse(BATCH_NORM)
    apply_rules(graph, [Statistics()])
    verify(graph)
    assert [graph.value(name).node.op.name for name in ("bn1", "bn1~mean", "bn1~variance")] == [
        "mul",
        "mean",
        "variance",
    ]
    assert graph.outputs["mean"].name == "bn1~mean"
    assert [value.name for value in graph.updates.values()] == ["bn1~variance"]


def test_one_value_for_two_results() -> None:
    graph = parse(BATCH_NORM)
    node = node_of(graph, "bn1")
    b = Builder(graph, before=node, path="bn1")
    x, w, _ = node.operands
    twice = b(Add(), w, w)
    substitute(node, (x, twice, twice))
    verify(graph)
    assert graph.outputs["bn1"] is x
    assert graph.outputs["mean"].name == "bn1~mean"
    assert list(graph.updates.values()) == [graph.outputs["mean"]]


def test_decomposition_keeps_values() -> None:
    graph = parse(BATCH_NORM)
    results = node_of(graph, "bn1").results
    decompose(results[0].node)
    verify(graph)
    assert [graph.value(value.name) for value in results] == list(results)
    assert [value.node.op.name for value in results] == ["batch_norm", "mean", "variance"]
