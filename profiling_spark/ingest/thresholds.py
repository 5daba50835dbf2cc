"""How much may be refused before the run stops without publishing."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from profiling_spark.config.settings import Ingest
from profiling_spark.errors import QualityError
from profiling_spark.ingest.rules import REJECTED

_NO_USER = "no_user"
_EXAMPLES = 3


def check_thresholds(frame: DataFrame, rows: Sequence[Row], ingest: Ingest) -> None:
    """Raises QualityError with rule, count and three examples where a source passes its share.

    Rows whose only fault is the missing user have their own threshold: a quarter of a shop's lines may be anonymous.
    """
    for source in sorted({r["source"] for r in rows}):
        mine = [r for r in rows if r["source"] == source]
        read = sum(r["rows"] for r in mine)
        anonymous = sum(r["rows"] for r in mine if r["_reasons"] == _NO_USER)
        faulty = sum(r["rows"] for r in mine if r["_status"] == REJECTED) - anonymous
        for count, limit, setting in (
            (anonymous, ingest.max_no_user_share, "max_no_user_share"),
            (faulty, ingest.max_rejected_share, "max_rejected_share"),
        ):
            if count > limit * read:
                only = (F.col("_reasons") == _NO_USER) if count is anonymous else (F.col("_reasons") != _NO_USER)
                examples = frame.where((F.col("source") == source) & (F.col("_status") == REJECTED) & only)
                raise QualityError(
                    f"source {source}: {count:,} of {read:,} rows refused, allowed by ingest.{setting} is a share of "
                    f"{limit}; nothing was published. {_worst(mine)} Examples:\n" + _shown(examples)
                )


def _worst(rows: Sequence[Row]) -> str:
    reasons: dict[str, int] = {}
    for row in rows:
        if row["_status"] == REJECTED:
            for reason in str(row["_reasons"]).split(","):
                reasons[reason] = reasons.get(reason, 0) + row["rows"]
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return "Reasons: " + ", ".join(f"{name} {count:,}" for name, count in ranked) + "."


def _shown(frame: DataFrame) -> str:
    found = frame.select("_reasons", "_raw").orderBy("_reasons", "_raw").limit(_EXAMPLES).collect()
    return "\n".join(f"  [{r['_reasons']}] {str(r['_raw'])[:200]}" for r in found)
