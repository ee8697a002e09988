"""Dimensions: ints, or integer expressions over named symbols such as the batch ``N``.

A symbolic dimension is a polynomial with integer coefficients whose atoms are symbols and floor
divisions, kept in a canonical form, so that equal expressions compare equal and print alike:
``(H - 1)//2 + 1`` becomes ``(H + 1)//2``. Every symbol stands for an integer of at least 1.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property, lru_cache
from keyword import iskeyword
from math import gcd, prod
from typing import TypeAlias

from .errors import ShapeError, shown
from .record import Record


class Symbol(Record):
    """A named, unknown size."""

    name: str

    weight = 1

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


class FloorDiv(Record):
    """``numerator // denominator`` that could not be simplified."""

    numerator: DimExpr
    denominator: Dim

    @cached_property
    def weight(self) -> int:
        """How many symbols and numbers it is made of."""
        bottom = self.denominator
        return self.numerator.weight + (1 if isinstance(bottom, int) else bottom.weight)

    @cached_property
    def _text(self) -> str:
        top, bottom = self.numerator, self.denominator
        shown_top = str(top) if top.is_symbol else f"({top})"
        simple = isinstance(bottom, int) or bottom.is_symbol
        return f"{shown_top}//{bottom}" if simple else f"{shown_top}//({bottom})"

    def __str__(self) -> str:
        return self._text


# No network has larger sizes. What grows at each step of a long way, squares for example, would
# take for ever otherwise, and what is deep has no text.
_MOST_ATOMS = 300
_MOST_BITS = 256

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that mean something else where the text form expects a value.
_TAKEN = re.compile(r"true|false|none|inf|nan|graph|bool|[iu](8|16|32|64)|b?f16|f32|f64")

Atom: TypeAlias = Symbol | FloorDiv
Monomial = tuple[Atom, ...]


def _order(term: tuple[Monomial, int]) -> tuple[int, list[str]]:
    return (-len(term[0]), list(map(str, term[0])))


class DimExpr(Record):
    """A symbolic dimension; build it with :func:`symbol` and arithmetic, never directly.

    Shapes are made of ints and of these. Results that are known become ints.

    Attributes:
        terms: a sum of products of symbols and floor divisions, each with its integer factor.

    Raises:
        ShapeError: by arithmetic: an expression that grows beyond all bounds.

    Examples:
        >>> H = cauce.ir.symbol("H")
        >>> (H - 1) // 2 + 1, H.is_symbol, (2 * H).is_symbol, 2 * H - H - H
        (<dim (H + 1)//2>, True, False, 0)
    """

    terms: tuple[tuple[Monomial, int], ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DimExpr) and self.terms == other.terms

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def weight(self) -> int:
        """How many symbols and numbers it is made of."""
        return sum(1 + sum(atom.weight for atom in monomial) for monomial, _ in self.terms)

    @property
    def is_symbol(self) -> bool:
        """Whether this is one bare symbol."""
        (monomial, coefficient), *rest = self.terms
        bare = not rest and coefficient == 1 and len(monomial) == 1
        return bare and isinstance(monomial[0], Symbol)

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other):
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _canonical(terms)

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return _canonical({monomial: c * other for monomial, c in self.terms})
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=str))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _canonical(terms)

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return _floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return _floordiv(other, self)

    @cached_property
    def _text(self) -> str:
        shown = ""
        for monomial, coefficient in self.terms:
            # A minus in front binds tighter than //: -(H//2), but 3 - H//2.
            plain = coefficient == 1 or (coefficient == -1 and shown)
            alone = len(monomial) == 1 and plain
            factors = [
                f"({a})" if isinstance(a, FloorDiv) and not alone else str(a) for a in monomial
            ]
            if abs(coefficient) != 1 or not monomial:
                factors.insert(0, str(abs(coefficient)))
            if not shown:
                shown = "-" * (coefficient < 0) + "*".join(factors)
            else:
                shown += (" - " if coefficient < 0 else " + ") + "*".join(factors)
        return shown

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<dim {self}>"


Dim: TypeAlias = int | DimExpr


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, DimExpr) else (((), int(dim)),)


