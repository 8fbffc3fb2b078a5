"""classify.c and bodies.c under AddressSanitizer and UBSan, on random heaps, some damaged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from live import ROOT, environment
from properties import SHARE
from walkcalls import sanitized_walk

HEAPS = max(40 // SHARE, 8)


@pytest.mark.slow
def test_no_access_goes_beyond_what_is_given(shared):
    file = sanitized_walk(shared)
    runtime = subprocess.check_output(("gcc", "-print-file-name=libasan.so"), text=True).strip()
    more = {"LD_PRELOAD": runtime, "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}
    command = (sys.executable, __file__, file.parent, str(HEAPS))
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        list(map(str, command)),
        env=environment(PYTHONPATH=path, **more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{HEAPS} heaps\n"


def classify_some(directory: Path, number: int) -> None:
    """Classify the chunks of so many heaps by the library in a directory."""
    from test_classify import Filled, classified
    from test_damage import damage

    from gdb_heapx.errors import HeapxError
    from gdb_heapx.heap import library

    loaded = library.load(directory)
    assert loaded.code is not None, loaded.why
    library._loaded = lambda: loaded
    for start in range(number):
        seed = random.Random(start)
        filled = Filled(seed)
        if start % 2:
            damage(seed, filled.heap)
        try:
            held, _ = classified(filled.target(True))
            assert held.table is not None
        except HeapxError:
            continue
    print(f"{number} heaps")


if __name__ == "__main__":
    classify_some(Path(sys.argv[1]), int(sys.argv[2]))
