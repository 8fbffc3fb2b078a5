"""The commands, one file each; importing a file declares what is in it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from ..cli.command import REGISTRY, Command

OVERVIEW = "overview"  # the module of the command without a name


def is_command(word: str) -> bool:
    """Tell whether this may be a command's name; none of their modules is imported."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return word in names and word != OVERVIEW and not word.startswith("_")


def load_command(word: str) -> bool:
    """Import this command's module alone, which takes half the time; tell whether there is one."""
    if word in [module.name for module in pkgutil.iter_modules(__path__)]:
        importlib.import_module(f"{__name__}.{word}")
    return f"heapx {word}" in REGISTRY


def load_for(words: Sequence[str]) -> bool:
    """Import the module alone of the command that a line names; tell whether it names one."""
    named = bool(words) and not words[0].startswith("-")
    return load_command(words[0]) if named else load_command(OVERVIEW) or "heapx" in REGISTRY


def load_commands() -> dict[str, Command]:
    """Import every module of this package, and return what they declared."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY
