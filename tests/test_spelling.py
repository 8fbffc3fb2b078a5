"""Names of C++ are spelled as the source has them, and else left as they are."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from gdb_heapx.target.spelling import spelled

STRING = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"


@pytest.mark.parametrize(
    "source",
    [
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
    ],
)
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_what_a_compiler_makes_of_a_type_is_spelled_as_in_the_source(source, tmp_path):
    headers = "deque forward_list functional list map memory queue set string unordered_map"
    program = [f"#include <{name}>" for name in (*headers.split(), "unordered_set", "vector")]
    program += ["template <class T> void f(T *) {}", f"template void f({source} *);"]
    (tmp_path / "t.cc").write_text("\n".join(program))
    subprocess.run(["g++", "-std=c++17", "-c", "t.cc"], cwd=tmp_path, check=True)
    said = subprocess.run(
        ["nm", "-C", "t.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    names = [line.partition(" W ")[2] for line in said.stdout.splitlines()]
    (name,) = (name for name in names if name.startswith("void f<"))
    assert spelled(name) == f"void f<{source}>({source}*)"


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
