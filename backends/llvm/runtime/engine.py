"""LLVM itself: text to machine code, and machine code to functions that can be called."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

from ..target import Target

_ready = False


def _llvm() -> Any:
    """llvmlite's binding, with the native target set up; to do so twice does no harm."""
    import llvmlite.binding as llvm

    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _ready = True
    return llvm


def machine(target: Target) -> Any:
    """LLVM's code generator for a target."""
    llvm = _llvm()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


def compile_text(text: str, target: Target) -> bytes:
    """The object file of a module."""
    llvm = _llvm()
    module = llvm.parse_assembly(text)
    return bytes(machine(target).emit_object(module))


def assembly(text: str, target: Target) -> str:
    """The assembly of a module."""
    llvm = _llvm()
    return str(machine(target).emit_assembly(llvm.parse_assembly(text)))


class Code(Protocol):
    """Machine code in this process, whose functions can be called."""

    def function(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """A function by name, ctypes argument types and the type of its result, None for none."""


class Library:
    """An object file loaded into this process; functions are found by name."""

    def __init__(self, code: bytes, target: Target) -> None:
        llvm = _llvm()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(target))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._functions: dict[str, Any] = {}

    def function(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """A function by name, ctypes argument types and the type of its result, None for none."""
        if name not in self._functions:
            address = self._engine.get_function_address(name)
            self._functions[name] = ctypes.CFUNCTYPE(result, *arguments)(address)
        return self._functions[name]


def load(code: bytes, target: Target) -> Code:
    """An object file in this process: without LLVM where that can be, by LLVM elsewhere."""
    from .elf import LoadError
    from .loader import LoadedObject

    try:
        return LoadedObject(code)
    except LoadError:
        return Library(code, target)
