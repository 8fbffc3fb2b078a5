"""The arrows between modules, read with ast: from folder to folder they go down one list only."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from gdb_heapx.report.notes import SENTENCES

PACKAGE = Path(__file__).parent.parent / "gdb_heapx"
# Modules and folders, from the ground up. Those of one floor don't know of each other.
FLOORS = (
    ("__init__",),
    ("ending", "lifeline"),
    ("records",),
    ("errors",),
    ("glibc",),
    ("report",),
    ("target",),
    ("locate",),
    ("heap",),
    ("snapshots",),
    ("fit",),
    ("held",),
    ("recognise",),
    ("reach",),
    ("inventory", "why", "growth"),
    ("saved",),
    ("compare",),
    ("cli",),
    ("commands",),
    ("gdbside",),
    ("api", "shell"),
    ("__main__",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MOST = 350  # lines of a module
EDGE = ("gdbside", "shell", "__main__")  # folders that print, and end the program


PATHS = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PATHS}


@cache
def trees() -> dict[str, ast.Module]:
    """Return each module's source, parsed."""
    return {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


@cache
def imports(name: str) -> set[str]:
    """Return what a module imports: the package's modules with a leading dot."""
    found: set[str] = set()
    for node in ast.walk(trees()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")[: -node.level] + (node.module or "").split(".")
            base = ".".join(filter(None, parts))
            found |= {"." + _module(base, alias.name) for alias in node.names}
    return found


def _module(base: str, name: str) -> str:
    """Return the module that `from base import name` means: a folder by its __init__."""
    inner = f"{base}.{name}" if base else name
    places = (inner, f"{inner}.__init__", base, f"{base}.__init__" if base else "__init__")
    return next(place for place in places if place in MODULES)


def folder(name: str) -> str:
    return name.partition(".")[0]


@cache
def arrows() -> list[tuple[str, str]]:
    """Return each module of the package, and each that it imports from there."""
    return sorted(
        (name, inner[1:]) for name in MODULES for inner in imports(name) if inner.startswith(".")
    )


def test_every_module_has_its_floor():
    assert {folder(name) for name in MODULES} == set(FLOOR_OF)


def test_imports_only_go_down():
    when_asked = ("__init__", "api")
    between = [(a, b) for a, b in arrows() if folder(a) != folder(b) and (a, b) != when_asked]
    assert between
    assert [(a, b) for a, b in between if FLOOR_OF[folder(b)] >= FLOOR_OF[folder(a)]] == []


def test_inside_a_folder_imports_dont_run_in_a_circle():
    inside = [(a, b) for a, b in arrows() if folder(a) == folder(b)]
    while True:
        importing = {a for a, _ in inside}
        rest = [(a, b) for a, b in inside if b in importing]
        if rest == inside:
            break
        inside = rest
    assert inside == []


def front_door(module: str) -> list[str]:
    """Return a module's __all__."""
    assigned = (node for node in trees()[module].body if isinstance(node, ast.Assign))
    values = (node.value for node in assigned if ast.unparse(node.targets[0]) == "__all__")
    return ast.literal_eval(next(values))


def test_a_folder_has_no_name_of_the_python_api():
    """Importing the folder would put it in place of the function."""
    assert front_door("__init__") == front_door("api")
    assert {folder(name) for name in MODULES}.isdisjoint(front_door("__init__"))


def test_commands_share_only_what_no_command_is_in():
    shared = {b for a, b in arrows() if folder(a) == folder(b) == "commands"}
    assert shared
    assert {name for name in shared if not name.startswith("commands._")} == set()


def tree_of(entry: str) -> set[str]:
    """Return the modules that an entry of the rooms names; brackets say what they are."""
    return set(re.sub(r"\s*\([^()]*\)", "", entry).replace("\n", " ").split(", "))


PAGE = (PACKAGE.parent / "CONTRIBUTING.md").read_text()


def rooms() -> dict[str, str]:
    """Return the entries of the tree in CONTRIBUTING.md: modules and folders, and what is said."""
    tree = PAGE.split("    gdb_heapx/\n")[1].split("\n\n")[0]
    entries = re.findall(r"^ {6}(\w+)(?:\.py|/) *(.*(?:\n {7,}.*)*)", tree, re.M)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}


def test_the_tree_names_folders_and_modules_in_the_order_of_their_floors():
    floors = [FLOOR_OF[name] for name in rooms()]
    assert floors == sorted(floors)
    assert set(FLOOR_OF) - set(rooms()) == {"__init__"}


@pytest.mark.parametrize("room", sorted({folder(name) for name in MODULES if "." in name}))
def test_the_tree_names_every_module_of_a_folder(room):
    """Those of the commands have their names."""
    here = {name.partition(".")[2] for name in MODULES if folder(name) == room} - {"__init__"}
    if room == "commands":
        here = {name for name in here if name.startswith("_")} | {"one file for each"}
    assert tree_of(rooms()[room]) == here


def places() -> list[tuple[list[str], list[str]]]:
    """Return the modules of each row of the table of changes, and what it names in them."""
    table = PAGE.split("\nWhere a change goes:\n")[1].split("\n\n[docs/adding.md]")[0]
    rows = table.split("|---|---|\n")[1].split("\n")
    return [(re.findall(r"`([\w/]+)\.py`", row), re.findall(r"`([A-Z]\w+)`", row)) for row in rows]


def test_the_places_where_a_change_goes_are_there():
    named = {module for modules, _ in places() for module in modules}
    assert len(named) > 20
    assert {module for module in named if not (PACKAGE / f"{module}.py").exists()} == set()


def test_what_a_change_is_named_in_is_there():
    sources = [
        ("".join((PACKAGE / f"{module}.py").read_text() for module in modules), names)
        for modules, names in places()
    ]
    assert [name for source, names in sources for name in names if name not in source] == []


def test_every_module_says_in_a_line_what_it_is_about():
    lines = {name: (ast.get_docstring(tree) or "").split("\n") for name, tree in trees().items()}
    good = {
        name
        for name, (first, *rest) in lines.items()
        if first.endswith(".") and (not rest or not rest[0])
    }
    assert set(MODULES) - good == set()


def test_no_module_is_longer_than_its_subject():
    long = {path.name for path in PACKAGE.rglob("*.py") if len(path.read_text().split("\n")) > MOST}
    assert long == set()


def classes() -> list[tuple[str, str]]:
    """Return the public classes with their modules."""
    return [
        (node.name, name)
        for name, tree in trees().items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_no_two_classes_have_the_same_name():
    names = [name for name, _ in classes()]
    assert [each for each in classes() if names.count(each[0]) > 1] == []


def test_data_is_asked_for_by_its_name():
    """But the API when it is first used, and tokens of pygments, which may be missing."""
    asked = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in ("getattr", "hasattr", "setattr")
        if folder(name) != "gdbside"
    }
    assert asked == {"__init__", "report.render"}


def test_before_gdb_is_started_little_is_imported():
    """Neither a command, nor what reads a heap or renders: gdb's side, another process, answers."""
    lines = ("import sys", "from gdb_heapx.shell import main", "print(*sys.modules)")
    command = [sys.executable, "-ISc", f"import sys; sys.path.insert(0, '.'); {'; '.join(lines)}"]
    imported = subprocess.check_output(command, cwd=PACKAGE.parent, text=True).split()
    own = {name.removeprefix("gdb_heapx.") for name in imported if name.startswith("gdb_heapx.")}
    assert own <= {
        "shell",
        "shell.main",
        "shell.answers",
        "shell.options",
        "shell.asking",
        "shell.starting",
        "shell.streams",
        "cli",
        "cli.arg",
        "cli.asides",
        "errors",
    } | {*("ending", "records", "target", "target.procfs")}
    assert {"shutil", "tempfile", "pathlib"}.isdisjoint(imported)


def test_declared_commands_import_nothing_that_reads_a_heap():
    """As when gdb sources heapx: what few commands need is imported when one of these is given."""
    lines = "from gdb_heapx.commands import load_commands; load_commands(); print(*sys.modules)"
    command = [sys.executable, "-ISc", f"import sys; sys.path.insert(0, '.'); {lines}"]
    imported = subprocess.check_output(command, cwd=PACKAGE.parent, text=True).split()
    own = {name.removeprefix("gdb_heapx.") for name in imported if name.startswith("gdb_heapx.")}
    declaring = ("commands", "cli", "report", "errors", "ending", "records")
    assert "commands.leaks" in own
    assert {name for name in own if folder(name) not in declaring and "." in name} == {
        *("glibc.layout", "target.amounts", "target.mappings", "heap.states", "held.root"),
        *("snapshots.regions", "reach.states", "inventory.chunk", "growth.free", "growth.watched"),
    }


def test_only_records_makes_dataclasses():
    """Whatever else does costs each command a millisecond for each class that it doesn't use."""
    made = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if "dataclass" in [alias.name for alias in node.names]
    }
    assert made == {"records"}


