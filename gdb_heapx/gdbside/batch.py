"""The other end of the shell command: it gets a request, and answers from gdb in batch mode.

Little is imported here: the rest is, in a thread, while gdb reads symbols.
"""

from __future__ import annotations

import gc
import os
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread

import gdb

from ..ending import EndedError, end_by_exception, let_through, without_signals
from ..target.procfs import mapped_files
from .strings import quoted, said
from .talk import Talk

LIBRARIES = re.compile(r"/(libc|libpthread|ld|libc_malloc_debug)[-.0-9][^/]*$")


def serve(descriptor: int) -> None:
    """Answer the request that the shell command sends through a socket.

    It has started gdb with ENDING held back: they come through now, and while the process is
    looked at, but not while gdb attaches to it or lets it go.
    """
    talk = Talk(descriptor)
    gc.disable()  # of a hundred thousand objects that last it takes a fifth of the time
    try:
        talk.say(ready=True)
        request = talk.request()
        end_by_exception()
        talk.watch(killable=not request["acts"])
        with let_through():
            imports = _import_meanwhile(request["words"])
            read_symbols(request["pid"], request.get("watches", False))
            imports.join()  # else a process would stand still for it
            from .answering import answer

            result = answer(request, talk)
    except KeyboardInterrupt as ended:  # of gdb's own, too, which it makes of ours
        result = {"ended": ended.number if isinstance(ended, EndedError) else signal.SIGINT}
    with suppress(EndedError):
        talk.say(result=result)
    if not any(inferior.pid for inferior in gdb.inferiors()):  # nothing is to be let go of
        os._exit(0)  # the kernel frees at once what gdb would free piece by piece


def _import_meanwhile(words: Sequence[str]) -> Thread:
    """Begin to import what answers: while gdb runs a command, other threads of Python go on
    (gdb/python/python.c, gdbpy_allow_threads). None of that asks gdb for anything.
    """

    def imports() -> None:
        from ..cli.given import import_for
        from ..commands import load_for
        from ..records import make_all
        from . import answering, session  # noqa: F401

        load_for(words)
        import_for(words)
        make_all()

    with without_signals():
        thread = Thread(target=imports, daemon=True)
        thread.start()
    return thread


def read_symbols(pid: int | None, all_files: bool) -> None:
    """Read the symbols of glibc's own files, or of all, while the process still runs.

    gdb keeps what it has read of a file, here for inferiors that are never run: then the attach
    takes a tenth of the time.
    """
    for name, inode in mapped_files(pid).items() if pid else ():
        with suppress(OSError, gdb.error):
            if (all_files or LIBRARIES.search(name)) and os.stat(name).st_ino == inode:
                said(f"add-inferior -no-connection -exec {quoted(name)}")
