"""The programs that interpret: each runs a file of loads/, which says what it does."""

from __future__ import annotations

import subprocess

from .program import LOADS, Place, Program, script

R = "/usr/lib/R"  # its command is a shell script, which ends in this


def _jcmd(pid: int) -> None:
    subprocess.run(
        ["jcmd", str(pid), "System.trim_native_heap"], stdout=subprocess.DEVNULL, check=True
    )


def _compile(place: Place) -> None:
    place.run("javac", "-d", str(place.directory), str(LOADS / "Load.java"))


LANGUAGES = (
    Program(
        "python3",
        "JSON of 60,000 documents parsed and indexed; one of a thousand is kept",
        ("python3",),
        script("json_plain.py", "/usr/bin/python3"),
        ("/usr/bin/python3", "--version"),
    ),
    Program(
        "python3, threads",
        "zlib in a pool of 16 threads, which lives on",
        ("python3",),
        script("threads_zlib.py", "/usr/bin/python3"),
        ("/usr/bin/python3", "--version"),
    ),
    Program(
        "python3 + numpy",
        "6,000 arrays of 20 KB to 2 MB, 400 at a time",
        ("python3-venv",),
        script("arrays.py", "PYTHON"),
        ("PYTHON", "-c", "import numpy; print(numpy.__version__)"),
        wheels=("numpy",),
    ),
    Program(
        "python3 + pandas",
        "CSV of 150,000 rows and more read, grouped, joined and pivoted, 6 times",
        ("python3-venv",),
        script("numpy_frames.py", "PYTHON"),
        ("PYTHON", "-c", "import pandas; print(pandas.__version__)"),
        wheels=("numpy", "pandas"),
    ),
    Program(
        "node",
        "14,000 Buffers of 0.5 to 16 KB and objects in a cache, emptied",
        ("nodejs",),
        script("buffers.js", "node", "--expose-gc"),
        ("node", "--version"),
    ),
    Program(
        "java",
        "16 threads that deflate; the pool lives on",
        ("default-jdk-headless",),
        lambda place: ["java", "-Xmx128m", "-cp", str(place.directory), "Load"],
        ("java", "--version"),
        prepare=_compile,
        tools={"System.trim_native_heap": _jcmd},
    ),
    Program(
        "ruby",
        "12 threads that build, print and parse JSON; they live on",
        ("ruby",),
        script("strings.rb", "ruby"),
        ("ruby", "--version"),
    ),
    Program(
        "perl",
        "hashes of 400,000 words, three times",
        ("perl",),
        script("hashes.pl", "perl"),
        ("perl", "-e", "printf '%vd', $^V"),
    ),
    Program(
        "R",
        "data frames built, split, fitted and removed",
        ("r-base-core",),
        lambda place: [f"{R}/bin/exec/R", "--vanilla", "--no-echo", f"--file={LOADS / 'frames.R'}"],
        ("R", "--version"),
        environment={"R_HOME": R, "LD_LIBRARY_PATH": f"{R}/lib"},
    ),
)