def _canonical(terms: Mapping[Monomial, int]) -> Dim:
    kept = {monomial: c for monomial, c in terms.items() if c}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    ordered = sorted(kept.items(), key=_order) if len(kept) > 1 else kept.items()
    made = DimExpr(tuple(ordered))
    if made.weight > _MOST_ATOMS or max(map(abs, kept.values())).bit_length() > _MOST_BITS:
        raise ShapeError(
            f"a size is an expression of {made.weight} symbols and numbers, or has numbers of more "
            f"than {_MOST_BITS} bits",
            fix="give the sizes of the inputs as ints",
        )
    return made


@cache
def symbol(name: str) -> DimExpr:
    """The dimension called ``name``, an integer of at least 1 in shapes of any dtype.

    Raises:
        ShapeError: a name that the text form could not read back.

    Examples:
        >>> N = cauce.ir.symbol("N")
        >>> print(cauce.ir.TensorType.make("f32", (N, 3, 2 * N)))
        f32[N,3,2*N]
    """
    if not _NAME.fullmatch(name) or _TAKEN.fullmatch(name) or iskeyword(name):
        raise ShapeError(
            f"{name!r} cannot name a dimension",
            fix="use letters, digits and _, and no word of Python or of the text form (a dtype, "
            "none, true)",
        )
    return DimExpr((((Symbol(name),), 1),))


