"""What values look like in notebooks: registers who draws them, and imports it when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ir.display import draw_by

if TYPE_CHECKING:
    from .backends.plan_text import PlanText
    from .backends.profile import Profile
    from .comparison import Comparison
    from .frontends.model import Model
    from .ir import Graph
    from .training.history import History


def _graph(graph: Graph, kind: str = "graph") -> str:
    from .ir.errors import MissingExtra
    from .pages.snippets import note
    from .viewing import graph_page

    try:
        return graph_page(graph, kind)._repr_html_()
    except MissingExtra as error:
        return note(repr(graph), str(error))


def _model(model: Model) -> str:
    from .frontends.open_model import OpenModel
    from .pages.snippets import note

    if isinstance(model, OpenModel):  # it has no graph before a call tells its sizes
        return note(repr(model), "")
    return _graph(model.graph, f"{model.parameter_count():,} parameters")


def _plan(plan: PlanText) -> str:
    from .pages.snippets import plan_html

    return plan_html(plan)


def _profile(profile: Profile) -> str:
    from .pages.snippets import profile_html

    return profile_html([(row.path, row.op, row.seconds, row.flops, row.bytes) for row in profile])


def _comparison(comparison: Comparison) -> str:
    from .pages.snippets import comparison_html

    rows = [(row.value, row.op, row.backend, row.difference) for row in comparison.rows]
    return comparison_html(str(comparison), rows, comparison.tolerance)


def _history(history: History) -> str:
    from .pages.snippets import history_html

    return history_html({name: history.column(name) for name in history.columns()})


draw_by("graph", _graph)
draw_by("model", _model)
draw_by("plan", _plan)
draw_by("profile", _profile)
draw_by("comparison", _comparison)
draw_by("history", _history)
