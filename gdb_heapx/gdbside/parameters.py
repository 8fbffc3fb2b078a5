"""The declared preferences as gdb's parameters: set heapx, show heapx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gdb

from ..cli.preferences import PREFERENCES, Preference, Preferred, by_name
from ..errors import HeapxError, UsageError
from .values import evaluated

if TYPE_CHECKING:
    from ..locate.release import Given


class _Prefix(gdb.Command):
    """Settings of heapx."""

    def __init__(self, verb: str) -> None:
        super().__init__(f"{verb} heapx", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        if argument:
            name = argument.split()[0]
            raise gdb.GdbError(f"heapx has no setting {name!r}. All of them: show heapx")
        for preference in PREFERENCES:
            gdb.execute(f"show heapx {preference.name}")


class _Parameter(gdb.Parameter):
    """One preference as gdb sees it; gdb checks and completes choices itself."""

    def __init__(self, declared: Preference) -> None:
        self.set_doc = f"Set {declared.help}."
        self.show_doc = f"Show {declared.help}."
        self.__doc__ = declared.documentation
        self._declared = declared
        name, choices = f"heapx {declared.name}", declared.choices()
        if choices:
            super().__init__(name, gdb.COMMAND_DATA, gdb.PARAM_ENUM, choices)
        else:
            super().__init__(name, gdb.COMMAND_DATA, gdb.PARAM_STRING_NOESCAPE)
        self.value = self._before = choices[0] if choices else ""

    def get_set_string(self) -> str:
        try:
            self._declared.parsed(self.value)
        except UsageError as error:
            self.value = self._before
            raise gdb.GdbError(f"{error}.") from None
        self._before = self.value
        return ""

    def get_show_string(self, value: str) -> str:
        return f"{self._declared.name} is {value or 'not set'}: {self._declared.help}."


def register() -> None:
    """Make the preferences gdb's."""
    for verb in ("set", "show"):
        _Prefix(verb)
    for preference in PREFERENCES:
        _Parameter(preference)


def preferred() -> Preferred:
    """Return what is set."""
    return Preferred.of({each.key: _value(each) for each in PREFERENCES})


def given() -> Given:
    """Return what the user says of glibc malloc; HeapxError where an address makes no sense."""
    from ..locate.release import Given

    known = by_name()
    return Given(_address(known["main-arena"]), _address(known["mp"]), _value(known["release"]))


def _value(preference: Preference) -> Any:
    return preference.parsed(gdb.parameter(f"heapx {preference.name}") or "")


def _address(preference: Preference) -> int | None:
    text = _value(preference)
    try:
        return evaluated(text) if text else None
    except gdb.error as error:
        raise HeapxError(
            f"heapx {preference.name} is set to {text!r}: {error}",
            f"set heapx {preference.name} ADDRESS",
        ) from None
