"""What a chunk is recognised as: memory as the C++ ABI and CPython lay it out, and what isn't."""

from __future__ import annotations

import pytest
from heapbuilder import MACHINES
from kindscene import Program

from gdb_heapx.recognise.classes import arguments
from gdb_heapx.recognise.contents import WINDOW, text_in
from gdb_heapx.recognise.kinds import UNRECOGNISED, Code, Key, Recognised, Type
from gdb_heapx.recognise.names import type_of

NUMBER = 0x1122334455667788


@pytest.fixture(params=["amd64", "i386", "s390x"])
def program(request):
    return Program(MACHINES[request.param])


def named(program, address):
    around = program.around()
    return type_of(program.recognised(address, around).key, around)


def code(program, address):
    return program.recognised(address).key.code


def test_an_object_is_of_the_class_that_its_vtable_is_of(program):
    dog, word = program.a_class("3Dog"), program.word
    assert program.recognised(program.chunk(dog, 7, 8)) == Recognised(Key(Code.OBJECT, dog, 0), 1)
    assert named(program, program.chunk(1 << 16, 9, dog, 7)) == Type("3Dog", "RTTI", 2 * word)


def test_a_symbol_names_a_class_that_has_no_type_info(program):
    dog = program.a_class("3Dog", rtti=False, symbol=True)
    nameless = program.a_class("3Cat", rtti=False)
    assert named(program, program.chunk(dog, 7, 8)) == Type("3Dog", "vtable", 0)
    assert code(program, program.chunk(nameless, 7, 8)) is Code.SIGNATURE


def test_a_symbol_is_how_a_class_is_known_where_there_is_one(program):
    dog = program.a_class("3Dog", symbol=True)
    assert named(program, program.chunk(dog, 7, 8)).how == "vtable"


def test_every_instance_in_a_chunk_counts(program):
    dog, cat = program.a_class("3Dog"), program.a_class("3Cat")
    pool = program.chunk(*[dog, 7, cat, 5] * 50, dog, 8)
    assert program.recognised(pool) == Recognised(Key(Code.OBJECT, dog, 0), 51)


def test_a_second_base_is_no_other_instance(program):
    dog = program.a_class("3Dog")
    second = program.a_class("3Dog", to_top=-2 * program.word)
    assert program.recognised(program.chunk(dog, 7, second, 8)).instances == 1
    alone = program.recognised(program.chunk(5 << 16, 7, second, 8))
    assert alone.key.code is not Code.OBJECT


def test_what_lies_inside_a_vtable_is_none(program):
    dog = program.a_class("3Dog")
    assert code(program, program.chunk(dog + program.word, 7, 8)) is not Code.OBJECT
    assert code(program, program.chunk(dog - program.word, 7, 8)) is not Code.OBJECT


def test_a_type_info_whose_class_is_not_the_abi_librarys_is_none(program):
    wrong = program.a_class("9Something")
    info = program.data(wrong, program.constant("3Dog"))
    table = program.data(0, info, program.function()) + 2 * program.word
    assert code(program, program.chunk(table, 7, 8)) is not Code.OBJECT


def test_an_array_is_told_by_its_count(program):
    dog = program.a_class("3Dog")
    array = program.recognised(program.chunk(3, *[dog, 7] * 3))
    assert array == Recognised(Key(Code.ARRAY, dog, program.word), 3)
    for words in ([4, *[dog, 7] * 3], [3, dog, 7, 7, dog, 7, dog], [3, *[dog, 7] * 3, *[5] * 9]):
        assert code(program, program.chunk(*words)) is Code.OBJECT


INT_COUNTS = "St23_Sp_counted_ptr_inplaceI3DogSaIvELN9__gnu_cxx12_Lock_policyE2EE"


def owners(program, number, weak=1):
    """Return the words that count owners, as two ints."""
    if program.word == 4:
        return number, weak
    little = program.machine.byteorder == "little"
    return (number | weak << 32 if little else number << 32 | weak,)


