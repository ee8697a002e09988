"""Object files: their sections laid out as they will lie in memory.

An object file holds sections (code, constants, data), symbols, which name places in them, and
relocations: places in the sections where the address of a symbol is still to be filled in. Most of
them want the way from here to there, which is known as soon as all sections have their places; the
few whole addresses are left to the loader. Of all that ELF has, this knows what LLVM emits for
position-independent code of the small model. Anything else, and an object that is damaged, is
refused with :class:`LoadError`.

Sources: System V ABI 4.1, chapter 4 (ELF); System V ABI for AMD64 1.0, section 4.4 (relocations
of x86-64); ELF for the Arm 64-bit Architecture 2023Q3, section 5.7 (relocations of AArch64).
"""

from __future__ import annotations

import mmap
import struct
from collections import namedtuple
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from ....ir.record import Record
from ..abi import MemoryImage
from .loader import AARCH64, X86_64, LoadError

_FILE = struct.Struct("<4sBBB9xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

# Types and flags of sections; the binding of symbols for their object alone; the last type of
# those that are plain places.
_PROGBITS, _SYMTAB, _RELA, _NOTE, _NOBITS, _REL, _UNWIND = 1, 2, 4, 7, 8, 9, 0x70000001
_WRITE, _ALLOC, _EXECUTE, _TLS, _COMPRESSED = 0x1, 0x2, 0x4, 0x400, 0x800
_LOCAL, _PLAIN = 0, 3

_LINK = 16  # bytes: a jump through the address that follows it, and that address
_LIMIT = 2**26  # bytes: the code of no network comes near; what says it is larger is damaged


# The header of a section and an entry of the table of symbols, with the names of the specification.
Section = namedtuple("Section", "name type flags addr offset size link info addralign entsize")
Symbol = namedtuple("Symbol", "name info other shndx value size")


def image_of(code: bytes) -> MemoryImage:
    """An object file as it will lie in memory.

    Tables for unwinding are left out: no exception passes through generated code.

    Raises:
        LoadError: a damaged object, or one with what the loader does not know.
    """
    return _Object(code).image()


class _Object:
    """An object file while it is laid out."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        head = self._table(_FILE, 0, _FILE.size)[0]
        magic, bits, order, version, type_, machine, _, _, _, start, *_, count, names = head
        if (magic, bits, order, version, type_) != (b"\x7fELF", 2, 1, 1, 1):
            raise LoadError("this is no 64-bit little-endian ELF object file")
        if machine not in MACHINES:
            raise LoadError(f"the loader does not know processor {machine} of ELF")
        self._number, self._machine = machine, MACHINES[machine]
        headers = self._table(_SECTION, start, count * _SECTION.size)
        self._sections = [Section(*header) for header in headers]
        self._read_symbols()
        self._parts = self._lay_out(self._contents(names))

    def image(self) -> MemoryImage:
        """All of it in its place."""
        content = bytearray(self._filled)
        for number, start in self._starts.items():
            if self._sections[number].type != _NOBITS:
                contents = self._contents(number)
                content[start : start + len(contents)] = contents
        linked: set[int] = set()
        inner: list[int] = []
        for place, kind, number, addend in self._relocations():
            target = self._target(kind, number, linked) + addend
            try:
                if kind == self._machine.absolute:
                    struct.pack_into("<q", content, place, target)
                    inner.append(place)
                else:
                    self._machine.patch(content, place, kind, target)
            except struct.error:
                raise LoadError(f"{target:#x} cannot be reached from {place:#x}") from None
        places = {number: self._place(number) for number in self._links}
        outer: dict[str, int] = {}
        for number in sorted(linked):
            link, inside = self._links[number], places[number]
            address = link + len(self._machine.jump)
            content[link:address] = self._machine.jump
            if inside is None:
                outer[self._name(number)] = address
            else:
                struct.pack_into("<q", content, address, inside)
                inner.append(address)
        entries = {
            self._name(number): place
            for number, place in places.items()
            if place is not None and place < self._parts[0]
        }
        return MemoryImage(self._number, self._parts, tuple(inner), outer, entries, bytes(content))

    # ---- layout --------------------------------------------------------------------------------

    def _lay_out(self, names: bytes) -> tuple[int, ...]:
        """Give places to the sections, the first part beginning with the links; the sizes."""
        members: tuple[list[int], ...] = ([], [], [])
        for number, section in enumerate(self._sections):
            if _loaded(section, _string(names, section.name)):
                part = 0 if section.flags & _EXECUTE else 2 if section.flags & _WRITE else 1
                members[part].append(number)
        members[2].sort(key=lambda number: self._sections[number].type == _NOBITS)
        self._starts: dict[int, int] = {}  # by the number of the section
        end = self._filled = _LINK * len(self._links)
        ends = [0]
        for numbers in members:
            for number in numbers:
                section = self._sections[number]
                self._starts[number] = start = _up(end, section.addralign)
                end = start + section.size
                if section.type != _NOBITS:
                    self._filled = end
            end = _up(end, mmap.PAGESIZE)
            ends.append(end)
        if end > _LIMIT:
            raise LoadError(f"the object takes up {end} bytes, more than {_LIMIT}")
        return tuple(stop - start for start, stop in pairwise(ends))

    # ---- symbols -------------------------------------------------------------------------------

    def _read_symbols(self) -> None:
        tables = [i for i, section in enumerate(self._sections) if section.type == _SYMTAB]
        if len(tables) != 1:
            raise LoadError(f"the object has {len(tables)} tables of symbols, not one")
        self._symtab = tables[0]
        table = self._sections[self._symtab]
        entries = self._table(_SYMBOL, table.offset, table.size)
        self._symbols = [Symbol(*entry) for entry in entries]
        self._strings = self._contents(table.link)
        known = [i for i, symbol in enumerate(self._symbols) if symbol.info >> 4 != _LOCAL]
        self._links = {number: _LINK * i for i, number in enumerate(known)}

    def _name(self, number: int) -> str:
        return _string(self._strings, self._symbols[number].name)

    def _place(self, number: int) -> int | None:
        """Where a symbol lies in the image; None if another library is to have it."""
        symbol = self._symbols[number]
        if symbol.shndx == 0:
            return None
        start = self._starts.get(symbol.shndx)
        if start is None or symbol.info & 15 > _PLAIN:
            raise LoadError(f"symbol {self._name(number)!r} is not in code or data")
        if symbol.value > self._sections[symbol.shndx].size:
            raise LoadError(f"symbol {self._name(number)!r} lies beyond the end of its section")
        return start + symbol.value

    # ---- relocations ---------------------------------------------------------------------------

    def _relocations(self) -> Iterator[tuple[int, int, int, int]]:
        """The place, the kind, the symbol and the addend of each relocation."""
        for section in self._sections:
            if section.type not in (_RELA, _REL) or section.info not in self._starts:
                continue
            start, patched = self._starts[section.info], self._sections[section.info]
            if section.type == _REL or section.link != self._symtab or patched.type == _NOBITS:
                raise LoadError("the object has relocations of a form that the loader rejects")
            for offset, info, addend in self._table(_RELOCATION, section.offset, section.size):
                kind = info & 0xFFFFFFFF
                width = 8 if kind == self._machine.absolute else 4
                if offset + width > patched.size:
                    raise LoadError(f"a relocation at {offset} is beyond the end of its section")
                yield start + offset, kind, info >> 32, addend

    def _target(self, kind: int, number: int, linked: set[int]) -> int:
        """The place in the image that a relocation is about; ``linked`` receives the symbol where
        that is its link."""
        if not 0 < number < len(self._symbols):
            raise LoadError(f"a relocation is to symbol {number} of {len(self._symbols)}")
        if kind in self._machine.reads and number in self._links:
            linked.add(number)
            return self._links[number] + len(self._machine.jump)
        place = self._place(number)
        if place is None and kind in self._machine.calls and number in self._links:
            linked.add(number)
            return self._links[number]
        if place is None or kind in self._machine.reads:
            name = self._name(number)
            raise LoadError(f"relocation {kind} to symbol {name!r} is not known to the loader")
        return place

    # ---- the file ------------------------------------------------------------------------------

    def _bytes(self, offset: int, size: int) -> bytes:
        if offset + size > len(self._code):
            raise LoadError(
                f"the object has {len(self._code)} bytes, not the {size} from {offset} on"
            )
        return self._code[offset : offset + size]

    def _table(self, entry: struct.Struct, offset: int, size: int) -> list[tuple[Any, ...]]:
        if size % entry.size:
            raise LoadError(f"a table of {size} bytes has entries of {entry.size} bytes")
        return list(entry.iter_unpack(self._bytes(offset, size)))

    def _contents(self, number: int) -> bytes:
        if number >= len(self._sections):
            raise LoadError(f"section {number} of {len(self._sections)} is asked for")
        return self._bytes(self._sections[number].offset, self._sections[number].size)


def _loaded(section: Section, name: str) -> bool:
    """Whether a section becomes part of the image."""
    if not section.flags & _ALLOC or section.type in (_NOTE, _UNWIND) or name == ".eh_frame":
        return False
    kind = section.flags & (_WRITE | _EXECUTE | _TLS | _COMPRESSED)
    zeros = section.type == _NOBITS
    usual = section.type == _PROGBITS and kind in (0, _WRITE, _EXECUTE)
    if not usual and not (zeros and kind == _WRITE):
        raise LoadError(f"section {name!r} has type {section.type} and flags {section.flags:#x}")
    if section.addralign > mmap.PAGESIZE or section.addralign & (section.addralign - 1):
        raise LoadError(f"section {name!r} is aligned to {section.addralign} bytes")
    return True


def _string(strings: bytes, start: int) -> str:
    end = strings.find(b"\0", start)
    if end < 0:
        raise LoadError(f"a name at {start} of {len(strings)} bytes has no end")
    return strings[start:end].decode(errors="replace")


def _up(value: int, align: int) -> int:
    return value + -value % max(1, align)


# ---- processors --------------------------------------------------------------------------------


class Machine(Record):
    """What the loader knows of a processor.

    Attributes:
        jump: an instruction, eight bytes long, that jumps to the address in the next eight.
        absolute: the kind of relocation that takes a whole address.
        calls: the kinds for calls, which may go through a link.
        reads: the kinds for code that reads an address from a link.
        patch: changes ``content[place:]`` of an image for a relocation of another kind: the
            content, the place, the kind, and the place that is meant. Wherever the image will lie,
            it begins with a page, so none depends on that. A distance too far is a struct.error.
    """

    jump: bytes
    absolute: int
    calls: frozenset[int]
    reads: frozenset[int]
    patch: Callable[[bytearray, int, int, int], None]


def _patch_x86_64(content: bytearray, place: int, kind: int, target: int) -> None:
    if kind in (2, 4, 9, 41, 42):  # R_X86_64_PC32, PLT32, GOTPCREL, GOTPCRELX, REX_GOTPCRELX
        struct.pack_into("<i", content, place, target - place)
    else:
        raise LoadError(f"the loader does not know relocation {kind} of x86-64")


# R_AARCH64_ADD_ABS_LO12_NC, LDST8, 16, 32, 64 and 128_ABS_LO12_NC, and LD64_GOT_LO12_NC: the low
# bits of an address, which the instruction counts in such units.
_LOW_12 = {277: 1, 278: 1, 284: 2, 285: 4, 286: 8, 299: 16, 312: 8}


def _patch_aarch64(content: bytearray, place: int, kind: int, target: int) -> None:
    if kind == 261:  # R_AARCH64_PREL32
        struct.pack_into("<i", content, place, target - place)
    elif kind in (282, 283):  # JUMP26, CALL26: in units of four bytes
        _insert(content, place, _signed(target - place, 26, 4), 0x03FFFFFF)
    elif kind in (275, 311):  # ADR_PREL_PG_HI21, ADR_GOT_PAGE: in pages, the two lowest bits apart
        pages = _signed((target & -4096) - (place & -4096), 21, 4096)
        _insert(content, place, (pages & 3) << 29 | pages >> 2 << 5, 0x60FFFFE0)
    elif kind in _LOW_12:
        _insert(content, place, _signed(target & 0xFFF, 13, _LOW_12[kind]) << 10, 0x003FFC00)
    else:
        raise LoadError(f"the loader does not know relocation {kind} of AArch64")


def _signed(value: int, bits: int, unit: int) -> int:
    """A number in that unit, as it stands in a field of that many bits."""
    if value % unit or not -(unit << bits - 1) <= value < unit << bits - 1:
        raise struct.error
    return value // unit & (1 << bits) - 1


def _insert(content: bytearray, place: int, field: int, mask: int) -> None:
    """Set the bits of the mask in an instruction."""
    (word,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, place, word & ~mask | field)


MACHINES = {
    X86_64: Machine(
        jump=bytes.fromhex("ff25 0200 0000 6690"),  # jmp [rip + 2]; a nop of two bytes
        absolute=1,
        calls=frozenset({4}),
        reads=frozenset({9, 41, 42}),
        patch=_patch_x86_64,
    ),
    AARCH64: Machine(
        jump=bytes.fromhex("5000 0058 0002 1fd6"),  # ldr x16, 8 bytes on; br x16
        absolute=257,
        calls=frozenset({282, 283}),
        reads=frozenset({311, 312}),
        patch=_patch_aarch64,
    ),
}
