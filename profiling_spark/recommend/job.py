"""Recommend items: each customer's list with reasons, each item's neighbours, and the figures behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark import models
from profiling_spark.buckets import map_buckets
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import BUNDLES, ITEM_AUDIENCE, ITEM_NEIGHBOURS, USER_RECOMMENDATIONS
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import InputError, ModelError
from profiling_spark.models import Stored
from profiling_spark.recommend.audience import AudienceKernel, audiences, wanted_items
from profiling_spark.recommend.bundles import bundles, order_items
from profiling_spark.recommend.catalogue import catalogue_of, served_users
from profiling_spark.recommend.choose import LIVE, Comparison, Fitted, fit, refitted
from profiling_spark.recommend.figures import figure_facts, figure_line, figure_rows
from profiling_spark.recommend.fit import ENGINES, Totals, item_totals, pairs_of
from profiling_spark.recommend.groups import GROUP_STEPS, group_steps, group_sums, with_groups
from profiling_spark.recommend.interactions import VISIT_COLUMNS, HistoryParams
from profiling_spark.recommend.item_cf import cosine_neighbours
from profiling_spark.recommend.model import JOB, TASK, Model, for_tasks, live_of, load, store, wanted
from profiling_spark.recommend.policy import RULES
from profiling_spark.recommend.popular import POPULAR, POPULAR_IN_CATEGORY
from profiling_spark.recommend.serve import Goods, Offer, Serve
from profiling_spark.recommend.sessions import LAST_SESSION
from profiling_spark.recommend.split import time_cutoff
from profiling_spark.recommend.stored import StoredSide
from profiling_spark.runner import Context, Outcome
from profiling_spark.storage import literal

_LIST = T.StructType([f for f in USER_RECOMMENDATIONS.schema if f.name != "as_of"])
_STEPS = (*ENGINES, LAST_SESSION, POPULAR_IN_CATEGORY, *GROUP_STEPS.values(), POPULAR)


@dataclass(frozen=True)
class _Choice:
    """What serves this run. `model` None: too little data to fit one. `is_new`: fitted by this run; `stays`: this run
    compared it and keeps it.
    """

    model: Model | None = None
    is_new: bool = False
    stays: bool = False
    figures: Comparison = field(default_factory=dict)

    @property
    def engine(self) -> str:
        return self.model.engine if self.model else POPULAR


@dataclass(frozen=True)
class _Serving:
    """What a pass over the customers needs: `side` None: popular items serve."""

    users: DataFrame
    goods: Goods
    side: StoredSide | None
    params: HistoryParams


def recommend_items(ctx: Context) -> Outcome:
    """Write what to offer each customer, with reasons, and what is often taken together."""
    users = _users(ctx)
    asked = wanted(ctx.settings)
    stored = models.serving(ctx, asked) or models.kept(ctx, asked)
    params = HistoryParams.of(ctx.settings, ctx.as_of)
    cutoff = None
    if stored is None:
        cutoff = time_cutoff(
            ctx.tables.read(EVENTS), since=params.since, before=ctx.as_of, event_types=params.kinds,
            share=ctx.settings.recommend.test_share,
        )  # fmt: skip
    pairs = pairs_of(ctx.tables, ctx.settings, as_of=ctx.as_of, cutoff=cutoff).persist()
    try:
        totals = item_totals(pairs)
        if not (totals.weights > 0).any():
            return _nothing(ctx)
        neighbours = cosine_neighbours(
            pairs, totals.items, units="units", is_used="is_history", neighbours=ctx.settings.recommend.neighbours,
            blocks=ctx.settings.spark.fit_partitions,
        )  # fmt: skip
        choice = _choice(ctx, stored, pairs, totals, neighbours)
    finally:
        pairs.unpersist()
    users = users.persist()  # each pass over the customers asks for them
    try:
        return _publish(ctx, choice, users, totals, neighbours, params)
    finally:
        users.unpersist()


def _users(ctx: Context) -> DataFrame:
    table = user_features_table(ctx.settings.windows_days)
    if not ctx.tables.exists(table):
        raise InputError(f"{ctx.tables.path(table)}: expected features of {ctx.as_of}, found none; run build_features")
    features = ctx.tables.read(table, as_of=ctx.as_of)
    users = served_users(features, ctx.tables, as_of=ctx.as_of, timezone=ctx.settings.business_timezone)
    return with_groups(users, features, ctx.tables, as_of=ctx.as_of)


def _choice(ctx: Context, stored: Stored | None, pairs: DataFrame, totals: Totals, neighbours: pa.Table) -> _Choice:
    if stored is not None:
        return _Choice(_loaded(ctx, stored))
    if not totals.has_enough(ctx.settings.recommend):
        models.no_figures(ctx, JOB, TASK)
        return _Choice(is_new=True)
    features = ctx.tables.read(user_features_table(ctx.settings.windows_days), as_of=ctx.as_of)
    attributes = features.select("user_id", "gender_code", "age_band")
    now = _serving_now(ctx)
    live = live_of(now, ctx.settings.recommend) if now else None
    fitted = fit(pairs, totals, neighbours, ctx.settings, attributes=attributes, live=live)
    asked = wanted(ctx.settings)
    stays = now is not None and live is not None and fitted.engine == LIVE
    if now is None or live is None or not stays:
        made = store(ctx.tables, fitted, totals, asked=asked, as_of=ctx.as_of)
    elif _is_old(ctx):  # its settings are better still, what it has learned is out of date
        again = Fitted(live.engine, refitted(live, pairs, totals, ctx.settings), fitted.figures)
        same = replace(asked, params=now.declaration["params"])
        made = store(ctx.tables, again, totals, asked=same, as_of=ctx.as_of)
    else:
        made = now
    models.write_figures(ctx, asked, made, figure_rows(fitted.figures), serves=fitted.engine)
    # read back, so that this run serves from the same files as the next
    return _Choice(_loaded(ctx, made), is_new=made is not now, stays=stays, figures=fitted.figures)


def _loaded(ctx: Context, stored: Stored) -> Model:
    return load(ctx.tables, stored, candidates=ctx.settings.recommend.graph_filter.candidates)


def _is_old(ctx: Context) -> bool:
    """Whether the live model has served for `max_age_days`."""
    row = models.live(ctx.tables, TASK)
    return row is not None and (ctx.as_of - row["since"]).days >= ctx.settings.recommend.max_age_days


def _serving_now(ctx: Context) -> Stored | None:
    """The live model if it was fitted with other settings than those in force: it must be beaten on the same split."""
    row = models.live(ctx.tables, TASK)
    if row is None or row["since"] > ctx.as_of:
        return None
    try:
        stored = models.load_live(ctx.tables, row)
    except ModelError:
        return None  # damaged: this run replaces it
    is_same = models.canonical(stored.declaration["params"]) == models.canonical(dict(wanted(ctx.settings).params))
    return None if is_same else stored


def _nothing(ctx: Context) -> Outcome:
    """Nobody took anything: the day's lists are empty, whatever an earlier run wrote."""
    for table in (USER_RECOMMENDATIONS, ITEM_NEIGHBOURS):
        ctx.tables.replace_slice(table, ctx.spark.createDataFrame([], table.schema), as_of=ctx.as_of)
    for table in (BUNDLES, ITEM_AUDIENCE):
        _clear(ctx, table)
    days = ctx.settings.recommend.history_days
    return Outcome(rows_out=0, skipped=f"no customer took an item in the {days} days before {ctx.as_of}")


