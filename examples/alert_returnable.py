#!/usr/bin/env python3
"""Tell when glibc malloc keeps more than a limit that malloc_trim would give back: for cron.

Usage: alert_returnable.py PID LIMIT      LIMIT in MiB

Prints nothing and exits with 0 below the limit; above it prints a line, which cron sends by mail,
and exits with 1. 2: it could not be told. The process stands still for as long as heapx reads it.

    */10 * * * *  root  alert_returnable.py $(pidof -s server) 500
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

HEAPX = os.environ.get("HEAPX", "heapx")
MIB = 1 << 20


def returnable(pid: str) -> int:
    """Return the bytes of RAM that malloc_trim(0) would give back; ValueError if unknown."""
    command = [HEAPX, "-p", pid, "trim", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:  # 1: the heap is damaged
        raise ValueError(done.stderr.strip() or f"heapx exited with {done.returncode}")
    amount = json.loads(done.stdout)["tables"][0]["total"]["returned"]
    if amount is None:
        raise ValueError("what malloc_trim would return is unknown")
    return int(amount)


def main(arguments: list[str]) -> int:
    """Run the check; return the exit status."""
    if len(arguments) != 2 or not all(argument.isdigit() for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    pid, limit = arguments[0], int(arguments[1])
    try:
        amount = returnable(pid)
    except (OSError, ValueError) as error:
        print(f"alert_returnable: {error}", file=sys.stderr)
        return 2
    if amount <= limit * MIB:
        return 0
    print(
        f"process {pid}: malloc_trim(0) would return {amount / MIB:,.0f} MiB of RAM, more than "
        f"{limit:,} MiB. See: heapx -p {pid} why"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
