"""Object files that are refused, damaged ones among them, and those for AArch64."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import sys
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cauce.backends.llvm.abi import MemoryImage
from cauce.backends.llvm.runtime.elf import image_of
from cauce.backends.llvm.runtime.loader import LoadError, write

from .objects import RICH, foreign, here, load_object

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the objects of this platform are left to LLVM",
)


@pytest.fixture(scope="module")
def rich() -> bytes:
    return here(RICH)


# ---- what is refused ---------------------------------------------------------------------------

EMPTY = 'target triple = "{TRIPLE}"\n'


@pytest.mark.parametrize(
    "triple", ["x86_64-pc-windows-msvc", "arm64-apple-macosx", "i686-unknown-linux-gnu"]
)
def test_other_kinds_of_object(triple: str) -> None:
    text = EMPTY + "define void @f() {\n  ret void\n}\n"
    with pytest.raises(LoadError, match="no 64-bit little-endian ELF object file"):
        load_object(foreign(text, triple))


def test_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    text = EMPTY + "define void @f() {\n  ret void\n}\n"
    with pytest.raises(LoadError, match="does not know processor 243"):
        load_object(foreign(text, "riscv64-unknown-linux-gnu"))
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
    with pytest.raises(LoadError, match="for another processor"):
        load_object(foreign(text, f"{other}-unknown-linux-gnu"))
    names = os.uname()
    fields = (*names[:4], "mips64")
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(fields))
    with pytest.raises(LoadError, match="does not know this processor, mips64"):
        load_object(here(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("declare void @no_such_function()\ndefine void @f() {\n  call void @no_such_function()\n"
         "  ret void\n}\n", "no library of this process has 'no_such_function'"),
        ("@x = thread_local global i64 1\n", "section '.tdata' has type 1"),
        ("@x = common global i64 0\n", "symbol 'x' is not in code or data"),
        ("@x = global [80000000 x i8] zeroinitializer\n", "more than 67108864"),
        ("@x = constant i64 1, align 65536\n", "is aligned to 65536 bytes"),
    ],
)  # fmt: skip
def test_what_code_generation_does_not_emit(text: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load_object(here(EMPTY + text))


# ---- damage ------------------------------------------------------------------------------------


def attempt(code: bytes) -> bool:
    """Whether an object is loaded; nothing but LoadError may come instead."""
    try:
        load_object(code)
    except LoadError:
        return False
    return True


def test_truncated_objects(rich: bytes) -> None:
    assert attempt(rich)
    for length in range(0, len(rich), 7):  # the headers of the sections are at the end
        assert not attempt(rich[:length])


def test_each_byte_damaged(rich: bytes) -> None:
    loaded = 0
    for place in range(len(rich)):
        for value in (0xFF, rich[place] ^ 1):
            loaded += attempt(rich[:place] + bytes([value]) + rich[place + 1 :])
    assert 0 < loaded < 2 * len(rich)  # code, for one, may be anything


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_much_damage(rich: bytes, data: st.DataObject) -> None:
    code = bytearray(rich)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(code) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=9))
        code[place : place + len(piece)] = piece
    attempt(bytes(code[: data.draw(st.integers(0, len(code) + 1))]))


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_anything_at_all(content: bytes) -> None:
    assert not attempt(content)
    assert not attempt(b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\1\0\x3e\0\1\0\0\0" + content)


def sections(code: bytes) -> list[tuple[int, int, int, int]]:
    """The place of each header of a section, and the type, the offset and the size in it."""
    (table,) = struct.unpack_from("<Q", code, 40)
    (count,) = struct.unpack_from("<H", code, 60)
    headers = range(table, table + 64 * count, 64)
    return [(at, *struct.unpack_from("<4xI16xQQ", code, at)) for at in headers]


def patched_relocations(code: bytes, kind: int, form: str, skip: int, value: int) -> bytes:
    """The object with another value at that place in all relocations of a kind."""
    changed = bytearray(code)
    for _, type_, offset, size in sections(code):
        for entry in range(offset, offset + size, 24) if type_ == 4 else ():
            if struct.unpack_from("<I", code, entry + 8)[0] == kind:
                struct.pack_into(form, changed, entry + skip, value)
    assert changed != code
    return bytes(changed)


def patched_headers(code: bytes, type_: int, form: str, skip: int, value: int) -> bytes:
    """The object with another value at that place in the headers of sections of a type."""
    changed = bytearray(code)
    for header, found, _, _ in sections(code):
        if found == type_:
            struct.pack_into(form, changed, header + skip, value)
    assert changed != code
    return bytes(changed)


def test_code_that_could_be_written(rich: bytes) -> None:
    for flags in (0x7, 0x402, 0x802):  # both, of a thread, compressed
        with pytest.raises(LoadError, match=f"has type 1 and flags {flags:#x}"):
            load_object(patched_headers(rich, 1, "<Q", 8, flags))


def test_tables_of_another_form(rich: bytes) -> None:
    with pytest.raises(LoadError, match="a form that the loader rejects"):
        load_object(patched_headers(rich, 4, "<I", 4, 9))  # without addends
    with pytest.raises(LoadError, match="a form that the loader rejects"):
        load_object(patched_headers(rich, 4, "<I", 40, 1))  # to other symbols
    with pytest.raises(LoadError, match="0 tables of symbols"):
        load_object(patched_headers(rich, 2, "<I", 4, 11))
    with pytest.raises(LoadError, match=r"entries of 24 bytes"):
        load_object(patched_headers(rich, 2, "<Q", 32, 47))


def test_relocations_of_zeros(rich: bytes) -> None:
    (zeros,) = [i for i, (_, type_, _, _) in enumerate(sections(rich)) if type_ == 8]
    with pytest.raises(LoadError, match="a form that the loader rejects"):
        load_object(patched_headers(rich, 4, "<I", 44, zeros))


def test_symbols_beyond_the_end(rich: bytes) -> None:
    ((_, _, offset, size),) = [section for section in sections(rich) if section[1] == 2]
    last = offset + size - 24
    for skip, form, message in ((8, "<Q", "beyond the end of its sec"), (0, "<I", "has no end")):
        damaged = bytearray(rich)
        for symbol in range(last, offset, -24):
            if struct.unpack_from("<H", rich, symbol + 6)[0] not in (0, 0xFFF1):
                struct.pack_into(form, damaged, symbol + skip, 5000)
                break
        with pytest.raises(LoadError, match=message):
            load_object(bytes(damaged))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of relocations of x86-64")
def test_relocations_that_are_not_known(rich: bytes) -> None:
    with pytest.raises(LoadError, match="does not know relocation 11 of x86-64"):
        load_object(patched_relocations(rich, 2, "<I", 8, 11))  # R_X86_64_32S
    with pytest.raises(LoadError, match="to symbol 4000000000 of"):
        load_object(patched_relocations(rich, 2, "<I", 12, 4_000_000_000))
    with pytest.raises(LoadError, match="relocation 2 to symbol 'memmove' is not known"):
        load_object(patched_relocations(rich, 4, "<I", 8, 2))  # a call as if it were an address
    with pytest.raises(LoadError, match="beyond the end of its section"):
        load_object(patched_relocations(rich, 1, "<Q", 0, 17))  # eight bytes, of 24


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of relocations of x86-64")
@pytest.mark.parametrize("addend", [2**31, -(2**31), 2**62, -(2**63)])
def test_addresses_out_of_reach(rich: bytes, addend: int) -> None:
    assert attempt(patched_relocations(rich, 2, "<q", 16, 4))
    with pytest.raises(LoadError, match="cannot be reached from"):
        load_object(patched_relocations(rich, 2, "<q", 16, addend))


# ---- AArch64, on any machine -------------------------------------------------------------------

MEMMOVE = 0x1234_5678_9ABC

ARM = """
target triple = "{TRIPLE}"
@space = internal global [90000 x i8] zeroinitializer
@wide = internal constant <4 x float> <float 1.0, float 2.0, float 3.0, float 4.0>
@bytes = internal global [20 x i8] c"0123456789abcdefghij"
@table = internal global [2 x ptr] [ptr @move, ptr getelementptr (i8, ptr @bytes, i64 3)]

