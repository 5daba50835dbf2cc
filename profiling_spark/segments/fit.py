"""Fit the segments of one as_of: sample, preparation, k, MLlib's clusters, ids and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.errors import ModelError
from profiling_spark.models import Stored, Wanted
from profiling_spark.prepare import Preparation, collect_sample, fit_reduction, numeric_features, quoted
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.impute import never_happened
from profiling_spark.prepare.inputs import Inputs, inputs_to_fit
from profiling_spark.segments.assign import Centres, Moments, moments
from profiling_spark.segments.choose import Candidate, largest_supported, scan
from profiling_spark.segments.clusters import centres_of, fit_kmeans, segment_ids
from profiling_spark.segments.naming import names as segment_names

Floats = NDArray[np.float64]

TASK = "segments"
FEWEST_FEATURES = 2
_DIGITS = 9
NOBODY = "no customer has an event before as_of"

# One or two features a trait, so that no trait weighs double: rhythm, age as a customer, looking, buying, spending,
# price level, discounts, and how much of the looking ends in an order. `{w}` is the longest window.
DEFAULT_FEATURES = (
    "days_since_last_event",
    "tenure_days",
    "views_{w}d",
    "frequency",
    "monetary",
    "price_preference",
    "discount_share_{w}d",
    "view_to_purchase_{w}d",
)


class ThinData(Exception):
    """Too little to segment; the message is the reason of the skip."""


def chosen_features(settings: Settings) -> tuple[str, ...]:
    """The configured features, else the default ones in the longest window."""
    longest = max(settings.windows_days)
    return settings.segments.features or tuple(f.format(w=longest) for f in DEFAULT_FEATURES)


def checked_features(settings: Settings, features: DataFrame) -> list[str]:
    """The chosen ones. Raises ConfigError for one that is no numeric column."""
    return numeric_features(features, chosen_features(settings), setting="segments.features")


def fit_segments(ctx: Context, features: DataFrame, names: list[str], wanted: Wanted) -> Stored:
    """Fit, name and store. Raises ThinData where there is too little."""
    inputs = inputs_to_fit(ctx.settings.prepare, names, features)
    raw = raw_rows(ctx, inputs, features)
    dropped = F.count_if(inputs.incomplete()).alias("dropped_rows")
    counted = raw.agg(*models.fingerprint(raw, ["user_id", *map(quoted, inputs.names)]), dropped).first()
    if counted is None or counted["_rows"] == 0:
        raise ThinData(NOBODY)
    rows = int(counted["_rows"] - counted["dropped_rows"])
    fewest = ctx.settings.segments.k or ctx.settings.segments.k_min
    if rows < fewest:
        raise ThinData(f"{rows} customers are fewer than {fewest} segments")
    ingredients = {"params": wanted.params, "rows": models.ingredient(counted)}
    version = models.version_name(TASK, ctx.as_of, ingredients)
    ready = _finished(ctx, version)
    left_out = int(counted["dropped_rows"]) if inputs.required else None
    return ready or _fit(ctx, raw, inputs, wanted, version, rows, left_out)


def raw_rows(ctx: Context, inputs: Inputs, features: DataFrame, also: Sequence[str] = ()) -> DataFrame:
    """user_id, `also` and the inputs of the as_of's `features`."""
    table = user_features_table(ctx.settings.windows_days)
    days = ctx.settings.prepare.forward_fill_days
    return inputs.of(features, ctx.tables.read(table), as_of=ctx.as_of, days=days, also=also)


def _finished(ctx: Context, version: str) -> Stored | None:
    """The same fit from an earlier run. A damaged one is written anew on --refit only."""
    try:
        return models.find(ctx.tables, TASK, version)
    except ModelError:
        if ctx.refit:
            return None
        raise


