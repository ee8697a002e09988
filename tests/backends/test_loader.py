"""The loader of object files: the same results as LLVM's own, in memory that is protected."""

from __future__ import annotations

import ctypes
import gc
import mmap
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce.backends.llvm.codegen.assemble import compile_text
from cauce.backends.llvm.codegen.builder import Function, Module, V, i64
from cauce.backends.llvm.runtime import loader
from cauce.backends.llvm.runtime.elf import image_of
from cauce.backends.llvm.runtime.library import Library, laid_out
from cauce.backends.llvm.runtime.loader import LoadedImage, LoadError
from cauce.backends.llvm.target import Target
from cauce.ir import Array

from ..api.nets import batch, small
from .objects import RICH, here, load_object

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the objects of this platform are left to LLVM",
)

ROOT = Path(__file__).resolve().parents[2]
POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64


@pytest.fixture(scope="module")
def rich() -> bytes:
    return here(RICH)


# ---- the same as LLVM --------------------------------------------------------------------------


def observe(library: Any) -> list[bytes]:
    """What the functions of ``RICH`` do."""
    seen = []
    x = np.linspace(-1, 1, 8, dtype=np.float32)
    library.function("scale", POINTER)(x.ctypes.data)
    seen.append(x.tobytes())
    longer = np.arange(40, dtype=np.uint8)
    library.function("move", POINTER, POINTER, NUMBER)(
        longer.ctypes.data + 5, longer.ctypes.data, 30
    )
    seen.append(longer.tobytes())
    for by in (1, 2, 1, 99):
        library.function("tick", POINTER, NUMBER)(x.ctypes.data, by)
        seen.append(x.tobytes())
    for case in range(10):
        x[:] = np.linspace(3, 4, 8, dtype=np.float32)
        library.function("choose", POINTER, NUMBER)(x.ctypes.data, case)
        seen.append(x.tobytes())
    return seen


@pytest.mark.parametrize("limit", [None, "avx2", "sse2"])
def test_a_module_with_everything(limit: str | None) -> None:
    if limit is not None and platform.machine() != "x86_64":
        pytest.skip("an extension of x86-64")
    code = here(RICH, limit)
    seen = observe(load_object(code))
    assert seen == observe(Library(code, Target.host(limit)))
    factors = np.array([2, 3, 5, 7, 11, 13, 17, 19], np.float32)
    expected = np.linspace(-1, 1, 8, dtype=np.float32) * factors * factors
    assert seen[0] == expected.tobytes()
    assert seen[1] == bytes([*range(5), *range(30), *range(35, 40)])


def test_each_object_has_data_of_its_own(rich: bytes) -> None:
    first, second = load_object(rich), load_object(rich)
    assert observe(first) == observe(second)


def test_addresses_can_be_read(rich: bytes) -> None:
    out = (ctypes.c_void_p * 2)()
    loaded = load_object(rich)
    loaded.function("addresses", POINTER)(out)
    tick = loaded.function("tick", POINTER, NUMBER)
    assert out[0] == ctypes.cast(tick, POINTER).value
    assert out[1] == ctypes.cast(ctypes.CDLL(None).memmove, POINTER).value


def test_alignment() -> None:
    text = """
    target triple = "{TRIPLE}"
    @one = constant [3 x i8] c"abc", section ".rodata.a"
    @two = constant i64 7, section ".rodata.b", align 64
    @three = global i8 1, section ".data.a"
    @four = global i64 7, section ".data.b", align 512
    define void @addresses(ptr %out) {
      store volatile ptr @two, ptr %out
      %next = getelementptr i8, ptr %out, i64 8
      store volatile ptr @four, ptr %next
      ret void
    }
    """
    loaded = load_object(here(text))
    out = (ctypes.c_uint64 * 2)()
    loaded.function("addresses", POINTER)(out)
    assert out[0] % 64 == 0 and out[1] % 512 == 0
    assert [ctypes.c_uint64.from_address(address).value for address in out] == [7, 7]


