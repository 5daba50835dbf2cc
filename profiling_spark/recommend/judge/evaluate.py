"""How well engines rank, on a split of each customer's pairs, by one or more protocols on the same scores. What the
figures are stands in metrics.py, what a list leaves out in protocols.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend.engines.graph_filter import rows_at_a_time, scoring_all
from profiling_spark.recommend.engines.stored import StoredSide, side_for_tasks
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.history.pairs import SplitTotals
from profiling_spark.recommend.judge import metrics
from profiling_spark.recommend.judge.intervals import STEPS, Paired, interval, paired_sums, poisson_weights
from profiling_spark.recommend.judge.protocols import SEEN, Judged, Protocol, in_order
from profiling_spark.recommend.matrix.array_transfer import array_transfer
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, ItemSide, padded_blocks
from profiling_spark.recommend.matrix.score_block import close_items
from profiling_spark.recommend.matrix.top_n import NONE
from profiling_spark.shared import SharedCall

CUTS = (5, 10, 20)
K = CUTS[-1]
NAMES = tuple(f"{name}@{k}" for k in CUTS for name in metrics.RANKING)
# figures of customers are added up in whole numbers of 2^-40: exact, so no mean depends on the order or layout of rows
_STEPS = 2**40
_RESULT = (
    "protocol string, engine string, members string, users bigint, lists bigint, sums array<bigint>, items array<int>, "
    + "".join(f"offered_{k} array<bigint>, " for k in CUTS)
    + "replicates array<bigint>, products array<bigint>"
)


@dataclass(frozen=True)
class Figures:
    """`values` by name, such as "ndcg@20": means over the `users` judged; without any there are no values.

    `lists`: customers among them whose list is not empty; "share_served" is their share. `replicates`, where asked for:
    the same means in each replicate of the bootstrap, by name.
    """

    users: int
    lists: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    replicates: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """At 20."""
        return self.values.get(f"recall@{K}")

    @property
    def ndcg(self) -> float | None:
        """At 20."""
        return self.values.get(f"ndcg@{K}")

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Around the values, by the bootstrap over customers."""
        return {name: interval(found) for name, found in self.replicates.items()}


@dataclass(frozen=True)
class Evaluated:
    """`figures` by (protocol, name of the side, group of customers); `paired` by (protocol, group): NDCG@20."""

    figures: Mapping[tuple[str, str, str], Figures] = field(default_factory=dict)
    paired: Mapping[tuple[str, str], Paired] = field(default_factory=dict)

    def of(self, protocol: Protocol, group: str) -> dict[str, Figures]:
        """By side."""
        return {name: f for (p, name, g), f in self.figures.items() if (p, g) == (protocol.name, group)}


@dataclass(frozen=True)
class Training:
    """The training part by item number: which items may be offered at all; how many of its `customers` took each."""

    items: tuple[str, ...]
    is_offered: Bools
    customers_of: Ints
    customers: int


def training_of(totals: SplitTotals, customers: int) -> Training:
    """The training part as the evaluation wants it; `customers`: how many it has."""
    return Training(totals.items, totals.train_weights > 0, totals.train_customers, customers)


def evaluated_users(pairs: DataFrame, *, truth: str, most: int, salt: int) -> DataFrame:
    """(user_id) with a usable history before the split and a truth after it; at most `most`, chosen by hash."""
    both = pairs.groupBy("user_id").agg(F.max("is_train").alias("_past"), F.max(truth).alias("_truth"))
    able = both.where("_past AND _truth").select("user_id")
    return able.orderBy(F.xxhash64(F.lit(salt), "user_id"), "user_id").limit(most)


def evaluate(
    pairs: DataFrame,
    sides: Mapping[str, ItemSide],
    training: Training,
    protocols: Sequence[Protocol],
    customers: DataFrame | None = None,
    *,
    replicates: int = 0,
) -> Evaluated:
    """Every side by every protocol, all on the same customers: those who can be judged by it.

    `pairs` as of `with_masks`, a customer's rows in one partition. `customers`: (user_id, groups array<string>) of whom
    to judge, with the groups that each belongs to; None: all, in the group EVERYONE. `replicates`: of the bootstrap.
    What comes to the driver is as long as the catalogue, times partitions and groups.
    """
    columns = {c for p in protocols for c in (p.truth, p.masks, p.candidates) if c is not None}
    rows = pairs.select("user_id", "item_id", "train_units", "is_train", *sorted({*columns, SEEN}))
    if customers is None:
        rows = rows.withColumn("groups", F.array(F.lit(EVERYONE)))
    else:
        rows = rows.join(F.broadcast(customers.select("user_id", "groups")), on="user_id", how="inner")
    if any(protocol.candidates for protocol in protocols):  # an engine's own candidates need not be among those given
        sides = {name: scoring_all(side) for name, side in sides.items()}
    with array_transfer(pairs.sparkSession) as way:
        folders = {name: None if way.folder is None else Path(way.folder, str(n)) for n, name in enumerate(sides)}
        sent = {name: side_for_tasks(pairs.sparkSession, side, folders[name]) for name, side in sides.items()}
        task = SharedCall(pairs.sparkSession, _Evaluate(sent, training, tuple(protocols), replicates))
        found = pl.DataFrame(rows.mapInArrow(task, _RESULT).toArrow())
    figures, paired = {}, {}
    for (protocol, engine, members), part in found.group_by("protocol", "engine", "members", maintain_order=True):
        if engine:
            figures[str(protocol), str(engine), str(members)] = _figures(part, training)
        else:
            paired[str(protocol), str(members)] = _paired(part, tuple(sides))
    return Evaluated(figures, paired)


