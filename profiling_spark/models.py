"""Stored models: save, verify, load, promote. One folder a model under `<storage root>/models/<task>/<version>/`.

    mllib/        what MLlib saves
    declaration/  JSON: how it was made, preparation, figures, whatever else the task needs to apply it
    seal/         sha256 of all files above, in order of their names; written last: a folder without it is half written
    withdrawn/    there where a person has taken the model out of use (see `rollback`)

A version's name holds a hash of everything the model is made from (settings, features, training rows), not of a clock:
the same ingredients give the same name, and a finished folder of that name is used rather than written again. So no
folder that live_models names is ever touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl
from pyspark.ml.util import JavaMLWritable
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from profiling_spark.context import Context
from profiling_spark.contracts.operations import EVERYONE, LIVE_MODELS, MODEL_RUNS
from profiling_spark.errors import InputError, ModelError
from profiling_spark.storage import Tables, as_frame, points
from profiling_spark.storage.stores import Fault, Store, StoreError, store_for

_File = tuple[str, str, str | None]  # name inside the folder, sha256, text where it is one
_WITHDRAWN = "withdrawn"
_BESIDE = ("seal/", f"{_WITHDRAWN}/")  # not among the files that are sealed
_PIECE = 1 << 20
_REMEDY = "restore it, or run with --refit"


@dataclass(frozen=True)
class Stored:
    """A finished, verified model."""

    task: str
    version: str
    sha256: str
    declaration: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Relative to the storage root."""
        return relative_path(self.task, self.version)

    @property
    def train_as_of(self) -> date:
        """Features of the training rows are as of this day."""
        return date.fromisoformat(self.declaration["train_as_of"])


@dataclass(frozen=True)
class Wanted:
    """What a run asks of a stored model: the task, and the settings it must have been fitted with."""

    job: str
    task: str
    params: Mapping[str, Any]
    max_age_days: int


@dataclass(frozen=True)
class Figure:
    """One measured figure, a row of model_runs. `value` None: not defined on this data; `customers`: of which group."""

    model: str
    split: str
    metric: str
    value: float | None
    rows: int
    customers: str = EVERYONE


def relative_path(task: str, version: str) -> str:
    """Where a version lies, relative to the storage root."""
    return f"models/{task}/{version}"


def mllib_path(tables: Tables, task: str, version: str) -> str:
    """Where MLlib's own part of a model lies."""
    return f"{tables.path(relative_path(task, version))}/mllib"


def canonical(value: Any) -> str:
    """JSON with one form per value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def version_name(task: str, as_of: date, ingredients: Mapping[str, Any]) -> str:
    """`churn-2026-06-30-1a2b3c4d`: task, date, and a hash of all that the model is made from."""
    digest = hashlib.sha256(canonical(ingredients).encode()).hexdigest()
    return f"{task}-{as_of.isoformat()}-{digest[:8]}"


def fingerprint(frame: DataFrame, columns: Sequence[str]) -> list[Any]:
    """Aggregates that change with any row of the frame, whatever its order, for an `agg` (see `ingredient`)."""
    row_hash = F.xxhash64(*columns).cast("decimal(38,0)")
    return [F.count(F.lit(1)).alias("_rows"), F.sum(row_hash).alias("_sum")]


def ingredient(row: Row) -> str:
    """The fingerprint's aggregates as text."""
    return f"{row['_rows']}:{row['_sum']}"


def save_mllib(tables: Tables, task: str, version: str, model: JavaMLWritable) -> str:
    """MLlib's part of a version that is not finished. Returns where it lies."""
    path = mllib_path(tables, task, version)
    model.write().overwrite().save(path)
    return path


def finish(tables: Tables, task: str, version: str, declaration: Mapping[str, Any]) -> Stored:
    """Write the declaration, then the seal. From here on the version can be found. A version that was withdrawn and is
    fitted again serves again.
    """
    store = _store(tables, task, version)
    points.at(f"before declaration of model {task}")
    _write_text(store, "declaration", canonical(declaration))
    folder = _open(tables, task, version)
    if folder.is_withdrawn:
        _write_text(store, _WITHDRAWN, "")
    sha256 = folder.sha256
    points.at(f"before seal of model {task}")
    _write_text(store, "seal", sha256)
    points.at(f"after seal of model {task}")
    return Stored(task, version, sha256, declaration)


