"""The recognisers, in the order in which they are asked: each says what a chunk is, or nothing.

Words are those of a chunk's memory; the last one is of the next chunk's header. They are the
definition: classify.c does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Optional

from ..held.spots import ROUNDED
from .contents import text_in
from .kinds import UNRECOGNISED, Code, Key, Meaning, Recognised
from .pythons import TABLE_WORDS, TYPE_PLACES, begins_table, is_count, table_size
from .surroundings import Surroundings


class Contents(NamedTuple):
    """A chunk: where its memory is, its words, its first bytes, up to WINDOW of them; and of a
    large one which words may be more than zeros, from where up to where, None for all.
    """

    address: int
    words: Sequence[int]
    head: bytes
    touched: Sequence[tuple[int, int]] | None = None

    def nonzero(self) -> Iterator[tuple[int, int]]:
        """Yield the words that aren't 0, each with its place."""
        whole = ((0, len(self.words)),)
        for start, end in whole if self.touched is None else self.touched:
            for at, word in enumerate(self.words[start:end], start):
                if word:
                    yield at, word


Recogniser = Callable[[Contents, Surroundings], Optional[Recognised]]
OBJECTS = (Meaning.VTABLE, Meaning.COUNTS_INT, Meaning.COUNTS_LONG)
COUNTS = OBJECTS[1:]


def objects(chunk: Contents, around: Surroundings) -> list[tuple[int, int]]:
    """Return the place and vtable of every object of a C++ class, by the words that lead to one.

    A control block that the chunk begins with is none: it is there for the object behind it.
    """
    meaning = around.meaning
    found = [(at, word) for at, word in chunk.nonzero() if meaning(word) in OBJECTS]
    control = found and not found[0][0] and meaning(found[0][1]) in COUNTS
    return found[1:] if control else found


def others_in(chunk: Contents, key: Key, around: Surroundings) -> list[int]:
    """Return the vtables of the objects in a chunk that aren't those which its key counts."""
    own = None if key.code is Code.PYTHON else key.value
    return [vtable for _, vtable in objects(chunk, around) if vtable != own]


HAS_OTHERS = (Code.OBJECT, Code.DEAD, Code.ARRAY, Code.PYTHON)  # others than one may be inside


def python_object(chunk: Contents, around: Surroundings) -> Recognised | None:
    """An object of CPython's: behind the header of the collector, where its type wants one."""
    words, word = chunk.words, around.word
    for at in TYPE_PLACES:
        if at < len(words) and is_count(words[at - 1], word):
            meaning = around.meaning(words[at])
            wanted = Meaning.TYPE if at == 1 else Meaning.TRACKED_TYPE
            if meaning is wanted:
                return Recognised(Key(Code.PYTHON, words[at], (at - 1) * word))
    return None


def cpp_object(chunk: Contents, around: Surroundings) -> Recognised | None:
    """Objects of C++ classes with virtual functions, anywhere in the chunk: the first one's class,
    and how many of that.
    """
    found = objects(chunk, around)
    if not found:
        return None
    first, vtable = found[0]
    places = [at for at, each in found if each == vtable]
    code = Code.OBJECT
    if _is_dead(chunk, around):
        code = Code.DEAD
    elif first == 1 and _is_array(chunk, places):
        code = Code.ARRAY
    return Recognised(Key(code, vtable, first * around.word), len(places))


def _is_array(chunk: Contents, places: list[int]) -> bool:
    """Tell whether objects are those that the first word counts, one behind the other, and fill the
    chunk (Itanium C++ ABI, 2.7: array cookies).
    """
    number = len(places)
    if number < 2 or chunk.words[0] != number:
        return False
    step = places[1] - places[0]
    end = places[0] + number * step
    return places[-1] == end - step and end <= len(chunk.words) < end + 4


def _is_dead(chunk: Contents, around: Surroundings) -> bool:
    """Tell whether the chunk begins with a control block that counts no owner any more."""
    meaning = around.meaning(chunk.words[0])
    if meaning is Meaning.COUNTS_INT:
        return around.low_half(chunk.words[1]) == 0
    return meaning is Meaning.COUNTS_LONG and chunk.words[1] == (1 << 8 * around.word) - 1


