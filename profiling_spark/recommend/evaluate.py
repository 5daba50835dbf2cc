"""How well engines rank, on a split of each customer's pairs. What the figures are stands in metrics.py.

Two protocols. New items: what a customer had taken by the split counts on neither side, neither in the list nor in the
truth. All items: nothing is left out, so that repeat purchases count. Both are judged on the same scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend import metrics
from profiling_spark.recommend.carrier import carrier
from profiling_spark.recommend.graph_filter import rows_at_a_time
from profiling_spark.recommend.interactions import UNITS
from profiling_spark.recommend.item_side import Bools, Ints, ItemSide, padded_blocks, rows_of
from profiling_spark.recommend.score_block import best, close_items, close_pairs
from profiling_spark.recommend.stored import StoredSide, sent_side
from profiling_spark.recommend.top_n import NONE

CUTS = (5, 10, 20)
K = CUTS[-1]
# figures of customers are added up in whole numbers of 2^-40: exact, so no mean depends on the order or layout of rows
_STEPS = 2**40
_RESULT = (
    "protocol string, engine string, members string, users bigint, lists bigint, sums array<bigint>, items array<int>, "
    + ", ".join(f"offered_{k} array<bigint>" for k in CUTS)
)


@dataclass(frozen=True)
class Figures:
    """`values` by name, such as "ndcg@20": means over the `users` judged; without any there are no values.

    `lists`: customers among them whose list is not empty; "share_served" is their share.
    """

    users: int
    lists: int = 0
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """At 20."""
        return self.values.get(f"recall@{K}")

    @property
    def ndcg(self) -> float | None:
        """At 20."""
        return self.values.get(f"ndcg@{K}")


@dataclass(frozen=True)
class Training:
    """The training part by item number: which items may be offered at all; how many of its `customers` took each."""

    items: tuple[str, ...]
    is_offered: Bools
    customers_of: Ints
    customers: int


@dataclass(frozen=True)
class Protocol:
    """`truth`: the column of the pairs that are to be found. `masks_seen`: lists leave out what was taken before."""

    name: str
    truth: str
    masks_seen: bool


NEW_ITEMS = Protocol("new_items", "is_truth", masks_seen=True)
ALL_ITEMS = Protocol("all_items", "is_test", masks_seen=False)


def evaluated_users(pairs: DataFrame, *, truth: str, most: int, salt: int) -> DataFrame:
    """(user_id) with a usable history before the split and a truth after it; at most `most`, chosen by hash."""
    both = pairs.groupBy("user_id").agg(F.max("is_train").alias("_past"), F.max(truth).alias("_truth"))
    able = both.where("_past AND _truth").select("user_id")
    return able.orderBy(F.xxhash64(F.lit(salt), "user_id"), "user_id").limit(most)


def evaluate(
    pairs: DataFrame, sides: Mapping[str, ItemSide], training: Training, judged: Mapping[Protocol, DataFrame | None]
) -> dict[tuple[str, str, str], Figures]:
    """Figures by (protocol, name of the side, group of customers), all sides on the same customers.

    `pairs` as of `split_interactions`, a customer's rows in one partition. `judged`: by protocol, (user_id, groups
    array<string>) of the customers to be judged, with the groups that each belongs to; None: all, in the group
    EVERYONE. What comes to the driver is as long as the catalogue, times partitions and groups.
    """
    rows = pairs.select("user_id", "item_id", "train_units", "is_train", *(protocol.truth for protocol in judged))
    for protocol, customers in judged.items():
        if customers is None:
            rows = rows.withColumn(protocol.name, F.array(F.lit(EVERYONE)))
        else:
            groups = customers.select("user_id", F.col("groups").alias(protocol.name))
            rows = rows.join(F.broadcast(groups), on="user_id", how="left")
    rows = rows.where(F.coalesce(*(protocol.name for protocol in judged)).isNotNull())
    with carrier(pairs.sparkSession) as way:
        folders = {name: None if way.folder is None else Path(way.folder, str(n)) for n, name in enumerate(sides)}
        sent = {name: sent_side(side, folders[name]) for name, side in sides.items()}
        task = _Evaluate(sent, training, tuple(judged))
        found = pl.DataFrame(rows.mapInArrow(task, _RESULT).toArrow())
    return {
        (str(protocol), str(engine), str(members)): _figures(part, training)
        for (protocol, engine, members), part in found.group_by("protocol", "engine", "members", maintain_order=True)
    }


def _figures(found: pl.DataFrame, training: Training) -> Figures:
    """Add up the partitions of one protocol, engine and group."""
    users = int(found["users"].sum())
    lists = int(found["lists"].sum())
    sums = np.array(found["sums"].to_list(), dtype=object).sum(axis=0)
    names = [f"{name}@{k}" for k in CUTS for name in metrics.RANKING]
    values = {name: int(total) / _STEPS / users for name, total in zip(names, sums, strict=True)}
    values["share_served"] = lists / users
    items = found["items"].explode().drop_nulls().to_numpy()
    for k in CUTS:
        offered = np.zeros(len(training.items), dtype=np.int64)
        np.add.at(offered, items, found[f"offered_{k}"].explode().drop_nulls().to_numpy())
        values |= _shape(offered, lists, training, k)
    return Figures(users, lists, values)


def _shape(offered: Ints, lists: int, training: Training, k: int) -> dict[str, float]:
    """The figures that need no truth; those that are not defined (no list, or a single one) are absent."""
    values = {f"coverage@{k}": metrics.coverage(offered, int(training.is_offered.sum()))}
    customers_of = training.customers_of
    if lists > 0:
        values[f"novelty@{k}"] = metrics.novelty(offered, customers_of, training.customers)
        values[f"popularity_bias@{k}"] = metrics.popularity_bias(offered, customers_of)
    if lists > 1:
        values[f"diversity@{k}"] = metrics.diversity(offered, lists)
    return values


class _Evaluate:
    """What a worker runs on a partition of pairs: the sums over its customers, a row a protocol, engine and group."""

    def __init__(self, sides: Mapping[str, StoredSide], training: Training, protocols: Sequence[Protocol]) -> None:
        self.sides, self.training = sides, training
        # masks stay on the scores, so those that set some come last
        self.protocols = sorted(protocols, key=lambda protocol: protocol.masks_seen)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if not rows:
            return
        frame = pl.from_arrow(pa.Table.from_batches(rows))
        assert isinstance(frame, pl.DataFrame)  # for mypy: a table never becomes a series
        users = self._users(frame)
        numbered = self._numbered(frame, users)
        members = {protocol: _members(users, protocol.name) for protocol in self.protocols}
        for name, side in self.sides.items():
            judged = self._judge(side.load(), numbered, members)
            yield from (total.row(protocol.name, name, group) for (protocol, group), total in judged.items())

    def _users(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """(user, user_id, and by protocol the groups): who can be judged by any protocol; no groups where by this not.

        By a protocol they can who have a history to rank by and something to be found.
        """
        groups = (
            pl.when(pl.col("is_train").any() & pl.col(protocol.truth).any())
            .then(pl.col(protocol.name).first())
            .alias(protocol.name)
            for protocol in self.protocols
        )
        names = [protocol.name for protocol in self.protocols]
        users = pairs.group_by("user_id").agg(*groups)
        return users.filter(pl.any_horizontal(pl.col(names).is_not_null())).sort("user_id").with_row_index("user")

    def _numbered(self, pairs: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
        """Rows of the users, with the numbers of users and items, sorted by them."""
        items = pl.DataFrame({"item_id": self.training.items}).with_row_index("item")
        known = pairs.join(users.select("user_id", "user"), on="user_id", how="inner")
        numbered = known.join(items, on="item_id", how="inner").cast({"user": pl.Int64, "item": pl.Int64})
        columns = ("user", "item", "train_units", "is_train", *(protocol.truth for protocol in self.protocols))
        return numbered.select(columns).sort("user", "item")

    def _judge(
        self, side: ItemSide, pairs: pl.DataFrame, members: Mapping[Protocol, Mapping[str, Bools]]
    ) -> dict[tuple[Protocol, str], _Sums]:
        sums = {(protocol, group): _Sums(side.items) for protocol, groups in members.items() for group in groups}
        past, seen = pairs.filter("is_train"), _Marks.of(pairs.filter(pl.col("train_units").is_not_null()))
        truths = {protocol: _Marks.of(pairs.filter(protocol.truth)) for protocol in self.protocols}
        columns = past["user"].to_numpy(), past["item"].to_numpy(), past["train_units"].to_numpy() / UNITS
        for block, histories in padded_blocks(*columns, rows=rows_at_a_time(side)):
            scored = side.score(histories)
            score_block = scored.block()
            close_items(score_block, ~self.training.is_offered)
            for protocol in self.protocols:
                if protocol.masks_seen:
                    close_pairs(score_block, *seen.of_block(block))
                found, _ = best(score_block, K, scored.exact)
                hits, sizes = truths[protocol].hits(block, found)
                for group, is_member in members[protocol].items():
                    in_group = is_member[block]
                    sums[protocol, group].add(found[in_group], hits[in_group], sizes[in_group])
        return sums


def _members(users: pl.DataFrame, protocol: str) -> dict[str, Bools]:
    """Of each group who belongs to it, by the number of the user."""
    long = users.select("user", groups=protocol).explode("groups").drop_nulls()
    found: dict[str, Bools] = {}
    for (name,), part in long.group_by("groups", maintain_order=True):
        found[str(name)] = np.zeros(len(users), dtype=bool)
        found[str(name)][part["user"].to_numpy()] = True
    return found


class _Sums:
    """What is added up over the customers of a group; `offered` (cuts, items): how often each item stands in a list."""

    def __init__(self, items: int) -> None:
        self.users, self.lists = 0, 0
        self.ranking = np.zeros(len(CUTS) * len(metrics.RANKING), dtype=np.int64)
        self.offered = np.zeros((len(CUTS), items), dtype=np.int64)

    def add(self, found: Ints, hits: Bools, truths: Ints) -> None:
        """A block of lists (customers, K), which of their items are in the truth, and the sizes of the truths."""
        self.users += len(found)
        self.lists += int((found[:, 0] != NONE).sum())
        self.ranking += ranking_sums(hits, truths)
        for row, k in enumerate(CUTS):
            listed = found[:, :k]
            self.offered[row] += np.bincount(listed[listed != NONE], minlength=self.offered.shape[1])

    def row(self, protocol: str, engine: str, members: str) -> pa.RecordBatch:
        """As a batch of one row; items that stand in no list are left out."""
        items = np.flatnonzero(self.offered[-1])
        columns: dict[str, pa.Array] = {
            "protocol": pa.array([protocol], pa.large_string()),
            "engine": pa.array([engine], pa.large_string()),
            "members": pa.array([members], pa.large_string()),
            "users": pa.array([self.users], pa.int64()),
            "lists": pa.array([self.lists], pa.int64()),
            "sums": pa.array([self.ranking], pa.list_(pa.int64())),
            "items": pa.array([items.astype(np.int32)], pa.list_(pa.int32())),
        }
        columns |= {
            f"offered_{k}": pa.array([self.offered[row, items]], pa.list_(pa.int64())) for row, k in enumerate(CUTS)
        }
        return pa.RecordBatch.from_pydict(columns)


def ranking_sums(hits: Bools, truths: Ints) -> Ints:
    """Each metric at each of CUTS, summed over the customers in whole numbers of 1/_STEPS."""
    found = [metric(hits[:, :k], truths) for k in CUTS for metric in metrics.RANKING.values()]
    return np.array([np.round(values * _STEPS).astype(np.int64).sum() for values in found], dtype=np.int64)


@dataclass(frozen=True)
class _Marks:
    """Pairs of a user and an item, by number, sorted by both, each once."""

    users: Ints
    items: Ints

    @classmethod
    def of(cls, pairs: pl.DataFrame) -> _Marks:
        """Of sorted rows."""
        return cls(pairs["user"].to_numpy(), pairs["item"].to_numpy())

    def of_block(self, users: Ints) -> tuple[Ints, Ints]:
        """(row, item) of the pairs of these users; a user's row is its place among them."""
        row, at = rows_of(self.users, users)
        return row, self.items[at]

    def hits(self, users: Ints, found: Ints) -> tuple[Bools, Ints]:
        """Which items of the lists (users, any) are marked, and (users,) how many marks each user has."""
        row, item = self.of_block(users)
        width = max(int(item.max(initial=0)), int(found.max(initial=0))) + 1
        marked = np.isin(found + np.arange(len(users))[:, None] * width, item + row * width) & (found != NONE)
        return marked, np.bincount(row, minlength=len(users))