def test_an_object_in_make_shareds_block_is_dead_when_nobody_owns_it(program):
    control, dog = program.a_class(INT_COUNTS), program.a_class("3Dog")
    counts = owners(program, 1)
    offset = (1 + len(counts)) * program.word
    alive = program.chunk(control, *counts, dog, 7, 7)
    assert program.recognised(alive) == Recognised(Key(Code.OBJECT, dog, offset), 1)
    dead = program.chunk(control, *owners(program, 0), dog, 7, 7)
    assert program.recognised(dead) == Recognised(Key(Code.DEAD, dog, offset), 1)
    assert named(program, dead).name == "3Dog (dead)"


def test_libcxx_counts_one_less(program):
    control = program.a_class("NSt3__120__shared_ptr_emplaceI3DogNS_9allocatorIS1_EEEE")
    dog = program.a_class("3Dog")
    assert code(program, program.chunk(control, 0, 0, dog, 7)) is Code.OBJECT
    assert code(program, program.chunk(control, -1, 0, dog, 7)) is Code.DEAD


def test_a_control_block_alone_is_one(program):
    control = program.a_class("St15_Sp_counted_ptrIP3DogLN9__gnu_cxx12_Lock_policyE2EE")
    assert code(program, program.chunk(control, *owners(program, 1), 7)) is Code.CONTROL
    assert code(program, program.chunk(control, *owners(program, 0), 7)) is Code.DEAD_CONTROL


@pytest.fixture
def types(program):
    kind = program.a_type("type", tracked=True, meta=True)
    return kind, program.a_type("str", kind), program.a_type("dict", kind, tracked=True)


def test_an_object_of_cpythons_is_of_its_type(program, types):
    _, string, dictionary = types
    word = program.word
    assert named(program, program.chunk(1, string, 3, 4)) == Type("str", "CPython", 0)
    tracked = program.chunk(NUMBER, 0, 5, dictionary, 3, 4)
    assert named(program, tracked) == Type("dict", "CPython", 2 * word)
    attributes = program.chunk(0, 0, NUMBER, 0, 1, dictionary, 7)
    assert named(program, attributes) == Type("dict", "CPython", 4 * word)


def test_a_type_where_no_object_has_it_tells_nothing(program, types):
    _, string, dictionary = types
    for words in (
        (0, string, 3, 4),  # it has no reference
        (1, dictionary, 3, 4),  # the collector's header is missing
        (NUMBER, 0, 1, string, 4),  # and here it is one too many
        (7, 7, string, 4),
    ):
        assert code(program, program.chunk(*words)) is not Code.PYTHON


def test_a_class_that_the_program_made_is_a_type_too(program, types):
    kind, *_ = types
    words = program.type_words("module.Dog", kind, tracked=True, meta=False)
    made = program.chunk(NUMBER, 0, *words)
    assert named(program, made) == Type("type", "CPython", 2 * program.word)
    dog = program.chunk(NUMBER, 0, 1, made + 2 * program.word, 7)
    assert named(program, dog) == Type("module.Dog", "CPython", 2 * program.word)


def test_a_type_must_be_of_a_type(program):
    strange = program.a_type("strange", of=program.data(5, 6, 7))
    own = program.a_type("circle")
    for kind in (strange, own):
        assert code(program, program.chunk(1, kind, 3, 4)) is not Code.PYTHON


def test_a_frame_of_a_coroutine_begins_with_its_functions(program):
    actor = program.function("_ZN3zoo5countEPZNS_5countElE18_ZN3zoo5countEl.Frame.actor")
    frame = program.chunk(actor, program.function(), 7, 8)
    assert named(program, frame) == Type("coroutine frame of _ZN3zoo5countEl", "code", 0)