declare ptr @memmove(ptr, ptr, i64)

define void @move(ptr %to, ptr %from, i64 %bytes) {
  %ignored = call ptr @memmove(ptr %to, ptr %from, i64 %bytes)
  ret void
}

define void @jump(ptr %to, ptr %from, i64 %bytes) {
  %ignored = tail call ptr @memmove(ptr %to, ptr %from, i64 %bytes)
  ret void
}

define void @where(ptr %out) {
  store ptr getelementptr (i8, ptr @space, i64 70000), ptr %out
  store volatile ptr @bytes, ptr %out
  store volatile ptr @memmove, ptr %out
  ret void
}

define void @read(ptr %out) {
  %table = load volatile ptr, ptr @table
  %wide = load volatile <4 x float>, ptr @wide, align 16
  ret void
}

define void @write1() {
  store i8 0, ptr getelementptr (i8, ptr @bytes, i64 7)
  ret void
}

define void @write2() {
  store i16 0, ptr getelementptr (i8, ptr @bytes, i64 6), align 2
  ret void
}

define void @write4() {
  store i32 0, ptr getelementptr (i8, ptr @bytes, i64 12), align 4
  ret void
}
"""


def signed(field: int, bits: int) -> int:
    return field - (1 << bits) if field >> bits - 1 else field


class Written(NamedTuple):
    """An image in memory: where that begins, and what is in it."""

    image: MemoryImage
    base: int
    content: bytes


@pytest.fixture(scope="module")
def written() -> Written:
    image = image_of(foreign(ARM, "aarch64-unknown-linux-gnu", "neoverse-n1"))
    memory = mmap.mmap(-1, sum(image.parts))
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    write(image, base, {"memmove": MEMMOVE}.__getitem__)
    return Written(image, base, memory[:])


def words(written: Written, entry: str) -> list[tuple[int, int]]:
    """The instructions of a function with their places, up to the return or the jump away."""
    place = written.image.entries[entry]
    found: list[tuple[int, int]] = []
    while not found or (found[-1][1] != 0xD65F03C0 and found[-1][1] >> 26 != 0b000101):
        found.append((place, *struct.unpack_from("<I", written.content, place)))
        place += 4
    return found


def meant(written: Written, entry: str) -> list[int]:
    """The places that a function forms: a page (adrp), and then an offset (add, ldr, str)."""
    pages: dict[int, int] = {}
    places = []
    for place, word in words(written, entry):
        if word & 0x9F000000 == 0x90000000:  # adrp
            field = signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21)
            pages[word & 31] = (written.base + place & -4096) + (field << 12)
        elif word >> 5 & 31 in pages:
            add = word & 0xFFC00000 == 0x91000000
            if add or word & 0x3B000000 == 0x39000000:  # ldr and str with an offset
                vector = word & 0x04800000 == 0x04800000  # of 128 bits
                scale = 0 if add else 4 if vector else word >> 30
                places.append(
                    pages[word >> 5 & 31] + ((word >> 10 & 0xFFF) << scale) - written.base
                )
    return places


@pytest.mark.parametrize("entry", ["move", "jump"])
def test_arm_calls_go_through_links(written: Written, entry: str) -> None:
    (call,) = [(p, w) for p, w in words(written, entry) if w >> 26 & 0b011111 == 0b000101]
    link = call[0] + 4 * signed(call[1] & 0x03FFFFFF, 26)
    # ldr x16, 8 bytes on; br x16; the address
    expected = struct.pack("<IIQ", 0x58000050, 0xD61F0200, MEMMOVE)
    assert written.content[link : link + 16] == expected


def test_arm_addresses(written: Written) -> None:
    image, base, content = written
    link, text, space = sorted(meant(written, "where"))
    assert struct.unpack_from("<Q", content, link) == (MEMMOVE,)
    assert content[text : text + 20] == b"0123456789abcdefghij"
    assert space - len(image.content) in range(70000, 70016)  # the zeros follow, aligned
    table, wide = meant(written, "read")
    assert struct.unpack_from("<QQ", content, table) == (
        base + image.entries["move"],
        base + text + 3,
    )
    assert struct.unpack_from("<4f", content, wide) == (1, 2, 3, 4)
    for entry, offset in (("write1", 7), ("write2", 6), ("write4", 12)):
        assert meant(written, entry) == [text + offset]