def _fit(
    ctx: Context, raw: DataFrame, inputs: Inputs, wanted: Wanted, version: str, rows: int, dropped_rows: int | None
) -> Stored:
    settings, seed = ctx.settings.segments, ctx.settings.seed
    complete = raw.where(~inputs.incomplete())
    sample = collect_sample(complete, inputs.names, rows=rows)
    never = never_happened(ctx.settings.custom_features)
    preparation = fit_preparation(
        sample.raw, inputs.names, rules=ctx.settings.prepare, encodings=inputs.encodings, never=never
    )
    if len(preparation.names) < FEWEST_FEATURES:
        left_out = ", ".join(f"{n} ({why})" for n, why in preparation.dropped.items())
        raise ThinData(f"{len(preparation.names)} usable features, at least {FEWEST_FEATURES} are needed: {left_out}")
    kept = [inputs.names.index(n) for n in preparation.inputs]
    prepared = preparation.matrix(sample.raw[:, kept])
    components = ctx.settings.prepare.components
    reduction = fit_reduction(prepared, components=components) if components else None
    space = (reduction.transform(prepared) if reduction else prepared)[: settings.sample_rows]
    choice = _choose(space, ctx)
    model = fit_kmeans(
        complete, preparation, reduction, k=choice.k, seed=seed, max_iterations=settings.max_iterations,
        partitions=ctx.settings.spark.fit_partitions, sample=space, reference=choice.spread,
    )  # fmt: skip
    centres = centres_of(model)
    applied = Centres(
        preparation,
        reduction.restored(centres) if reduction else centres,
        prepared.mean(axis=0).round(_DIGITS) + 0.0,  # what is left of 0 and 1 is rounding, also its sign
        prepared.std(axis=0).round(_DIGITS),
        reduction,
    )
    declaration = {
        "task": TASK,
        "train_as_of": ctx.as_of.isoformat(),
        "rows": rows,
        "dropped_rows": dropped_rows,
        "params": dict(wanted.params),
        "preparation": preparation.to_json(),
        "reduction": reduction.to_json() if reduction else None,
        "centres": applied.centres.tolist(),
        "origin": applied.origin.tolist(),
        "deviation": applied.deviation.tolist(),
        "segments": _segments(ctx, applied, moments(raw, applied)),
        "choice": {
            "k": choice.k,
            "stability": choice.stability,
            "silhouette": choice.silhouette,
            "rows": len(space),
        },
    }
    models.save_mllib(ctx.tables, TASK, version, model)
    return models.finish(ctx.tables, TASK, version, declaration)


def _choose(prepared: Floats, ctx: Context) -> Candidate:
    settings = ctx.settings.segments
    least, most = (settings.k, settings.k) if settings.k is not None else (settings.k_min, settings.k_max)
    candidates = scan(prepared, k_min=least, k_max=most, seed=ctx.settings.seed)
    if not candidates:
        kinds = len(np.unique(prepared, axis=0))
        raise ThinData(f"{kinds} customers who differ are too few for {least} segments")
    return largest_supported(candidates, min_stability=settings.min_stability, tolerance=settings.silhouette_tolerance)


def _segments(ctx: Context, model: Centres, found: Moments) -> list[dict[str, Any]]:
    """Id and names of each row of the centres."""
    preparation, centres = model.preparation, model.centres
    sizes = np.zeros(len(centres), dtype=np.int64)
    sizes[found.clusters] = found.sizes
    previous, previous_ids = _previous(ctx, preparation)
    ids = segment_ids(centres, sizes, previous, previous_ids)
    means: list[Mapping[str, float]] = [dict.fromkeys(preparation.names, float("nan")) for _ in centres]
    for cluster, mean in zip(found.clusters, found.means, strict=True):
        means[cluster] = mean
    named = segment_names(model.differences(), sizes.tolist(), means)
    return [{"segment_id": i, "name_en": n.en, "name_zh": n.zh} for i, n in zip(ids, named, strict=True)]


def _previous(ctx: Context, preparation: Preparation) -> tuple[Floats | None, list[int]]:
    """Centres of the live model in the new prepared space, and their ids; none where its features differ."""
    row = models.live(ctx.tables, TASK)
    if row is None or row["since"] > ctx.as_of:
        return None, []
    try:
        declaration = models.load_live(ctx.tables, row).declaration
    except ModelError:
        if ctx.refit:
            return None, []
        raise
    try:
        before = Preparation.from_json(declaration["preparation"])
    except ModelError:  # its files are whole: another version of this package wrote them, in a form of its own
        return None, []
    if set(before.names) != set(preparation.names):
        return None, []
    raw = before.raw(np.array(declaration["centres"], dtype=np.float64))
    ordered = raw[:, [before.names.index(n) for n in preparation.names]]
    return preparation.scaled(ordered), [s["segment_id"] for s in declaration["segments"]]