def test_a_chunk_that_begins_with_code_is_named_by_its_function(program):
    assert named(program, program.chunk(program.function("run"), 7, 8)).name.endswith(": run")
    nameless = named(program, program.chunk(program.function(), 7, 8))
    assert nameless.name.startswith("leads to code: program+0x")


def tree(program, header, colours=(1, 0, 1)):
    """Return three nodes of a map, the root first."""
    root, left, right = (program.chunk(0, 0, 0, 0, 7) for _ in range(3))
    links = ((root, header, left, right), (left, root, 0, 0), (right, root, 0, 0))
    little = program.word == 4 or program.machine.byteorder == "little"
    for (node, *others), colour in zip(links, colours):
        program.put(node, (colour if little else colour << 32, *others))
    return root, left, right


def test_nodes_of_a_map_lead_to_each_other(program):
    header = program.data(0, 0, 0, 0)
    nodes = tree(program, header)
    program.put(header + program.word, (nodes[0],))
    assert [code(program, node) for node in nodes] == [Code.TREE_NODE] * 3


def test_a_node_that_contradicts_is_none(program):
    header = program.data(0, 0, 0, 0)
    root, left, right = tree(program, header)
    assert code(program, root) is not Code.TREE_NODE  # the head leads elsewhere
    program.put(header + program.word, (root,))
    program.put(left + program.word, (right,))
    assert code(program, root) is not Code.TREE_NODE  # a child has another parent
    assert code(program, left) is not Code.TREE_NODE
    assert code(program, right) is Code.TREE_NODE


def test_a_colour_is_0_or_1(program):
    header = program.data(0, 0, 0, 0)
    nodes = tree(program, header, (2, 3, 1))
    program.put(header + program.word, (nodes[0],))
    assert [code(program, node) is Code.TREE_NODE for node in nodes] == [False, False, True]


def test_nodes_of_a_list_lead_to_each_other(program):
    head = program.data(0, 0)
    nodes = [program.chunk(0, 0, 7) for _ in range(3)]
    ring = [head, *nodes]
    for i, each in enumerate(ring):
        program.put(each, (ring[(i + 1) % 4], ring[i - 1]))
    assert [code(program, node) for node in nodes] == [Code.LIST_NODE] * 3
    program.put(head + program.word, (5,))
    assert [code(program, node) is Code.LIST_NODE for node in nodes] == [True, True, False]


