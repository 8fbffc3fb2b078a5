"""A program of C++ and CPython without a heap allocator: a file with vtables, type_infos, types and
functions, chunks with given words, and what lies around them. Written by the ABIs, not the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heapbuilder import AMD64, File, Machine, Memory

from gdb_heapx.recognise.kinds import LedTo
from gdb_heapx.recognise.recognisers import Contents, recognise
from gdb_heapx.recognise.surroundings import Surroundings
from gdb_heapx.target.facts import Facts
from gdb_heapx.target.headers import PT_LOAD, Segment
from gdb_heapx.target.images import Image
from gdb_heapx.target.mappings import Mapping
from gdb_heapx.target.named import Symbol
from gdb_heapx.target.space import Space
from gdb_heapx.target.target import Target

BASE, PAGE = 0x400000, 0x10000
CODE, CONSTANTS, DATA = BASE, BASE + PAGE, BASE + 2 * PAGE
HEAP = 0x800000
ABI = {name: f"N10__cxxabiv1{len(name)}{name}E" for name in ("__si_class_type_info",)}


@dataclass(frozen=True)
class ProgramFile(File):
    """An ELF file: code, constants, data; what memory has of the data is the truth."""

    code: bytearray = field(default_factory=lambda: bytearray(PAGE))
    constants: bytearray = field(default_factory=lambda: bytearray(PAGE))
    symbols: dict[int, str] = field(default_factory=dict)

    has_symbol_table = True

    def segments(self) -> tuple[Segment, ...]:
        return tuple(
            Segment(PT_LOAD, flags, at, at, PAGE, PAGE)
            for flags, at in ((5, 0), (4, PAGE), (6, 2 * PAGE))
        )

    def bytes_at(self, offset: int, size: int) -> bytes:
        return (bytes(self.code) + bytes(self.constants) + bytes(PAGE))[offset : offset + size]

    def symbol_at(self, address: int) -> Symbol | None:
        before = [each for each in self.symbols if each <= address]
        start = max(before, default=None)
        if start is None or address - start >= 64:
            return None
        return Symbol(self.symbols[start], address - start, 64)


class Program:
    """A program that is filled with classes, types and chunks."""

    def __init__(self, machine: Machine = AMD64) -> None:
        self.machine, self.word = machine, machine.word
        self.file = ProgramFile()
        self.memory = Memory()
        self.memory.regions[DATA] = bytearray(PAGE)
        self.memory.regions[HEAP] = bytearray(PAGE)
        self._constants, self._data, self._heap, self._code = 0, DATA, HEAP, CODE
        self.chunks: list[tuple[int, int]] = []  # address, words
        self.bodies = LedTo()
        self.new = self.function("_Znwm")
        self._abi = self._vtable(self._type_info(0, ABI["__si_class_type_info"]))

    def function(self, symbol: str | None = None) -> int:
        self._code += 64
        if symbol:
            self.file.symbols[self._code - BASE] = symbol
        return self._code

    def of_std_function(self, called: str, size: int) -> tuple[int, int]:
        """Add the functions that copy and call what so many bytes are got for; 0: none are."""
        handler = f"_ZNSt17_Function_handlerIFvv{called}E"
        manager, invoker = (self.function(f"{handler}{name}Ev") for name in ("manage", "invoke"))
        asked = b"\xbf" + size.to_bytes(4, "little") if size else b"\x90"
        call = (self.new - (manager + len(asked) + 5)).to_bytes(4, "little", signed=True)
        code = asked + b"\xe8" + call + b"\xc3"
        self.file.code[manager - BASE : manager - BASE + len(code)] = code
        return manager, invoker

    def constant(self, text: str) -> int:
        data = text.encode() + b"\0"
        at, self._constants = self._constants, self._constants + len(data)
        self.file.constants[at : at + len(data)] = data
        return CONSTANTS + at

    def data(self, *words: int, symbol: str | None = None) -> int:
        """Add a variable; the next one lies 64 bytes behind it at least."""
        at = self._data
        self._data += max(len(words) * self.word, 64) + 64
        self.put(at, words)
        if symbol:
            self.file.symbols[at - BASE] = symbol
        return at

    def put(self, address: int, words: tuple[int, ...]) -> None:
        masked = (word % (1 << 8 * self.word) for word in words)
        data = b"".join(word.to_bytes(self.word, self.machine.byteorder) for word in masked)
        self.memory.write(address, data)

    def _type_info(self, vtable: int, name: str) -> int:
        return self.data(vtable, self.constant(name))

    def _vtable(self, info: int, to_top: int = 0, symbol: str | None = None) -> int:
        return self.data(to_top, info, self.function(), symbol=symbol) + 2 * self.word

    def a_class(
        self, mangled: str, rtti: bool = True, symbol: bool = False, to_top: int = 0
    ) -> int:
        """Add a class, or a base of one; return what its objects' first words are."""
        info = self._type_info(self._abi, mangled) if rtti else 0
        return self._vtable(info, to_top, "_ZTV" + mangled if symbol else None)

    def a_type(self, name: str, of: int = 0, tracked: bool = False, meta: bool = False) -> int:
        """Add a type object; without `of` it is of itself."""
        words = self.type_words(name, of, tracked, meta)
        at = self.data(*words)
        if not of:
            self.put(at + self.word, (at,))
        return at

    def type_words(self, name: str, of: int, tracked: bool, meta: bool) -> list[int]:
        words = [1, of, 0, self.constant(name), 4 * self.word, 0, *[0] * 15]
        return [*words, tracked << 14 | meta << 31]

    def chunk(self, *words: int) -> int:
        at = self._heap
        self._heap += (len(words) + 1) * self.word + 16 & ~15
        self.put(at, words)
        self.chunks.append((at, len(words)))
        return at

    def text(self, data: bytes, words: int) -> int:
        at = self.chunk(*[0] * words)
        self.memory.write(at, data)
        return at

    # What a recogniser may ask of heaps.

    def has(self, address: int) -> bool:
        return HEAP <= address < HEAP + PAGE

    def word_at(self, address: int) -> int | None:
        if not (self.has(address) or DATA <= address < DATA + PAGE - 8):
            return None
        return int.from_bytes(self.memory.read(address, self.word), self.machine.byteorder)

    def body(self, address: int) -> Any:
        return None

    def around(self) -> Surroundings:
        machine = self.machine
        facts = Facts(
            **{"pid": 1, "exe": None, "word": machine.word, "byteorder": machine.byteorder},
            **{"machine": machine.architecture, "architecture": None, "page": machine.page},
            **{"live": True, "mappings": (), "threads": ()},
        )
        target = Target(Space(facts, self.memory), (self.image(),))
        return Surroundings(target, self, lambda symbol: None)

    def image(self) -> Image:
        """Return the file as it is mapped."""
        kinds = (("r-xp", 0), ("r--p", 1), ("rw-p", 2))
        mappings = tuple(
            Mapping(BASE + at * PAGE, BASE + (at + 1) * PAGE, allowed, 9, "/bin/program", at * PAGE)
            for allowed, at in kinds
        )
        return Image("/bin/program", mappings, self.memory, lambda build_id: self.file)

    def piece(self, address: int) -> Contents:
        words = next(number for at, number in self.chunks if at == address)
        data = bytes(self.memory.read(address, words * self.word))
        order, step = self.machine.byteorder, self.word
        values = [int.from_bytes(data[at : at + step], order) for at in range(0, len(data), step)]
        return Contents(address, values, data[:256])

    def recognised(self, address: int, around: Surroundings | None = None) -> Any:
        around, piece = around or self.around(), self.piece(address)
        around.learn(piece.words)
        return recognise(piece, around)