def control_block(chunk: Contents, around: Surroundings) -> Recognised | None:
    """A control block of shared_ptr, in which no other object has a vtable."""
    if around.meaning(chunk.words[0]) not in COUNTS:
        return None
    code = Code.DEAD_CONTROL if _is_dead(chunk, around) else Code.CONTROL
    return Recognised(Key(code, chunk.words[0]))


def container_body(chunk: Contents, around: Surroundings) -> Recognised | None:
    """What a container of the standard library leads to, by what that says of it."""
    found = around.heaps.body(chunk.address)
    sure = found is not None and found.code not in (Code.LIKELY_VECTOR, Code.FUNCTOR)
    return Recognised(found, 0) if found and sure else None


def coroutine_frame(chunk: Contents, around: Surroundings) -> Recognised | None:
    """A coroutine's frame: its first words are how to resume and to destroy it."""
    words, is_code = chunk.words, around.parts.is_code
    both = is_code(words[0]) and is_code(words[1])
    return Recognised(Key(Code.FRAME, words[0])) if both else None


def leads_to_code(chunk: Contents, around: Surroundings) -> Recognised | None:
    """Another chunk that begins with a function, or a std::function (its third and fourth word).
    What a std::function calls may begin with either, and a vector with several of these.
    """
    words, is_code = chunk.words, around.parts.is_code
    one, two = (len(words) > at + 1 and all(map(is_code, words[at : at + 2])) for at in (2, 6))
    if not (one or is_code(words[0])):
        return None
    body = around.heaps.body(chunk.address)
    if body is not None and body.code is Code.FUNCTOR:
        return None
    if is_code(words[0]):
        return Recognised(Key(Code.FUNCTION, words[0]), 0)
    if two and body is not None and body.code is Code.LIKELY_VECTOR:
        return None
    return Recognised(Key(Code.FUNCTION, words[3], 2 * around.word), 0)


def likely_body(chunk: Contents, around: Surroundings) -> Recognised | None:
    """What a vector on a stack leads to, which may be over: others may have got that memory; and
    what a std::function calls, whose bytes may be anything.
    """
    found = around.heaps.body(chunk.address)
    if found is not None and found.code is Code.FUNCTOR:
        return Recognised(found, 0)
    likely = found is not None and found.code is Code.LIKELY_VECTOR
    return Recognised(Key(Code.VECTOR), 0) if likely else None


def tree_node(chunk: Contents, around: Surroundings) -> Recognised | None:
    """A node of a map or set (libstdc++'s _Rb_tree_node_base): colour, parent, left, right.

    Its children say that it is their parent, its parent that it is a child, or, if that is the
    tree's head, its root. One of these at least is at hand, and none contradicts.
    """
    if len(chunk.words) < 5 or around.low_half(chunk.words[0]) > 1:
        return None
    word, word_at, own = around.word, around.heaps.word_at, chunk.address
    _, parent, *children = chunk.words[:4]
    if kind_of(parent, around) not in LINKS or any(each % word for each in (parent, *children)):
        return None
    links = [word_at(child + word) == own for child in children if child]
    up = [word_at(parent + place * word) for place in (1, 2, 3)]
    if up[0] is not None:
        links.append(own in up)
    return Recognised(Key(Code.TREE_NODE), 0) if links and all(links) else None


def list_node(chunk: Contents, around: Surroundings) -> Recognised | None:
    """A node of a list that is linked both ways: next, previous. Both lead back, from outside: a
    chunk that leads to itself begins with a list's head, or has many nodes, as pools have them.
    """
    if len(chunk.words) < 3:
        return None
    links = following, before = chunk.words[:2]
    word, word_at, own = around.word, around.heaps.word_at, chunk.address
    if any(not link or link % word or 0 <= link - own < len(chunk.words) * word for link in links):
        return None
    both = word_at(following + word) == own and word_at(before) == own
    return Recognised(Key(Code.LIST_NODE), 0) if both else None