def find(tables: Tables, task: str, version: str) -> Stored | None:
    """The finished version, None where there is none or it was withdrawn. Raises ModelError where it is damaged."""
    folder = _open(tables, task, version)
    return None if folder.seal is None or folder.is_withdrawn else _verified(folder, task, version, folder.seal)


def live(tables: Tables, task: str) -> Mapping[str, Any] | None:
    """The task's row of live_models, None where no model serves."""
    return next(tables.rows(LIVE_MODELS, task=task).iter_rows(named=True), None)


def load_live(tables: Tables, row: Mapping[str, Any]) -> Stored:
    """The model that live_models names. Raises ModelError where it is absent, damaged or another one."""
    task, version = row["task"], row["model_version"]
    return _verified(_open(tables, task, version), task, version, row["sha256"])


def promote(tables: Tables, stored: Stored, *, since: date) -> None:
    """Let the model serve from `since` on, in one commit."""
    row = (stored.task, stored.version, stored.path, stored.sha256, since)
    tables.replace_slice(LIVE_MODELS, as_frame(LIVE_MODELS, [row]), task=stored.task)


def rollback(tables: Tables, task: str, version: str | None = None) -> tuple[str, str]:
    """Let an earlier model serve again, and withdraw the live one: no later run applies it, also not for a date that it
    served. `version`: None for the one that served before. Returns the names of the model withdrawn and of the one that
    serves.

    Raises InputError where there is no such model, ModelError where its files are damaged. Scores, segments and lists
    stay as they are until their stage runs again.
    """
    row = live(tables, task)
    if row is None:
        raise InputError(f"task {task}: expected a model that serves, found none")
    runs = tables.rows(MODEL_RUNS, task=task).filter("promoted", pl.col("model_version").is_not_null())
    served = runs.group_by("model_version").agg(pl.col("as_of").min()).sort("as_of", "model_version")
    since = {name: day for name, day in served.rows() if name != row["model_version"] and find(tables, task, name)}
    earlier = version or next(reversed(since), "")
    if earlier not in since:
        known = ", ".join(since) or "none"
        raise InputError(f"task {task}: expected an earlier model that is stored ({known}), found {version or 'none'}")
    stored = find(tables, task, earlier)
    assert stored is not None  # for mypy
    promote(tables, stored, since=since[earlier])
    _write_text(_store(tables, task, row["model_version"]), _WITHDRAWN, "rollback")
    return row["model_version"], earlier


def serving(ctx: Context, wanted: Wanted) -> Stored | None:
    """The stored model that this run is to apply; None means fit one.

    First the model that already served this as_of (a rerun changes nothing), then the live one if it does not come from
    the future and is younger than `max_age_days`. Either only if it was fitted with the settings now in force, and
    neither on --refit. A backfill of an as_of before the live model's `since` therefore fits its own.
    """
    if ctx.refit:
        return None
    row = live(ctx.tables, wanted.task)
    served = _served(ctx, wanted)
    if served is not None and (row is None or row["model_version"] != served):
        earlier = find(ctx.tables, wanted.task, served)
        if earlier is not None and _fits(earlier, wanted):
            return earlier
    if row is None or row["since"] > ctx.as_of:
        return None
    if served != row["model_version"] and (ctx.as_of - row["since"]).days >= wanted.max_age_days:
        return None
    stored = load_live(ctx.tables, row)
    return stored if _fits(stored, wanted) else None


def kept(ctx: Context, wanted: Wanted) -> Stored | None:
    """The live model, though fitted with other settings, where it won against one fitted with those in force less than
    `max_age_days` ago and is itself no older. Without this every run would fit and compare the same again. None on
    --refit, and where it is damaged.
    """
    row = None if ctx.refit else live(ctx.tables, wanted.task)
    if row is None or not 0 <= (ctx.as_of - row["since"]).days < wanted.max_age_days:
        return None
    begin = ctx.as_of - timedelta(days=wanted.max_age_days)
    won = ctx.tables.rows(MODEL_RUNS, job=wanted.job, task=wanted.task).filter(
        pl.col("as_of").is_between(begin + timedelta(days=1), ctx.as_of),
        pl.col("params") == canonical(dict(wanted.params)),
        pl.col("model_version") == row["model_version"],
        "promoted",
    )
    try:
        return None if won.is_empty() else load_live(ctx.tables, row)
    except ModelError:
        return None


