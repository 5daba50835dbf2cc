"""Recommend items: each customer's list with reasons, each item's neighbours, and the figures behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from profiling_spark import models
from profiling_spark.buckets import Replaced
from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import (
    BUNDLES,
    ITEM_AUDIENCE,
    ITEM_NEIGHBOURS,
    REPEAT_CATEGORIES,
    USER_RECOMMENDATIONS,
)
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import InputError, ModelError
from profiling_spark.features.left_out import counted_rows
from profiling_spark.kernel_progress import counting, stored_rows
from profiling_spark.models import Stored
from profiling_spark.recommend.engines.item_cf import cosine_neighbours
from profiling_spark.recommend.engines.stored import StoredSide
from profiling_spark.recommend.extras.audience import AudienceKernel, audiences, wanted_items
from profiling_spark.recommend.extras.bundle_figures import ITEMS
from profiling_spark.recommend.extras.bundles import bundles, order_items
from profiling_spark.recommend.history.bots import Bots, bots_of
from profiling_spark.recommend.history.histories import replace_from_histories
from profiling_spark.recommend.history.interactions import VISIT_COLUMNS, HistoryParams
from profiling_spark.recommend.history.pairs import SplitTotals, Totals, item_totals, pairs_of
from profiling_spark.recommend.history.sums import Sums, history_sums
from profiling_spark.recommend.history.time_split import time_cutoff
from profiling_spark.recommend.judge.choose import LIVE, fit, refitted
from profiling_spark.recommend.judge.figures import figure_rows
from profiling_spark.recommend.lists.catalogue import (
    catalogue_of,
    described_items,
    served_users,
    with_categories,
    with_titles,
)
from profiling_spark.recommend.lists.groups import GROUP_STEPS, group_steps, with_groups
from profiling_spark.recommend.lists.repeats import repeat_categories, repeated
from profiling_spark.recommend.lists.serve import Goods, Offer, Serve
from profiling_spark.recommend.matrix.array_transfer import array_transfer
from profiling_spark.recommend.outcome import Choice, Counted, LeftOut, outcome
from profiling_spark.recommend.store import (
    JOB,
    SCHEME,
    TASK,
    Model,
    for_tasks,
    has_neighbours,
    live_of,
    load,
    neighbours_by_id,
    store,
    wanted,
)
from profiling_spark.remembered import check_zone, remembered
from profiling_spark.shared import SharedCall
from profiling_spark.storage import as_frame

_BUNDLE_TITLES = {name.replace("_id", "_title"): name for name in (*ITEMS, "added_item_id")}
_NEIGHBOUR_TITLES = {"title": "item_id", "neighbour_title": "neighbour_item_id"}


@dataclass(frozen=True)
class _Serving:
    """What a pass over the customers needs: `side` None: popular items serve. `rules`: with the categories whose items
    are bought again and again.
    """

    users: DataFrame
    goods: Goods
    side: StoredSide | None
    params: HistoryParams
    rules: RecommendPolicy


def recommend_items(ctx: Context) -> Outcome:
    """Write what to offer each customer, with reasons, and what is often taken together."""
    check_zone(remembered(ctx.tables), ctx.settings, root=ctx.tables.root)
    features = _features(ctx)
    asked = wanted(ctx.settings)
    stored = models.serving(ctx, asked) or models.kept(ctx, asked)
    params, bots = HistoryParams.of(ctx.settings, ctx.as_of), bots_of(features)
    users = _users(ctx, features, bots).persist()  # each pass over the customers asks for them
    try:
        sums = history_sums(ctx.tables, users, ctx.settings, params, kinds=tuple(GROUP_STEPS))
        if not (sums.totals.weights > 0).any():
            return _nothing(ctx, bots)
        described = described_items(ctx.tables, ctx.settings)
        sums = replace(sums, totals=with_categories(sums.totals, described))
        choice = _choice(ctx, stored, sums.totals, bots, described)
        return _publish(ctx, choice, users, sums, params, bots, described)
    finally:
        users.unpersist()


def _features(ctx: Context) -> DataFrame:
    table = user_features_table(ctx.settings.windows_days)
    if not ctx.tables.exists(table):
        raise InputError(f"{ctx.tables.path(table)}: expected features of {ctx.as_of}, found none; run build_features")
    return ctx.tables.read(table, as_of=ctx.as_of)


def _events(ctx: Context) -> DataFrame:
    return counted_rows(ctx.tables.read(EVENTS), ctx.settings.left_out)


def _users(ctx: Context, features: DataFrame, bots: Bots) -> DataFrame:
    users = served_users(features, ctx.tables)
    return with_groups(bots.flagged(users), features, ctx.tables, as_of=ctx.as_of)


def _choice(ctx: Context, stored: Stored | None, totals: Totals, bots: Bots, described: pl.DataFrame) -> Choice:
    """What serves, with neighbours as of its fit: a night with a stored model asks nobody for their pairs."""
    model = _loaded(ctx, stored) if stored is not None else None
    known = model.neighbours_for(ctx.settings.recommend) if model is not None else None
    if model is not None and known is not None:
        return Choice(model, neighbours=known)
    params, cutoff = HistoryParams.of(ctx.settings, ctx.as_of), None
    if model is None:
        cutoff = time_cutoff(
            bots.left_out(_events(ctx)), since=params.since, before=ctx.as_of, event_types=params.kinds,
            share=ctx.settings.recommend.test_share,
        )  # fmt: skip
    pairs = pairs_of(ctx.tables, ctx.settings, as_of=ctx.as_of, cutoff=cutoff, bots=bots).persist()
    try:
        recommend = ctx.settings.recommend
        # as many for the table as for item_cf: which of equal cosines are cut off rests on how many are kept
        most = max(recommend.neighbours, recommend.item_cf.neighbours)
        near = cosine_neighbours(
            pairs, totals.items, units="units", is_used="is_learned", neighbours=most,
            blocks=ctx.settings.spark.fit_partitions,
        )  # fmt: skip
        listed = neighbours_by_id(near.filter(pc.field("rank") <= recommend.neighbours), totals.items)
        if model is not None:  # of an earlier release, or of other settings
            return Choice(model, neighbours=listed)
        if not totals.has_enough(recommend):
            models.no_figures(ctx, JOB, TASK)
            return Choice(is_new=True, neighbours=listed)
        choice = _fitted(ctx, pairs, with_categories(item_totals(pairs), described), near)
        own = choice.model.neighbours_for(recommend) if choice.model else None
        return replace(choice, neighbours=listed if own is None else own)
    finally:
        pairs.unpersist()


def _fitted(ctx: Context, pairs: DataFrame, totals: SplitTotals, near: pa.Table) -> Choice:
    """The engines compared, and the best fitted, unless the one that serves stays."""
    features = ctx.tables.read(user_features_table(ctx.settings.windows_days), as_of=ctx.as_of)
    attributes = features.select("user_id", "gender_code", "age_band")
    now = _serving_now(ctx)
    asked = wanted(ctx.settings)
    live = live_of(now, ctx.settings.recommend, asked) if now else None
    fitted = fit(pairs, totals, near, ctx.settings, attributes=attributes, live=live)
    stays = now is not None and live is not None and fitted.engine == LIVE
    serving = fitted
    listed = ctx.settings.recommend.neighbours
    if now is None or live is None or not stays:
        made = store(ctx.tables, fitted, totals, near, neighbours=listed, asked=asked, as_of=ctx.as_of)
    # its settings are better still, what it has learned is out of date, or an earlier release stored less of it
    elif ctx.refit or _is_old(ctx) or not has_neighbours(now):
        serving = refitted(live, pairs, totals, ctx.settings)
        same = replace(asked, params=now.declaration["params"])
        made = store(ctx.tables, serving, totals, near, neighbours=listed, asked=same, as_of=ctx.as_of)
    else:
        made, serving = now, replace(fitted, blend=live.blend)
    models.write_figures(ctx, asked, made, figure_rows(fitted.figures), serves=fitted.engine)
    # read back, so that this run serves from the same files as the next
    return Choice(
        _loaded(ctx, made), is_new=made is not now, stays=stays, figures=fitted.figures, tuned=fitted.tuned,
        blend=serving.blend,
    )  # fmt: skip


def _loaded(ctx: Context, stored: Stored) -> Model:
    return load(ctx.tables, stored, candidates=ctx.settings.recommend.graph_filter.candidates)


def _is_old(ctx: Context) -> bool:
    """Whether the live model has served for `max_age_days`."""
    row = models.live(ctx.tables, TASK)
    return row is not None and (ctx.as_of - row["since"]).days >= ctx.settings.recommend.max_age_days


def _serving_now(ctx: Context) -> Stored | None:
    """The live model: what is to serve in its place must be better on the same split."""
    row = models.live(ctx.tables, TASK)
    if row is None or row["since"] > ctx.as_of:
        return None
    try:
        stored = models.load_live(ctx.tables, row)
    except ModelError:
        return None  # damaged: this run replaces it
    if stored.declaration["params"].get("scheme") != SCHEME:
        return None  # fitted by a version whose engines were others
    return stored


def _nothing(ctx: Context, bots: Bots) -> Outcome:
    """Nobody took anything: the day's lists are empty, whatever an earlier run wrote."""
    for table in (USER_RECOMMENDATIONS, ITEM_NEIGHBOURS):
        ctx.tables.replace_slice(table, as_frame(table, []), as_of=ctx.as_of)
    for table in (BUNDLES, ITEM_AUDIENCE, REPEAT_CATEGORIES):
        _clear(ctx, table)
    models.no_figures(ctx, JOB, TASK)
    settings = ctx.settings.recommend
    nothing = f"no customer took an item in the {settings.history_days} days before {ctx.as_of}"
    lines = LeftOut(bots, 0).lines(settings)
    return Outcome(rows_out=0, facts={"bots": bots.count}, skipped="; ".join([nothing, *lines]))


