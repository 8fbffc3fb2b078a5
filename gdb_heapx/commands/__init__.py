"""The commands, one file each; importing a file declares what is in it."""

from __future__ import annotations

import importlib
import pkgutil

from ..cli.command import REGISTRY, Command


def load_commands() -> dict[str, Command]:
    """Import every module of this package, and return what they declared."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return REGISTRY
