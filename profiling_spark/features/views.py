"""Composite views: fixed lists of user_features columns that look at a customer from one side."""

from __future__ import annotations

from profiling_spark.errors import ConfigError
from profiling_spark.feature_catalogue.entries import ENTRIES
from profiling_spark.features.windows import windowed

# view: (what it shows, aspect: stems of the features)
VIEWS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "U": (
        "behaviour",
        {
            "browse": ("views", "favorites", "sessions", "session_seconds"),
            "search": ("searches",),
            "purchase": ("carts", "purchases", "items_bought"),
        },
    ),
    "S": (
        "social attributes",
        {"age": ("age", "age_band"), "gender": ("gender_code",), "place": ("province", "city")},
    ),
    "T": (
        "consumption",
        {
            "purchase": ("recency_days", "purchases", "refunds"),
            "frequency": ("frequency", "purchase_frequency", "interpurchase_days"),
            "amount": ("monetary", "purchase_amount", "net_amount", "consumption_power"),
        },
    ),
}

_WINDOWED = {entry.name: entry.windowed for entry in ENTRIES}


def view_columns(name: str, windows: tuple[int, ...]) -> tuple[str, ...]:
    """Columns of the view `name` (U, S or T) in a user_features table with these windows, aspect by aspect."""
    if name not in VIEWS:
        raise ConfigError(f"view: expected one of {', '.join(VIEWS)}; found {name!r}")
    stems = [stem for aspect in VIEWS[name][1].values() for stem in aspect]
    return tuple(c for s in stems for c in ([windowed(s, w) for w in windows] if _WINDOWED[s] else [s]))
