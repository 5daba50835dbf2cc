"""Small shops for these tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from profiling_spark.recommend.history.interactions import HistoryParams
from profiling_spark.recommend.matrix.item_side import ScoreBlock, SparseScores
from profiling_spark.recommend.matrix.score_block import best, close_pairs, scores_of
from profiling_spark.recommend.matrix.top_n import NONE, parts_of

AS_OF = date(2026, 7, 1)
WEIGHTS = {"view": 1.0, "cart": 4.0, "purchase": 8.0, "refund": -8.0}
PARAMS = HistoryParams(AS_OF, AS_OF - timedelta(days=365), WEIGHTS, half_life_days=10.0, items=300)

# a row of `bundles` without its date
A_BUNDLE = (1, "a", "Ale", "b", None, None, None, 9, 0.5, 2.0, 7.25, 0.9, "b", None)

EVENT = tuple[str, str | None, str, int]  # user, item, event type, age in days


def events(rows: Iterable[EVENT], categories: dict[str, str] | None = None) -> pl.DataFrame:
    """One event a row, at noon UTC of its day."""
    schema = {"user_id": pl.String, "item_id": pl.String, "event_type": pl.String, "age": pl.Int32}
    frame = pl.DataFrame(list(rows), schema=schema, orient="row")
    day = pl.lit(AS_OF) - pl.duration(days=pl.col("age"))
    category = pl.col("item_id").replace_strict(categories or {}, default=None, return_dtype=pl.String)
    return frame.with_columns(event_date=day.cast(pl.Date), category=category).with_columns(
        order_id=pl.lit(None, pl.String),
        quantity=pl.lit(None, pl.Decimal(18, 4)),
        event_time=(pl.col("event_date").cast(pl.Datetime("us")) + pl.duration(hours=12)).dt.replace_time_zone("UTC"),
    )


def noon(age: int) -> datetime:
    """The time of the events of that age."""
    return datetime.combine(AS_OF - timedelta(days=age), datetime.min.time(), UTC) + timedelta(hours=12)


def tasteful(customers: int, groups: int, items: int, *, seed: int) -> list[EVENT]:
    """Customers who take items of one group only; every group is equally popular, so popularity cannot tell them."""
    rng = np.random.default_rng(seed)
    rows: list[EVENT] = []
    for customer in range(customers):
        group = customer % groups
        for age in (90, 60, 30, 3):
            for item in rng.choice(items, size=3, replace=False):
                kind = "purchase" if rng.random() < 0.3 else "view"
                rows.append((f"u{customer:03d}", f"g{group}i{item:02d}", kind, age + int(rng.integers(0, 3))))
    return rows


def group_of(item_id: str) -> str:
    """The planted group of an item."""
    return item_id[:2]


def as_histories(rows: Sequence[Sequence[tuple[int, float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Long arrays (user, item, weight) of histories given customer by customer."""
    users = np.array([u for u, row in enumerate(rows) for _ in row], dtype=np.int64)
    items = np.array([i for row in rows for i, _ in row], dtype=np.int64)
    weights = np.array([w for row in rows for _, w in row], dtype=np.float64)
    return users, items, weights


def top_n(side, histories, masked, n):
    """A block of customers: item numbers, scores, and what each past item adds to each of them. `masked` (customers,
    items): not offered."""
    scored = side.score(histories)
    score_block = scored.block()
    close_pairs(score_block, *np.nonzero(masked))
    items, values = best(score_block, n, scored.exact)
    return items, values, parts_of(scored, items)


def sparse_of(scores: np.ndarray) -> SparseScores:
    """The same scores, of the items in the running only."""
    width = int(np.isfinite(scores).sum(axis=1).max(initial=0)) + 1
    columns = np.full((len(scores), width), NONE)
    values = np.full((len(scores), width), -np.inf, dtype=np.float32)
    for row, score in enumerate(scores):
        items = np.flatnonzero(np.isfinite(score))
        columns[row, : len(items)], values[row, : len(items)] = items, score[items]
    return SparseScores(columns, values)


def dense(block: ScoreBlock, items: int) -> np.ndarray:
    """(customers, items) of either form."""
    found = np.full((len(scores_of(block)), items + 1), -np.inf, dtype=np.float32)
    columns = block.columns if isinstance(block, SparseScores) else np.arange(items)[None, :]
    np.put_along_axis(found, np.broadcast_to(columns, scores_of(block).shape), scores_of(block), axis=1)
    return found[:, :items]