def dict_table(chunk: Contents, around: Surroundings) -> Recognised | None:
    """The table of a dict of CPython's: as large as it says."""
    word, size = around.word, len(chunk.words) * around.word
    if len(chunk.words) < TABLE_WORDS or not around.little or not begins_table(chunk.words[1]):
        return None
    needed = table_size(chunk.words[:TABLE_WORDS], word, around.parts.is_code)
    room = ROUNDED if (chunk.address + size) % around.space.page else ROUNDED + around.space.page
    fits = needed is not None and needed <= size < needed + room
    return Recognised(Key(Code.DICT_TABLE), 0) if fits else None


def text(chunk: Contents, around: Surroundings) -> Recognised | None:
    """Text, up to a zero or the end of the chunk; the bytes of a pointer can look like it."""
    if kind_of(chunk.words[0], around) >= HEAP:
        return None
    found = text_in(chunk.head, around.little)
    return None if found is None else Recognised(found, 0)


def zeros(chunk: Contents, around: Surroundings) -> Recognised | None:
    """Nothing but zeros."""
    return Recognised(Key(Code.ZEROS), 0) if next(chunk.nonzero(), None) is None else None


def symbol(chunk: Contents, around: Surroundings) -> Recognised | None:
    """A chunk whose first word leads to where a variable begins, such as a table of functions."""
    if around.named(chunk.words[0]) is not Meaning.SYMBOL:
        return None
    return Recognised(Key(Code.SYMBOL, chunk.words[0]), 0)


ZERO, NUMBER, OTHER, HEAP, DATA, INTO_CODE = range(6)  # kinds of words in a signature
SIGNED = 4  # words
LARGEST_SIGNED = 1024  # bytes of a chunk whose size is part of the signature


LEADING = bytes((ZERO, HEAP, DATA))  # kinds of pointers that aren't to code
LINKS = bytes((OTHER, HEAP, DATA))  # of what may lead to another node


def kind_of(word: int, around: Surroundings) -> int:
    """Return what kind of word it is."""
    if not word:
        return ZERO
    if around.heaps.has(word):
        return HEAP
    part = around.parts.at(word)
    if part is not None:
        return INTO_CODE if part.code else DATA
    return NUMBER if word < 1 << 32 and around.word == 8 else OTHER


def pointers(chunk: Contents, around: Surroundings) -> Recognised | None:
    """Pointers into heaps and files, and zeros between them, to the end of the chunk."""
    only = all(kind_of(word, around) in LEADING for _, word in chunk.nonzero())
    return Recognised(Key(Code.POINTERS), 0) if only else None


def signature(chunk: Contents, around: Surroundings) -> Recognised | None:
    """The kinds of the first words, and the size; only where one of them is a pointer."""
    kinds = bytes(kind_of(word, around) for word in chunk.words[:SIGNED])
    return signed(kinds, len(chunk.words) * around.word)


def signed(kinds: bytes, size: int) -> Recognised | None:
    """Return the signature of a chunk whose first words are of these kinds."""
    if max(kinds) < HEAP:
        return None
    value = size if size <= LARGEST_SIGNED else 0
    for kind in (*(kind + 1 for kind in kinds), 0, 0)[:SIGNED]:  # the smallest has two words
        value = value << 4 | kind
    return Recognised(Key(Code.SIGNATURE, value), 0)


RECOGNISERS: tuple[Recogniser, ...] = (
    python_object,
    cpp_object,
    control_block,
    container_body,
    coroutine_frame,
    leads_to_code,
    tree_node,
    list_node,
    dict_table,
    text,
    likely_body,
    zeros,
    pointers,
    symbol,
    signature,
)


# Those that ask what a word anywhere in the chunk means, before all others; and the rest.
BY_MEANING, BY_CONTENTS = RECOGNISERS[:3], RECOGNISERS[3:]


def recognise(
    chunk: Contents, around: Surroundings, asked: tuple[Recogniser, ...] = RECOGNISERS
) -> Recognised:
    """Return what a chunk is, by those recognisers that are asked."""
    for recogniser in asked:
        found = recogniser(chunk, around)
        if found is not None:
            return found
    return UNRECOGNISED
