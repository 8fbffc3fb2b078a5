"""The arrows between modules, read with ast: imports go down one list only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gdb_heapx"
ORDER = (
    *(
        "__init__",
        "errors",
        "ending",
        "layout",
        "space",
        "mapped",
        "elf",
        "corefile",
        "images",
        "target",
        "pages",
        "procfs",
        "leaders",
    ),
    *("glibc", "loader", "structure", "locate", "allocators"),
    *("nptl", "holes", "lists", "arenas", "bins", "threadvars", "caches", "scan", "walk", "heaps"),
    *("mmapped", "outline", "motion"),
    *(
        "trim",
        "census",
        "presence",
        "figures",
        "reading",
        "malloc",
        "proof",
        "regions",
        "snapshots",
        "ledger",
        "report",
        "origins",
        "thresholds",
        "case",
        "settings",
        "spread",
        "causes",
        "chunk",
        "inventory",
        "catalogue",
        "meanings",
        "style",
        "tables",
        "text",
        "render",
        "arguments",
        "preferences",
        "output",
    ),
    # The package `commands` itself is empty: `command` only lists its modules.
    *(
        "commands",
        "command",
        "manual",
        "completions",
        "commands.__init__",
        "commands.arenas",
        "commands.health",
    ),
    *(
        "commands.lists",
        "commands.chunks",
        "commands.overview",
        "commands.ledger",
        "commands.trim",
        "commands.threads",
        "commands.sizes",
        "commands.params",
        "gdbside.__init__",
        "gdbside.strings",
        "gdbside.values",
        "gdbside.debuginfo",
        "gdbside.frames",
        "gdbside.inferior",
        "gdbside.parameters",
        "gdbside.printers",
        "gdbside.calls",
        "gdbside.session",
        "api",
        "gdbside.functions",
        "gdbside.commands",
        "gdbside.batch",
        "asking",
        "shell",
        "__main__",
    ),
)
EDGE = ("gdbside.", "asking", "shell", "__main__")


def modules() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths)}


MODULES = modules()


def imports(tree: ast.Module, name: str) -> set[str]:
    """Return what a module imports: the package's modules with a leading dot."""
    found: set[str] = set()
    for node in ast.walk(tree):
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
    inner = f"{base}.{name}" if base else name
    return inner if inner in ORDER else base or "__init__"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_its_place(name):
    assert name in ORDER


@pytest.mark.parametrize("name", MODULES)
def test_imports_only_go_down(name):
    inside = [i[1:] for i in imports(MODULES[name], name) if i.startswith(".")]
    higher = [i for i in inside if ORDER.index(i) >= ORDER.index(name)]
    assert not higher or (name, set(higher)) == ("__init__", {"api"})  # the front door, when asked


COMMANDS = [name for name in MODULES if name.startswith("commands.")]


def test_commands_share_only_what_arenas_has():
    found = {i for n in COMMANDS for i in imports(MODULES[n], n) if i.startswith(".commands.")}
    assert found == {".commands.arenas"}


def test_only_gdbside_imports_gdb():
    found = {name for name, tree in MODULES.items() if "gdb" in imports(tree, name)}
    assert found
    assert all(name.startswith("gdbside.") for name in found)


def libraries(tree: ast.Module) -> set[str]:
    """Return the libraries that a module asks style.library for, by their first names."""
    called = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    asked = [c.args[0] for c in called if isinstance(c.func, ast.Name) and c.func.id == "library"]
    return {a.value.partition(".")[0] for a in asked if isinstance(a, ast.Constant)}


def test_only_the_rooms_of_text_ask_for_tabulate_and_pygments():
    """By style.library, since both may be missing: an import would need them."""
    asked = {name: libraries(tree) for name, tree in MODULES.items()}
    assert {name for name, found in asked.items() if found} == {"style", "tables", "text", "render"}
    assert set.union(*asked.values()) == {"tabulate", "pygments"}
    for name, tree in MODULES.items():
        roots = {i.partition(".")[0] for i in imports(tree, name)}
        assert roots.isdisjoint({"tabulate", "pygments"}), name


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(EDGE)])
def test_nothing_below_the_edge_prints_or_exits(name):
    called = [n.func for n in ast.walk(MODULES[name]) if isinstance(n, ast.Call)]
    names = {f.id for f in called if isinstance(f, ast.Name)}
    dotted = {ast.unparse(f) for f in called if isinstance(f, ast.Attribute)}
    assert names.isdisjoint({"print", "exit", "quit"})
    assert dotted.isdisjoint({"sys.exit", "sys.stdout.write", "sys.stderr.write", "os._exit"})


@pytest.mark.parametrize("name", MODULES)
def test_no_module_catches_everything(name):
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            assert ast.unparse(node.type) not in ("Exception", "BaseException")
