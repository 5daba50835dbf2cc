"""What a stage gets and gives: the run's settings, session, tables and date; what was done with how many rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.errors import InputError
from profiling_spark.progress import Progress
from profiling_spark.session import plan_for
from profiling_spark.storage import Tables
from profiling_spark.storage.upkeep import greatest

if TYPE_CHECKING:
    from profiling_spark.ingest.files.identity import Identity


@dataclass(frozen=True)
class Outcome:
    """What a stage did. `facts` go to --json; `lines` are shown under the stage on the terminal.

    `features_stale_from`: the first date already built whose features the new rows change; `features_built`: dates
    whose features were built. `skipped`: why there was
    nothing to do, exit code 0. `problem`: what a person must look at although all tables were published; the process
    ends with the exit code of InputError.
    """

    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    features_stale_from: date | None = None
    features_built: tuple[date, ...] = ()
    skipped: str = ""
    problem: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


@dataclass
class Context:
    """What a stage gets: settings, session, tables, and the date it looks from.

    `given_as_of`: the date that the caller asks for, exclusive. `refit`: models are fitted anew even where a stored one
    serves. `identities`: by source, what the ids of its rows are made of; `ingest` sets them before it reads.
    """

    settings: Settings
    spark: SparkSession
    tables: Tables
    started: datetime
    given_as_of: date | None = None
    refit: bool = False
    progress: Progress = field(default_factory=Progress)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    _latest: date | None = None

    @property
    def run_id(self) -> str:
        """Identifies the run in every table it writes."""
        return self.tables.run_id

    @property
    def as_of(self) -> date:
        """The run's date, exclusive: the one that was given, else the day after the latest event."""
        if self.known_as_of is None:
            self._latest = day_after_latest_event(self.tables)
        known = self.known_as_of
        assert known is not None  # for mypy
        return known

    @property
    def known_as_of(self) -> date | None:
        """The run's date; None where it was not given and nobody has asked for it yet."""
        return self.given_as_of or self._latest

    def plan_for(self, incoming_bytes: int = 0) -> None:
        """Let Spark plan for what is stored, and for so many bytes of new files."""
        self.tables.incoming_bytes = incoming_bytes
        plan_for(self.spark, self.settings, is_small=self.tables.is_small)

    def note(self, text: str) -> None:
        """What a person who watches the run should see at once."""
        self.progress.note(text)


def day_after_latest_event(tables: Tables) -> date:
    """The default as_of. Raises InputError where there are no events."""
    latest = greatest(tables, EVENTS, "event_date") if tables.exists(EVENTS) else None
    if not isinstance(latest, date):
        raise InputError(f"{tables.path(EVENTS)}: expected events, found none; run ingest first")
    return latest + timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """A stage with its arguments bound. `name`: the job it is in job_runs."""

    name: str
    do: Callable[[Context], Outcome]
