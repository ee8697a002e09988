"""Machine code in this process: an object file becomes functions that can be called."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

from ..target import Target, initialized_llvm


class Code(Protocol):
    """Machine code in this process, whose functions can be called."""

    def function(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """A function by name, ctypes argument types and the type of its result, None for none."""


class Library:
    """An object file loaded into this process; functions are found by name."""

    def __init__(self, code: bytes, target: Target) -> None:
        llvm = initialized_llvm()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.machine())
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
