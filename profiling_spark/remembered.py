"""Settings that stored rows rest on, remembered in the storage (table source_settings), as `buckets` is in the layout.

A source whose files are all taken may leave the settings: what it supplied stays known. A lake of a release that
remembered nothing takes the settings of its next ingest for what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from profiling_spark.config import Settings
from profiling_spark.config.supply import Supplier, Supply
from profiling_spark.contracts.operations import ALL_SOURCES, SOURCE_SETTINGS
from profiling_spark.errors import ConfigError
from profiling_spark.storage import Tables, literal

TARGET, COLUMNS, EVENT_TYPES = "target", "columns", "event_types"
ZONE = "business_timezone"
Remembered = Mapping[str, Mapping[str, str]]
"""By source, values by setting."""


def remembered(tables: Tables) -> dict[str, dict[str, str]]:
    """What the storage remembers; empty for a new one and for one of a release that remembered nothing."""
    found: dict[str, dict[str, str]] = {}
    for source, setting, value in _rows(tables):
        found.setdefault(source, {})[setting] = value
    return found


def _rows(tables: Tables) -> Iterable[tuple[str, str, str]]:
    return tables.rows(SOURCE_SETTINGS).select("source", "setting", "value").rows()


def remember(tables: Tables, values: Remembered) -> None:
    """Store the settings of these sources in one commit; nothing is written where all is known already."""
    known = remembered(tables)
    changed = {name: settings for name, settings in values.items() if known.get(name) != settings}
    if not changed:
        return
    rows = [(name, k, v, tables.run_id) for name, found in sorted(changed.items()) for k, v in sorted(found.items())]
    if not tables.exists(SOURCE_SETTINGS):
        tables.append_rows(SOURCE_SETTINGS, rows)
        return
    tables.replace_rows(SOURCE_SETTINGS, rows, " OR ".join(f"source = {literal(name)}" for name in sorted(changed)))


def supplier_of(values: Mapping[str, str]) -> Supplier | None:
    """What a source has supplied, by its remembered settings."""
    if TARGET not in values:
        return None
    columns, event_types = (frozenset(filter(None, values.get(k, "").split(","))) for k in (COLUMNS, EVENT_TYPES))
    return Supplier(values[TARGET], columns, event_types)


def supplied_as_text(supplier: Supplier) -> dict[str, str]:
    """The reverse of `supplier_of`."""
    return {
        TARGET: supplier.target,
        COLUMNS: ",".join(sorted(supplier.columns)),
        EVENT_TYPES: ",".join(sorted(supplier.event_types)),
    }


def supply(tables: Tables, settings: Settings) -> Supply:
    """What the stored rows rest on: what the sources of the settings give, and what others gave before.

    A source that is not required gives nothing until it has delivered: its features are null, not 0.

    Raises ConfigError where the events were dated in another zone than the settings say.
    """
    known = remembered(tables)
    check_zone(known, settings, root=tables.root)
    earlier = {name: supplier_of(values) for name, values in known.items()}
    delivers = [name for name, source in settings.sources.items() if source.required or name in known]
    today = {name: settings.suppliers[name].with_earlier(earlier.get(name)) for name in delivers}
    return Supply.of(s for s in (earlier | today).values() if s is not None)


def check_zone(known: Remembered, settings: Settings, *, root: str) -> None:
    """Raises ConfigError where stored days are those of another zone."""
    zone = known.get(ALL_SOURCES, {}).get(ZONE)
    if zone not in (None, settings.business_timezone):
        raise ConfigError(
            f"business_timezone = {settings.business_timezone}: the events in {root} are dated in {zone}, and days of "
            f"two zones cannot stand in one table; set {zone}, or ingest the source files into a new storage.root"
        )
