"""Every rule and pass on graphs written out, and what the text of the result is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cauce.ir import parse, verify
from cauce.ir.pass_manager import Rewrite, run_passes
from cauce.ir.rewrite import Event, Rule, watching
from cauce.ir.validation import TranslationValidation

from .golden import CHANGES_MEANING, PASSES, RULES, Case, agree, cases, read

CASES = cases()
of_change = pytest.mark.parametrize(
    "case", [case for case in CASES if case.after is not None], ids=lambda case: case.id
)
of_refusal = pytest.mark.parametrize(
    "case", [case for case in CASES if case.refused is not None], ids=lambda case: case.id
)


@of_change
def test_text(case: Case, accept: bool) -> None:
    graph = parse(case.before)
    agree(case, "before", str(graph), accept)  # written as the text form is printed
    validation = [] if case.name in CHANGES_MEANING else [TranslationValidation()]
    assert run_passes(graph, [case.pass_], validation)
    verify(graph)
    text = str(graph)
    agree(case, "after", text, accept)
    assert not run_passes(graph, [case.pass_])
    assert str(graph) == text


@of_refusal
def test_refusal(case: Case) -> None:
    graph = parse(case.before)
    events: list[Event] = []
    with watching(events.append):
        assert not run_passes(graph, [case.pass_])
    assert str(graph) == case.before
    assert {event.rule for event in events} == {case.name}
    assert case.refused in {event.refused for event in events}


def test_every_rule_has_a_case() -> None:
    changed = {case.name for case in CASES if case.after is not None}
    alone = {name for name, pass_ in PASSES.items() if not isinstance(pass_, Rewrite)}
    assert RULES.keys() | alone <= changed


def test_every_check_has_a_refusal() -> None:
    refused = {case.name for case in CASES if case.refused is not None}
    checking = {
        name for name, rule in RULES.items() if type(rule).check is not Rule.check or rule.alone
    }
    assert refused == checking


def test_every_rule_states_its_equation() -> None:
    for name, rule in RULES.items():
        assert "=" in (type(rule).__doc__ or ""), f"{name} has no equation"


FILE = """\
## First
graph a
## gives
graph b
  two lines

## Second
graph c
## gives
## Third refuses: because
graph d
"""


def test_accepting_rewrites_one_part_of_one_case(tmp_path: Path) -> None:
    file = tmp_path / "cases.txt"
    file.write_text(FILE)
    first, second, third = read(file)
    for part, text in (("before", "graph a"), ("after", "graph b\n  two lines")):
        agree(first, part, text, accept=False)
        agree(first, part, text, accept=True)
    assert file.read_text() == FILE
    with pytest.raises(AssertionError):
        agree(first, "after", "graph e", accept=False)
    assert file.read_text() == FILE
    agree(first, "after", "graph e\n  more\n  lines", accept=True)
    agree(second, "after", "graph f", accept=True)  # a new case, whose result was left out
    agree(second, "before", "graph C", accept=True)
    found = [(case.name, case.before, case.after, case.refused) for case in read(file)]
    assert found == [
        ("First", "graph a", "graph e\n  more\n  lines", None),
        ("Second", "graph C", "graph f", None),
        ("Third", "graph d", None, "because"),
    ]
    assert third.refused == "because"


def test_the_option_reaches_the_tests(pytestconfig: pytest.Config, accept: bool) -> None:
    assert accept is pytestconfig.getoption("--accept")
