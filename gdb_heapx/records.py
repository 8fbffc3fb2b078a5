"""Dataclasses that are made when the first instance of them is.

To make one takes a millisecond, since dataclasses compiles six functions, and a command imports
many of which it uses a few.
"""

from __future__ import annotations

import dataclasses
from threading import RLock
from typing import TYPE_CHECKING

from .ending import held_back

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, **options):
        """Return the class, as dataclasses.dataclass does. Its instances are the same; before the
        first one, what dataclasses gives a class is there behind `made`.
        """
        if cls is None:
            return lambda decorated: dataclass(decorated, **options)

        def first(self, *args, **kwargs):
            made(cls).__init__(self, *args, **kwargs)

        cls.__init__ = first
        _unmade[cls] = options
        return cls


_unmade: dict[type, dict[str, bool]] = {}  # with the options of dataclasses.dataclass
_lock = RLock()


def make_all() -> None:
    """Make those of what was imported, where there is time for it now."""
    with _lock:
        for cls in [*_unmade]:
            made(cls)


def made(cls: type) -> type:
    """Return the class, with the fields of a dataclass if it is one."""
    # What comes by a signal would leave a class half made.
    with held_back(), _lock:
        for base in reversed(cls.__mro__):  # a class takes over the fields of its bases
            if base in _unmade:
                del base.__init__  # type: ignore[misc]
                dataclasses.dataclass(base, **_unmade[base])
                del _unmade[base]
    return cls