def _publish(
    ctx: Context,
    choice: Choice,
    users: DataFrame,
    sums: Sums,
    params: HistoryParams,
    bots: Bots,
    described: pl.DataFrame,
) -> Outcome:
    """Write the tables; the model goes live last, so that a run that dies before its end is completed by the next."""
    near = with_titles(choice.neighbours, described, _NEIGHBOUR_TITLES).with_columns(as_of=pl.lit(ctx.as_of))
    ctx.tables.replace_slice(ITEM_NEIGHBOURS, near.select(ITEM_NEIGHBOURS.names), as_of=ctx.as_of)
    totals, people = sums.totals, users.where("NOT is_bot")
    model_items = choice.model.items if choice.model else totals.items
    catalogue = catalogue_of(
        totals, model_items, ctx.tables, ctx.settings, described=described, first_dates=sums.first_dates,
        as_of=ctx.as_of,
    )  # fmt: skip
    goods = Goods(catalogue, catalogue.content(), group_steps(sums.top, catalogue.item_ids))
    rules = ctx.settings.recommend.policy.model_copy(update={"repeat_categories": _write_repeats(ctx, totals)})
    with array_transfer(ctx.spark) as way:
        side = for_tasks(ctx.tables, choice.model, way) if choice.model else None
        serving = _Serving(users, goods, side, params, rules)
        next_uses = {
            "bundles": _write_bundles(ctx, params, bots, described),
            "item_audience": _write_audience(ctx, choice, serving, people),
        }
        lists = _write_lists(ctx, choice, serving)
    if choice.model is not None:
        row = models.live(ctx.tables, TASK)
        if row is None or row["model_version"] != choice.model.stored.version:
            models.promote_unless_older(ctx, choice.model.stored)
    return outcome(choice, lists, next_uses, LeftOut(bots, sums.few_items), ctx.settings.recommend)


