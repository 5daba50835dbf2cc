"""The library: the stages of a pipeline on a storage, from a notebook, a scheduler or a test.

from profiling_spark.pipeline import Pipeline

with Pipeline("shop.yaml") as pipeline:        # or Pipeline(settings, spark=spark) in a session of your own
    result = pipeline.run(as_of=date(2026, 7, 1))
    result.stages["ingest"].outcome.rows_out
    pipeline.table("user_profile").show()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from types import TracebackType

from pyspark.sql import DataFrame, SparkSession

from profiling_spark.config import Settings, load_settings
from profiling_spark.context import Context, Outcome, Step
from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.features.job import build_features, build_stale_features
from profiling_spark.ingest.again.replay import LAST
from profiling_spark.ingest.job import ingest, reload, replay
from profiling_spark.job_runs import RunResult
from profiling_spark.maintain.job import check, maintain
from profiling_spark.profile.job import build_profiles
from profiling_spark.progress import Progress
from profiling_spark.recommend.job import recommend_items
from profiling_spark.runner import run_steps, session_for
from profiling_spark.scores.job import score_users
from profiling_spark.segments.job import segment_users
from profiling_spark.session import Started
from profiling_spark.storage import Tables

Stage = Callable[[Context], Outcome]

STAGES: tuple[Stage, ...] = (ingest, build_features, segment_users, score_users, recommend_items, build_profiles)
"""All stages in their order."""
NAMES = tuple(stage.__name__ for stage in STAGES)
RUN_PIPELINE = "run_pipeline"
"""The job of a run of several stages."""


class Pipeline:
    """Runs stages on one storage. Every call is a run of its own, with a run_id and rows in job_runs.

    `settings`: as loaded, or one or several YAML files, of which later ones win. `spark`: a session of the caller's, in
    which Delta is set up; it stays as it is and is not stopped. Without it a session is started by the first run and
    stopped by `close` (or at the end of `with`); `started`: one that is being started already (see
    session.begin_session). A run that fails raises a ProfilingError that says why.
    """

    def __init__(
        self,
        settings: Settings | str | Path | Sequence[str | Path],
        spark: SparkSession | None = None,
        *,
        progress: Progress | None = None,
        started: Started | None = None,
    ) -> None:
        self.settings = settings if isinstance(settings, Settings) else load_settings(_files(settings))
        self.progress = progress or Progress()
        self._users_own, self._started = spark, started
        self._spark: SparkSession | None = None
        self._open = ExitStack()

    @property
    def spark(self) -> SparkSession:
        """The session in which the stages run; started where there is none yet."""
        if self._spark is None:
            session = session_for(self.settings, name="pipeline", spark=self._users_own, started=self._started)
            self._spark = self._open.enter_context(session)
        return self._spark

    def run(
        self,
        *stages: str,
        as_of: date | None = None,
        refit: bool = False,
        job: str | None = None,
        ending: Callable[[Context], None] | None = None,
    ) -> RunResult:
        """Run these stages, all of them where none is named, in the order of the pipeline under one run_id.

        `as_of`: the run's date, exclusive; None: the day after the latest event. `refit`: fit models anew even where a
        stored one serves. `job`: the name of the whole in job_runs; a single stage has its own. `ending`: called with
        the context after the last stage.
        """
        wanted = set(stages or NAMES)
        if unknown := sorted(wanted - set(NAMES)):
            raise ConfigError(f"stages: expected some of {', '.join(NAMES)}, found {', '.join(unknown)}")
        steps = [Step(s.__name__, s) for s in STAGES if s.__name__ in wanted]
        return self._run(steps, as_of=as_of, refit=refit, job=job, ending=ending)

    def replay(self, run_id: str = LAST) -> RunResult:
        """Judge the rows that a run refused again, with the settings of today; `last`: the newest that has any."""
        return self._run([Step(ingest.__name__, partial(replay, run_id=run_id))])

    def reload(self, source: str) -> RunResult:
        """Take all files of a source again, as it is mapped today; their rows replace those that they gave before."""
        return self._run([Step(ingest.__name__, partial(reload, source=source))])

    def build_features(self, *, since: date, as_of: date) -> RunResult:
        """Features of every date from `since` to `as_of`, both included."""
        return self._run([Step(build_features.__name__, partial(build_features, since=since))], as_of=as_of)

    def build_stale_features(self) -> RunResult:
        """Features again of the dates that rows which came later would change."""
        return self._run([Step(build_features.__name__, build_stale_features)])

    def maintain(self) -> RunResult:
        """Compact tables of many small files, remove files that no recent version needs."""
        return self._run([Step(maintain.__name__, maintain)])

    def check(self) -> RunResult:
        """Verify keys and the ledger of files. Raises ContractError that lists what is not as promised."""
        return self._run([Step(maintain.__name__, check)])

    def table(self, name: str) -> DataFrame:
        """The newest version of a table. Raises InputError for a name that docs/tables.md does not have."""
        by_name = {t.name: t for t in all_tables(self.settings.windows_days)}
        if name not in by_name:
            raise InputError(f"table {name}: expected one of {', '.join(sorted(by_name))}")
        return Tables(self.spark, self.settings.storage.root, run_id="").read(by_name[name])

    def close(self) -> None:
        """Stop the session that this object has started; one that the caller brought goes on."""
        self._open.close()
        self._spark = None

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(
        self,
        steps: Sequence[Step],
        *,
        as_of: date | None = None,
        refit: bool = False,
        job: str | None = None,
        ending: Callable[[Context], None] | None = None,
    ) -> RunResult:
        name = job or (steps[0].name if len(steps) == 1 else RUN_PIPELINE)
        return run_steps(
            self.spark, self.settings, steps, job=name, as_of=as_of, refit=refit, progress=self.progress, ending=ending
        )


def _files(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(file) for file in given]
