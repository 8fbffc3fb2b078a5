"""Names of C++ are spelled as the source has them, and else left as they are."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from gdb_heapx.target.spelling import spelled

STRING = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"


SOURCES = (
    "std::string",
    "std::wstring",
    "std::string_view",
    "std::vector<std::string>",
    "std::vector<bool>",
    "std::list<std::deque<char>>",
    "std::forward_list<int>",
    "std::map<std::string, std::vector<std::string>>",
    "std::map<int const*, long>",
    "std::map<int, std::string, std::greater<int>>",
    "std::multimap<int const* const, char>",
    "std::set<std::string>",
    "std::unordered_map<char const*, std::wstring>",
    "std::unordered_set<std::string_view>",
    "std::queue<int>",
    "std::priority_queue<long>",
    "std::unique_ptr<int []>",
    "std::unique_ptr<int, void (*)(std::string)>",
    "std::shared_ptr<std::function<std::string (std::vector<int> const&)>>",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return what a compiler calls a function of each type, by the type."""
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler")
    directory = tmp_path_factory.mktemp("spelling")
    headers = "deque forward_list functional list map memory queue set string unordered_map"
    program = [f"#include <{name}>" for name in (*headers.split(), "unordered_set", "vector")]
    program += [
        f"template <class T> void f{number}(T *) {{}}\ntemplate void f{number}({source} *);"
        for number, source in enumerate(SOURCES)
    ]
    (directory / "t.cc").write_text("\n".join(program))
    subprocess.run(["g++", "-std=c++17", "-c", "t.cc"], cwd=directory, check=True)
    said = subprocess.check_output(["nm", "-C", "t.o"], cwd=directory, text=True)
    names = re.findall(r" W void f(\d+)(<.*)", said)
    assert len(names) == len(SOURCES)
    return {SOURCES[int(number)]: f"void f{rest}" for number, rest in names}


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_compiler_makes_of_a_type_is_spelled_as_in_the_source(made, source):
    assert spelled(made[source]) == f"void f<{source}>({source}*)"


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("response_cache[abi:cxx11]", "response_cache"),
        (f"vtable for Box<{STRING} > + 16", "vtable for Box<std::string> + 16"),
        (f"f()::{{lambda({STRING})#1}}", "f()::{lambda(std::string)#1}"),
        ("std::__1::vector<int, std::__1::allocator<int> >", "std::vector<int>"),
    ],
)
def test_what_the_abi_adds_is_left_out(name, spelling):
    assert spelled(name) == spelling


@pytest.mark.parametrize(
    "name",
    [
        "main_arena",
        "std::vector<int, mine::allocator<int>>",
        "std::vector<int, std::allocator<long>>",
        "std::vector<>",
        "mine::vector<int, std::allocator<int>>",
        "bool operator< <int>(int, int)",
        "a<b",
        "a>b<c>",
        "Bits<(Flag)1, (3>2)>",
    ],
)
def test_what_is_not_by_default_is_kept(name):
    assert spelled(name) == name