def _write_lists(ctx: Context, choice: Choice, serving: _Serving) -> Replaced:
    recommend = ctx.settings.recommend
    popular_is_best = choice.model is not None and choice.model.side is None
    gap = None if popular_is_best else timedelta(minutes=recommend.session_gap_minutes)
    offer = Offer(recommend.top_n, recommend.new_items_share, gap, ctx.settings.language, serving.rules)
    customers = stored_rows(ctx.tables, user_features_table(ctx.settings.windows_days), as_of=ctx.as_of)
    lists = Counted(Serve(serving.goods, serving.side, serving.params, offer), ctx.as_of)
    kernel = counting(
        SharedCall(ctx.spark, lists), ctx.tables, ctx.progress, total=customers, unit="customers", side="users"
    )
    return replace_from_histories(
        ctx.tables, kernel, USER_RECOMMENDATIONS, serving.params, columns=VISIT_COLUMNS, buckets=ctx.settings.buckets,
        sides={"users": serving.users},
    )  # fmt: skip


def _clear(ctx: Context, table: Table) -> int:
    """Nothing to write into a table that not everyone uses: an earlier run's rows of the date go, none are created."""
    return ctx.tables.replace_slice(table, as_frame(table, []), as_of=ctx.as_of) if ctx.tables.exists(table) else 0


def _write_repeats(ctx: Context, totals: Totals) -> tuple[str, ...]:
    """The categories whose items are offered again."""
    found = repeat_categories(totals.categories, totals.bought, ctx.settings.recommend.policy)
    if found.is_empty():
        _clear(ctx, REPEAT_CATEGORIES)
    else:
        rows = found.select(pl.lit(ctx.as_of).alias("as_of"), *found.columns)
        ctx.tables.replace_slice(REPEAT_CATEGORIES, rows.select(REPEAT_CATEGORIES.names), as_of=ctx.as_of)
    return repeated(found)


def _write_bundles(ctx: Context, params: HistoryParams, bots: Bots, described: pl.DataFrame) -> int:
    settings = ctx.settings.recommend.bundles
    if settings.most == 0:
        return _clear(ctx, BUNDLES)
    lines = order_items(bots.left_out(_events(ctx)), since=params.since, before=ctx.as_of)
    found = with_titles(bundles(lines, settings, as_of=ctx.as_of), described, _BUNDLE_TITLES).select(BUNDLES.names)
    return _clear(ctx, BUNDLES) if found.is_empty() else ctx.tables.replace_slice(BUNDLES, found, as_of=ctx.as_of)


def _write_audience(ctx: Context, choice: Choice, serving: _Serving, people: DataFrame) -> int:
    known = len(choice.model.items) if choice.model else 0
    wanted = wanted_items(serving.goods.catalogue, ctx.settings.recommend, known)
    if serving.side is None or not len(wanted):
        return _clear(ctx, ITEM_AUDIENCE)
    kernel = AudienceKernel(
        serving.goods.catalogue.item_ids[:known], wanted, serving.side, serving.params,
        ctx.settings.recommend.audience.customers,
    )  # fmt: skip
    found = audiences(ctx.tables, people, kernel, buckets=ctx.settings.buckets)
    return ctx.tables.replace_slice(ITEM_AUDIENCE, found, as_of=ctx.as_of)
