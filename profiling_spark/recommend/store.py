"""The stored model of this room. Spark writes and reads it, on any storage; on a disk tasks memory-map its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.errors import ModelError
from profiling_spark.models import Stored, Wanted
from profiling_spark.recommend.engines.als_tuning import with_values
from profiling_spark.recommend.engines.graph_filter import scoring_candidates
from profiling_spark.recommend.engines.stored import (
    Arrays,
    StoredSide,
    packed,
    put_together,
    side_for_tasks,
    taken_apart,
    unpacked,
)
from profiling_spark.recommend.history.pairs import SplitTotals
from profiling_spark.recommend.judge.choose import Fitted, Live
from profiling_spark.recommend.matrix.array_transfer import ArrayTransfer
from profiling_spark.recommend.matrix.item_side import ItemSide
from profiling_spark.storage import Tables

JOB, TASK = "recommend_items", "recommendations"
# settings that no fit depends on
_SERVING = {
    "max_age_days", "top_n", "policy", "new_items_share", "new_item_days", "session_gap_minutes", "min_group_customers",
    "audience", "bundles", "explicit_mf",
}  # fmt: skip
# rules of the policy by which the engine is chosen that serves
_CHOOSING = {"seen", "most_seen_share", "cool_down_days", "repeat_categories", "repeat_share"}
# what engines make of the same settings, and how a model is stored; 2: item_cf scores a candidate by its own neighbours
# and by log weights; 3: arrays by name, and ALS fitted here. A model of another number is neither served
# nor compared
SCHEME = 3
_LETTERS, _ENDS = "item_ids", "item_id_ends"
_NEIGHBOURS = "neighbours"  # declared: how many an item has, which the settings that are asked for need not say


@dataclass(frozen=True)
class Model:
    """A stored model, loaded: `side` None where popular items serve. `items`: item ids by number. `neighbours`: as of
    the fit (item_id, rank, neighbour_item_id, similarity); None where an earlier release stored the model.
    """

    stored: Stored
    engine: str
    side: ItemSide | None
    items: tuple[str, ...]
    neighbours: pl.DataFrame | None

    def neighbours_for(self, settings: Recommend) -> pl.DataFrame | None:
        """As many of an item as the settings ask for; None where the fit has not kept so many."""
        if self.neighbours is None or self.stored.declaration[_NEIGHBOURS] < settings.neighbours:
            return None
        return self.neighbours.filter(pl.col("rank") <= settings.neighbours)


def wanted(settings: Settings) -> Wanted:
    """The model that fits the settings in force."""
    # nor does any fit depend on how many candidates are scored
    recommend = settings.recommend.model_dump(exclude=_SERVING)
    recommend["graph_filter"] = settings.recommend.graph_filter.model_dump(exclude={"candidates"})
    recommend["policy"] = settings.recommend.policy.model_dump(mode="json", include=_CHOOSING)
    params = {**recommend, "scheme": SCHEME, "seed": settings.seed, "fit_partitions": settings.spark.fit_partitions}
    if settings.left_out:
        params["left_out"] = list(settings.left_out)
    return Wanted(JOB, TASK, params, settings.recommend.max_age_days)


def live_of(stored: Stored, settings: Recommend, asked: Wanted) -> Live | None:
    """What a stored model's engine was fitted with, served by the settings in force, which ask for the model `asked`;
    None where a version of this package made it that had other settings.
    """
    known = {name: value for name, value in stored.declaration["params"].items() if name in Recommend.model_fields}
    found = {"graph_filter": stored.declaration["graph_filter"]} if "graph_filter" in stored.declaration else {}
    try:
        fitted = Recommend.model_validate({**known, **found})
    except ValidationError:
        return None
    # what its own trials found holds; how many candidates are scored is the affair of who serves
    graph = fitted.graph_filter.model_copy(update={"candidates": settings.graph_filter.candidates, "trials": 0})
    both = with_values(fitted.model_copy(update={"graph_filter": graph}), stored.declaration.get("als", {}))
    is_same = models.canonical(stored.declaration["params"]) == models.canonical(dict(asked.params))
    return Live(stored.declaration["engine"], both, is_same, stored.declaration.get("blend"))


def has_neighbours(stored: Stored) -> bool:
    """Whether they are in its file, as they are not in an earlier release's."""
    return _NEIGHBOURS in stored.declaration


