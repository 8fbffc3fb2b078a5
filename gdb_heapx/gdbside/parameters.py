"""The declared preferences as gdb's parameters: set heapx, show heapx."""

from __future__ import annotations

import re

import gdb

from ..errors import HeapxError
from ..preferences import PREFERENCES, Preference
from ..target import Given


class _Prefix(gdb.Command):
    """Settings of heapx."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        super().__init__(f"{verb} heapx", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        for preference in PREFERENCES:
            gdb.execute(f"show heapx {preference.name}")


class _Parameter(gdb.Parameter):
    """One preference as gdb sees it."""

    def __init__(self, declared: Preference) -> None:
        self.set_doc = f"Set {declared.help}."
        self.show_doc = f"Show {declared.help}."
        self.__doc__ = declared.detail
        self._declared = declared
        super().__init__(f"heapx {declared.name}", gdb.COMMAND_DATA, gdb.PARAM_STRING_NOESCAPE)
        self.value = ""
        self._before = ""

    def get_set_string(self) -> str:
        if self._declared.kind == "release" and self.value and not _release(self.value):
            wrong, self.value = self.value, self._before
            raise gdb.GdbError(f"{wrong!r} is not a release of glibc, such as 2.36.")
        self._before = self.value
        return ""

    def get_show_string(self, value: str) -> str:
        return f"{self._declared.help}: {value or 'not set'}."


def _release(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def register() -> None:
    """Make the preferences gdb's."""
    for verb in ("set", "show"):
        _Prefix(verb)
    for preference in PREFERENCES:
        _Parameter(preference)


def given() -> Given:
    """Return what the user says of glibc malloc; HeapxError where an address makes no sense."""
    return Given(_address("main-arena"), _address("mp"), _release(_value("release")))


def _value(name: str) -> str:
    return gdb.parameter(f"heapx {name}") or ""


def _address(name: str) -> int | None:
    text = _value(name)
    try:
        return int(gdb.parse_and_eval(text)) % (1 << 64) if text else None
    except gdb.error as error:
        raise HeapxError(
            f"heapx {name} is set to {text!r}: {error}", f"set heapx {name} ADDRESS"
        ) from None
