"""How many neighbours, vectors and passes graph_filter needs on a small catalogue: chosen on a lake's validation pairs.

`--events` is the folder of an `events` table that `ingest` wrote. The last `test_share` of the interactions by time is
the test part of the nightly job and is thrown away first; the last share of what is left is the validation part, whose
new items are to be found (NDCG@20, as in recommend/judge/metrics.py). No Spark: the NumPy that its tasks run.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from profiling_spark.config import Settings
from profiling_spark.config.settings import GraphFilter
from profiling_spark.recommend.engines.graph_filter import GraphFilterSide, graph_filter_side
from profiling_spark.recommend.engines.graph_fit import bands_for, neighbours_for
from profiling_spark.recommend.history.interactions import SPLIT_COLUMNS, UNITS, HistoryParams, split_interactions
from profiling_spark.recommend.judge.metrics import ndcg, recall
from profiling_spark.recommend.matrix.item_graph import (
    gram_rows,
    image,
    item_degrees,
    normalise,
    singular_vectors,
    strongest,
)
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, block_rows, padded_blocks
from profiling_spark.recommend.matrix.top_n import NONE, select_top

K, SEED = 20, 42
_SHARES, _VECTORS = (1 / 64, 1 / 32, 1 / 16), (32, 48, 64, 96)


def last_share(events: pl.DataFrame, share: float) -> datetime:
    """The whole minute from which on about `share` of the events happen."""
    minute = events["event_time"].dt.truncate("1m").sort()
    found = minute[int(len(minute) * (1 - share))]
    assert isinstance(found, datetime)
    return found.astimezone(UTC)


def validation_pairs(events: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The pairs of `split_interactions`, of the events before the test part."""
    as_of = events["event_date"].max()
    assert isinstance(as_of, date)
    params = HistoryParams.of(settings, as_of + timedelta(days=1))
    used = events.filter(pl.col("item_id").is_not_null() & pl.col("event_type").is_in(params.kinds))
    share, zone = settings.recommend.test_share, settings.business_timezone
    test_from = last_share(used, share)
    cutoff = last_share(used.filter(pl.col("event_time") < test_from), share)
    known = events.filter(pl.col("event_time") < test_from)
    return split_interactions(known, params, cutoff=cutoff, timezone=zone)


def matrix(pairs: pl.DataFrame, items: list[str], weight: pl.Expr, used: str) -> sparse.csr_array:
    """(customers, items), customers in the order of all ids."""
    users = pairs["user_id"].unique().sort().to_list()
    rows = pairs.filter(used).with_columns(weight.alias("weight"))
    place = rows["user_id"].replace_strict(users, range(len(users)), return_dtype=pl.Int64)
    item = rows["item_id"].replace_strict(items, range(len(items)), return_dtype=pl.Int64)
    shape = (len(users), len(items))
    return sparse.csr_array((rows["weight"].to_numpy(), (place.to_numpy(), item.to_numpy())), shape=shape)


def fit(strengths: sparse.csr_array, settings: GraphFilter) -> GraphFilterSide:
    """The engine as graph_fit.py makes it, all customers in one block."""
    degree = item_degrees(strengths)
    known = int((degree > 0).sum())
    block = normalise(
        strengths, degree, user_exponent=settings.user_exponent, item_exponent=settings.item_exponent
    )  # fmt: skip
    every = gram_rows([block], slice(0, strengths.shape[1]))
    near = sparse.csr_array(strongest(every, neighbours_for(settings, known)).T)
    bands = bands_for(settings, known)
    rank = sum(band.count for band in bands)
    vectors, _ = singular_vectors(
        lambda basis: image(block, basis), strengths.shape[1], rank=rank, passes=settings.passes, seed=SEED
    )
    active = strengths[np.flatnonzero(np.diff(strengths.indptr))[: settings.weight_users]]
    return graph_filter_side(near, vectors, degree, bands=bands, sample=active)


def best_new(
    side: GraphFilterSide, pairs: pl.DataFrame, items: list[str], most: int
) -> tuple[Ints, Ints, Floats, Bools]:
    """Of each judged customer (number in the order of all ids) the best new items, their scores and what is true
    (customers, items).
    """
    train = matrix(pairs, items, pl.col("train_units") / UNITS, "is_train")
    seen = matrix(pairs.with_columns(seen=pl.col("train_units").is_not_null()), items, pl.lit(1.0), "seen")
    truth = matrix(pairs, items, pl.lit(1.0), "is_truth")
    judged = np.flatnonzero((np.diff(truth.indptr) > 0) & (np.diff(train.indptr) > 0))
    past = train[judged]
    row = np.repeat(judged, np.diff(past.indptr))
    found = []
    for users, histories in padded_blocks(row, past.indices.astype(np.int64), past.data, rows=block_rows(side.items)):
        scored = side.score(histories)
        scores = scored.block()
        scores[seen[users].toarray() > 0] = -np.inf
        chosen, values = select_top(scores, most, scored.exact)
        found.append((users, chosen, values, truth[users].toarray() > 0))
    users, chosen, values, is_truth = (np.concatenate(part) for part in zip(*found, strict=True))
    return users, chosen, values, is_truth


def hits_in(lists: Ints, is_truth: Bools) -> Bools:
    """Which items of the lists are true."""
    found: Bools = np.take_along_axis(is_truth, np.maximum(lists, 0), axis=1) & (lists != NONE)
    return found


def figures(side: GraphFilterSide, pairs: pl.DataFrame, items: list[str]) -> tuple[float, float]:
    """Recall@20 and NDCG@20 for new items."""
    _, lists, _, is_truth = best_new(side, pairs, items, K)
    hits, sizes = hits_in(lists, is_truth), is_truth.sum(axis=1)
    return float(recall(hits, sizes).mean()), float(ndcg(hits, sizes).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=Path, required=True, help="folder of the table events")
    parser.add_argument("--passes", type=int, nargs="+", default=[Settings().recommend.graph_filter.passes])
    args = parser.parse_args()
    files = sorted(args.events.glob("*/*.parquet"))
    if not files:
        make = "scripts/bench.sh small_shop --customers 500 --folder /tmp/shop"
        parser.error(f"--events: {args.events} is no table. Type: {make}; then give --events /tmp/shop/lake/events")
    events = pl.scan_parquet(files).select(SPLIT_COLUMNS).collect()
    settings = Settings()
    pairs = validation_pairs(events, settings)
    items = pairs["item_id"].unique().sort().to_list()
    units = (pl.col("train_units").clip(lower_bound=0) / UNITS).log1p()
    strengths = matrix(pairs, items, units, "is_train")
    sys.stdout.write(f"{len(items)} items, {strengths.shape[0]} customers, {strengths.nnz} training pairs\n")
    for passes, near, vectors in product(args.passes, _SHARES, _VECTORS):
        sizes = {"neighbours_share": near, "least_vectors": vectors, "passes": passes}
        tried = settings.recommend.graph_filter.model_copy(update=sizes)
        found = figures(fit(strengths, tried), pairs, items)
        label = f"passes {passes} neighbours_share 1/{round(1 / near)} least_vectors {vectors}"
        sys.stdout.write(f"{label}: Recall@{K} {found[0]:.4f} NDCG@{K} {found[1]:.4f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
