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
from .code import PARAMETERS

# What instructions are made of, as far as it has digits; last what is an integer of 64 bits where
# it stands in an instruction for such integers.
_TOKEN = re.compile(
    r"<[^<>]*>|\[\d+ x [^\]]*\]|splat \([^()]*\)|[%@][\w.]+|align \d+|0x\w+|\bi(?!64)\d+ -?\d+|i\d+"
    r"|(?<![\w.])(?P<integer>-?\d+)(?![\w.])"
)


_HOLE = "\0"  # where an integer stood

# The integers of a function, in order.
_Integers = tuple[str, ...]


def share_similar(module: Module, functions: Iterable[Function]) -> None:
    """Take in the functions of launches; each of those that are alike becomes a call."""
    alike: dict[str, list[tuple[Function, _Integers]]] = {}
    for function in functions:
        form, integers = _parted(function)
        alike.setdefault(form, []).append((function, integers))
    for form, members in alike.items():
        tables = list(dict.fromkeys(integers for _, integers in members))
        if len(tables) > 1:
            body = _merged(module, members[0][0], form, tables)
            for function, integers in members:
                name = f"@{body.name}.integers{tables.index(integers)}"
                function.replace_by_call(body, V(name, "ptr"))
        for function, _ in members:
            module.share(function)


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


def _merged(module: Module, model: Function, form: str, tables: Sequence[_Integers]) -> Function:
    """Write the function that others become calls of, and the tables that they give it.

    Args:
        model: one of the others.
        form: their instructions.
        tables: the integers of each of them.
    """
    body = Function("merged", (*PARAMETERS, ("ptr", "integers")))
    columns = list(zip(*tables))  # the values of each integer
    read: dict[tuple[str, ...], str] = {}  # once, where several always have the same value
    for column in columns:
        if len(set(column)) > 1 and column not in read:
            number = len(read)
            read[column] = f"%integer{number}"
            body.line(f"%at{number} = getelementptr i64, {body.parameters[-1]}, i64 {number}")
            body.line(f"{read[column]} = load i64, ptr %at{number}, align 8")
    filled = iter([read.get(column, column[0]) for column in columns])
    body.lines += re.sub(_HOLE, lambda _: next(filled), form).split("\n")
    body.declarations |= model.declarations
    body.callees |= model.callees
    module.share(body)
    for number, values in enumerate(zip(*read)):
        content = ", ".join(f"i64 {value}" for value in values)
        module.functions.append(
            f"@{body.name}.integers{number} = private constant [{len(values)} x i64] [{content}]"
        )
    return body
