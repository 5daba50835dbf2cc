"""The stored model of this room. Spark writes and reads it, on any storage; on a disk tasks memory-map its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import sparse

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.errors import ModelError
from profiling_spark.models import Stored, Wanted
from profiling_spark.recommend.als import FactorSide
from profiling_spark.recommend.als_tuning import with_values
from profiling_spark.recommend.choose import Fitted, Live
from profiling_spark.recommend.entries import row_ends
from profiling_spark.recommend.fit import ENGINES, Totals
from profiling_spark.recommend.graph_filter import GraphFilterSide, candidates_for
from profiling_spark.recommend.item_cf import NeighbourSide
from profiling_spark.recommend.item_side import Ints, ItemSide, Scores
from profiling_spark.recommend.popular import POPULAR
from profiling_spark.recommend.stored import StoredSide, save_side
from profiling_spark.storage import Tables

JOB, TASK = "recommend_items", "recommendations"
# settings that no fit depends on
_SERVING = {
    "max_age_days", "top_n", "policy", "new_items_share", "new_item_days", "session_gap_minutes", "min_group_customers",
    "audience", "bundles", "explicit_mf",
}  # fmt: skip
# what engines make of the same settings; 2: item_cf scores a candidate by its own neighbours and by log weights. A
# model of another number is neither served nor compared
SCHEME = 2
_BANDS = ("ends", "exponents", "weights")
_VALUES = 2**28
"""Of the lists of one piece of a column: their ends are 32 bits wide in Arrow, and a piece may have 2 GB in Spark."""


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
    both = with_values(both, stored.declaration.get("als", {}))
    return Live(stored.declaration["engine"], both)


def store(tables: Tables, fitted: Fitted, totals: Totals, *, asked: Wanted, as_of: date) -> Stored:
    """Write the engine that serves; a finished version made from the same rows and settings is used as it is."""
    ingredients = {"params": dict(asked.params), "rows": totals.fingerprint, "engine": fitted.engine}
    if fitted.als is not None:
        ingredients["als"] = dict(fitted.als)
    version = models.version_name(TASK, as_of, ingredients)
    found = _finished(tables, version)
    if found is not None:
        return found
    rows = tables.spark.createDataFrame(_rows(fitted.side, totals.items)).coalesce(1)
    rows.write.mode("overwrite").parquet(models.mllib_path(tables, TASK, version))
    declaration = {"train_as_of": as_of.isoformat(), "engine": fitted.engine, "params": dict(asked.params)}
    if fitted.als is not None:
        declaration["als"] = dict(fitted.als)
    if isinstance(fitted.side, GraphFilterSide):
        declaration["bands"] = {name: getattr(fitted.side, name).tolist() for name in _BANDS}
    return models.finish(tables, TASK, version, declaration)


def load(tables: Tables, stored: Stored, *, candidates: int) -> Model:
    """The stored model, to score so many `candidates` where its catalogue is large.

    Raises ModelError where its files do not make the engine that it declares.
    """
    engine = stored.declaration["engine"]
    rows = tables.spark.read.parquet(models.mllib_path(tables, TASK, stored.version)).toArrow()
    order = np.argsort(rows.column("item").to_numpy())
    items = tuple(rows.column("item_id").take(pa.array(order)).to_pylist())
    if engine == POPULAR:
        return Model(stored, engine, None, items)
    if engine == FactorSide.engine:
        factors = FactorSide(_dense(rows, "values", order), **_als_params(stored.declaration))
        return Model(stored, engine, factors, items)
    if engine == GraphFilterSide.engine:
        bands = stored.declaration["bands"]
        ends = np.array(bands["ends"], dtype=np.int64)
        exponents, weights = np.array(bands["exponents"]), np.array(bands["weights"])
        degree = rows.column("degree").to_numpy()[order]
        vectors = _dense(rows, "vector", order)
        scored = candidates_for(candidates, len(items))
        side = GraphFilterSide(_square(rows, order), vectors, degree, ends, exponents, weights, scored)
        return Model(stored, engine, side, items)
    if engine in ENGINES:  # all others are neighbours of items
        return Model(stored, engine, NeighbourSide(_square(rows, order), engine), items)
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


def _als_params(declaration: Mapping[str, Any]) -> dict[str, float]:
    """What the fold-in needs: as found by the fit's trials, or, of an earlier version's model, as set."""
    values = declaration.get("als", declaration["params"])
    return {name: values[name] for name in ("alpha", "regularisation")}


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


def _lists(rows: Scores) -> pa.ChunkedArray:
    """A list per row of a matrix."""
    ends = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
    return _in_pieces(ends, np.ascontiguousarray(rows).ravel())


def _sparse_lists(matrix: sparse.csr_array) -> dict[str, pa.ChunkedArray]:
    ends = matrix.indptr.astype(np.int64)
    return {
        "places": _in_pieces(ends, matrix.indices.astype(np.int32, copy=False)),
        "values": _in_pieces(ends, matrix.data.astype(np.float32, copy=False)),
    }


def _in_pieces(ends: Ints, values: NDArray[Any]) -> pa.ChunkedArray:
    """Lists that end at `ends` (from 0) of the values, in pieces of at most _VALUES of these."""
    pieces = [
        pa.ListArray.from_arrays(
            (ends[first : last + 1] - ends[first]).astype(np.int32), values[ends[first] : ends[last]]
        )
        for first, last in _pieces(ends)
    ]
    return pa.chunked_array(pieces, pa.list_(pa.from_numpy_dtype(values.dtype)))


def _pieces(ends: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of lists with at most _VALUES values; a list, which is never cut, is shorter than that."""
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _VALUES, side="right")) - 1)
        yield first, last
        first = last


def _flat(column: pa.ChunkedArray) -> NDArray[Any]:
    """All values of a column of lists, which need not fit into one Arrow array."""
    parts = [part.flatten().to_numpy() for part in column.chunks]
    none = np.empty(0, column.type.value_type.to_pandas_dtype())
    return parts[0] if len(parts) == 1 else np.concatenate([none, *parts])


def _dense(rows: pa.Table, name: str, order: Ints) -> Scores:
    """A column of equally long lists as (items, length), rows in this order; no columns where the lists are empty."""
    flat: Scores = _flat(rows.column(name))
    matrix = flat.reshape(rows.num_rows, -1) if len(flat) else flat.reshape(rows.num_rows, 0)
    return matrix if _is_sorted(order) else matrix[order]


def _square(rows: pa.Table, order: Ints) -> sparse.csr_array:
    """The lists of places and values as (items, items), rows in this order."""
    lengths = [part.value_lengths().to_numpy() for part in rows.column("places").chunks]
    ends = row_ends(np.concatenate([np.empty(0, dtype=np.int32), *lengths]))
    entries = _flat(rows.column("values")), _flat(rows.column("places")), ends
    matrix = sparse.csr_array(entries, shape=(rows.num_rows,) * 2)
    return matrix if _is_sorted(order) else matrix[order]


def _is_sorted(order: Ints) -> bool:
    return bool((order == np.arange(len(order))).all())
