"""LLVM: from the text of a module to machine code."""

from __future__ import annotations

from ..target import Target, initialized_llvm


def compile_text(text: str, target: Target) -> bytes:
    """The object file of a module."""
    module = initialized_llvm().parse_assembly(text)
    return bytes(target.machine().emit_object(module))


def assembly(text: str, target: Target) -> str:
    """The assembly of a module."""
    return str(target.machine().emit_assembly(initialized_llvm().parse_assembly(text)))
