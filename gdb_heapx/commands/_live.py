"""What the first screen and `heapx why` tell of what is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..held.held import Held
    from ..reach.brief import Brief


def brief_of(held: Held | None) -> Brief | None:
    """Return what is in use, in brief; None where it isn't held."""
    if held is None:
        return None
    from ..reach.brief import in_brief  # most processes have too much in use for it

    return in_brief(held)
