"""What code is generated for: a processor with its vectors and registers."""

from __future__ import annotations

import glob
import os
import sys
from dataclasses import replace
from functools import cache
from itertools import takewhile
from typing import Any

from ...ir.errors import AttributeMistake
from ...ir.record import Record

LIMIT = "CAUCE_TARGET"


class Caches(Record):
    """The bytes of the data caches that one core sees, and of a line of them.

    A schedule counts on what stays there while other data streams by, so the numbers are somewhat
    below what processors have.
    """

    first: int
    second: int
    third: int
    line: int = 64

    @property
    def aliasing(self) -> int:
        """Bytes apart from which on places share few sets of the first level: half of the 4 KiB
        after which its sets begin anew."""
        return 2048

    @property
    def usable(self) -> Caches:
        """What of these sizes schedules may count on. A virtual machine reports the whole of a
        third-level cache that it shares with others."""
        second = self.second * 3 // 4
        return Caches(self.first, second, min(self.third, 16 * second), self.line)

    def __str__(self) -> str:
        sizes = (self.first, self.second, self.third)
        return ", ".join(
            f"{size >> 10} KiB" if size % (1 << 20) else f"{size >> 20} MiB" for size in sizes
        )

    @staticmethod
    def reported() -> Caches | None:
        """What Linux says of the first processor; None where it says nothing, or elsewhere."""
        sizes: dict[int, int] = {}
        for entry in sorted(glob.glob("/sys/devices/system/cpu/cpu0/cache/index*")):
            try:
                facts = {name: _word(entry, name) for name in ("level", "type", "size")}
                if facts["type"] != "Instruction":
                    sizes[int(facts["level"])] = int(facts["size"].removesuffix("K")) * 1024
            except (OSError, ValueError):
                return None
        if 1 not in sizes or 2 not in sizes:
            return None
        return Caches(sizes[1], sizes[2], sizes.get(3, sizes[2]))


def _word(folder: str, name: str) -> str:
    with open(os.path.join(folder, name), encoding="ascii") as file:
        return file.read().strip()


# What schedules count on where the system reports nothing, or another machine is meant.
ASSUMED = Caches(32 * 1024, 768 * 1024, 8 * 1024 * 1024)


class Target(Record):
    """A processor as the kernels see it.

    Attributes:
        name: of the vector extension: ``avx512``, ``avx2``, ``sse2``, ``neon`` or ``scalar``.
        triple: LLVM's target triple.
        cpu: LLVM's name of the processor.
        features: LLVM's feature string.
        vector_bytes: the width of a vector register.
        registers: how many vector registers there are.
        caches: what schedules count on.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    caches: Caches = ASSUMED

    def machine(self, level: int = 2) -> Any:
        """LLVM's code generator for this target, at a level from 0 to 3."""
        llvm = initialized_llvm()
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=level, reloc="pic", codemodel="small"
        )

    @property
    def fetches_far(self) -> bool:
        """Whether the processor itself fetches a stream far enough ahead. Zen does, and prefetching
        costs it some per cent; on Intel's servers it doubles the speed of such a loop."""
        return self.cpu.startswith("znver")

    @property
    def converts_halves(self) -> bool:
        """Whether there are instructions between half and float. Elsewhere LLVM would call
        functions that no library here provides."""
        return self.name == "neon" or "+f16c" in self.features.split(",")

    @property
    def multiply_adds(self) -> int:
        """Of vectors, how many a core begins in a cycle. Zen 4 does one of 64 bytes in two."""
        return 1 if self.cpu == "znver4" and self.vector_bytes == 64 else 2

    @property
    def memory(self) -> int:
        """Bytes that come from memory for one core in a cycle, about, and half of those that come
        from a third-level cache. Cores of large meshes get half as many as those of Zen."""
        return 10 if self.cpu.startswith("znver") else 5

    def lanes(self, itemsize: int) -> int:
        """How many elements of ``itemsize`` bytes a vector holds."""
        return max(1, self.vector_bytes // itemsize)

    @staticmethod
    def named(name: str, triple: str, cpu: str = "generic", features: str | None = None) -> Target:
        """A processor with a vector extension, which need not be this machine's.

        Args:
            name: of the extension.
            triple: LLVM's target triple.
            cpu: LLVM's name of the processor; one that has no more than its architecture must have
                where not given.
            features: LLVM's feature string; what the extension needs where None.

        Raises:
            AttributeMistake: there is no such extension.
        """
        if name not in _EXTENSIONS:
            raise AttributeMistake(
                f"there is no target called {name!r}", fix=f"use one of {', '.join(_EXTENSIONS)}"
            )
        extension = _EXTENSIONS[name]
        if features is None:
            features = ",".join(f"+{feature}" for feature in extension.needs)
        return Target(name, triple, cpu, features, extension.vector_bytes, extension.registers)

    @staticmethod
    def host(limit: str | None = None) -> Target:
        """This machine, or this machine as if it had no more than the extension ``limit``.

        ``CAUCE_TARGET`` gives the limit where the argument does not.

        Raises:
            AttributeMistake: the machine does not have that extension.
        """
        import llvmlite.binding as llvm

        limit = limit or os.environ.get(LIMIT) or None
        triple = llvm.get_default_triple()
        found = llvm.get_host_cpu_features()
        known = {feature for feature, there in found.items() if there}
        if triple.startswith(("aarch64", "arm64")):
            known.add("neon")  # LLVM does not ask every system, but these processors all have it
        has = [name for name, extension in _EXTENSIONS.items() if known.issuperset(extension.needs)]
        if limit is None or limit == has[0]:
            own = Target.named(has[0], triple, llvm.get_host_cpu_name(), found.flatten())
            reported = Caches.reported() if limit is None else None
            return replace(own, caches=reported.usable) if reported else own
        if limit not in has:
            raise AttributeMistake(
                f"this machine has no {limit}", fix=f"use one of {', '.join(has)}"
            )
        return Target.named(limit, triple)


_initialized = False


def initialized_llvm() -> Any:
    """llvmlite's binding, with the native target set up; to do so twice does no harm."""
    import llvmlite.binding as llvm

    global _initialized
    if not _initialized:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _initialized = True
    return llvm


def host_name() -> str:
    """What tells this machine's processor from others, without asking LLVM.

    The limit of ``CAUCE_TARGET`` belongs to it.
    """
    limit = os.environ.get(LIMIT, "")
    processor = _processor()
    return f"{limit} {Target.host()}" if processor is None else f"{limit}\n{processor}"


@cache
def _processor() -> str | None:
    """What the system says of the processor, which stays the same while this process runs; None
    where it says nothing."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            # The first processor alone: to tell of all of them takes the system long.
            first = [line.rstrip("\n") for line in takewhile(str.strip, file)]
    except OSError:
        return None
    # Clocks and the like change from moment to moment.
    kept = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features")
    lines = [line for line in first if line.startswith(kept)]
    return "\n".join([sys.platform, f"caches {Caches.reported()}", *lines])


class _Extension(Record):
    """A vector extension: its registers, and the LLVM features that it needs."""

    vector_bytes: int
    registers: int
    needs: tuple[str, ...]


_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd")
# The widest first; every machine has the last.
_EXTENSIONS = {
    "avx512": _Extension(64, 32, (*_AVX512, "f16c")),
    "avx2": _Extension(32, 16, ("avx2", "fma", "f16c")),
    "sse2": _Extension(16, 16, ("sse2",)),
    # One less than there are: LLVM holds another value beside a tile, and would spill.
    "neon": _Extension(16, 31, ("neon",)),
    "scalar": _Extension(4, 16, ()),
}