def test_only_gdbside_imports_gdb():
    found = {name for name in MODULES if "gdb" in imports(name)}
    assert {folder(name) for name in found} == {"gdbside"}


def libraries(tree: ast.Module) -> set[str]:
    """Return the libraries that a module asks style.library for, by their first names."""
    called = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    asked = [c.args[0] for c in called if isinstance(c.func, ast.Name) and c.func.id == "library"]
    return {a.value.partition(".")[0] for a in asked if isinstance(a, ast.Constant)}


def test_only_the_folder_report_asks_for_libraries():
    """By style.library, since all may be missing: an import would need them."""
    asked = {name: libraries(tree) for name, tree in trees().items()}
    assert {folder(name) for name, found in asked.items() if found} == {"report"}
    assert set.union(*asked.values()) == {"tabulate", "pygments", "jinja2"}
    roots = {(n, i.partition(".")[0]) for n in MODULES for i in imports(n)}
    assert {name for name, root in roots if root in ("tabulate", "pygments", "jinja2")} == set()


def test_nothing_below_the_edge_prints_or_exits():
    bare = {"print", "exit", "quit"}
    dotted = {"sys.exit", "sys.stdout.write", "sys.stderr.write", "os._exit"}
    called = {
        (name, ast.unparse(node.func))
        for name, tree in trees().items()
        if folder(name) not in EDGE
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert [(name, what) for name, what in called if what in bare | dotted] == []


def test_no_module_catches_everything():
    caught = [
        (name, node.type and ast.unparse(node.type))
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
    ]
    assert [each for each in caught if each[1] in (None, "Exception", "BaseException")] == []


def noted(tree: ast.Module) -> set[tuple[str, frozenset[str]]]:
    """Return the codes of the notes that a module makes, each with the names of its values."""
    called = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    made = [c for c in called if isinstance(c.func, ast.Name) and c.func.id == "note"]
    codes = [(c, c.args[0]) for c in made if c.args]
    return {
        (code.value, frozenset(each.arg or "" for each in call.keywords))
        for call, code in codes
        if isinstance(code, ast.Constant)
    }


def test_every_note_has_its_sentence_and_every_sentence_its_note():
    made = set().union(*map(noted, trees().values()))
    says = {
        (code, frozenset(inspect.signature(words).parameters)) for code, words in SENTENCES.items()
    }
    assert made == says
