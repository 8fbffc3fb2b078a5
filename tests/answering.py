"""The inside of a gdb that stays: it answers request after request (see warm.py)."""

import json
import os
import re
import subprocess
import traceback
from contextlib import suppress

import gdb

from gdb_heapx.gdbside import answering


def serve(requests, answers):
    """Answer the requests that come from a pipe, a line of JSON each, until it is closed."""
    _keep_symbols()
    with open(requests) as lines, open(answers, "w") as out:
        for line in lines:
            out.write(json.dumps(_answered(json.loads(line))) + "\n")
            out.flush()


def _keep_symbols():
    """Keep the symbols of this system's libc, by inferiors that are never run.

    Otherwise each attach reads them, which takes three times as long as all the rest.
    """
    said = subprocess.run(["ldd", f"/proc/{os.getpid()}/exe"], stdout=subprocess.PIPE, text=True)
    for file in re.findall(r"(/\S*/(?:libc|ld-linux)[-.]\S*) \(", said.stdout):
        gdb.execute(f"add-inferior -no-connection -exec {file}", to_string=True)


def _answered(request):
    """Return the answer to a request, and whether it left this gdb as it was."""
    try:
        answer = _shell(request) if "words" in request else _session(request)
        _forget()
    except Exception:
        traceback.print_exc()
        return {"result": None, "clean": False}
    return answer


def _shell(request):
    """Answer as the other end of the shell command does; what is set for it holds no longer."""
    answering._settings_known()
    before = {name: gdb.parameter(f"heapx {name}") for name, _ in request["set"]}
    talk = _Talk()
    result = answering._answer(request, talk)
    for name, value in before.items():
        gdb.execute(f"set heapx {name} {value}")
    return {"result": result, "text": "".join(talk.pieces), "clean": "status" in result}


class _Talk:
    """The line to nobody: what is said is kept."""

    def __init__(self):
        self.pieces = []
        self.write = self.pieces.append

    def flush(self):
        """Do nothing: nobody waits for a part."""


def _session(request):
    """Run lines on gdb's own stdout and stderr, as -ex does."""
    for line in request["lines"]:
        try:
            gdb.execute(line)
        except gdb.error as error:
            gdb.write(f"{error}\n", gdb.STDERR)
    gdb.flush(gdb.STDOUT)
    gdb.flush(gdb.STDERR)
    return {"clean": True}


def _forget():
    """Let go of the process or the core, and of the program."""
    for line in ("detach", "core-file", "file"):
        with suppress(gdb.error):
            gdb.execute(line, to_string=True)
    assert gdb.selected_inferior().pid == 0
