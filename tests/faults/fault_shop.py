"""A lake with history on which every job has all of its work to do, and copies of it as it is before each job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from lakes import Lake, differences
from pyspark.sql import SparkSession
from strikes import Recorder, struck

from profiling_spark.config import Settings, load_settings
from profiling_spark.contracts.operations import JOB_RUNS, QUALITY_METRICS
from profiling_spark.demo.generate import END, generate
from profiling_spark.job_runs import DONE, RunResult
from profiling_spark.pipeline import NAMES, Pipeline

PROJECT = Path(__file__).resolve().parents[2]
CUSTOMERS, DAYS = 80, 30
AS_OF = END + timedelta(days=1)
EARLIER = AS_OF - timedelta(days=7)
"""The date of the first load: exclusive, and what the second delivery begins with."""
# so little that a stage takes a second, and thresholds under which nothing is skipped for thin data
SMALL = {
    "buckets": 2,
    "windows_days": [7],
    "segments": {"k": 3, "max_iterations": 5, "min_stability": 0, "sample_rows": 100},
    "scores": {
        "churn": {
            "horizon_days": 7,
            "active_days": 14,
            "trees": 3,
            "max_depth": 3,
            "min_rows": 20,
            "min_class_rows": 2,
            "suspicious_auc": 1.0,
        }
    },
    "recommend": {
        "top_n": 5,
        "neighbours": 10,
        "rank": 2,
        "iterations": 1,
        "min_pairs": 10,
        "history_days": 30,
        "graph_filter": {"least_vectors": 4, "passes": 2, "candidates": 10},
        "bundles": {"min_orders": 2},
        "audience": {"items": 3, "customers": 5},
    },
    "ingest": {"max_rejected_share": 1.0},
    "maintain": {"files_factor": 1},
    "spark": {"shuffle_partitions": 2, "fit_partitions": 1},
}
MENDED = {"clickk": "view", "浏览商品": "view", "???": "view"}
"""Words that the second delivery's refused rows have; a replay knows them."""


def write_deliveries(folder: Path) -> None:
    """`first` and `second`: the demo shop before and from EARLIER on, with later versions of rows of the first."""
    generate(folder / "demo", customers=CUSTOMERS, days=DAYS)
    for kind, suffix in (("behaviour", "jsonl"), ("orders", "csv")):
        parts: dict[str, list[str]] = {"first": [], "second": []}
        for path in sorted((folder / "demo" / kind).iterdir()):
            which = "first" if path.name[:10] < f"{EARLIER}" else "second"
            lines = _lines(path)
            parts[which] += lines if suffix == "jsonl" or not parts[which] else lines[1:]
        for which, lines in parts.items():
            _write(folder / which / kind / f"{which}.{suffix}", lines)
    for kind in ("users", "items"):
        for which, path in zip(("first", "second"), sorted((folder / "demo" / kind).iterdir()), strict=True):
            (folder / which / kind).mkdir(parents=True)
            shutil.copy(path, folder / which / kind)
    reviews = _lines(folder / "demo" / "reviews" / "reviews.jsonl")
    half = len(reviews) // 2
    _write(folder / "first" / "reviews" / "first.jsonl", reviews[:half])
    changed = [json.dumps(_later(json.loads(line)) | {"text": "changed"}) for line in reviews[:3]]
    _write(folder / "second" / "reviews" / "second.jsonl", [*reviews[half:], *changed])
    stored = _lines(folder / "first" / "behaviour" / "first.jsonl")
    # the demo shop has planted dirt: lines cut off, times that are none
    whole = [json.loads(line) for line in stored if '"action":"click"' in line and line.endswith("}")]
    clicks = [row for row in whole if str(row["ts"]).startswith("2026-")][:10]
    unknown = [c | {"log_id": f"unknown {n}", "action": "clickk"} for n, c in enumerate(clicks)]
    _write(folder / "second" / "behaviour" / "changed.jsonl", map(json.dumps, [*map(_later, clicks), *unknown]))


def _lines(path: Path) -> list[str]:
    # not splitlines, which also parts at characters that may stand in a text
    return path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")


def _later(row: dict[str, str]) -> dict[str, str]:
    return row | {"ts": (datetime.fromisoformat(row["ts"]) + timedelta(seconds=1)).isoformat()}