def _floordiv(top: Dim, bottom: Dim) -> Dim:
    if isinstance(bottom, DimExpr):
        exact = divide_exactly(top, bottom)
        if exact is not None:
            return exact
        numerator = top if isinstance(top, DimExpr) else DimExpr((((), top),))
        return DimExpr((((FloorDiv(numerator, bottom),), 1),))
    if isinstance(top, int):
        return top // bottom
    if bottom < 0:
        return _floordiv(-top, -bottom)
    # (b*Q + R)//b = Q + R//b, with every coefficient of R in 0..b-1.
    whole: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, coefficient in top.terms:
        whole[monomial], rest[monomial] = divmod(coefficient, bottom)
    quotient, remainder = _canonical(whole), _canonical(rest)
    if isinstance(remainder, int):
        return quotient  # 0 <= remainder < bottom
    # (g*X + c)//(g*m) = (X + c//g)//m
    common = gcd(bottom, *(c for monomial, c in remainder.terms if monomial))
    if common > 1:
        shrunk = _canonical({monomial: c // common for monomial, c in remainder.terms})
        return quotient + _floordiv(shrunk, bottom // common)
    # (X//m + c)//b = (X + c*m)//(m*b)
    inner = [(monomial, c) for monomial, c in remainder.terms if monomial]
    if len(inner) == 1 and inner[0][1] == 1 and len(inner[0][0]) == 1:
        atom = inner[0][0][0]
        if isinstance(atom, FloorDiv) and isinstance(atom.denominator, int):
            constant = dict(remainder.terms).get((), 0)
            top = atom.numerator + constant * atom.denominator
            return quotient + _floordiv(top, atom.denominator * bottom)
    return quotient + DimExpr((((FloorDiv(remainder, bottom),), 1),))


def divide_exactly(top: Dim, bottom: Dim) -> Dim | None:
    """``top / bottom`` where that is an expression again, else None."""
    if bottom == 0:
        return None
    (lead, lead_coefficient), *_ = _terms(bottom)
    quotient: Dim = 0
    rest = top
    for _ in range(64):
        if rest == 0:
            return quotient
        (monomial, coefficient), *_ = _terms(rest)
        atoms = list(monomial)
        for atom in lead:
            if atom not in atoms:
                return None
            atoms.remove(atom)
        if coefficient % lead_coefficient:
            return None
        term = _canonical({tuple(atoms): coefficient // lead_coefficient})
        quotient = quotient + term
        rest = rest - term * bottom
    return None


def ceil_div(top: Dim, bottom: int) -> Dim:
    """``ceil(top / bottom)``."""
    return (top + (bottom - 1)) // bottom


def product(dims: tuple[Dim, ...]) -> Dim:
    """The product of the dimensions; 1 for none."""
    known = [dim for dim in dims if isinstance(dim, int)]
    result: Dim = prod(known)  # numbers first: each product of symbols takes long
    for dim in dims if len(known) < len(dims) else ():
        if not isinstance(dim, int):
            result = result * dim
    return result


def sizes(dims: tuple[Dim, ...]) -> tuple[int, ...]:
    """The dimensions as ints, once every symbol has been replaced by its size.

    Raises:
        ShapeError: a symbol is left.
    """
    for dim in dims:
        if not isinstance(dim, int):
            raise ShapeError(f"the size of dimension {dim} is not known")
    return tuple(dim for dim in dims if isinstance(dim, int))


def symbols(dim: Dim) -> frozenset[str]:
    """The names of the symbols in ``dim``."""
    if isinstance(dim, int):
        return frozenset()
    found: set[str] = set()
    for monomial, _ in dim.terms:
        for atom in monomial:
            if isinstance(atom, Symbol):
                found.add(atom.name)
            else:
                found |= symbols(atom.numerator) | symbols(atom.denominator)
    return frozenset(found)


def substitute(dim: Dim, bindings: Mapping[str, Dim]) -> Dim:
    """``dim`` with the bound symbols replaced."""
    if isinstance(dim, int):
        return dim
    result: Dim = 0
    for monomial, coefficient in dim.terms:
        term: Dim = coefficient
        for atom in monomial:
            if isinstance(atom, Symbol):
                term = term * bindings.get(atom.name, symbol(atom.name))
            else:
                top = substitute(atom.numerator, bindings)
                term = term * (top // substitute(atom.denominator, bindings))
        result = result + term
    return result


def solve(dim: Dim, size: int, bindings: dict[str, int]) -> bool | None:
    """Learn from a dimension that turned out to be ``size``.

    Adds to ``bindings`` the value of a symbol that ``dim`` determines. Returns True where
    ``dim`` agrees with ``size``, False where it cannot, and None where too little is known yet.
    """
    known = substitute(dim, bindings)
    if isinstance(known, int):
        return known == size
    unknown = [(monomial, c) for monomial, c in known.terms if monomial]
    (monomial, coefficient), *others = unknown
    if others or len(monomial) != 1 or not isinstance(monomial[0], Symbol):
        return None
    constant = dict(known.terms).get((), 0)
    value, remainder = divmod(size - constant, coefficient)
    if remainder or value < 0:
        return False
    bindings[monomial[0].name] = value
    return True


def is_int(value: object) -> bool:
    """Whether ``value`` is an integer, NumPy's included (bool is none, nor an array of several)."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool)


def as_dim(value: object) -> Dim:
    """A dimension from what a user may write: an int, an expression, or text (``"N"``, ``"H//2"``).

    Raises:
        ShapeError: a negative size, or text that is no dimension.
    """
    if isinstance(value, str):
        value = parse_dim(value)
    if isinstance(value, DimExpr):
        return value
    if is_int(value):
        size = operator.index(value)  # type: ignore[arg-type]
        if size < 0:
            raise ShapeError(
                f"a dimension cannot be negative, got {size}",
                fix='name an unknown size instead, for example "N"',
            )
        return size
    raise ShapeError(
        f"a dimension is an int or a name, got {value!r}",
        fix='write for example ("N", 3, 32, 32)',
    )


@lru_cache(1024)
def parse_dim(text: str) -> Dim:
    """The dimension, an integer or an expression for shapes, written as ``text``.

    Raises:
        ShapeError: text that is no dimension, or too long.

    Examples:
        >>> print(cauce.ir.parse_dim("(H - 1)//2 + 1"))
        (H + 1)//2
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return _from_ast(tree)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError):
        raise ShapeError(
            f"{shown(text)} is not a dimension",
            fix="use ints, names, +, -, *, // and parentheses, for example (H + 1)//2",
        ) from None
    except (RecursionError, MemoryError):  # what Python's own parser says of too many levels
        raise ShapeError(
            f"{shown(text)} is too long for a dimension", fix="write it in a simpler form"
        ) from None


_OPERATORS: Mapping[type[ast.operator], Callable[[Dim, Dim], Dim]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def _from_ast(tree: ast.expr) -> Dim:
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    if isinstance(tree, ast.Name):
        return symbol(tree.id)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_from_ast(tree.operand)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](_from_ast(tree.left), _from_ast(tree.right))
    raise SyntaxError("not a dimension")