def promote_unless_older(ctx: Context, stored: Stored) -> None:
    """Let a newly fitted model serve, unless the live one is from a later as_of (the run is a backfill)."""
    row = live(ctx.tables, stored.task)
    if row is None or row["since"] <= ctx.as_of:
        promote(ctx.tables, stored, since=ctx.as_of)


def write_figures(ctx: Context, wanted: Wanted, stored: Stored, figures: Sequence[Figure], *, serves: str) -> None:
    """Replace the run's slice of model_runs. `serves`: the model of the figures that is the stored one."""
    params = canonical(dict(wanted.params))
    rows = [
        (
            ctx.as_of, wanted.job, wanted.task, f.model, f.split, f.metric, f.customers, f.value, params,
            stored.train_as_of, f.rows, f.model == serves, stored.version if f.model == serves else None,
        )
        for f in figures
    ]  # fmt: skip
    ctx.tables.replace_slice(MODEL_RUNS, as_frame(MODEL_RUNS, rows), as_of=ctx.as_of, job=wanted.job, task=wanted.task)


def no_figures(ctx: Context, job: str, task: str) -> None:
    """Empty the run's slice of model_runs: the task was skipped."""
    ctx.tables.replace_slice(MODEL_RUNS, as_frame(MODEL_RUNS, []), as_of=ctx.as_of, job=job, task=task)


def _served(ctx: Context, wanted: Wanted) -> str | None:
    runs = ctx.tables.rows(MODEL_RUNS, as_of=ctx.as_of, job=wanted.job, task=wanted.task)
    served = runs.filter("promoted", pl.col("model_version").is_not_null())["model_version"]
    return None if served.is_empty() else str(served[0])


def _fits(stored: Stored, wanted: Wanted) -> bool:
    return canonical(stored.declaration.get("params")) == canonical(dict(wanted.params))


@dataclass(frozen=True)
class _Folder:
    """What lies in a model's folder. `sha256`: over name and content of every file but the seal; '' without a file."""

    path: str
    sha256: str
    declaration: str | None
    seal: str | None
    is_withdrawn: bool


def _open(tables: Tables, task: str, version: str) -> _Folder:
    path = tables.path(relative_path(task, version))
    try:
        files = _files(_store(tables, task, version))
    except (StoreError, OSError) as err:
        if isinstance(err, StoreError) and err.fault in (Fault.CREDENTIAL, Fault.UNREACHABLE):
            raise  # says nothing of the model
        raise ModelError(f"model {path}: expected readable files, found damaged ones ({err}); {_REMEDY}") from err
    sums = "".join(f"{name} {digest}\n" for name, digest, _ in sorted(files) if not name.startswith(_BESIDE))
    texts = {name.partition("/")[0]: text.rstrip("\n") for name, _, text in sorted(files) if text}
    sha256 = hashlib.sha256(sums.encode()).hexdigest() if sums else ""
    return _Folder(path, sha256, texts.get("declaration"), texts.get("seal"), bool(texts.get(_WITHDRAWN)))


def _verified(folder: _Folder, task: str, version: str, expected: str) -> Stored:
    if folder.declaration is None or folder.sha256 != expected:
        found = folder.sha256 or "no files"
        raise ModelError(f"model {folder.path}: expected sha256 {expected}, found {found}; {_REMEDY}")
    try:
        return Stored(task, version, expected, json.loads(folder.declaration))
    except json.JSONDecodeError as err:
        raise ModelError(f"model {folder.path}: expected a JSON declaration, found {err}; {_REMEDY}") from err


def _store(tables: Tables, task: str, version: str) -> Store:
    """The model's folder."""
    return store_for(tables.path(relative_path(task, version)), tables.session)


def _files(store: Store) -> list[_File]:
    """All files but those that Spark hides (_SUCCESS, checksums)."""
    names = store.list()
    return [_file(store, n) for n in names if not any(part.startswith(("_", ".")) for part in n.split("/"))]


def _file(store: Store, name: str) -> _File:
    """A file of MLlib's may have any size; the others are short."""
    digest, text = hashlib.sha256(), None if name.startswith("mllib/") else b""
    with store.open(f"{store.root}/{name}") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            text = None if text is None else text + piece
    return name, digest.hexdigest(), None if text is None else text.decode(errors="replace")


def _write_text(store: Store, folder: str, text: str) -> None:
    """The only file of a folder. An earlier release let Spark name it."""
    name = f"{folder}/part-00000.txt"
    store.delete([n for n in store.list(folder) if n != name])
    store.put(name, text.encode())
