"""What setup.cfg can't say: the walk is compiled where there is a C compiler, and a wheel's name
tells it. It is code without Python and without libc, so one wheel serves all of them.

HEAPX_MACHINE in the environment is the machine that $CC compiles for, where that isn't this one,
or `none` for a wheel of pure Python; HEAPX_PLATFORMS are the wheel's (scripts/wheels).
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import setuptools
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ABLE = sys.platform == "linux" and sys.maxsize > 1 << 32  # as gdb_heapx/heap/library.py has it
MACHINE = os.environ.get("HEAPX_MACHINE", platform.machine() if ABLE else "none")
FOLDER = Path("gdb_heapx", "heap")


class Build(build_py):
    """The package, with the compiled walk or a text that says why it has none."""

    def run(self):
        super().run()
        root = Path() if self.editable_mode else Path(self.build_lib)
        for old in () if self.editable_mode else root.joinpath(FOLDER).glob("walk-*"):
            old.unlink()
        if MACHINE != "none":
            file = (root / FOLDER / f"walk-{MACHINE}.so").absolute()
            subprocess.run(("sh", "scripts/build_walk", file), check=False)


class Wheel(bdist_wheel):
    """One for every Python of a machine, and of every machine without the compiled walk."""

    def get_tag(self):
        folder = Path(self.get_finalized_command("build_py").build_lib, FOLDER)
        if not list(folder.glob("walk-*.so")):
            return "py3", "none", "any"
        return "py3", "none", os.environ.get("HEAPX_PLATFORMS") or super().get_tag()[2]


class Distribution(setuptools.Distribution):
    def has_ext_modules(self):
        """Tell whether it goes where compiled code does."""
        return MACHINE != "none"


setuptools.setup(
    cmdclass={"bdist_wheel": Wheel, "build_py": Build}, distclass=Distribution, ext_modules=[]
)
