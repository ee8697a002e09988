"""What code is generated for: a processor with its vectors and registers."""

from __future__ import annotations

import os
import sys

from ...ir.errors import AttributeMistake
from ...ir.record import Record

LIMIT = "CAUCE_TARGET"


class Target(Record):
    """A processor as the kernels see it.

    Attributes:
        name: of the vector extension: ``avx512``, ``avx2``, ``sse2``, ``neon`` or ``scalar``.
        triple: LLVM's target triple.
        cpu: LLVM's name of the processor.
        features: LLVM's feature string.
        vector_bytes: the width of a vector register.
        registers: how many vector registers there are.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int

    def lanes(self, itemsize: int) -> int:
        """How many elements of ``itemsize`` bytes a vector holds."""
        return max(1, self.vector_bytes // itemsize)

    @staticmethod
    def host(limit: str | None = None) -> Target:
        """This machine, or this machine as if it had no more than the extension ``limit``.

        ``CAUCE_TARGET`` gives the limit where the argument does not.

        Raises:
            AttributeMistake: the machine does not have that extension.
        """
        import llvmlite.binding as llvm

        limit = limit or os.environ.get(LIMIT)
        triple = llvm.get_default_triple()
        found = llvm.get_host_cpu_features()
        has = [name for name, need in _EXTENSIONS.items() if all(found.get(n) for n in need.needs)]
        if not has:
            has = ["scalar"]
        name = limit or has[0]
        if name not in has:
            raise AttributeMistake(
                f"this machine has no {name}", fix=f"use one of {', '.join(has)}"
            )
        extension = _EXTENSIONS[name]
        features = found.flatten()
        if name != has[0]:
            features += "".join(f",-{feature}" for feature in extension.without)
        cpu = llvm.get_host_cpu_name() if name == has[0] else "x86-64"
        return Target(name, triple, cpu, features, extension.vector_bytes, extension.registers)


def host_name() -> str:
    """What tells this machine's processor from others, without asking LLVM.

    The limit of ``CAUCE_TARGET`` belongs to it.
    """
    limit = os.environ.get(LIMIT, "")
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            first = file.read().partition("\n\n")[0].splitlines()
    except OSError:
        return f"{limit} {Target.host()}"
    # Clocks and the like change from moment to moment.
    kept = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features")
    lines = [line for line in first if line.startswith(kept)]
    return "\n".join([limit, sys.platform, *lines])


class _Extension(Record):
    """A vector extension: its registers, the LLVM features it needs and those beyond it."""

    vector_bytes: int
    registers: int
    needs: tuple[str, ...]
    without: tuple[str, ...] = ()


_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd")
_EXTENSIONS = {
    "avx512": _Extension(64, 32, _AVX512),
    "avx2": _Extension(32, 16, ("avx2", "fma"), _AVX512),
    "sse2": _Extension(16, 16, ("sse2",), (*_AVX512, "avx2", "avx", "fma")),
    "neon": _Extension(16, 32, ("neon",)),
    "scalar": _Extension(4, 16, ()),
}
