"""The text of how a compiled graph runs."""

from __future__ import annotations

from ..ir.display import html_of


class PlanText(str):
    """A plan: text, which ``print`` shows; a notebook shows its parts, to be opened.

    Attributes:
        name: of the graph.
    """

    name: str

    @staticmethod
    def of(name: str, text: str) -> PlanText:
        """The plan of a graph, as its backend tells it."""
        plan = PlanText(text)
        plan.name = name
        return plan

    def __repr__(self) -> str:
        return f"<Plan of {self.name}: {len(self.splitlines())} lines, print shows them>"

    def _repr_html_(self) -> str | None:
        return html_of("plan", self)
