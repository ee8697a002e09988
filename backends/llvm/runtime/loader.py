"""Loads code without LLVM, which takes far longer to import than it takes to load.

An image is written to fresh memory, its few whole addresses are filled in, and then each part of it
is protected: code may be read and executed, constants may be read, data may be read and written. No
memory is ever writable and executable at a time.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import struct
import sys
import weakref
from collections.abc import Callable
from typing import Any

from ....ir.errors import CauceError
from ..abi import MemoryImage

# The numbers that ELF gives the processors that are known here.
X86_64, AARCH64 = 62, 183


class LoadError(CauceError, RuntimeError):
    """Code that is not loaded: damaged, foreign, or with what the loader does not know.

    LLVM's own loader may still take an object file.
    """


class LoadedImage:
    """Code in the memory of this process; functions are found by name.

    The memory is given back when neither the object nor any of its functions is referred to any
    longer. A call refers to its function, so no code goes while a thread is in it. At the end of
    the process, when threads may still be anywhere, the memory stays.

    Raises:
        LoadError: the image cannot be loaded here.
    """

    def __init__(self, image: MemoryImage) -> None:
        if image.machine != _this_machine():
            raise LoadError("the code is for another processor")
        if any(nbytes % mmap.PAGESIZE for nbytes in image.parts):
            raise LoadError("the code was laid out for pages of another size")
        self._memory = _Memory(sum(image.parts))
        write(image, self._memory.address, _address)
        self._memory.protect(image.parts)
        self._entries = image.entries
        self._functions: dict[str, Any] = {}

    def function(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """A function by name, ctypes argument types and the type of its result, None for none.

        Raises:
            LoadError: the code has no such function.
        """
        if name not in self._functions:
            function: Any = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
            function.memory = self._memory  # stays as long as the function does
            self._functions[name] = function
        return self._functions[name]

    def address(self, name: str) -> int:
        """Where a function lies, for as long as the code is referred to.

        Raises:
            LoadError: the code has no such function.
        """
        if name not in self._entries:
            raise LoadError(f"the code has no function {name!r}")
        return self._memory.address + self._entries[name]


def write(image: MemoryImage, base: int, find: Callable[[str], int]) -> None:
    """Write an image to memory, with all addresses filled in.

    Args:
        image: what to write; all bytes behind its content are zero already.
        base: the address of the memory, the beginning of a page.
        find: gives the address of a function of another library.
    """
    ctypes.memmove(base, image.content, len(image.content))
    for place in image.inner:
        ctypes.c_uint64.from_address(base + place).value += base
    for name, place in image.outer.items():
        ctypes.c_uint64.from_address(base + place).value = find(name)


class _Memory:
    """Whole pages of memory from the operating system, for as long as this is referred to."""

    def __init__(self, nbytes: int) -> None:
        self._system = _system()
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        address = self._system.mmap(None, nbytes, protection, flags, -1, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise _refused(f"{nbytes} bytes of memory")
        self.address = int(address)
        weakref.finalize(self, self._system.munmap, address, nbytes).atexit = False

    def protect(self, parts: tuple[int, ...]) -> None:
        """Protect what was written: the parts with code, constants and data."""
        code, constants, _ = parts
        self._protect(self.address, code, mmap.PROT_READ | mmap.PROT_EXEC)
        self._protect(self.address + code, constants, mmap.PROT_READ)
        flush = _cache_flush()
        if flush is not None:
            flush(self.address, self.address + code)

    def _protect(self, address: int, nbytes: int, protection: int) -> None:
        if nbytes and self._system.mprotect(address, nbytes, protection):
            raise _refused(f"protection {protection} of memory")


def _this_machine() -> int:
    """The number of the processor of this process."""
    if os.name != "posix":
        raise LoadError("code is loaded with the calls of POSIX, which this system lacks")
    name = os.uname().machine.lower()
    known = {"x86_64": X86_64, "amd64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}
    number = known.get(name)
    if number is None or struct.calcsize("P") != 8 or sys.byteorder != "little":
        raise LoadError(f"the loader does not know this processor, {name}")
    return number


@functools.cache
def _system() -> ctypes.CDLL:
    """The libraries of this process, with the types of what is called here."""
    system = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    system.mmap.restype = pointer
    system.mmap.argtypes = pointer, size, number, number, number, ctypes.c_long
    system.mprotect.argtypes = pointer, size, number
    system.munmap.argtypes = pointer, size
    return system


@functools.cache
def _cache_flush() -> Any:
    """Makes the processor see new code; None where it does by itself, as x86-64 does.

    On AArch64 the caches of instructions and of data are apart. GCC's library brings the two
    together, as does LLVM's, under the same name.
    """
    if _this_machine() == X86_64:
        return None
    for library in (None, "libgcc_s.so.1"):
        try:
            flush = ctypes.CDLL(library)["__clear_cache"]
        except (OSError, AttributeError):
            continue
        flush.restype, flush.argtypes = None, (ctypes.c_void_p, ctypes.c_void_p)
        return flush
    raise LoadError("there is no __clear_cache to make the processor see new code")


@functools.cache
def _address(name: str) -> int:
    """Where a function of the process's libraries lies."""
    try:
        found = ctypes.cast(_system()[name], ctypes.c_void_p).value
    except (AttributeError, ValueError):
        found = None
    if not found:
        raise LoadError(f"no library of this process has {name!r}")
    return found


def _refused(what: str) -> LoadError:
    return LoadError(f"the system refuses {what}: {os.strerror(ctypes.get_errno())}")
