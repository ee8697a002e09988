"""Canonicalisation: one form for what can be written in several, and away with what does nothing.

The rules stand in ``arithmetic_rules``, ``activation_rules`` and ``shape_rules``. Each keeps the
value of its root, so they hold anywhere and in any order; a constant is taken away only where it
does not broadcast the other operand.
"""

from __future__ import annotations

from ..ir.pass_manager import Rewrite
from .activation_rules import ACTIVATION
from .arithmetic_rules import ARITHMETIC
from .shape_rules import SHAPES


class Canonicalize(Rewrite):
    """Applies all rules of arithmetic, activations and shapes."""

    name = "canonicalize"
    rules = (*ARITHMETIC, *ACTIVATION, *SHAPES)