def _publish(
    ctx: Context,
    choice: _Choice,
    users: DataFrame,
    totals: Totals,
    neighbours: pa.Table,
    params: HistoryParams,
) -> Outcome:
    """Write the tables; the model goes live last, so that a run that dies before its end is completed by the next."""
    ctx.tables.replace_slice(ITEM_NEIGHBOURS, _neighbour_rows(ctx, totals, neighbours), as_of=ctx.as_of)
    model_items = choice.model.items if choice.model else totals.items
    sums = group_sums(ctx.tables, users, ctx.settings, params)
    catalogue = catalogue_of(
        totals, model_items, ctx.tables, ctx.settings, first_dates=sums.first_dates, as_of=ctx.as_of
    )
    goods = Goods(catalogue, catalogue.content(), group_steps(sums.top, catalogue.item_ids))
    serving = _Serving(users, goods, for_tasks(ctx.tables, choice.model) if choice.model else None, params)
    next_uses = {"bundles": _write_bundles(ctx, params), "item_audience": _write_audience(ctx, choice, serving)}
    counted = Observation()
    written = ctx.tables.replace_slice(
        USER_RECOMMENDATIONS,
        _lists(ctx, choice, serving).observe(counted, *_counts()).where("rank > 0"),
        as_of=ctx.as_of,
    )
    if choice.model is not None:
        row = models.live(ctx.tables, TASK)
        if row is None or row["model_version"] != choice.model.stored.version:
            models.promote_unless_older(ctx, choice.model.stored)
    return _outcome(choice, written, counted.get, next_uses)


