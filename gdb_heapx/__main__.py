"""heapx in a shell: the first code that runs, before much is imported."""

import _signal  # signal, the module, takes a while
import sys

# Until there is something to put in order, a signal ends heapx, as it ends any program.
for number in (_signal.SIGINT, _signal.SIGPIPE):
    _signal.signal(number, _signal.SIG_DFL)


def main() -> int:
    """Run the shell command; return its exit status."""
    from .shell.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
