"""Passes, pipelines, and the instruments that watch them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cauce.ir import Array, Graph, parse
from cauce.ir.errors import CompileError, VerifyError
from cauce.ir.ops.elementwise import Add, Exp, Sub
from cauce.ir.pass_manager import (
    Instrument,
    Pass,
    PrintGraphs,
    Repeat,
    Timing,
    Verify,
    run_passes,
)
from cauce.ir.rewrite import Event
from cauce.ir.validation import TranslationValidation, difference, perturbed, random_feeds
from cauce.passes.arithmetic_rules import NegNeg
from cauce.passes.autodiff import gradients
from cauce.passes.canonicalize import Canonicalize
from cauce.passes.dead_code import EliminateDead
from cauce.passes.shape_inference import Specialize

NEG_NEG = str(NegNeg.__doc__)
TEXT = """\
graph g(%x: f64[N], %y: f64[N]) -> f64[N] {
  %add1 = add(%x, %y) : f64[N]
  %dead = exp(%x) : f64[N]
  %n1 = neg(%add1) : f64[N]
  %n2 = neg(%n1) : f64[N]
  return z=%n2
}"""


class Do(Pass):
    """Does whatever the test wants."""

    action: Callable[[Graph], object] = lambda graph: False

    name = "do"

    def run(self, graph: Graph) -> bool:
        return bool(self.action(graph))


def subtract(graph: Graph) -> bool:
    """A pass that is wrong: add becomes sub."""
    for node in graph.nodes:
        if isinstance(node.op, Add):
            node.op = Sub()
    return True


def no_exp(graph: Graph) -> str | None:
    for node in graph.nodes:
        if isinstance(node.op, Exp):
            return f"there is %{node.path}"
    return None


# ---- running -----------------------------------------------------------------------------------


def test_whether_anything_changed() -> None:
    graph = parse(TEXT)
    passes = (EliminateDead(), Canonicalize())
    assert run_passes(graph, passes)
    assert not run_passes(graph, passes)
    assert not run_passes(graph, ())


def test_properties() -> None:
    class Needs(Do):
        requires = (no_exp,)

    class Gives(Do):
        ensures = (no_exp,)

    with pytest.raises(CompileError, match="pass do requires no_exp: there is %dead"):
        run_passes(parse(TEXT), [Needs()])
    with pytest.raises(CompileError, match="pass do ensures no_exp: there is %dead"):
        run_passes(parse(TEXT), [Gives()])
    assert run_passes(parse(TEXT), [EliminateDead(), Needs(), Gives()])


def test_repeat() -> None:
    graph = parse(TEXT)
    assert run_passes(graph, [Repeat((Canonicalize(), EliminateDead()))])
    assert [node.op.name for node in graph.nodes] == ["add"]
    assert not run_passes(graph, [Repeat((Canonicalize(), EliminateDead()))])
    with pytest.raises(CompileError, match="do still change the graph after 3 rounds"):
        run_passes(graph, [Repeat((Do(lambda graph: True),), limit=3)])


# ---- instruments -------------------------------------------------------------------------------


def test_what_instruments_see() -> None:
    seen: list[object] = []

    class Watch(Instrument):
        def before(self, pass_: Pass, graph: Graph) -> None:
            seen.append(("before", pass_.name))

        def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
            seen.append(("after", pass_.name, changed))

        def rewrote(self, event: Event) -> None:
            seen.append(event)

    run_passes(parse(TEXT), [Canonicalize(), Do()], [Watch()])
    assert seen == [
        ("before", "canonicalize"),
        Event("NegNeg", "n2", None, NEG_NEG),
        ("after", "canonicalize", True),
        ("before", "do"),
        ("after", "do", False),
    ]


def test_timing_and_printing() -> None:
    timing, printed = Timing(), []
    instruments = [timing, PrintGraphs(printed.append)]
    run_passes(parse(TEXT), [Do(), EliminateDead(), Do()], instruments)
    assert [name for name, _ in timing.seconds] == ["do", "eliminate_dead", "do"]
    assert all(seconds >= 0 for _, seconds in timing.seconds)
    before, after = printed
    assert before == f"# before do\n{TEXT}"
    assert after.startswith("# after eliminate_dead\ngraph g(") and "exp" not in after


def test_instruments_see_the_passes_of_a_repeat() -> None:
    timing, events = Timing(), []

    class Watch(Instrument):
        def rewrote(self, event: Event) -> None:
            events.append(event)

    run_passes(parse(TEXT), [Do(), Repeat((Canonicalize(), EliminateDead()))], [timing, Watch()])
    names = [name for name, _ in timing.seconds]
    assert names == ["do", *("canonicalize", "eliminate_dead") * 2]
    assert events == [Event("NegNeg", "n2", None, NEG_NEG)]  # seen once


def test_a_wrong_pass_in_a_repeat_has_a_name() -> None:
    with pytest.raises(CompileError, match="pass do changed output z: by"):
        run_passes(parse(TEXT), [Repeat((Do(subtract),))], [TranslationValidation()])


def test_timing_prints_as_a_table() -> None:
    timing = Timing([("fold", 0.25), ("fuse", 0.001), ("fold", 0.749)])
    assert str(timing).splitlines() == [
        "pass   runs        ms   share",
        "-----------------------------",
        "fold      2   999.000   99.9%",
        "fuse      1     1.000    0.1%",
        "-----------------------------",
        "total     3  1000.000  100.0%",
    ]
    assert str(Timing()).splitlines()[-1].split() == ["total", "0", "0.000", "0.0%"]


def test_verify_names_the_pass() -> None:
    def break_types(graph: Graph) -> None:
        graph.value("add1").type = graph.value("add1").type.with_shape((3,))

    with pytest.raises(VerifyError) as caught:
        run_passes(parse(TEXT), [Do(break_types)], [Verify()])
    assert caught.value.__notes__ == ["after pass do"]


# ---- translation validation --------------------------------------------------------------------


def test_a_wrong_pass_is_found() -> None:
    run_passes(parse(TEXT), [EliminateDead(), Canonicalize()], [TranslationValidation()])
    with pytest.raises(CompileError, match="pass do changed output z: by"):
        run_passes(parse(TEXT), [Do(subtract)], [TranslationValidation()])


def test_sizes_in_the_place_of_symbols_are_fed() -> None:
    class Wrong(Specialize):
        def run(self, graph: Graph) -> bool:
            return super().run(graph) and subtract(graph)

    graph = parse(TEXT)
    assert run_passes(graph, [Specialize({"N": 4})], [TranslationValidation()])
    assert str(graph.value("n2").type) == "f64[4]"
    with pytest.raises(CompileError, match="pass specialize changed output z: by"):
        run_passes(parse(TEXT), [Wrong({"N": 4})], [TranslationValidation()])


def test_a_lost_output_is_found() -> None:
    with pytest.raises(CompileError, match="pass do changed the outputs of g"):
        run_passes(
            parse(TEXT), [Do(lambda graph: graph.outputs.clear())], [TranslationValidation()]
        )


def test_rounding_noise_is_allowed_and_nothing_more() -> None:
    """The gradient of a bias before a batch norm is 0 but for rounding."""
    graph = parse("""
        graph g(%x: f64[N,2]) -> f64[] {
          @b: f64[2] parameter
          @w: f64[2] parameter
          %c = add(%x, @b) : f64[N,2]
          %y, %y~mean, %y~variance = batch_norm_train(%c, @w, @w) : f64[N,2], f64[2], f64[2]
          %e = exp(%y) : f64[N,2]
          %l = sum(%e) : f64[]
          return %l
        }""")
    (grad,) = gradients(graph, graph.value("l"), [graph.value("b")])
    assert grad is not None
    graph.outputs["grad"] = grad

    def scale(graph: Graph, factor: float) -> bool:
        for node in graph.nodes:
            if node.op.name == "batch_norm_train":
                node.op = node.op.with_attributes(epsilon=node.op.epsilon * factor)
        return True

    def feeds(graph: Graph) -> dict[str, Array]:
        return random_feeds(graph, {"N": 7})

    # The values move by 1e-12 of themselves, the noise by all of itself.
    validation = TranslationValidation(feeds)
    run_passes(graph.copy(), [Do(lambda g: scale(g, 1 + 1e-8))], [validation])
    with pytest.raises(CompileError, match="changed output l"):
        run_passes(graph.copy(), [Do(lambda g: scale(g, 2.0))], [validation])


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([np.inf], [np.inf], 0.0),
        ([np.inf], [-np.inf], np.inf),
        ([np.nan], [1.0], np.inf),
        ([0.0], [-0.0], 0.0),
        ([1e-12], [0.0], 1e-12),
        ([], [], 0.0),
        ([1.0], [1.0, 1.0], np.inf),
        ([1, 2], [1, 2], 0.0),
        ([1, 2], [1, 3], np.inf),
        ([1], [1.0], np.inf),
        ([True], [False], np.inf),
    ],
)
def test_difference(left: list[float], right: list[float], wanted: float) -> None:
    assert difference(np.array(left), np.array(right)) == pytest.approx(wanted)


def test_perturbed() -> None:
    feeds = {"x": np.linspace(1, 2, 5), "half": np.ones(3, np.float32), "i": np.arange(3)}
    moved = perturbed(feeds)
    assert all(moved[name].dtype == array.dtype for name, array in feeds.items())
    assert np.array_equal(moved["i"], feeds["i"])
    assert 0 < np.abs(moved["x"] / feeds["x"] - 1).max() < 1e-15
    assert 0 < np.abs(moved["half"] - 1).max() < 1e-6
    assert 1e-3 < np.abs(perturbed(feeds, 0.01)["x"] / feeds["x"] - 1).max() <= 0.01


def test_random_feeds() -> None:
    graph = parse("""
        graph g(%x: f32[N,3], %i: i64[N], %b: bool[N]) -> f32[N,3] {
          @w: f32[3] parameter
          @s: f32[3] state
          @lr: f32[] hyperparameter
          return %x
        }""")
    feeds = random_feeds(graph, {"N": 50})
    assert {name: (array.shape, array.dtype.name) for name, array in feeds.items()} == {
        "x": ((50, 3), "float32"),
        "i": ((50,), "int64"),
        "b": ((50,), "bool"),
        "w": ((3,), "float32"),
        "s": ((3,), "float32"),
        "lr": ((), "float32"),
    }
    assert set(feeds["i"]) == {0, 1}
    assert ((feeds["s"] >= 0.5) & (feeds["s"] <= 1.5)).all() and feeds["lr"] == np.float32(0.1)
    assert random_feeds(graph)["x"].shape == (2, 3)