def _write(path: Path, lines: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")  # type: ignore[call-overload]


def deliver(folder: Path, which: str) -> None:
    """Lay a delivery's files where the settings look."""
    shutil.copytree(folder / which, folder / "data", dirs_exist_ok=True)


def arguments(folder: Path, root: Path | str, words: dict[str, str] | None = None) -> list[str]:
    """Of a command on a lake; `words`: further event types of the behaviour log."""
    files, pairs = _given(folder, root, words or {})
    return [
        *(part for file in files for part in ("--config", str(file))),
        *(part for pair in pairs for part in ("--set", pair)),
    ]


def settings_of(folder: Path, root: Path | str, words: dict[str, str] | None = None) -> Settings:
    """What a command with these arguments runs with."""
    return load_settings(*_given(folder, root, words or {}))


def _given(folder: Path, root: Path | str, words: dict[str, str]) -> tuple[list[Path], list[str]]:
    own = folder / "small.yaml"
    own.write_text(json.dumps(SMALL), encoding="utf-8")
    pairs = [f"data_root={folder / 'data'}", f"storage.root={root}"]
    pairs += [f'sources.behaviour.event_types.{word}="{kind}"' for word, kind in words.items()]
    return [PROJECT / "conf" / "demo.yaml", own], pairs


@dataclass(frozen=True)
class Job:
    """A job as the library runs it, and as it is typed. `is_whole`: it leaves all of its values or none, also where it
    fails.
    """

    name: str
    run: Callable[[Pipeline], RunResult]
    command: tuple[str, ...]
    is_whole: bool = False
    words: dict[str, str] = field(default_factory=dict)


def _refitted(name: str) -> Job:
    return Job(name, lambda p: p.run(name, as_of=AS_OF, refit=True), (name, "--as-of", f"{AS_OF}", "--refit"))


JOBS = {
    job.name: job
    for job in (
        Job("ingest", lambda p: p.run("ingest"), ("ingest",), is_whole=True),
        *map(_refitted, NAMES[1:]),
        Job("ingest --replay", lambda p: p.replay(), ("ingest", "--replay", "last"), is_whole=True, words=MENDED),
        Job("ingest --reload", lambda p: p.reload("behaviour"), ("ingest", "--reload", "behaviour"), True, MENDED),
        Job("maintain", lambda p: p.maintain(), ("maintain",)),
    )
}
"""In the order in which they follow each other on the lake: each finds what those before it have left."""
IN_CI = ("ingest", "build_features", "score_users", "ingest --replay", "maintain")
"""One of each kind of writing, for runs without --faults."""


@dataclass
class Case:
    """A job, the lake before and after it, and the points that it passes."""

    job: Job
    before: Path
    after: Path
    points: Sequence[tuple[str, int]]


class FaultShop:
    """Jobs on copies of the lake. A folder has the lake as `lake`, so that copies have equal paths below it."""

    def __init__(self, spark: SparkSession, folder: Path, names: Sequence[str] = tuple(JOBS)) -> None:
        self.spark, self.folder, self.names = spark, folder, names
        write_deliveries(folder)
        self._cases: dict[str, Case] = {}
        deliver(folder, "first")
        with self.pipeline(folder / "history") as first:
            first.run(as_of=EARLIER)
        deliver(folder, "second")

    def pipeline(self, place: Path, job: Job | None = None) -> Pipeline:
        """On the lake of a folder."""
        return Pipeline(settings_of(self.folder, place / "lake", job.words if job else None), self.spark)

    def case(self, name: str) -> Case:
        """The undisturbed job, run once, after those before it."""
        if name not in self._cases:
            place = self.names.index(name)
            before = self.case(self.names[place - 1]).after if place else self.folder / "history"
            after, recorder = self.copy(before, f"after {name}"), Recorder()
            with struck(recorder):
                result = JOBS[name].run(self.pipeline(after, JOBS[name]))
            assert result.status == DONE  # a stage that is skipped writes next to nothing
            self.pipeline(after).check()
            self._cases[name] = Case(JOBS[name], before, after, recorder.points)
        return self._cases[name]

    def copy(self, place: Path, name: str) -> Path:
        """A copy of a lake for one run."""
        to = self.folder / name
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(place, to)
        return to

    def differ(self, one: Path, other: Path) -> dict[str, str]:
        """What differs in the values of two lakes, apart from which runs there were."""
        windows = SMALL["windows_days"]
        assert isinstance(windows, list)  # for type checkers
        pair = (Lake(str(place), str(place)) for place in (one, other))
        return differences(*pair, windows, without={JOB_RUNS.name})

    def measured_twice(self, place: Path, case: Case) -> bool:
        """Whether a lake's measurements are those of the undisturbed run, and what that run added once more."""
        before, after, found = (
            Lake(str(one), str(one)).rows(QUALITY_METRICS) for one in (case.before, case.after, place)
        )
        assert before is not None
        assert after is not None
        assert found is not None
        kinds = before.columns
        counted = (frame.group_by(kinds).len("n") for frame in (before, after, found))
        old, new, now = (dict(zip(f.select(kinds).rows(), f["n"], strict=True)) for f in counted)
        twice = {row: 2 * n - old.get(row, 0) for row, n in new.items()}
        return new != old and now == twice
