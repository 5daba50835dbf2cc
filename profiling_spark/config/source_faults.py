"""What a source's settings cannot mean together: its format, its target, its columns and its event types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from profiling_spark.config.base import Fault, nearest
from profiling_spark.config.formats import CsvOptions
from profiling_spark.config.targets import IGNORED, REQUIRED, ROW_ID, TARGETS, helping, mappable
from profiling_spark.contracts.silver import EVENT_TYPES

if TYPE_CHECKING:
    from profiling_spark.config.sources import Source

_ARRAYS = ("json", "parquet", "delta")
_LINES = ("fixed", "pattern")


def source_faults(source: Source) -> Iterator[Fault]:
    """Every fault of one source."""
    yield from _of_format(source)
    yield from _of_fill_down(source)
    yield from _of_columns(source)
    yield from _of_deliveries(source)
    yield from _of_event_types(source)


def _of_format(source: Source) -> Iterator[Fault]:
    lines = source.lines
    format_ = (("format",),)
    if source.format == "fixed" and not lines.places:
        yield Fault(("lines", "places"), "is empty: say where each column begins and ends", format_)
    if source.format == "pattern" and lines.pattern is None:
        yield Fault(("lines", "pattern"), "is absent: its named groups are the columns", format_)
    if lines.array is not None and source.format not in _ARRAYS:
        message = f"lines {lines.array!r}: the path of an array is for json, parquet and delta, not for {source.format}"
        yield Fault(("lines",), message, format_)
    if source.format != "csv" and source.csv != CsvOptions():
        yield Fault(("csv",), f"these options are for the format csv, not for {source.format}", format_)
    if lines.places and source.format != "fixed":
        yield Fault(("lines", "places"), f"places are for the format fixed, not for {source.format}", format_)
    if lines.pattern is not None and source.format != "pattern":
        yield Fault(("lines", "pattern"), f"a pattern is for the format pattern, not for {source.format}", format_)
    if lines.header and source.format not in _LINES:
        yield Fault(("lines", "header"), f"is for the formats fixed and pattern, not for {source.format}", format_)


def _of_fill_down(source: Source) -> Iterator[Fault]:
    if source.fill_down is None:
        return
    if source.format == "delta":
        message = "rows of a Delta table have no order; fill the values in where it is written"
        yield Fault(("fill_down",), f"fill_down: {message}", (("format",),))
    if source.lines.array is not None:
        message = "fill_down and the lines of an array do not go together: an element has its parent's row"
        yield Fault(("fill_down",), message, (("lines",),))


def _of_columns(source: Source) -> Iterator[Fault]:
    target = (("target",),)
    allowed = (*mappable(source.target), *helping(source.target))
    unknown = [c for c in source.columns if c not in allowed]
    if unknown:
        near = nearest(unknown[0], allowed)
        message = f"columns {unknown} are not in {source.target}; allowed: {', '.join(allowed)}{near}"
        yield Fault(("columns", unknown[0]), message, target)
    missing = [c for c in REQUIRED[source.target] if c not in source.columns]
    if missing:
        yield Fault(("columns",), f"columns lacks {missing}, which {source.target} needs", target)
    if source.repeats == "count" and (source.target not in ROW_ID or source.has_own_id):
        message = "repeats: count is for events and reviews without an id of their own (event_id, review_id)"
        yield Fault(("repeats",), message, (*target, ("columns",)))
    times = [c.name for c in TARGETS[source.target].columns if c.type == "timestamp"]
    no_time = [c for c in source.epochs if c not in times or c not in source.columns]
    if no_time:
        message = f"epochs {no_time}: expected columns that are mapped and times ({', '.join(times)})"
        yield Fault(("epochs",), message, (*target, ("columns",)))


def _of_deliveries(source: Source) -> Iterator[Fault]:
    target = (("target",),)
    if not source.has_versions:
        message = f"snapshot and delivered_at are for users and items, not for {source.target}"
        if source.snapshot:
            yield Fault(("snapshot",), message, target)
        if source.delivered_at is not None:
            yield Fault(("delivered_at",), message, target)
    if source.snapshot and "valid_from" in source.columns:
        message = "snapshot is for sources without valid_from: leave that column out, deliveries tell the time"
        yield Fault(("snapshot",), message, (("columns", "valid_from"),))


def _of_event_types(source: Source) -> Iterator[Fault]:
    target = (("target",),)
    if source.target != "events":
        message = "event_types, covers and negative_figures are for sources of events only"
        given = {
            "event_types": bool(source.event_types),
            "covers": source.covers is not None,
            "negative_figures": source.negative_figures != "refuse",
        }
        yield from (Fault((key,), message, target) for key, is_given in given.items() if is_given)
        return
    if not source.event_types:
        message = "event_types is empty: map each of the source's event words to a canonical type"
        yield Fault(("event_types",), message, target)
    allowed = (*EVENT_TYPES, IGNORED)
    for word, event_type in source.event_types.items():
        if event_type not in allowed:
            message = f"no event type; allowed are {', '.join(EVENT_TYPES)} and {IGNORED}{nearest(event_type, allowed)}"
            yield Fault(("event_types", word), message, target)
    if source.negative_figures == "as_refund" and "purchase" not in source.event_types.values():
        message = "as_refund makes refunds of purchases, and no word of event_types means purchase"
        yield Fault(("negative_figures",), message, (("event_types",),))
