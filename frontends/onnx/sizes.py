"""What is known of sizes over symbols, each of which is at least 1."""

from __future__ import annotations

from ...ir import Dim
from ...ir.dims import Symbol, substitute, symbols
from .call import Call


def least(dim: Dim) -> int | None:
    """A lower bound: the value where every symbol is 1, if the size never falls; else None."""
    if isinstance(dim, int):
        return dim
    if not _rising(dim):
        return None
    found = substitute(dim, dict.fromkeys(symbols(dim), 1))
    return found if isinstance(found, int) else None


def _rising(dim: Dim) -> bool:
    """Whether ``dim`` is a sum of products of symbols, and of their rising quotients."""
    if isinstance(dim, int):
        return True
    for monomial, coefficient in dim.terms:
        if coefficient < 0 and monomial:
            return False
        for atom in monomial:
            if isinstance(atom, Symbol):
                continue
            if not isinstance(atom.denominator, int) or not _rising(atom.numerator):
                return False
            if (least(atom.numerator) or -1) < 0:  # as a factor it could turn others round
                return False
    return True


def equal(n: Call, x: Dim, y: Dim) -> bool:
    """Whether two sizes are equal, for all values of their symbols.

    Raises:
        Unknown: it depends on them.
    """
    difference = x - y
    if isinstance(difference, int):
        return difference == 0
    for side in (difference, -difference):
        bound = least(side)
        if bound is not None and bound > 0:
            return False
    raise n.unknown(f"whether {x} and {y} are equal is not known", x, y)


def clamped(n: Call, index: Dim, size: Dim) -> Dim:
    """An index of a slice, negative from the end, held within 0 .. size.

    Raises:
        Unknown: what it is depends on sizes that are not known.
    """
    bound = least(size)
    if isinstance(index, int):
        if isinstance(size, int):
            return min(max(index + size * (index < 0), 0), size)
        if index >= 2**31 - 1:
            return size
        if index <= -(2**31) + 1:
            return 0
        if bound is not None and abs(index) <= bound:
            return index if index >= 0 else size + index
    else:
        rest, start = least(size - index), least(index)
        if rest is not None and start is not None and rest >= 0 and start >= 0:
            return index
    raise n.unknown(f"where the index {index} lies in a size of {size} is not known", index, size)
