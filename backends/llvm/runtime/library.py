"""Machine code in this process, whose functions can be called."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

from ..abi import MemoryImage
from ..target import Target, initialized_llvm


class Code(Protocol):
    """Machine code in this process, whose functions can be called."""

    def function(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """A function by name, ctypes argument types and the type of its result, None for none."""

    def address(self, name: str) -> int:
        """Where a function lies, for as long as the code is referred to."""


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
            self._functions[name] = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
        return self._functions[name]

    def address(self, name: str) -> int:
        """Where a function lies, for as long as the code is referred to."""
        return int(self._engine.get_function_address(name))


def laid_out(code: bytes) -> bytes | MemoryImage:
    """An object file as it will lie in memory; as it is where that is to be left to LLVM's loader.

    To lay it out takes longer than all else of loading, so it is done once, before code is kept.
    """
    from .elf import image_of
    from .loader import LoadedImage, LoadError

    try:
        image = image_of(code)
        LoadedImage(image)  # which this system may refuse
    except LoadError:
        return code
    return image


def load(code: bytes | MemoryImage, target: Target) -> Code:
    """Code in this process: an image without LLVM, an object file by LLVM.

    Raises:
        LoadError: an image from elsewhere.
    """
    if isinstance(code, bytes):
        return Library(code, target)
    from .loader import LoadedImage

    return LoadedImage(code)
