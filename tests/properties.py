"""How often a property is tried."""

from __future__ import annotations

import os

from hypothesis import settings

SHARE = 1 if os.environ.get("CI") == "true" else 8
LEAST = 5  # examples


def tried(examples: int, deadline: int | None = None) -> settings:
    """Try a property on so many examples with CI=true, else on an eighth of them."""
    return settings(max_examples=max(examples // SHARE, LEAST), deadline=deadline)
