"""The table of ops and what supports them, made from the registry and the backends' own tables."""

from __future__ import annotations

import re

from .ir import Op, registry
from .ir.record import Record

COLUMNS = ("op", "meaning", "gradient", "numpy", "llvm", "onnx")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


class Support(Record):
    """What runs and exports an op.

    A backend runs an op by a ``kernel`` (a ``rule``) of its own, or ``decomposed`` into others.

    Attributes:
        op: its name.
        meaning: its formula.
        gradient: ``yes``, ``decomposed``, ``zero`` or ``none``.
        numpy, llvm, onnx: ``kernel`` or ``rule``, ``decomposed`` or ``no``.
    """

    op: str
    meaning: str
    gradient: str
    numpy: str
    llvm: str
    onnx: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Under :data:`COLUMNS`."""
        return self.op, self.meaning, self.gradient, self.numpy, self.llvm, self.onnx


def support_table() -> str:
    """A Markdown table with a row for every registered op."""
    rows = []
    for support in support_rows():
        name, meaning, *rest = support.cells
        cells = [f"`{name}`", meaning.replace("|", "\\|").replace("``", "`"), *rest]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([HEADER, *rows])


def support_rows() -> list[Support]:
    """A row for every registered op, by name."""
    return [supported(cls) for _, cls in sorted(registry().items())]


def supported(cls: type[Op]) -> Support:
    """What supports one op."""
    from .backends.llvm.codegen import kernels
    from .backends.llvm.registry import registered
    from .backends.numpy import KERNELS
    from .backends.onnx.rules import RULES

    assert kernels  # which registers them
    return Support(
        cls.name,
        _first_sentence(cls),
        _gradient(cls),
        _backend(cls, cls in KERNELS, "kernel"),
        _backend(cls, cls in registered(), "kernel"),
        _backend(cls, cls in RULES, "rule"),
    )


def _first_sentence(cls: type[Op]) -> str:
    """The formula: the first sentence of the docstring."""
    paragraph = (cls.__doc__ or "").strip().partition("\n\n")[0]
    return re.split(r"\.(?:\s|$)", " ".join(paragraph.split()))[0]


def _gradient(cls: type[Op]) -> str:
    if cls.zero_gradient:
        return "zero"
    if cls.gradient is not Op.gradient:
        return "yes"
    return "decomposed" if cls.decompose is not Op.decompose else "none"


def _backend(cls: type[Op], own: bool, word: str) -> str:
    if own:
        return word
    return "decomposed" if cls.decompose is not Op.decompose else "no"
