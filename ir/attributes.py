"""The kinds an attribute of an op can have, by annotation, and the canonical form of each."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from .dims import Dim, as_dim, is_int
from .errors import AttributeMistake, shown
from .layout import Layout
from .literal import Literal
from .types import DType

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def parts(value: Any) -> tuple[Any, ...] | None:
    """The items of a sequence or of an array, as Python's own; None for anything else, text too."""
    if isinstance(value, np.ndarray) and value.ndim:
        return tuple(value.tolist())
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else None


def integer(value: Any, what: str) -> int:
    """An int; AttributeMistake for anything else."""
    if not is_int(value):
        raise AttributeMistake(
            f"{what} must be an int, got {shown(value)}", fix=f"write for example {what}=2"
        )
    return operator.index(value)


def positive(value: Any, what: str) -> int:
    """An int of at least 1; AttributeMistake for anything else."""
    if not is_int(value) or value < 1:
        raise AttributeMistake(
            f"{what} must be an int of at least 1, got {shown(value)}",
            fix="make it an int: int(x), or x // y in place of x / y"
            if isinstance(value, float) and value >= 1
            else f"write for example {what}=2",
        )
    return operator.index(value)


def plain(value: Any) -> Any:
    """A NumPy scalar, or an array of no dimension, as the number of Python that it holds."""
    alone = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim)
    return value.item() if alone else value


def set_canonical(record: object, **kinds: Callable[[Any, str], Any]) -> None:
    """Bring fields of a frozen dataclass, given by name, into the form of their kinds.

    What is shown, compared and written to files is then the same for every way to give a number.

    Raises:
        AttributeMistake: a value that its kind does not admit.
    """
    for name, kind in kinds.items():
        object.__setattr__(record, name, kind(getattr(record, name), name))


def real(value: object) -> float | None:
    """A real number, NumPy's and arrays of no dimension included, as a float; else None."""
    dimensions: int = getattr(value, "ndim", 0)
    if isinstance(value, (str, bytes)) or dimensions:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def number(value: Any, what: str) -> float:
    """A float; AttributeMistake for anything but a real number."""
    found = real(value)
    if found is not None:
        return found
    raise AttributeMistake(
        f"{what} must be a number, got {shown(value)}", fix=f"write for example {what}=0.1"
    )


def not_negative(value: Any, what: str, fix: str) -> float:
    """A finite float of at least 0; AttributeMistake for anything else, with this remedy."""
    found = real(value)
    if found is None or not 0 <= found < math.inf:
        raise AttributeMistake(f"{what} must be a finite number >= 0, got {shown(value)}", fix=fix)
    return found


def flag(value: Any, what: str) -> bool:
    """A bool; AttributeMistake for anything else."""
    value = plain(value)
    if not isinstance(value, Real) or value not in (True, False):
        raise AttributeMistake(
            f"{what} must be True or False, got {shown(value)}", fix=f"write {what}=True"
        )
    return bool(value)


# By the number of spatial axes: how many ints that is in words, and an example of them.
_PER_AXIS = {
    1: ("one int", "(2,)"),
    2: ("a pair of ints", "(2, 1), rows first"),
    3: ("three ints", "(2, 1, 1), slices first"),
}


def per_axis(value: Any, what: str, axes: int, least: int = 0) -> tuple[int, ...]:
    """An int for each spatial axis, from an int or as many; AttributeMistake for anything else."""
    items = parts(value) or (value,) * axes
    if len(items) != axes or not all(is_int(item) and item >= least for item in items):
        words, example = _PER_AXIS[axes]
        raise AttributeMistake(
            f"{what} must be an int or {words}, at least {least}, got {shown(value)}",
            fix=f"write {what}=2 or {what}={example}",
        )
    return tuple(map(int, items))


def pair(value: Any, what: str, least: int = 0) -> Pair:
    """(rows, columns) from an int or a pair; AttributeMistake for anything else."""
    rows, columns = per_axis(value, what, 2, least)
    return (rows, columns)


def padding(value: Any, what: str) -> Padding:
    """((top, bottom), (left, right)) from an int, (rows, columns) or two such pairs."""
    try:
        rows, columns = parts(value) or (value, value)
        return (pair(rows, what), pair(columns, what))
    except (AttributeMistake, ValueError):
        raise AttributeMistake(
            f"{what} must be an int, (rows, columns) or ((top, bottom), (left, right)), "
            f"none negative, got {shown(value)}",
            fix=f"write {what}=1, {what}=(1, 2) or {what}=((0, 1), (0, 1))",
        ) from None


def borders(value: Any, what: str, axes: int) -> tuple[Pair, ...]:
    """(before, after) for each spatial axis, from an int, or an int or a pair for each."""
    if axes == 2:
        return padding(value, what)
    try:
        items = parts(value) or (value,) * axes
        return tuple(pair(item, what) for _, item in zip(range(axes), items, strict=True))
    except (AttributeMistake, ValueError):
        axis, pairs = ("an int", "((0, 1),)") if axes == 1 else ("three ints", "((0, 1),) * 3")
        raise AttributeMistake(
            f"{what} must be an int, {axis} or (before, after) for each of {axes} axes, none "
            f"negative, got {shown(value)}",
            fix=f"write {what}=1 or {what}={pairs}",
        ) from None


def sequence(item: Callable[[Any, str], Any]) -> Callable[[Any, str], tuple[Any, ...]]:
    """The kind of a tuple of ``item``; a single item counts as a tuple of one."""

    def coerce(value: Any, what: str) -> tuple[Any, ...]:
        several = parts(value)
        return tuple(item(part, what) for part in ((value,) if several is None else several))

    return coerce


def optional(kind: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """The kind that also admits None."""
    return lambda value, what: None if value is None else kind(value, what)


def _dim(value: Any, what: str) -> Dim:
    return operator.index(value) if is_int(value) else as_dim(value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise AttributeMistake(f"{what} must be a string, got {value!r}")
    return value


def _graph(value: Any, what: str) -> Any:
    from .graph import Graph

    if not isinstance(value, Graph):
        raise AttributeMistake(f"{what} must be a graph, got {value!r}")
    return value


def _literal(value: Any, what: str) -> Literal:
    return value if isinstance(value, Literal) else Literal(value)


def _layout(value: Any, what: str) -> Layout:
    return value if isinstance(value, Layout) else Layout.read(_text(value, what))


_KINDS: dict[str, Callable[[Any, str], Any]] = {
    "int": integer,
    "float": number,
    "bool": flag,
    "str": _text,
    "DType": lambda value, what: DType.of(value),
    "Dim": _dim,
    "Pair": pair,
    "Padding": padding,
    "Literal": _literal,
    "Graph": _graph,
    "Layout": _layout,
}
ATTRIBUTE_KINDS: dict[str, Callable[[Any, str], Any]] = {
    **_KINDS,
    **{f"{name} | None": optional(kind) for name, kind in _KINDS.items()},
    **{f"tuple[{name}, ...]": sequence(kind) for name, kind in _KINDS.items()},
    **{f"tuple[{name}, ...] | None": optional(sequence(kind)) for name, kind in _KINDS.items()},
}
# Kinds whose equal parts may be written as one number: padding=1 for ((1, 1), (1, 1)).
COLLAPSIBLE = frozenset({"Pair", "Pair | None", "Padding"})
