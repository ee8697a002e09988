"""One element of what an op computes, explained with the numbers put into its formula.

``explain(op, operands, results, index)`` gives an :class:`Explanation`: the elements that are read,
the terms, what they come to, and the steps as one would write them on a blackboard. A rule for
another op is a function registered with :func:`explains`.
"""

from . import elements as elements
from . import pooling as pooling
from . import products as products
from .explanation import (
    Explanation,
    Read,
    Term,
    can_explain,
    equals,
    explain,
    explains,
    shown_number,
)

__all__ = [
    "Explanation",
    "Read",
    "Term",
    "can_explain",
    "equals",
    "explain",
    "explains",
    "shown_number",
]
