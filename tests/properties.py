"""How often a property is tried: all its examples in the long run, which HEAPX_FUZZ asks for."""

from __future__ import annotations

import os

from hypothesis import settings

IN_CI = os.environ.get("CI") == "true"  # there hypothesis takes the same examples each time
SHARE = 1 if "HEAPX_FUZZ" in os.environ else 4 if IN_CI else 16
LEAST = 5  # examples


def tried(examples: int, deadline: int | None = None) -> settings:
    """Try a property on so many examples in the long run, else on a part of them."""
    return settings(max_examples=max(examples // SHARE, LEAST), deadline=deadline)
