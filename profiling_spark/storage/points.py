"""Named points before and after everything that a run writes: where tests stop it, or make it fail."""

from __future__ import annotations

from collections.abc import Callable


def _go_on(point: str) -> None:
    """What happens at a point where nobody tests."""


at: Callable[[str], None] = _go_on
"""Called as `points.at("before commit of events")`, so that a test can put another function in its place."""
