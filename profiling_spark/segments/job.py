"""The stage: fit or load the model, name the segments, put every customer into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import silhouette_samples

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import SEGMENT_FEATURES, SEGMENTS, USER_SEGMENTS
from profiling_spark.errors import ModelError
from profiling_spark.features.flagged import FLAGGED, NOTABLE, note, rests_on_amounts, spent
from profiling_spark.models import Figure, Stored, Wanted
from profiling_spark.prepare import Preparation, Reduction, Sample, collect_sample
from profiling_spark.prepare.inputs import inputs_of
from profiling_spark.prepare.wording import Language
from profiling_spark.segments.assign import AMOUNTS, Centres, Moments, assigned, moments
from profiling_spark.segments.choose import silhouette
from profiling_spark.segments.fit import (
    NOBODY,
    TASK,
    ThinData,
    checked_features,
    chosen_features,
    fit_segments,
    raw_rows,
)
from profiling_spark.segments.naming import describe
from profiling_spark.storage import as_frame

Floats = NDArray[np.float64]

JOB, METHOD = "segment_users", "kmeans"
_DIGITS = 9


def segment_users(ctx: Context) -> Outcome:
    """Group customers who behave alike, name the groups, and give the reason why each customer is in one.

    Takes part: everyone with an event before as_of, but for bots. A stored model is applied where one serves (see
    models.serving), names and ids included; else one is fitted.
    """
    features = ctx.tables.read(user_features_table(ctx.settings.windows_days), as_of=ctx.as_of)
    active = features.where(F.col("days_since_last_event").isNotNull() & ~F.coalesce("is_bot", F.lit(False)))
    wanted = wanted_segments(ctx.settings)
    names = checked_features(ctx.settings, active)
    stored = models.serving(ctx, wanted)
    fitted = stored is None
    try:
        stored = stored or fit_segments(ctx, active, names, wanted)
        if fitted:
            models.promote_unless_older(ctx, stored)
        return _Apply(ctx, active, stored, wanted).outcome(fitted=fitted)
    except ThinData as reason:
        return _skipped(ctx, str(reason))


def wanted_segments(settings: Settings) -> Wanted:
    """The model of the settings in force; its params are what the fit depends on."""
    chosen = settings.segments.model_dump(mode="json", exclude={"features", "max_age_days"})
    fixed = {"seed": settings.seed, "partitions": settings.spark.fit_partitions}
    learned = {"features": list(chosen_features(settings)), "prepare": settings.prepare.model_dump(mode="json")}
    return Wanted(JOB, TASK, {**chosen, **fixed, **learned}, settings.segments.max_age_days)


def _skipped(ctx: Context, reason: str) -> Outcome:
    for table in (SEGMENTS, SEGMENT_FEATURES, USER_SEGMENTS):
        ctx.tables.replace_slice(table, as_frame(table, []), as_of=ctx.as_of, method=METHOD)
    models.no_figures(ctx, JOB, TASK)
    return Outcome(rows_out=0, skipped=reason)


@dataclass(frozen=True)
class _Apply:
    ctx: Context
    features: DataFrame
    stored: Stored
    wanted: Wanted

    @property
    def known(self) -> Mapping[int, Mapping[str, Any]]:
        """Segments of the model by row of its centres."""
        return dict(enumerate(self.stored.declaration["segments"]))

    def outcome(self, *, fitted: bool) -> Outcome:
        declaration = self.stored.declaration
        try:
            preparation = Preparation.from_json(declaration["preparation"])
            reduction = Reduction.from_json(declaration["reduction"]) if declaration["reduction"] else None
            centres, origin, deviation = (
                np.array(declaration[part], dtype=np.float64) for part in ("centres", "origin", "deviation")
            )
            model = Centres(preparation, centres, origin, deviation, reduction)
        except KeyError as err:
            raise ModelError(f"model {self.stored.path}: expected {err} in its declaration, found none") from err
        amounts = {"_flagged": F.col(FLAGGED).cast("double"), "_spent": spent().cast("double")}
        raw = raw_rows(self.ctx, inputs_of(preparation), self.features.withColumns(amounts), AMOUNTS)
        found = moments(raw, model)
        if not found.sizes:
            raise ThinData(NOBODY)
        sample = collect_sample(
            raw, preparation.inputs, rows=sum(found.sizes), limit=self.ctx.settings.segments.sample_rows
        )
        overall, by_cluster = _silhouettes(model, sample, len(model.centres))
        rows = self._write(model, raw, found, by_cluster)
        self._figures(overall, len(sample), len(found.clusters))
        return self._report(found, overall, rows, fitted=fitted)

    def _write(self, model: Centres, raw: DataFrame, found: Moments, by_cluster: Mapping[int, float]) -> int:
        ctx, date = self.ctx, self.ctx.as_of
        segments, feature_rows, total = [], [], sum(found.sizes)
        parts = zip(found.clusters, found.sizes, found.means, found.flagged, strict=True)
        for cluster, size, means, flagged in parts:
            known, share = self.known[cluster], size / total
            both = self._descriptions(model, cluster, found, means, flagged)
            segment = (date, METHOD, known["segment_id"], known["name_en"], known["name_zh"])
            segments.append((*segment, size, share, by_cluster.get(cluster), flagged, *both))
            for name in model.preparation.names:
                difference = _difference(means[name], found.population[name], found.deviation[name])
                figures = (_or_null(means[name]), _or_null(found.population[name]), difference)
                feature_rows.append((date, METHOD, known["segment_id"], name, *figures))
        for table, rows in ((SEGMENTS, segments), (SEGMENT_FEATURES, feature_rows)):
            ctx.tables.replace_slice(table, as_frame(table, rows), as_of=date, method=METHOD)
        return ctx.tables.replace_slice(USER_SEGMENTS, self._customers(model, raw), as_of=date, method=METHOD)

    def _descriptions(
        self, model: Centres, cluster: int, found: Moments, means: Mapping[str, float], flagged: float | None
    ) -> list[str]:
        """English and Chinese; where the model looks at amounts, with the part of them that is in doubt."""
        texts, difference = [], model.differences()[cluster]
        is_notable = flagged is not None and flagged >= NOTABLE and rests_on_amounts(model.preparation.names)
        languages: tuple[Language, ...] = ("en", "zh")
        for language in languages:
            doubt = note(flagged, self.ctx.settings.flagging, language) if flagged is not None and is_notable else ""
            texts.append(describe(difference, means, found.population, language) + doubt)
        return texts

    def _customers(self, model: Centres, raw: DataFrame) -> DataFrame:
        names = [(i, s["segment_id"], s["name_en"], s["name_zh"]) for i, s in self.known.items()]
        segments = self.ctx.spark.createDataFrame(names, "cluster int, segment_id int, name_en string, name_zh string")
        customers = assigned(raw, model, self.ctx.settings.language)
        return customers.join(F.broadcast(segments), on="cluster", how="left").select(
            F.lit(self.ctx.as_of).alias("as_of"),
            F.lit(METHOD).alias("method"),
            "user_id",
            "segment_id",
            "name_en",
            "name_zh",
            "distance",
            "reason",
        )

    def _figures(self, overall: float | None, sampled: int, clusters: int) -> None:
        chosen = self.stored.declaration["choice"]
        figures = [
            Figure(METHOD, "sample", "silhouette", overall, sampled),
            Figure(METHOD, "sample", "stability", chosen["stability"], chosen["rows"]),
            Figure(METHOD, "sample", "k", float(clusters), sampled),
        ]
        figures += _figures_of_preparation(self.stored.declaration)
        models.write_figures(self.ctx, self.wanted, self.stored, figures, serves=METHOD)

    def _report(self, found: Moments, overall: float | None, rows: int, *, fitted: bool) -> Outcome:
        total = sum(found.sizes)
        groups = sorted(
            (
                {**self.known[c], "users": n, "share": n / total}
                for c, n in zip(found.clusters, found.sizes, strict=True)
            ),
            key=lambda s: (-s["users"], s["segment_id"]),
        )
        dropped = self.stored.declaration["preparation"]["dropped"]
        lines = [f"{s['name_en']} / {s['name_zh']}: {s['users']:,} ({s['share']:.0%})" for s in groups]
        if dropped:
            lines.append("left out: " + ", ".join(f"{name} ({why})" for name, why in dropped.items()))
        facts = {
            "k": len(groups),
            "silhouette": overall,
            "stability": self.stored.declaration["choice"]["stability"],
            "segments": groups,
            "model_version": self.stored.version,
            "fitted": fitted,
            "dropped_features": dropped,
        }
        return Outcome(rows_in=total, rows_out=rows, facts=facts, lines=tuple(lines))


def _figures_of_preparation(declaration: Mapping[str, Any]) -> list[Figure]:
    """Rows left out of the fit, where the settings ask for that; with components, the variance that they keep."""
    rows, dropped, reduction = declaration["rows"], declaration["dropped_rows"], declaration["reduction"]
    found = []
    if dropped is not None:
        found.append(Figure(METHOD, "train", "dropped_rows", float(dropped), rows + dropped))
    if reduction:
        shares = reduction["explained_variance_ratio"]
        found.append(Figure(METHOD, "train", "components", float(len(shares)), rows))
        found.append(Figure(METHOD, "train", "explained_variance", _shortened(sum(shares)), rows))
    return found


def _silhouettes(model: Centres, sample: Sample, clusters: int) -> tuple[float | None, dict[int, float]]:
    """Mean Euclidean silhouette of the sample, and of each cluster with two sampled customers or more."""
    labels, _, prepared = model.nearest(sample.raw)
    space = model.space(prepared)
    overall = silhouette(space, labels)
    if overall is None:
        return None, {}
    each = silhouette_samples(space, labels, metric="euclidean")
    return _shortened(overall), {
        c: _shortened(each[labels == c].mean()) for c in range(clusters) if (labels == c).any()
    }


def _difference(mean: float, population: float, deviation: float) -> float | None:
    return _shortened((mean - population) / deviation) if deviation > 0 and not isnan(mean) else None


def _or_null(value: float) -> float | None:
    return None if isnan(value) else value


def _shortened(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
