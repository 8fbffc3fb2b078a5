"""Nothing is run that the user did not name: a tripwire lies under every name that Python or gdb
might look for in the working directory, in PYTHON*, and beside what is inspected.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from live import HEAPX, LOADER, ROOT, environment, gcore, gdb, heapx, kernel_core, run, running

pytestmark = pytest.mark.live

PACKAGES = ("gdb_heapx", "gdb", "tabulate", "pygments", "sitecustomize", "usercustomize")
STDLIB = getattr(sys, "stdlib_module_names", ())  # from Python 3.10
GDB_FILES = (".gdbinit", "gdbinit", ".gdbearlyinit", ".config/gdb/gdbinit", "gdb/gdbinit")


class Tripwires:
    """A directory of traps; what ran leaves its name in the file `tripped`."""

    def __init__(self, directory):
        self.directory = directory
        self.tripped = directory / "tripped"
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def python(self):
        """A line of Python that leaves a trace, with what imports or runs it."""
        return f"open({str(self.tripped)!r}, 'a').write(__name__ + '\\n')\n"

    @property
    def gdb_line(self):
        return f"shell echo gdb >>'{self.tripped}'\n"

    def lay_modules(self, where):
        """Lay every name that Python may import, as a module and as a package."""
        where.mkdir(parents=True, exist_ok=True)
        for name in {*STDLIB, "json", "argparse", "glob", *PACKAGES}:
            (where / f"{name}.py").write_text(self.python)
        for name in PACKAGES:
            (where / name).mkdir()
            (where / name / "__init__.py").write_text(self.python)
        return where

    def lay_gdb_files(self, where):
        """Lay the files that gdb reads when it starts."""
        for name in GDB_FILES:
            file = where / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.gdb_line)
        return where

    def lay_beside(self, file):
        """Lay the scripts that gdb may load for a program: beside it, and in a section of it."""
        Path(f"{file}-gdb.py").write_text(self.python)
        Path(f"{file}-gdb.gdb").write_text(self.gdb_line)
        inside = self.directory / "section"
        inside.write_text(f"\4inside\n{self.python}\0")  # SECTION_SCRIPT_ID_PYTHON_TEXT
        section = f".debug_gdb_scripts={inside}"
        assert run(("objcopy", "--add-section", section, file)).status == 0

    def check(self):
        assert not self.tripped.exists(), self.tripped.read_text()


@pytest.fixture
def trap(tmp_path):
    tripwires = Tripwires(tmp_path / "trap")
    yield tripwires
    tripwires.check()


def test_a_tripwire_trips(trap):
    """Else no other test here could fail."""
    modules = trap.lay_modules(trap.directory / "modules")
    run((sys.executable, "-c", "import tabulate"), cwd=modules)  # which it may not survive
    assert trap.tripped.read_text()
    trap.tripped.unlink()
    init = trap.lay_gdb_files(trap.directory / "home") / ".gdbinit"
    assert run(("gdb", "-nx", "-batch", "-x", init)).status == 0
    assert trap.tripped.read_text() == "gdb\n"
    trap.tripped.unlink()


@pytest.fixture(scope="module")
def mixed(start_once):
    return start_once("mixed")


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """Return the heapx of a bundle; its libraries are those of this Python."""
    directory = tmp_path_factory.mktemp("bundle")
    (directory / "scripts").mkdir()
    shutil.copytree(ROOT / "gdb_heapx", directory / "gdb_heapx")
    for file in ("gdb_heapx.py", "scripts/heapx"):
        shutil.copy(ROOT / file, directory / file)
    return directory / "scripts" / "heapx"


def hostile(trap):
    """Return options to run in a directory and an environment full of tripwires."""
    modules = trap.lay_modules(trap.directory / "modules")
    home = trap.lay_gdb_files(trap.directory / "home")
    trap.lay_gdb_files(modules)
    startup = trap.directory / "startup.py"
    startup.write_text(trap.python)
    env = environment(
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / ".config"),
        PYTHONPATH=f":{modules}",
        PYTHONSTARTUP=str(startup),
        PYTHONHOME=str(modules),
        PYTHONUSERBASE=str(modules),
        PYTHONINSPECT="1",
    )
    return {"cwd": modules, "env": env}


@pytest.mark.parametrize("which", ["checkout", "bundle", "link"])
@pytest.mark.few(1)
def test_the_working_directory_and_python_variables_are_not_run(
    trap, mixed, bundled, which, tmp_path
):
    program = bundled if which == "bundle" else HEAPX
    if which == "link":
        program = tmp_path / "heapx"
        program.symlink_to(HEAPX)
    options = hostile(trap)
    result = run((program, "-p", mixed.pid, "arenas", "--format", "json"), **options)
    assert (result.status, result.err) == (0, "")
    assert result.report["problems"] == []
    assert run((program, "--help"), **options).status == 0


def test_the_working_directory_is_not_run_by_the_console_script(trap, mixed, tmp_path):
    """What pip makes of the entry point. PYTHON* are of the Python that is named in it."""
    (declared,) = (
        line for line in (ROOT / "setup.cfg").read_text().splitlines() if ":main" in line
    )
    module, function = declared.split("=")[1].strip().split(":")
    script = tmp_path / "bin" / "heapx"
    script.parent.mkdir()
    code = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    script.write_text(f"#!{sys.executable}\n{code}")
    script.chmod(0o755)
    options = hostile(trap)
    kept = {k: v for k, v in options["env"].items() if not k.startswith("PYTHON")}
    more = environment(**kept, PYTHONPATH=str(ROOT))
    result = run((script, "-p", mixed.pid, "arenas"), cwd=options["cwd"], env=more)
    assert (result.status, result.err) == (0, "")


def test_the_working_directory_is_not_run_by_sourcing_in_gdb(trap, mixed):
    modules = trap.lay_modules(trap.directory / "modules")
    result = gdb("heapx arenas", target=("-p", mixed.pid), cwd=modules)
    assert "arenas, sizes in " in result.out


@pytest.mark.slow
def test_what_lies_above_a_checkout_is_not_run_by_sourcing_in_gdb(trap, mixed, tmp_path):
    """A checkout in /tmp/x would else look into /tmp/lib, which is everybody's."""
    here = tmp_path / "x" / "heapx"
    here.mkdir(parents=True)
    shutil.copytree(ROOT / "gdb_heapx", here / "gdb_heapx")
    loader = shutil.copy(LOADER, here)
    python = gdb("python import sys; print('%d.%d' % sys.version_info[:2])").out.strip()
    for lib in ("lib/python{}/site-packages", "local/lib/python{}/dist-packages"):
        trap.lay_modules(tmp_path / lib.format(python))
    lines = (f"source {loader}", "heapx arenas")
    result = gdb(*lines, target=("-p", mixed.pid), sourced=False)
    assert "arenas, sizes in " in result.out


