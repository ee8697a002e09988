"""The table of ops and what supports them, made from the registry and the backends' own tables."""

from __future__ import annotations

import re

from .ir import Op, registry

HEADER = "| op | meaning | gradient | numpy | llvm | onnx |\n|---|---|---|---|---|---|"


def support_table() -> str:
    """A Markdown table with a row for every registered op.

    A backend runs an op by a kernel (a rule) of its own, or ``decomposed`` into others.
    """
    from .backends.llvm.codegen import kernels
    from .backends.llvm.registry import registered
    from .backends.numpy import KERNELS
    from .backends.onnx.rules import RULES

    assert kernels  # which registers them
    native, rows = registered(), []
    for name, cls in sorted(registry().items()):
        cells = [
            f"`{name}`",
            _first_sentence(cls),
            _gradient(cls),
            _backend(cls, cls in KERNELS, "kernel"),
            _backend(cls, cls in native, "kernel"),
            _backend(cls, cls in RULES, "rule"),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([HEADER, *rows])


def _first_sentence(cls: type[Op]) -> str:
    """The formula: the first sentence of the docstring."""
    paragraph = (cls.__doc__ or "").strip().partition("\n\n")[0]
    sentence = re.split(r"\.(?:\s|$)", " ".join(paragraph.split()))[0]
    return sentence.replace("|", "\\|").replace("``", "`")


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
