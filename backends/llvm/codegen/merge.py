"""Launches that differ in integers alone share one function, which reads the integers from a table.

LLVM takes some twenty microseconds for each instruction that it is given, and the weights of a
network are laid out by a function for each of their shapes. Such functions run once, or wait for
memory: they gain little from knowing sizes and strides when they are compiled.

Source: T. J. K. Edler von Koch et al., "Exploiting Function Similarity for Code Size Reduction",
LCTES 2014, of which this is the part for functions with the same instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .builder import Function, Module, V

# What instructions are made of, as far as it has digits; last what is an integer of 64 bits where
# it stands in an instruction for such integers.
_TOKEN = re.compile(
    r"<[^<>]*>|\[\d+ x [^\]]*\]|splat \([^()]*\)|[%@][\w.]+|align \d+|0x\w+|\bi(?!64)\d+ -?\d+|i\d+"
    r"|(?<![\w.])(?P<integer>-?\d+)(?![\w.])"
)

_HOLE = "\0"  # where an integer stood
_GIVEN = "%dims"  # the parameter for the table: only a function that reads no sizes gets one

# The integers of a function, in order.
_Integers = tuple[str, ...]


def share_similar(module: Module, functions: Iterable[Function]) -> None:
    """Take in the functions of launches. Those that are alike become one, and each has a table of
    its integers, which it is given in the place of ``dims``."""
    alike: dict[str, list[tuple[Function, _Integers]]] = {}
    for function in functions:
        form, integers = _parted(function)
        alike.setdefault(form, []).append((function, integers))
    for form, members in alike.items():
        tables = list(dict.fromkeys(integers for _, integers in members))
        one = len(tables) > 1 and _GIVEN not in form
        lines, contents = _merged(form, tables) if one else ([], [])
        for function, _ in members:
            if one:
                function.name, function.lines = "merged", lines
            module.share(function)
        given: dict[_Integers, V] = {}
        for integers, content in zip(tables, contents):
            given[integers] = table = V(f"@integers.{len(module.functions)}", "ptr")
            module.functions.append(f"{table.text} = private constant {content}")
        for function, integers in members:
            function.integers = given.get(integers)


def _parted(function: Function) -> tuple[str, _Integers]:
    """The instructions of a function, with holes, and what stands in them."""
    integers: list[str] = []

    def hole(token: re.Match[str]) -> str:
        if token["integer"] is None:
            return token[0]
        integers.append(token["integer"])
        return _HOLE

    lines = (_TOKEN.sub(hole, line) if "i64" in line else line for line in function.lines)
    return "\n".join(lines), tuple(integers)


def _merged(form: str, tables: Sequence[_Integers]) -> tuple[list[str], list[str]]:
    """The instructions of a function that reads what differs, and the tables that it reads.

    Args:
        form: the instructions with holes.
        tables: what stands in them in each function.
    """
    columns = list(zip(*tables))  # the values of each integer
    read: dict[tuple[str, ...], str] = {}  # once, where several always have the same value
    lines: list[str] = []
    for column in columns:
        if len(set(column)) > 1 and column not in read:
            number = len(read)
            read[column] = f"%integer{number}"
            lines.append(f"  %at{number} = getelementptr i64, ptr {_GIVEN}, i64 {number}")
            lines.append(f"  {read[column]} = load i64, ptr %at{number}, align 8")
    filled = iter([read.get(column, column[0]) for column in columns])
    lines += re.sub(_HOLE, lambda _: next(filled), form).split("\n")
    contents = [", ".join(f"i64 {value}" for value in values) for values in zip(*read)]
    return lines, [f"[{len(read)} x i64] [{content}]" for content in contents]