TRUSTING = ("--gdb-args", "-iex 'set auto-load safe-path /'")


def test_what_the_process_brings_for_gdb_is_not_run(trap, inferiors, tmp_path):
    """Even if the user's gdb trusts every directory."""
    program = shutil.copy(inferiors / "mixed", tmp_path / "mixed")
    trap.lay_beside(program)
    with running(Path(program), directory=tmp_path / "runs") as inferior:
        whole = gdb(
            "info auto-load", target=("-iex", "set auto-load safe-path /", "-p", inferior.pid)
        )
        for script in ("mixed-gdb.py", "mixed-gdb.gdb", "inside"):
            assert script in whole.out, "gdb would run it"
        trap.tripped.unlink()
        result = heapx("-p", inferior.pid, *TRUSTING, "arenas")
        core = gcore(inferior.pid, tmp_path / "core")
        trap.tripped.unlink(missing_ok=True)
        assert (result.status, result.err) == (0, "")
        assert heapx("--core", core, *TRUSTING, "arenas").status == 0
        core.unlink()


@pytest.mark.slow
def test_a_program_s_name_is_no_command(trap, inferiors, tmp_path):
    """A core names its program; to gdb what follows on a further line is another command, if the
    first one works.
    """
    shutil.copy(inferiors / "mixed", tmp_path / "mixed")
    name = f"mixed\nshell touch '{trap.tripped.name}'\n"
    program = Path(shutil.copy(inferiors / "mixed", tmp_path / name))
    with running(program, directory=tmp_path / "runs") as inferior:
        assert heapx("-p", inferior.pid, "arenas", cwd=trap.directory).status == 0
        core = kernel_core(inferior)
    assert heapx("--core", core, "arenas", cwd=trap.directory).status == 0
    assert heapx("--core", core, "--exe", program, "arenas", cwd=trap.directory).status == 0
    setting = f"release=2.36\nshell touch '{trap.tripped.name}'"
    assert heapx("--core", core, "--set", setting, "arenas", cwd=trap.directory).status == 2
    core.unlink()
