#!/usr/bin/env python3
"""Show which chunk sizes a process holds most bytes in, as Markdown: for CI, after a load test.

Usage: largest_sizes.py PID [LIMIT]      LIMIT in MiB

With a LIMIT it exits with 1 if the program holds more than that. 2: it could not be told.

    ./server & load-test && largest_sizes.py $! 200 >>"$GITHUB_STEP_SUMMARY"
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from operator import itemgetter
from typing import Any

HEAPX = os.environ.get("HEAPX", "heapx")
MIB = 1 << 20
ROWS = "10"


def sizes(pid: str) -> dict[str, Any]:
    """Return the table `sizes` of heapx, those with most bytes in use; ValueError if there is none.

    Its total is of all sizes, in all arenas and in mappings of their own.
    """
    words = ["sizes", "--sort", "in_use", "--limit", ROWS, "--format", "json"]
    done = subprocess.run([HEAPX, "-p", pid, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:  # 1: the heap is damaged
        raise ValueError(done.stderr.strip() or f"heapx exited with {done.returncode}")
    table: dict[str, Any] = json.loads(done.stdout)["tables"][0]
    if table["total"]["in_use"] is None:
        raise ValueError("not all chunks could be counted")
    return table


def markdown(table: dict[str, Any]) -> str:
    """Return the sizes in use as a Markdown table."""
    lines = ["| chunk size | chunks in use | MiB in use |", "|---:|---:|---:|"]
    for row in filter(itemgetter("in_use"), table["rows"]):
        cells = f"{row['size']:,}", f"{row['in_use_chunks']:,}", f"{row['in_use'] / MIB:,.1f}"
        lines.append(f"| {' | '.join(cells)} |")
    total = table["total"]
    lines.append(f"| all | {total['in_use_chunks']:,} | {total['in_use'] / MIB:,.1f} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the table; return the exit status."""
    if len(arguments) not in (1, 2) or not all(argument.isdigit() for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        table = sizes(arguments[0])
    except (OSError, ValueError) as error:
        print(f"largest_sizes: {error}", file=sys.stderr)
        return 2
    print(markdown(table))
    in_use = table["total"]["in_use"]
    if len(arguments) == 1 or in_use <= int(arguments[1]) * MIB:
        return 0
    print(f"\n{in_use / MIB:,.1f} MiB are in use, more than {int(arguments[1]):,} MiB.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