def dict_table(program, log2, kind, entries, short=0):
    """Add the table of a dict of CPython 3.11, of that size or of some words less."""
    word = program.word
    words = [3, log2 | log2 + (log2 > 7) << 8 | kind << 16 | 0xF8 << 24]
    words += [7] * (word == 4)
    words += [(2 << log2) // 3 - entries, entries]
    size = (1 << log2 + (log2 > 7)) + (2 << log2) // 3 * (3 if kind == 0 else 2) * word
    return program.chunk(*words, *[NUMBER] * (-(-size // word) - short))


@pytest.mark.parametrize(("log2", "kind"), [(3, 0), (3, 1), (5, 2), (8, 1), (9, 0)])
def test_the_table_of_a_dict_is_as_large_as_it_says(program, log2, kind):
    of_dicts = code(program, dict_table(program, log2, kind, 4)) is Code.DICT_TABLE
    assert of_dicts is (program.machine.byteorder == "little")
    others = [dict_table(program, log2, kind, 4, 1), dict_table(program, log2, kind, 1 << log2)]
    assert Code.DICT_TABLE not in [code(program, each) for each in others]


def test_before_python_3_11_the_table_of_a_dict_leads_to_a_function(program):
    number = 8 // program.word + 5 * 3
    words = [1, 8, program.function("lookdict"), 3, 2, *[NUMBER] * number]
    of_dicts = code(program, program.chunk(*words)) is Code.DICT_TABLE
    assert of_dicts is (program.machine.byteorder == "little")
    assert code(program, program.chunk(1, 8, 0, 3, 2, *words[5:])) is not Code.DICT_TABLE


def test_what_has_the_head_of_an_empty_list_or_many_nodes_is_no_node(program):
    empty, pool = program.chunk(0, 0, 7), program.chunk(0, 0, 7, 0, 0, 7)
    program.put(empty, (empty, empty))
    second = pool + 3 * program.word
    program.put(pool, (second, second))
    program.put(second, (pool, pool))
    assert Code.LIST_NODE not in (code(program, empty), code(program, pool))


@pytest.mark.parametrize(
    ("data", "words", "found"),
    [
        (b"GET /index.html\r\n\0", 4, (Code.TEXT, 1)),
        (b"name\0", 10, (Code.BEGINS_WITH_TEXT, 1)),
        ("naïve café über alles".encode(), 3, (Code.TEXT, 2)),
        (b"no text \x80 at all......\0", 4, None),
        (b"no\x01text", 4, None),
        (b"abc\0", 4, None),
    ],
)
def test_text_ends_with_a_zero_or_the_chunk(data, words, found):
    program = Program()
    assert text_in(program.piece(program.text(data, words)).head, True) == (
        None if found is None else Key(*found)
    )


@pytest.mark.parametrize("little", [True, False])
def test_utf_16_is_text_of_letters(little):
    order = "utf-16-le" if little else "utf-16-be"
    assert text_in("Größe, Ωμέγα\0".encode(order), little) == Key(Code.TEXT, 3)
    assert text_in("()!?12345 67890\0".encode(order), little) is None
    assert text_in("abc\0\0\0".encode(order), little) is None


def test_text_is_looked_at_up_to_a_bound():
    assert text_in(("x" + "é" * 400).encode()[:WINDOW], True) == Key(Code.TEXT, 2)
    assert text_in(b"x" * WINDOW, True) == Key(Code.TEXT, 1)
    assert text_in(b"x" * (WINDOW - 1) + b"\1", True) is None
    assert text_in("xé".encode()[:2] + b"xxxx", True) is None


def test_a_pointer_is_no_text():
    """The heap of a program often lies where an address reads as text, such as 0x5555559fd520."""
    program = Program()
    assert text_in(bytes.fromhex("20d59f5555550000") + b"\1" * 16, True)
    around = program.around()
    around.heaps.has = lambda address: address >> 32 == 0x5555
    pointer = program.chunk(0x5555559FD520, 0x0101, 0x0101)
    assert program.recognised(pointer, around).key.code is Code.SIGNATURE


def test_zeros_and_pointers_only(program):
    one = program.chunk(0, 0, 0, 0)
    assert code(program, one) is Code.ZEROS
    variable = program.data(1)
    assert code(program, program.chunk(one, 0, variable, one)) is Code.POINTERS
    assert code(program, program.chunk(one, 0, program.function(), one)) is Code.SIGNATURE
    assert code(program, program.chunk(one, 0, 1, one)) is Code.SIGNATURE


def test_a_table_of_functions_names_what_begins_with_it(program):
    table = program.data(program.function(), symbol="file_operations")
    chunk = program.chunk(table, 3, 5)
    assert named(program, chunk) == Type("begins with &file_operations", "symbol", 0)


def test_a_signature_says_the_size_and_what_its_words_are(program):
    chunk = program.chunk(0, program.chunk(0, 0, 0), 5, 6)
    assert code(program, chunk) is Code.SIGNATURE
    number = "number" if program.word == 8 else "bytes"
    assert named(program, chunk).name == f"{4 * program.word} bytes: 0, heap, {number}, {number}"


def test_what_has_nothing_is_not_recognised(program):
    assert program.recognised(program.chunk(5, 6, 1, 3)) == UNRECOGNISED


def test_arguments_of_a_template():
    assert arguments("a<b<c, d>, e (f, g), h>::i") == ["b<c, d>", "e (f, g)", "h"]
    assert arguments("plain") == ["plain"]
