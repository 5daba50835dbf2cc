"""The stored model of this room. Spark writes and reads it, on any storage; on a disk tasks memory-map its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from pydantic import ValidationError
from scipy import sparse

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.errors import ModelError
from profiling_spark.models import Stored, Wanted
from profiling_spark.recommend.als import FactorSide
from profiling_spark.recommend.choose import Fitted, Live
from profiling_spark.recommend.entries import row_ends
from profiling_spark.recommend.fit import ENGINES, Totals
from profiling_spark.recommend.graph_filter import GraphFilterSide, candidates_for
from profiling_spark.recommend.item_cf import NeighbourSide
from profiling_spark.recommend.item_side import ItemSide, Scores
from profiling_spark.recommend.popular import POPULAR
from profiling_spark.recommend.stored import StoredSide, save_side
from profiling_spark.storage import Tables

JOB, TASK = "recommend_items", "recommendations"
# settings that no fit depends on
_SERVING = {
    "max_age_days", "top_n", "policy", "new_items_share", "new_item_days", "session_gap_minutes", "min_group_customers",
    "audience", "bundles",
}  # fmt: skip
# what engines make of the same settings; 2: item_cf scores a candidate by its own neighbours and by log weights. A
# model of another number is neither served nor compared
SCHEME = 2
_BANDS = ("ends", "exponents", "weights")


@dataclass(frozen=True)
class Model:
    """A stored model, loaded: `side` None where popular items serve. `items`: item ids by number."""

    stored: Stored
    engine: str
    side: ItemSide | None
    items: tuple[str, ...]


def wanted(settings: Settings) -> Wanted:
    """The model that fits the settings in force."""
    # nor does any fit depend on how many candidates are scored
    recommend = settings.recommend.model_dump(exclude=_SERVING)
    recommend["graph_filter"] = settings.recommend.graph_filter.model_dump(exclude={"candidates"})
    params = {**recommend, "scheme": SCHEME, "seed": settings.seed, "fit_partitions": settings.spark.fit_partitions}
    if settings.left_out:
        params["left_out"] = list(settings.left_out)
    return Wanted(JOB, TASK, params, settings.recommend.max_age_days)


def live_of(stored: Stored, settings: Recommend) -> Live | None:
    """What a stored model's engine was fitted with, served by the settings in force; None where a version of this
    package made it that had other settings.
    """
    known = {name: value for name, value in stored.declaration["params"].items() if name in Recommend.model_fields}
    try:
        fitted = Recommend.model_validate(known)
    except ValidationError:
        return None
    served = {"candidates": settings.graph_filter.candidates}
    both = fitted.model_copy(update={"graph_filter": fitted.graph_filter.model_copy(update=served)})
    return Live(stored.declaration["engine"], both)


def store(tables: Tables, fitted: Fitted, totals: Totals, *, asked: Wanted, as_of: date) -> Stored:
    """Write the engine that serves; a finished version made from the same rows and settings is used as it is."""
    ingredients = {"params": dict(asked.params), "rows": totals.fingerprint, "engine": fitted.engine}
    version = models.version_name(TASK, as_of, ingredients)
    found = _finished(tables, version)
    if found is not None:
        return found
    rows = tables.spark.createDataFrame(_rows(fitted.side, totals.items)).coalesce(1)
    rows.write.mode("overwrite").parquet(models.mllib_path(tables, TASK, version))
    declaration = {"train_as_of": as_of.isoformat(), "engine": fitted.engine, "params": dict(asked.params)}
    if isinstance(fitted.side, GraphFilterSide):
        declaration["bands"] = {name: getattr(fitted.side, name).tolist() for name in _BANDS}
    return models.finish(tables, TASK, version, declaration)


def load(tables: Tables, stored: Stored, *, candidates: int) -> Model:
    """The stored model, to score so many `candidates` where its catalogue is large.

    Raises ModelError where its files do not make the engine that it declares.
    """
    engine, params = stored.declaration["engine"], stored.declaration["params"]
    rows = tables.spark.read.parquet(models.mllib_path(tables, TASK, stored.version)).toArrow().sort_by("item")
    items = tuple(rows.column("item_id").to_pylist())
    if engine == POPULAR:
        return Model(stored, engine, None, items)
    if engine == FactorSide.engine:
        return Model(stored, engine, FactorSide(_dense(rows, "values"), **_als_params(params)), items)
    if engine == GraphFilterSide.engine:
        bands = stored.declaration["bands"]
        ends = np.array(bands["ends"], dtype=np.int64)
        exponents, weights = np.array(bands["exponents"]), np.array(bands["weights"])
        degree = rows.column("degree").to_numpy()
        vectors = _dense(rows, "vector")
        scored = candidates_for(candidates, len(items))
        side = GraphFilterSide(_square(rows), vectors, degree, ends, exponents, weights, scored)
        return Model(stored, engine, side, items)
    if engine in ENGINES:  # all others are neighbours of items
        return Model(stored, engine, NeighbourSide(_square(rows), engine), items)
    raise ModelError(f"model {stored.path}: expected an engine of this package, found {engine!r}")


def for_tasks(tables: Tables, model: Model) -> StoredSide | None:
    """How tasks get the model: as files beside it where the storage is a disk, else as a copy sent along.

    The files (`_arrays/`, outside the seal) are made anew from the verified model each time and may be deleted.
    """
    if model.side is None:
        return None
    folder = tables.shared_folder(f"{model.stored.path}/_arrays")
    if folder is None:
        return StoredSide(copy=model.side)
    save_side(folder, model.side)
    return StoredSide(folder=str(folder))


def _finished(tables: Tables, version: str) -> Stored | None:
    try:
        return models.find(tables, TASK, version)
    except ModelError:
        return None  # damaged: this run has just fitted the same and writes it anew


def _als_params(params: Mapping[str, float]) -> dict[str, float]:
    return {name: params[name] for name in ("alpha", "regularisation")}


def _rows(side: ItemSide | None, items: tuple[str, ...]) -> pa.Table:
    """One row per item: factors in `values`, or neighbours (`places`) and their strengths (`values`); graph_filter also
    has `vector` and `degree`.
    """
    count = len(items)
    columns = {"item": np.arange(count, dtype=np.int32), "item_id": items}
    columns |= {"places": pa.nulls(count, pa.list_(pa.int32())), "values": pa.nulls(count, pa.list_(pa.float32()))}
    if isinstance(side, FactorSide):
        columns["values"] = _lists(side.factors)
    elif isinstance(side, NeighbourSide):
        columns |= _sparse_lists(side.similar)
    elif isinstance(side, GraphFilterSide):
        columns |= _sparse_lists(side.neighbours) | {"vector": _lists(side.vectors), "degree": side.degree}
    elif side is not None:
        raise ModelError(f"engine {side.engine}: expected one that can be stored")
    return pa.table(columns)


def _lists(rows: Scores) -> pa.Array:
    """A list per row of a matrix."""
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(ends, np.ascontiguousarray(rows).ravel())


def _sparse_lists(matrix: sparse.csr_array) -> dict[str, pa.Array]:
    ends = matrix.indptr.astype(np.int32)
    return {
        "places": pa.ListArray.from_arrays(ends, matrix.indices.astype(np.int32)),
        "values": pa.ListArray.from_arrays(ends, matrix.data.astype(np.float32)),
    }


def _dense(rows: pa.Table, name: str) -> Scores:
    """A column of equally long lists as (items, length); no columns where the lists are empty."""
    flat: Scores = rows.column(name).combine_chunks().flatten().to_numpy()
    return flat.reshape(rows.num_rows, -1) if len(flat) else flat.reshape(rows.num_rows, 0)


def _square(rows: pa.Table) -> sparse.csr_array:
    """The lists of places and values as (items, items)."""
    places, values = (rows.column(name).combine_chunks() for name in ("places", "values"))
    ends = row_ends(places.value_lengths().to_numpy())
    entries = (values.flatten().to_numpy(), places.flatten().to_numpy(), ends)
    return sparse.csr_array(entries, shape=(rows.num_rows,) * 2)
