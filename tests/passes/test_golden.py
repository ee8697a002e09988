"""Every rule and pass on graphs written out, and what the text of the result is."""

from __future__ import annotations

import pytest

from cauce.ir import parse, verify
from cauce.ir.pass_manager import Rewrite, run_passes
from cauce.ir.rewrite import Event, Rule, watching
from cauce.ir.validation import TranslationValidation

from .golden import CHANGES_MEANING, PASSES, RULES, Case, cases

CASES = cases()
of_change = pytest.mark.parametrize(
    "case", [case for case in CASES if case.after is not None], ids=lambda case: case.id
)
of_refusal = pytest.mark.parametrize(
    "case", [case for case in CASES if case.refused is not None], ids=lambda case: case.id
)


@of_change
def test_text(case: Case) -> None:
    graph = parse(case.before)
    assert str(graph) == case.before, "the case is not written as the text form is printed"
    validation = [] if case.name in CHANGES_MEANING else [TranslationValidation()]
    assert run_passes(graph, [case.pass_], validation)
    verify(graph)
    assert str(graph) == case.after
    assert not run_passes(graph, [case.pass_])
    assert str(graph) == case.after


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
