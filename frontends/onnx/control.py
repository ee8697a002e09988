"""Import of what chooses between graphs or repeats one, where that is known while importing."""

from __future__ import annotations

from .call import Call
from .rules import Made, imports


@imports("If")
def _if(n: Call) -> Made:
    """If-1 to 25: the branch that the condition, which must be known, takes."""
    chosen = bool(n.numbers(0, "condition").reshape(-1)[0])
    n.ignore("then_branch", "else_branch")
    return n.enter("then_branch" if chosen else "else_branch", ())