def store(
    tables: Tables,
    fitted: Fitted,
    totals: SplitTotals,
    near: pa.Table,
    *,
    neighbours: int,
    asked: Wanted,
    as_of: date,
) -> Stored:
    """Write the engine that serves, and of `near` (as of `cosine_neighbours`) so many `neighbours` an item; a finished
    version made from the same rows and settings is used as it is.
    """
    near = near.filter(pc.field("rank") <= neighbours)
    ingredients: dict[str, Any] = {"params": dict(asked.params), "rows": totals.fingerprint, "engine": fitted.engine}
    ingredients[_NEIGHBOURS] = neighbours
    found_settings = {"als": fitted.als, "graph_filter": fitted.graph_filter, "blend": fitted.blend}
    chosen = {name: dict(values) for name, values in found_settings.items() if values is not None}
    ingredients |= chosen
    version = models.version_name(TASK, as_of, ingredients)
    found = _finished(tables, version)
    if found is not None:
        return found
    side, arrays = (None, {}) if fitted.side is None else taken_apart(fitted.side)
    rows = tables.spark.createDataFrame(packed(arrays | _names(totals.items) | _near(near))).coalesce(1)
    rows.write.mode("overwrite").parquet(models.mllib_path(tables, TASK, version))
    declaration = {
        "train_as_of": as_of.isoformat(),
        "engine": fitted.engine,
        "params": dict(asked.params),
        "side": side,
        _NEIGHBOURS: neighbours,
        **chosen,
    }
    return models.finish(tables, TASK, version, declaration)


def load(tables: Tables, stored: Stored, *, candidates: int) -> Model:
    """The stored model, to score so many `candidates` where its catalogue is large.

    Raises ModelError where its files do not make the engine that it declares.
    """
    try:
        rows = tables.spark.read.parquet(models.mllib_path(tables, TASK, stored.version)).toArrow()
        arrays = unpacked(rows)
        items, side = _items(arrays), stored.declaration["side"]
        found = None if side is None else scoring_candidates(put_together(side, arrays), candidates)
        near = neighbours_by_id(_near_of(arrays), items) if has_neighbours(stored) else None
    except (KeyError, ValueError, ModelError) as err:
        raise ModelError(f"model {stored.path}: expected an engine of this package; {err}") from err
    return Model(stored, stored.declaration["engine"], found, items, near)


def for_tasks(tables: Tables, model: Model, way: ArrayTransfer) -> StoredSide | None:
    """How tasks get the model: by files beside it where the storage is a disk, else by those of `way` or the session.

    The files (`_arrays/`, outside the seal) are made anew from the verified model each time and may be deleted.
    """
    if model.side is None:
        return None
    folder = tables.shared_folder(f"{model.stored.path}/_arrays")
    if folder is None and way.folder is not None:
        folder = Path(way.folder, "model")
    return side_for_tasks(tables.spark, model.side, folder)


def _finished(tables: Tables, version: str) -> Stored | None:
    try:
        return models.find(tables, TASK, version)
    except ModelError:
        return None  # damaged: this run has just fitted the same and writes it anew


def neighbours_by_id(near: pa.Table, items: tuple[str, ...]) -> pl.DataFrame:
    """(item_id, rank, neighbour_item_id, similarity), from (item, other, rank, similarity) by number."""
    ids, frame = pl.Series(items, dtype=pl.String), pl.DataFrame(near)
    return frame.select(
        item_id=ids.gather(frame["item"]),
        rank=pl.col("rank").cast(pl.Int32),
        neighbour_item_id=ids.gather(frame["other"]),
        similarity="similarity",
    )


def _near(near: pa.Table) -> dict[str, NDArray[Any]]:
    """The neighbours as arrays, an item's own one after the other, the nearest first."""
    return {f"near_{name}": near.column(name).to_numpy() for name in ("item", "other", "similarity")}


def _near_of(arrays: Arrays) -> pa.Table:
    """The neighbours of `_near`, with their ranks."""
    item, other, similarity = (arrays[f"near_{name}"] for name in ("item", "other", "similarity"))
    rank = np.arange(len(item)) - np.searchsorted(item, item) + 1
    return pa.table({"item": item, "other": other, "rank": rank, "similarity": similarity})


def _names(items: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The ids of the items as arrays: their letters one after the other, and where each ends."""
    ids = pa.array(items, pa.large_string())
    _, ends, letters = ids.buffers()
    data = np.frombuffer(letters, dtype=np.uint8) if letters is not None else np.empty(0, dtype=np.uint8)
    return {_LETTERS: data, _ENDS: np.frombuffer(ends, dtype=np.int64)[: len(items) + 1]}


def _items(arrays: Arrays) -> tuple[str, ...]:
    """The ids of `_names`."""
    ends, letters = (pa.py_buffer(np.ascontiguousarray(arrays[name])) for name in (_ENDS, _LETTERS))
    found = pa.LargeStringArray.from_buffers(len(arrays[_ENDS]) - 1, ends, letters)
    return tuple(found.to_pylist())
