"""CPython's objects: the type object that one leads to has a name, and is of a type itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from .kinds import Meaning

# Words of a PyTypeObject (CPython, Include/cpython/object.h), the same from 2.7 to 3.14.
REFERENCES, TYPE, NAME, BASIC_SIZE, FLAGS = 0, 1, 3, 4, 21
WORDS = FLAGS + 1
HAVE_GC, TYPE_SUBCLASS = 1 << 14, 1 << 31  # of tp_flags
# Words of a chunk where its object's type is: without a header of the collector's, behind one of
# two words (3.8), of four, or of two behind another two (3.11: where its attributes are).
TYPE_PLACES = (1, 3, 5)
DEEPEST = 8  # types of types
LONGEST_NAME = 200
LARGEST = 1 << 24  # bytes of an object without its items
LOG2_OF_PLACES = range(3, 48)  # of the places that a dict's table has for indices
TABLE_WORDS = 8  # of a dict's table, or more; it has five words at most before its indices
KINDS_OF_TABLE = 3  # the first one's entries have three words, those of others two


class Readable(Protocol):
    """What a type object is read from."""

    word: int

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Return words at an address, () where they aren't at hand."""

    def text(self, address: int) -> bytes | None:
        """Return a C string, None where none is at hand."""


class TypeObject(NamedTuple):
    """A type object: its name, the bytes of its objects, whether the collector tracks these, and
    whether they are types.
    """

    name: str
    size: int
    tracked: bool
    meta: bool

    @property
    def meaning(self) -> Meaning:
        return Meaning.TRACKED_TYPE if self.tracked else Meaning.TYPE


def type_object(memory: Readable, address: int) -> TypeObject | None:
    """Return the type object at an address, None where there is none.

    The type of its type, and so on, ends at `type`, which is of itself.
    """
    found, at = _read(memory, address), address
    for _ in range(DEEPEST):
        words = memory.words(at, WORDS)
        if not words or not words[TYPE]:
            return None
        if words[TYPE] == at:
            named = found if at == address else _read(memory, at)
            return found if named is not None and named.name == "type" else None
        at = words[TYPE]
    return None


def _read(memory: Readable, address: int) -> TypeObject | None:
    words = memory.words(address, WORDS) if address % memory.word == 0 else ()
    if not words or not is_count(words[REFERENCES], memory.word):
        return None
    size, flags = words[BASIC_SIZE], words[FLAGS]
    if not 2 * memory.word <= size < LARGEST:
        return None
    text = memory.text(words[NAME])
    if not text or len(text) > LONGEST_NAME or not _is_name(text):
        return None
    meta = bool(flags & TYPE_SUBCLASS)
    return TypeObject(text.decode(), size, bool(flags & HAVE_GC), meta)


def _is_name(text: bytes) -> bool:
    try:
        name = text.decode()
    except UnicodeDecodeError:
        return False
    return name.isprintable() and not name[0].isspace()


def is_count(value: int, word: int) -> bool:
    """Tell whether a word may count references: the lower half does, and the upper one has flags at
    most (CPython 3.14).
    """
    return value & 0xFFFFFFFF != 0 and (word < 8 or value >> 32 & 0xFFFF == 0)


def begins_table(second: int) -> bool:
    """Tell whether a word may be the second one of a dict's table (table_size)."""
    log2, log2_of_bytes = second & 0xFF, second >> 8 & 0xFF
    if second & second - 1 == 0:  # before 3.11
        return second.bit_length() - 1 in LOG2_OF_PLACES
    of_bytes = log2 in LOG2_OF_PLACES and log2_of_bytes == _index_log2(log2)
    return of_bytes and second >> 16 & 0xFF < KINDS_OF_TABLE


def _index_log2(log2: int) -> int:
    """Return the logarithm of the bytes that indices of so many places take."""
    return log2 + (log2 >= 8) + (log2 >= 16) + (log2 >= 32)


def table_size(words: Sequence[int], word: int, is_code: Callable[[int], bool]) -> int | None:
    """Return how many bytes the table of a dict has that these words begin, None if it is none.

    PyDictKeysObject (CPython, Objects/dictobject.c and Include/internal/pycore_dict.h): references;
    from 3.11 on bytes with the logarithms of the places and of their bytes, and its kind, and a
    version; from 3.6 to 3.10 the number of places, and a function that looks keys up; how many
    entries are free, and how many are taken; then the indices, and room for entries.
    """
    old = words[1] & words[1] - 1 == 0
    counts = 0 < words[0] < 1 << 31
    if not counts or not begins_table(words[1]) or (old and not is_code(words[2])):
        return None
    log2 = words[1].bit_length() - 1 if old else words[1] & 0xFF
    header = 5 if old else (3 * word + 8) // word
    free, taken = words[header - 2 : header]
    room = (2 << log2) // 3
    if free + taken > room:
        return None
    entry = 3 if old or not words[1] >> 16 & 0xFF else 2
    return header * word + (1 << _index_log2(log2)) + room * entry * word
