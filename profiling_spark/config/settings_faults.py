"""What settings of several parts cannot mean together: names that refer to nothing, days that nobody has, and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from profiling_spark.config.base import Fault, Keys, nearest
from profiling_spark.config.features import custom_faults, is_numeric
from profiling_spark.config.prepare import prepare_faults
from profiling_spark.config.targets import IGNORED
from profiling_spark.contracts.features import user_features_columns
from profiling_spark.contracts.gold import tag_columns

if TYPE_CHECKING:
    from profiling_spark.config.settings import Settings

_PLACE = re.compile(r"\{(\w+)\}")
# on these rests which columns user_features has
_FEATURES: tuple[Keys, ...] = (("windows_days",), ("custom_features",))


def settings_faults(settings: Settings) -> Iterator[Fault]:
    """Every fault of the settings as a whole."""
    if settings.currency in settings.exchange_rates:
        message = f"exchange_rates {settings.currency}: expected other currencies than the reporting one"
        yield Fault(("exchange_rates", settings.currency), message, also=(("currency",),))
    own = tuple(custom_faults(settings.custom_features, settings.windows_days))
    yield from own
    if not own:
        features = user_features_columns(settings.windows_days, settings.custom_features)
        types = {c.name: c.type for c in features}
        yield from prepare_faults(settings.prepare, types)
        yield from _of_segments(settings, types)
        yield from _of_reasons(settings, {c.name: c.type for c in tag_columns(features)})
    yield from _of_authority(settings)
    yield from _of_same_files(settings)
    yield from _of_days(settings)
    yield from _of_precedence(settings)


def _of_segments(settings: Settings, types: Mapping[str, str]) -> Iterator[Fault]:
    numeric = [name for name, kind in types.items() if is_numeric(kind)]
    for place, name in enumerate(settings.segments.features):
        if name not in numeric:
            found = types.get(name, "no such column")
            near = "" if name in types else nearest(name, numeric)
            message = f"{name}: expected a numeric column of user_features, found {found}{near}"
            yield Fault(("segments", "features", str(place)), message, _FEATURES)


def _of_reasons(settings: Settings, types: Mapping[str, str]) -> Iterator[Fault]:
    for name, tag in settings.profile.tags.items():
        for column in dict.fromkeys(_PLACE.findall(tag.reason)):
            if column not in types:
                message = f"{{{column}}} is no column of the profile{nearest(column, types)}"
                yield Fault(("profile", "tags", name, "reason"), message, _FEATURES)


def _of_authority(settings: Settings) -> Iterator[Fault]:
    for (first, one), (second, other) in combinations(settings.sources.items(), 2):
        shared = sorted(one.supplied & other.supplied)
        if not shared:
            continue
        sources: tuple[Keys, ...] = (("sources", first), ("sources", second))
        twice = f"event type {shared[0]} comes from two sources, {first} and {second}"
        if one.covers is None or other.covers is None:
            message = (
                f"{twice}: declare it {IGNORED} in one of them, or customers are counted twice; or say which part "
                f"comes from each by channel, as in sources.{first}.covers: {{channel: web}}, or by days, as in "
                "{last_date: 2025-06-30} and {first_date: 2025-07-01}"
            )
            yield Fault(("sources", second, "event_types"), message, sources)
        elif one.covers.overlaps(other.covers):
            message = f"{twice}, and what they cover overlaps: expected different channels, or days that do not overlap"
            yield Fault(("sources", second, "covers"), message, sources)


def _of_same_files(settings: Settings) -> Iterator[Fault]:
    """A review has no event type, by which two sources of the same rows would be seen."""
    reviews = [(name, s) for name, s in settings.sources.items() if s.target == "reviews"]
    for (first, one), (second, other) in combinations(reviews, 2):
        if (one.path, one.where, one.lines.array) == (other.path, other.where, other.lines.array):
            message = f"reads the same rows as source {first}, so that each review would count twice: give each a where"
            yield Fault(("sources", second, "path"), message, (("sources", first), ("sources", second)))


def _of_days(settings: Settings) -> Iterator[Fault]:
    earliest, latest = settings.ingest.earliest_event_date, settings.ingest.latest_event_date
    for name, source in settings.sources.items():
        here = ("sources", name, "covers")
        if source.covers is None:
            continue
        last, first = source.covers.last_date, source.covers.first_date
        if last is not None and last < earliest:
            message = f"lies before ingest.earliest_event_date {earliest}, so that the source gives nothing"
            yield Fault((*here, "last_date"), message, (("ingest", "earliest_event_date"),))
        if first is not None and latest is not None and first > latest:
            message = f"lies after ingest.latest_event_date {latest}, so that the source gives nothing"
            yield Fault((*here, "first_date"), message, (("ingest", "latest_event_date"),))


def _of_precedence(settings: Settings) -> Iterator[Fault]:
    for place, name in enumerate(settings.ingest.precedence):
        if name not in settings.sources:
            known = f"there are {', '.join(settings.sources)}{nearest(name, settings.sources)}"
            message = f"ingest.precedence {name}: no such source; {known}"
            yield Fault(("ingest", "precedence", str(place)), message, (("sources",),))
