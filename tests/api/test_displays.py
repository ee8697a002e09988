"""What values look like in notebooks, and where they are printed."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import cauce
from cauce.backends.plan_text import PlanText
from cauce.comparison import Comparison, NodeDifference
from cauce.ir.display import draw_by, html_of
from cauce.training.history import Epoch, History

NASTY = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """The names of the elements in a piece of HTML, each of which ends."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ended: list[str] = []
        assert text is not None
        self.feed(text)
        assert sorted(self.found) == sorted(self.ended)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.ended.append(tag)


def test_models_and_graphs_are_pages() -> None:
    model = cauce.models.lenet5.init(image=("N", 1, 28, 28))
    for value in (model, model.graph):
        assert Tags(value._repr_html_()).found == ["iframe"]
        assert len(repr(value)) < 100


def test_without_igraph_they_are_text_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    model = cauce.models.lenet5.init(image=("N", 1, 28, 28))
    shown = model._repr_html_()
    assert shown is not None and "&lt;graph lenet5" in shown and "igraph" in shown


def test_profiles_and_plans() -> None:
    model = cauce.models.lenet5.init(image=("N", 1, 28, 28))
    predict = cauce.compile(model, "numpy")
    profile = predict.profile(np.zeros((1, 1, 28, 28), np.float32))
    tags = Tags(profile._repr_html_()).found
    assert tags.count("tr") == len(profile) + 1
    plan = predict.plan()
    assert isinstance(plan, PlanText) and str(plan) == plan and plan.startswith("graph lenet5")
    assert repr(plan) == f"<Plan of lenet5: {len(plan.splitlines())} lines, print shows them>"
    assert "details" in Tags(plan._repr_html_()).found


def test_comparisons() -> None:
    rows = (
        NodeDifference(NASTY, "relu", "numpy", 1e-3, None),
        NodeDifference("b", "relu", "numpy", 1e-9, None),
    )
    comparison = Comparison(rows, 1e-4)
    assert repr(comparison).startswith("<Comparison: %<script>") and "differs first" in repr(
        comparison
    )
    shown = Tags(comparison._repr_html_())
    assert shown.found.count("tr") == 3 and "script" not in shown.found


def test_histories() -> None:
    epochs = [
        Epoch(n, 1.0, 0.1, {"loss": 1 / n, NASTY: float("nan")}, {"loss": 2 / n}) for n in (1, 2, 3)
    ]
    history = History(epochs)
    assert repr(history).startswith("<History of 3 epochs, the last: epoch 3")
    shown = Tags(history._repr_html_()).found
    assert shown.count("polyline") == 3 and "script" not in shown
    assert repr(History()) == "<History of 0 epochs>" and Tags(History()._repr_html_()).found


def test_what_nothing_draws_is_text() -> None:
    assert html_of("nothing of the kind", 3) is None
    draw_by("a number", lambda value: f"<b>{value}</b>")
    assert html_of("a number", 3) == "<b>3</b>"
