"""Known numbers of Python objects; they stay.

What the program knows goes to the file "known" in $HEAPX_ORACLE: `object exact N NAME`, or
`object least N NAME` of what the interpreter has, too; and `table BYTES N` of dicts' tables, of
which that may have more. Then it is "ready". With
PYTHONMALLOC=malloc each is a chunk of its own.
"""

import os
import signal
import sys
from collections import Counter


class Customer:
    """Its instances have a dict of their own, for its name isn't known to the class."""

    def __init__(self, number):
        setattr(self, f"field_{number % 100}", number)


class Slotted:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


OURS = ("Customer", "Slotted")
KNOWN = {
    "Customer": [Customer(i) for i in range(1500)],
    "Slotted": [Slotted(i) for i in range(1300)],
    "list": [[i, i + 1] for i in range(1700)],
    "set": [{i, -i} for i in range(900)],
    "bytes": [b"%08d" % i * 20 for i in range(1900)],
    "bytearray": [bytearray(b"%08d" % i) for i in range(700)],
    "str": [f"{'naïve “customer”' if i % 3 else 'customer'} {i}" * 8 for i in range(2900)],
    "dict": [{"number": i, f"key {i}": i} for i in range(1100)],
    "float": [i / 3 for i in range(2300)],
    "tables": [dict.fromkeys(range(i * 50)) for i in range(1, 40)],  # none is mmapped,
}
COLLECTED = 16  # bytes before an object that the collector tracks


def main():
    directory = os.environ.get("HEAPX_ORACLE")
    exact = {name: "exact" if name in OURS else "least" for name in KNOWN}
    tables = KNOWN["dict"] + KNOWN.pop("tables")
    lines = [f"object {exact[name]} {len(made)} {name}" for name, made in KNOWN.items()]
    sizes = Counter(sys.getsizeof(table) - dict.__basicsize__ - COLLECTED for table in tables)
    lines += [f"table {size} {number}" for size, number in sizes.items()]
    if not directory:
        print(*lines, os.getpid(), sep="\n")
    else:
        for name, text in (("known", "\n".join(lines) + "\n"), ("ready.part", f"{os.getpid()}\n")):
            with open(os.path.join(directory, name), "w") as file:
                file.write(text)
        os.rename(os.path.join(directory, "ready.part"), os.path.join(directory, "ready"))
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