def _figures(found: pl.DataFrame, training: Training) -> Figures:
    """Add up the partitions of one protocol, engine and group."""
    users = int(found["users"].sum())
    lists = int(found["lists"].sum())
    sums = np.array(found["sums"].to_list(), dtype=object).sum(axis=0)
    values = {name: int(total) / _STEPS / users for name, total in zip(NAMES, sums, strict=True)}
    values["share_served"] = lists / users
    items = found["items"].explode().drop_nulls().to_numpy()
    for k in CUTS:
        offered = np.zeros(len(training.items), dtype=np.int64)
        np.add.at(offered, items, found[f"offered_{k}"].explode().drop_nulls().to_numpy())
        values |= _shape(offered, lists, training, k)
    drawn = np.array(found["replicates"].to_list(), dtype=np.int64).sum(axis=0).reshape(-1, 1 + len(NAMES))
    with np.errstate(invalid="ignore"):
        means = drawn[:, 1:] / STEPS / drawn[:, :1]
    replicates = {name: means[:, n] for n, name in enumerate(NAMES)} if len(drawn) else {}
    return Figures(users, lists, values, replicates)


def _paired(found: pl.DataFrame, engines: tuple[str, ...]) -> Paired:
    """Add up the partitions of one protocol and group."""
    sums, products = (np.array(found[c].to_list(), dtype=np.int64).sum(axis=0) for c in ("sums", "products"))
    return Paired(engines, int(found["users"].sum()), sums, products.reshape(len(engines), len(engines)))


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
    """What a worker runs on a partition of pairs: the sums over its customers, a row a protocol, engine and group, and
    one without an engine for the sums over pairs of engines.
    """

    def __init__(
        self, sides: Mapping[str, StoredSide], training: Training, protocols: Sequence[Protocol], replicates: int
    ) -> None:
        self.sides, self.training, self.replicates = sides, training, replicates
        self.protocols = in_order(protocols)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if not rows:
            return
        frame = pl.from_arrow(pa.Table.from_batches(rows))
        assert isinstance(frame, pl.DataFrame)  # for mypy: a table never becomes a series
        users = self._users(frame)
        members = {protocol: _members(users, protocol.name) for protocol in self.protocols}
        drawn = poisson_weights(users["user_id"].to_list(), self.replicates)
        pairs = self._numbered(frame, users)
        ndcg = {protocol: np.zeros((len(self.sides), len(users)), dtype=np.int64) for protocol in self.protocols}
        for number, (name, side) in enumerate(self.sides.items()):
            of_side = {protocol: values[number] for protocol, values in ndcg.items()}
            judged = self._judge(side.load(), pairs, members, drawn, of_side)
            yield from (total.row(protocol.name, name, group) for (protocol, group), total in judged.items())
        for protocol, groups in members.items():
            for group, is_member in groups.items():
                yield _paired_row(protocol.name, group, ndcg[protocol][:, is_member])

    def _users(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """(user, user_id, and by protocol the groups): who can be judged by any protocol; no groups where by this not.

        By a protocol they can who have a history to rank by and something to be found.
        """
        groups = (
            pl.when(pl.col("is_train").any() & pl.col(protocol.truth).any())
            .then(pl.col("groups").first())
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
        return numbered.drop("user_id", "item_id", "groups").sort("user", "item")

    def _judge(
        self,
        side: ItemSide,
        pairs: pl.DataFrame,
        members: Mapping[Protocol, Mapping[str, Bools]],
        drawn: NDArray[np.uint8],
        ndcg: Mapping[Protocol, Ints],
    ) -> dict[tuple[Protocol, str], _Sums]:
        """`drawn` (users, replicates). Fills `ndcg` (users,) of each protocol, in 1/STEPS."""
        sums = {
            (protocol, group): _Sums(side.items, self.replicates)
            for protocol, groups in members.items()
            for group in groups
        }
        past, judged = pairs.filter("is_train"), Judged.of(pairs, self.protocols)
        columns = past["user"].to_numpy(), past["item"].to_numpy(), past["train_units"].to_numpy() / UNITS
        for block, histories in padded_blocks(*columns, rows=rows_at_a_time(side)):
            scored = side.score(histories)
            score_block = scored.block()
            close_items(score_block, ~self.training.is_offered)
            for protocol in self.protocols:
                found = judged.lists(protocol, block, score_block, scored, K)
                hits, sizes = judged.hits(protocol, block, found)
                is_able = sizes > 0
                figures = np.zeros((len(block), len(NAMES)))
                figures[is_able] = customer_figures(hits[is_able], sizes[is_able])
                ndcg[protocol][block] = np.round(figures[:, NAMES.index(f"ndcg@{K}")] * STEPS)
                for group, is_member in members[protocol].items():
                    own = is_member[block]
                    sums[protocol, group].add(found[own], figures[own], drawn[block[own]])
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
    """What is added up over the customers of a group; `offered` (cuts, items): how often each item stands in a list;
    `drawn` (replicates, 1 + figures): the customers of each replicate of the bootstrap and their figures, in 1/STEPS.
    """

    def __init__(self, items: int, replicates: int = 0) -> None:
        self.users, self.lists = 0, 0
        self.ranking = np.zeros(len(NAMES), dtype=np.int64)
        self.offered = np.zeros((len(CUTS), items), dtype=np.int64)
        self.drawn = np.zeros((replicates, 1 + len(NAMES)))

    def add(self, found: Ints, figures: Floats, drawn: NDArray[np.uint8]) -> None:
        """A block of lists (customers, K), their figures by NAMES, and how often each replicate draws each customer."""
        self.users += len(found)
        self.lists += int((found[:, 0] != NONE).sum())
        self.ranking += np.round(figures * _STEPS).astype(np.int64).sum(axis=0)
        if len(self.drawn):  # whole numbers below 2^53 are exact in doubles, whose products are quick
            with_count = np.c_[np.ones(len(found)), np.round(figures * STEPS)]
            self.drawn += drawn.T.astype(np.float64) @ with_count
        for row, k in enumerate(CUTS):
            listed = found[:, :k]
            self.offered[row] += np.bincount(listed[listed != NONE], minlength=self.offered.shape[1])

    def row(self, protocol: str, engine: str, members: str) -> pa.RecordBatch:
        """As a batch of one row; items that stand in no list are left out."""
        items = np.flatnonzero(self.offered[-1])
        offered = {f"offered_{k}": self.offered[row, items] for row, k in enumerate(CUTS)}
        return _row(
            protocol, engine, members, self.users, lists=self.lists, sums=self.ranking, items=items, **offered,
            replicates=self.drawn.ravel().astype(np.int64),
        )  # fmt: skip


def _paired_row(protocol: str, members: str, ndcg: Ints) -> pa.RecordBatch:
    """`ndcg` (engines, customers) in 1/STEPS."""
    sums, products = paired_sums(ndcg)
    return _row(protocol, "", members, ndcg.shape[1], sums=sums, products=products.ravel())


def _row(protocol: str, engine: str, members: str, users: int, *, lists: int = 0, **arrays: Ints) -> pa.RecordBatch:
    """A batch of one row of _RESULT; arrays that are not given are empty."""
    nothing = np.empty(0, dtype=np.int64)
    names = ("sums", "items", *(f"offered_{k}" for k in CUTS), "replicates", "products")
    kinds = {name: pa.int32() if name == "items" else pa.int64() for name in names}
    columns: dict[str, pa.Array] = {
        **{
            n: pa.array([v], pa.large_string())
            for n, v in (("protocol", protocol), ("engine", engine), ("members", members))
        },
        "users": pa.array([users], pa.int64()),
        "lists": pa.array([lists], pa.int64()),
    }
    columns |= {n: pa.array([arrays.get(n, nothing)], pa.list_(kind)) for n, kind in kinds.items()}
    return pa.RecordBatch.from_pydict(columns)


def customer_figures(hits: Bools, truths: Ints) -> Floats:
    """(customers, NAMES): each metric at each of CUTS; `hits` (customers, K), `truths` above 0."""
    found = [metric(hits[:, :k], truths) for k in CUTS for metric in metrics.RANKING.values()]
    return np.stack(found, axis=1)