def test_what_the_emitter_writes() -> None:
    target = Target.host()
    module = Module()
    double = Function("double", [("ptr", "x"), ("i64", "n")])
    x, n = double.parameters
    with double.loop(n) as loop:
        place = double.at(x, loop.index, 4)
        old = double.load(place, "float", 4)
        double.store(double.op("fmul", old, V("2.0", "float")), place, 4)
    double.ret()
    name = module.share(double)
    entry = Function("entry", [("ptr", "x")])
    entry.call(name, entry.parameters[0], i64(33))
    entry.ret()
    module.add(entry, "")
    loaded = load_object(compile_text(module.text(target.triple), target))
    array = np.arange(40, dtype=np.float32)
    loaded.function("entry", POINTER)(array.ctypes.data)
    expected = np.arange(40, dtype=np.float32)
    expected[:33] *= 2
    np.testing.assert_array_equal(array, expected)
    with pytest.raises(LoadError, match="no function 'double"):
        loaded.function(name, POINTER, NUMBER)  # internal, as it should be


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.init(image=("N", 1, 6, 6), seed=1)
    image = batch(9)["image"]
    monkeypatch.setenv("CAUCE_NUM_THREADS", str(threads))
    monkeypatch.setenv("CAUCE_CACHE", "0")
    results: list[Array] = []
    for lay_out, kind in ((laid_out, LoadedImage), (lambda code: code, Library)):
        monkeypatch.setattr("cauce.backends.llvm.build.laid_out", lay_out)
        executable = cauce.compile(model, backend="llvm")
        assert type(executable.program._code) is kind  # type: ignore[attr-defined]
        results.append(np.asarray(executable(image)))
    assert results[0].tobytes() == results[1].tobytes()


# ---- memory ------------------------------------------------------------------------------------


def permissions(address: int) -> str:
    """What may be done with the memory at an address; nothing where there is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    return ""


def test_no_memory_is_writable_and_executable(rich: bytes) -> None:
    loaded = load_object(rich)
    address = ctypes.cast(loaded.function("tick", POINTER, NUMBER), POINTER).value
    assert address is not None
    image = image_of(rich)
    start = address - image.entries["tick"]
    ends = np.cumsum(image.parts)
    for place, expected in ((0, "r-xp"), (ends[0], "r--p"), (ends[1], "rw-p")):
        assert permissions(start + int(place)) == expected
    for end, expected in zip(ends, ("r-xp", "r--p", "rw-p")):
        assert permissions(start + int(end) - 1) == expected


def test_memory_stays_as_long_as_a_function() -> None:
    large = RICH.replace("[100 x i64]", "[1000000 x i64]")  # nothing else moves in afterwards
    loaded = load_object(here(large))
    function = loaded.function("move", POINTER, POINTER, NUMBER)
    address = ctypes.cast(function, POINTER).value
    assert address is not None
    del loaded
    gc.collect()
    assert permissions(address) == "r-xp"
    x = np.arange(4, dtype=np.uint8)
    function(x.ctypes.data, x.ctypes.data + 2, 2)
    assert x.tolist() == [2, 3, 2, 3]
    del function
    gc.collect()
    assert permissions(address) != "r-xp"


def test_memory_stays_at_the_end_of_the_process(rich: bytes, tmp_path: Path) -> None:
    (tmp_path / "rich.o").write_bytes(rich)
    script = """
import atexit, ctypes, pathlib, sys
def last():
    x = (ctypes.c_int64 * 4)()
    function(x, 1)
    print(x[0])
atexit.register(last)  # what was registered first is called last
from tests.backends.objects import load_object
loaded = load_object(pathlib.Path(sys.argv[1]).read_bytes())
function = loaded.function("tick", ctypes.c_void_p, ctypes.c_int64)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "rich.o")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "6\n"


def test_a_system_that_refuses(rich: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def mprotect(address: int, nbytes: int, protection: int) -> int:
        return -1  # as kernels do that let no process make code

    monkeypatch.setattr(loader._system(), "mprotect", mprotect)
    with pytest.raises(LoadError, match="the system refuses protection 5 of memory"):
        load_object(rich)


# ---- images from elsewhere ---------------------------------------------------------------------


def test_an_image_for_another_machine_is_refused(rich: bytes) -> None:
    image = image_of(rich)
    for machine in (3, 62 + 183 - image.machine, 243):
        with pytest.raises(LoadError, match="for another processor"):
            LoadedImage(replace(image, machine=machine))
    for number in range(3):
        parts = list(image.parts)
        parts[number] += mmap.PAGESIZE // 2
        with pytest.raises(LoadError, match="for pages of another size"):
            LoadedImage(replace(image, parts=tuple(parts)))
    observe(LoadedImage(image))


def test_what_a_system_refuses_to_load_stays_an_object(
    rich: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert laid_out(rich) == image_of(rich)
    monkeypatch.setattr(loader._system(), "mprotect", lambda *arguments: -1)
    assert laid_out(rich) is rich
