"""What an explanation is, how its numbers are written, and the registry of its rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from ..errors import OutOfRange, UnsupportedOp
from ..op import Op, registry
from ..types import Array

Index: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Read:
    """An element that is read.

    Attributes:
        source: the name of the operand, or of the result, that it is an element of.
        index: where in it; outside of its shape where padding is read.
        value: the number.
        inside: whether it is no padding.
    """

    source: str
    index: Index
    value: float
    inside: bool = True

    def __str__(self) -> str:
        place = ",".join(map(str, self.index))
        return f"{self.source}[{place}]" if self.inside else f"padding [{place}]"


@dataclass(frozen=True)
class Term:
    """One of the numbers that are joined: a product, say, or a cell of a window.

    Attributes:
        reads: the elements that it is made of.
        value: the number, in float64.
        text: how it is written: ``2·3``.
        chosen: whether it is the one that counts, among the cells under a maximum.
    """

    reads: tuple[Read, ...]
    value: float
    text: str
    chosen: bool = False

    @property
    def shown_value(self) -> str:
        """The number behind its text; nothing where the text is the number."""
        number = shown_number(self.value)
        return "" if self.text in (number, f"({number})") else number


@dataclass(frozen=True)
class Explanation:
    """How one element came about.

    Attributes:
        op: the name of the op.
        result: the name of the result that the element is of.
        index: where in it.
        formula: what the op means, in symbols.
        terms: what is joined, in order.
        joined: what the terms come to in float64: their sum, or the greatest.
        steps: the formula with the numbers put in, a line each.
        computed: what the steps come to, in float64.
        value: the element as the reference has computed it, in the dtype of the result.
    """

    op: str
    result: str
    index: Index
    formula: str
    terms: tuple[Term, ...]
    joined: float
    steps: tuple[str, ...]
    computed: float
    value: float

    def __str__(self) -> str:
        lines = [f"{self.place} of {self.op}", f"  {self.formula}"]
        for term in self.terms:
            read = ", ".join(map(str, term.reads))
            number = f" {equals(term.value)} {term.shown_value}" if term.shown_value else ""
            chosen = "  <- counts" if term.chosen else ""
            lines.append(f"    {read}: {term.text}{number}{chosen}")
        return "\n".join([*lines, *(f"  {step}" for step in self.steps)])

    @property
    def place(self) -> str:
        """The element: ``y[0,0,1,2]``."""
        return f"{self.result}[{','.join(map(str, self.index))}]"


@dataclass(frozen=True)
class Site:
    """What a rule is given of a node.

    Attributes:
        op: the op, sizes of symbols put in.
        operands: its operands by name.
        results: its results by name.
        result: the name of the result that an element is explained of.
        index: where in it.
    """

    op: Op
    operands: dict[str, Array]
    results: dict[str, Array]
    result: str
    index: Index

    def read(self, source: str, index: Sequence[int], padding: float = 0.0) -> Read:
        """An element of an operand or of a result; padding where the index lies outside of it."""
        array = self.operands[source] if source in self.operands else self.results[source]
        place = tuple(index)
        for at, size in zip(place, array.shape):
            if not 0 <= at < size:
                return Read(source, place, padding, False)
        return Read(source, place, float(array.item(place)))

    def explained(
        self, terms: Sequence[Term], joined: float, steps: Sequence[str], computed: float
    ) -> Explanation:
        """The explanation that a rule has found."""
        value = float(self.results[self.result][self.index])
        formula = (type(self.op).__doc__ or "").partition("\n")[0].rstrip(".:")
        return Explanation(
            self.op.name,
            self.result,
            self.index,
            formula,
            tuple(terms),
            joined,
            tuple(steps),
            computed,
            value,
        )


ExplainRule: TypeAlias = Callable[[Site], Explanation]
_RULES: dict[type[Op], ExplainRule] = {}


def explains(*kinds: type[Op]) -> Callable[[ExplainRule], ExplainRule]:
    """Decorator: the function explains an element of these ops, and of ops derived from them."""

    def enter(rule: ExplainRule) -> ExplainRule:
        _RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return enter


def _rule(op: Op) -> ExplainRule | None:
    found = next((_RULES[kind] for kind in type(op).__mro__ if kind in _RULES), None)
    if found is None and op.elementwise and not op.regions():
        from .elements import elementwise

        return elementwise
    return found


def can_explain(op: Op) -> bool:
    """Whether there is a rule for an op."""
    return _rule(op) is not None


def explain(
    op: Op,
    operands: Sequence[Array],
    results: Sequence[Array],
    index: Sequence[int],
    result: int = 0,
) -> Explanation:
    """How one element of what an op computes came about.

    Args:
        op: the op, without symbols in its attributes.
        operands: its operands; f16 and bf16 as arrays of any float.
        results: what it has made of them.
        index: where the element stands; negative ones count from the end.
        result: of which result.

    Raises:
        UnsupportedOp: there is no rule for the op.
        OutOfRange: there is no such element.
    """
    rule = _rule(op)
    if rule is None:
        ruled = (
            name for name, kind in registry().items() if not _RULES.keys().isdisjoint(kind.__mro__)
        )
        known = ", ".join(sorted(ruled))
        raise UnsupportedOp(
            f"an element of {op.name} cannot be explained",
            fix=f"choose a node of one of {known}, or of an elementwise op",
        )
    names = [name.rstrip("?") for name in op.operands]
    found = results[result]
    site = Site(
        op,
        dict(zip(names, operands)),
        dict(zip(op.results, results)),
        op.results[result],
        _within(index, found.shape, op.results[result]),
    )
    with np.errstate(all="ignore"):  # inf and NaN are numbers like any other
        return rule(site)


def _within(index: Sequence[int], shape: Sequence[int], result: str) -> Index:
    place = tuple(int(at) for at in index)
    if len(place) != len(shape) or not all(-n <= at < n for at, n in zip(place, shape)):
        raise OutOfRange(
            f"{result} has the shape {list(shape)}, and no element {list(place)}",
            fix=f"give {len(shape)} indices, each below the size of its dimension",
        )
    return tuple(at % n for at, n in zip(place, shape))


# ---- numbers in text ---------------------------------------------------------------------------


@lru_cache(maxsize=2**16)
def shown_number(number: float) -> str:
    """A number with at most five digits: ``2``, ``0.75``, ``1.2346e-05``."""
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "∞" if number > 0 else "-∞"
    return f"{number:.5g}" if number else "0"


def factor(number: float) -> str:
    """A number as a factor or a term behind an operator: in brackets where it is negative."""
    text = shown_number(number)
    return f"({text})" if text.startswith("-") else text


def equals(*numbers: float) -> str:
    """``=`` where all these numbers are shown as they are, else ``≈``."""
    for number in numbers:
        if np.isfinite(number) and abs(float(shown_number(number)) - number) > 1e-7 * abs(number):
            return "≈"
    return "="


def sum_text(terms: Sequence[Term]) -> str:
    """The terms with a plus between them."""
    return " + ".join(term.text for term in terms) if terms else "0"


def result_step(site: Site) -> str:
    """The last line: the element as it was computed, rounded to its dtype."""
    value = float(site.results[site.result][site.index])
    place = f"{site.result}[{','.join(map(str, site.index))}]"
    return f"{place} {equals(value)} {shown_number(value)}"