def _lists(ctx: Context, choice: _Choice, serving: _Serving) -> DataFrame:
    recommend = ctx.settings.recommend
    popular_is_best = choice.model is not None and choice.model.side is None
    gap = None if popular_is_best else timedelta(minutes=recommend.session_gap_minutes)
    offer = Offer(recommend.top_n, recommend.new_items_share, gap, ctx.settings.language, recommend.policy)
    kernel = Serve(serving.goods, serving.side, serving.params, offer)
    lists = map_buckets(
        ctx.tables, kernel, schema=_LIST, columns=VISIT_COLUMNS, buckets=ctx.settings.buckets, before=ctx.as_of,
        since=serving.params.since, sides={"users": serving.users},
    )  # fmt: skip
    return lists.withColumn("as_of", F.lit(ctx.as_of))


def _clear(ctx: Context, table: Table) -> int:
    """Nothing to write into a table that not everyone uses: an earlier run's rows of the date go, none are created."""
    ctx.tables.delete(table, f"as_of = {literal(ctx.as_of)}")
    return 0


def _write_bundles(ctx: Context, params: HistoryParams) -> int:
    settings = ctx.settings.recommend.bundles
    if settings.most == 0:
        return _clear(ctx, BUNDLES)
    lines = order_items(ctx.tables.read(EVENTS), since=params.since, before=ctx.as_of)
    if lines.isEmpty():
        return _clear(ctx, BUNDLES)
    rows = ctx.spark.createDataFrame(bundles(lines, settings, as_of=ctx.as_of).to_arrow()).coalesce(1)
    return ctx.tables.replace_slice(BUNDLES, rows, as_of=ctx.as_of)


def _write_audience(ctx: Context, choice: _Choice, serving: _Serving) -> int:
    known = len(choice.model.items) if choice.model else 0
    wanted = wanted_items(serving.goods.catalogue, ctx.settings.recommend, known)
    if serving.side is None or not len(wanted):
        return _clear(ctx, ITEM_AUDIENCE)
    kernel = AudienceKernel(
        serving.goods.catalogue.item_ids[:known], wanted, serving.side, serving.params,
        ctx.settings.recommend.audience.customers,
    )  # fmt: skip
    found = audiences(ctx.tables, serving.users, kernel, buckets=ctx.settings.buckets)
    return ctx.tables.replace_slice(ITEM_AUDIENCE, found, as_of=ctx.as_of)


def _neighbour_rows(ctx: Context, totals: Totals, neighbours: pa.Table) -> DataFrame:
    item_ids = pl.Series(totals.items, dtype=pl.String)
    frame = pl.DataFrame(neighbours)
    rows = frame.select(
        as_of=pl.lit(ctx.as_of),
        item_id=item_ids.gather(frame["item"]),
        rank=pl.col("rank").cast(pl.Int32),
        neighbour_item_id=item_ids.gather(frame["other"]),
        similarity="similarity",
    )
    return ctx.spark.createDataFrame(rows.to_arrow()).coalesce(1)


def _counts() -> list[Any]:
    first = [F.count_if((F.col("engine") == s) & (F.col("rank") == 1)).alias(f"users_{s}") for s in _STEPS]
    removed = [
        F.coalesce(F.sum(F.when((F.col("rank") == 0) & (F.col("engine") == r), F.col("score"))), F.lit(0.0)).alias(r)
        for r in RULES
    ]
    return [F.count_if(F.col("rank") == 1).alias("users"), *first, *removed]


def _outcome(choice: _Choice, written: int, counted: Mapping[str, int], next_uses: Mapping[str, int]) -> Outcome:
    users = counted["users"]
    shares = {s: round(counted[f"users_{s}"] / users, 4) for s in _STEPS if users and counted[f"users_{s}"]}
    facts: dict[str, Any] = {"engine": choice.engine, "users_served": users, "share_by_engine": shares}
    removed = {rule: int(counted[rule]) for rule in RULES if counted[rule]}
    facts |= {"removed_by_policy": removed, **next_uses}
    facts |= {"fitted": choice.is_new, **figure_facts(choice.figures)}
    told = f"{POPULAR} serves: too few customers took items to learn from"
    if choice.model is not None:
        stored = choice.model.stored
        facts["model_version"] = stored.version
        told = (
            figure_line(choice.figures, LIVE if choice.stays else choice.engine)
            if choice.figures or choice.is_new
            else f"{stored.version} ({choice.engine}) serves"
        )
    lists = f"{users:,} customers have a list; first item by: " + ", ".join(f"{s} {v:.1%}" for s, v in shares.items())
    told_removed = ", ".join(f"{rule} {count:,}" for rule, count in removed.items())
    lines = (told, lists, f"taken out of the first places by policy: {told_removed}") if removed else (told, lists)
    return Outcome(rows_out=written, facts=facts, lines=lines)
