"""What steering by price costs and gives: graph_filter's lists on the split by time of a lake, with several strengths.

`--lake` is the folder that `ingest` and `build_features` wrote. Preferences are those of the events before the split;
percentiles are those of the newest item_features. No Spark: the NumPy that its tasks run.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from graph_filter_sizes import K, best_new, fit, hits_in, last_share, matrix

from profiling_spark.config import Settings
from profiling_spark.config.policy import PriceSteering
from profiling_spark.recommend.history.interactions import SPLIT_COLUMNS, UNITS, HistoryParams, split_interactions
from profiling_spark.recommend.judge.metrics import ndcg, recall
from profiling_spark.recommend.lists.steering import DEPTH, Steering, steered

_STRENGTHS = (0.0, 0.1, 0.25, 0.5, 1.0)
_FIRST = 10


def known_prices(lake: Path) -> pl.DataFrame:
    """(item_id, price_percentile) as of the newest date."""
    features = pl.read_delta(str(lake / "item_features"))
    newest = features.filter(pl.col("as_of") == pl.col("as_of").max())
    return newest.select("item_id", "price_percentile").drop_nulls()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True)
    lake = parser.parse_args().lake
    if not list(lake.glob("item_features/*/*.parquet")):
        make = "scripts/bench.sh small_shop --customers 500 --folder /tmp/shop"
        parser.error(f"--lake: {lake} has no item_features. Type: {make}; then give --lake /tmp/shop/lake")
    settings = Settings()
    events = pl.scan_parquet(sorted(lake.glob("events/*/*.parquet"))).select(SPLIT_COLUMNS).collect()
    last = events["event_date"].max()
    assert isinstance(last, date)
    params = HistoryParams.of(settings, last + timedelta(days=1))
    used = events.filter(pl.col("item_id").is_not_null() & pl.col("event_type").is_in(params.kinds))
    cutoff = last_share(used, settings.recommend.test_share)
    pairs = split_interactions(events, params, cutoff=cutoff, timezone=settings.business_timezone)
    items, prices = pairs["item_id"].unique().sort().to_list(), known_prices(lake)
    bought = events.filter((pl.col("event_type") == "purchase") & (pl.col("event_time") < cutoff))
    prefers = bought.join(prices, on="item_id").group_by("user_id").agg(pl.col("price_percentile").mean().alias("mean"))
    ids = pairs.select(pl.col("user_id").unique().sort())
    mean = ids.join(prefers, on="user_id", how="left", maintain_order="left")["mean"].fill_null(np.nan).to_numpy()
    known = pl.DataFrame({"item_id": items}).join(prices, on="item_id", how="left", maintain_order="left")
    percentiles = known["price_percentile"].fill_null(np.nan).to_numpy()

    strengths = matrix(pairs, items, (pl.col("train_units").clip(lower_bound=0) / UNITS).log1p(), "is_train_learned")
    side = fit(strengths, settings.recommend.graph_filter)
    users, chosen, values, is_truth = best_new(side, pairs, items, DEPTH * K)
    sizes = is_truth.sum(axis=1)
    for strength in _STRENGTHS:
        steering = Steering(PriceSteering(strength=strength), percentiles)
        ends = Steering(PriceSteering(strength=1), percentiles).ends(mean[users])
        order, _ = steered(values, steering.gains(ends, chosen), K)
        lists = np.take_along_axis(chosen, order, axis=1)
        hits = hits_in(lists, is_truth)
        is_steered, gain = ends != 0, ndcg(hits, sizes)
        suits = np.nanmean((ends[:, None] * (2 * percentiles[lists] - 1))[is_steered, :_FIRST])
        sys.stdout.write(
            f"strength {strength}: NDCG@{K} of all {len(users)} {gain.mean():.4f}, of {is_steered.sum()} steered "
            f"{gain[is_steered].mean():.4f}, Recall@{K} {recall(hits, sizes)[is_steered].mean():.4f}; "
            f"prices suit {suits:.3f}, "
            f"places changed {(order != np.arange(K))[is_steered].mean():.2f}\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
