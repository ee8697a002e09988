"""Golden cases: graphs in text form, before and after a rule or a pass.

The files ``golden/*.txt`` hold cases one after another::

    ## AddZero
    graph ...          before
    ## gives
    graph ...          after
    ## AddZero refuses: the reason
    graph ...          before, and after

A name is the class of a rule, applied alone, or of a pass with its default options. With
``--accept`` what the code gives takes the place of what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cauce.ir.pass_manager import Pass, Rewrite
from cauce.ir.rewrite import Rule
from cauce.passes import pipelines  # noqa: F401  (all passes and rules are subclasses from here on)
from cauce.passes.decompose import Decompose
from cauce.passes.fusion import RecomputeCheap
from cauce.passes.inference import RemoveDropout
from cauce.passes.pipelines import CLEAN, FUSE, INFERENCE

# Every pass that takes no options.
PASSES: dict[str, Pass] = {
    type(pass_).__name__: pass_
    for pass_ in (
        *INFERENCE,
        *(inner for repeat in (*CLEAN, *INFERENCE) for inner in getattr(repeat, "passes", ())),
        *FUSE,
        Decompose(),
        RecomputeCheap(),
        RemoveDropout(),
    )
    if type(pass_).__name__ != "Repeat"
}
RULES: dict[str, Rule] = {
    type(rule).__name__: rule
    for pass_ in PASSES.values()
    if isinstance(pass_, Rewrite)
    for rule in pass_.rules
}
# What these do is to change what a graph computes.
CHANGES_MEANING = frozenset({"DropoutNothing", "RemoveDropout", "ToInference"})


# A title and what stands below it.
_PART = re.compile(r"^## (.*)\n((?:(?!## ).*(?:\n|\Z))*)", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One golden case; ``after`` or ``refused`` is None."""

    name: str
    before: str
    after: str | None
    refused: str | None
    file: Path
    line: int
    place: int  # of the part before among those of the file

    @property
    def id(self) -> str:
        return f"{self.name}:{self.line}"

    @property
    def pass_(self) -> Pass:
        """The pass, or a pass of the one rule."""
        return PASSES[self.name] if self.name in PASSES else only(RULES[self.name])


def agree(case: Case, part: str, found: str, accept: bool) -> None:
    """Hold ``found`` to a part of a case, ``"before"`` or ``"after"``.

    Args:
        accept: writes it to the file of the case instead.
    """
    if not accept:
        assert found == getattr(case, part)
        return
    text = case.file.read_text()
    match = list(_PART.finditer(text))[case.place + (part == "after")]
    body = match.group(2)
    old = body.strip()
    new = body.replace(old, found) if old else f"{found}\n\n"
    case.file.write_text(text[: match.start(2)] + new + text[match.end(2) :])


def only(rule: Rule) -> Pass:
    """A pass that applies one rule."""

    class Only(Rewrite):
        name = type(rule).__name__
        rules = (rule,)

    return Only()


def cases() -> list[Case]:
    """All golden cases."""
    files = sorted((Path(__file__).parent / "golden").glob("*.txt"))
    return [case for file in files for case in read(file)]


def read(file: Path) -> Iterator[Case]:
    """The cases of one file."""
    sections = []
    content = file.read_text()
    for match in _PART.finditer(content):
        line = content.count("\n", 0, match.start()) + 1
        sections.append((match.group(1), match.group(2).strip(), line))
    for i, (title, text, line) in enumerate(sections):
        name, _, reason = title.partition(" refuses: ")
        if reason:
            yield Case(name, text, None, reason, file, line, i)
        elif title != "gives":
            following, after, _ = sections[i + 1]
            assert following == "gives", f"{file.name}:{line}: {title} is not followed by 'gives'"
            yield Case(name, text, after, None, file, line, i)
