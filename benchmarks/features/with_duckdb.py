"""The features in DuckDB: the reference SQL of the tests, one statement, with the project's names of RFM groups."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from duckdb_reference import reference_features
from feature_shop import AS_OF, KINDS, SUPPLIED_COLUMNS, TIMEZONE, WINDOWS, Shop

from profiling_spark.features.rfm import GROUP_RULES

CORES = 2


def build(shop: Shop, out: Path, *, memory: str = "8g") -> None:
    """Every feature of every customer at AS_OF as one Parquet file in `out`; beyond `memory`, the disk is used."""
    con = duckdb.connect(config={"threads": CORES, "memory_limit": f"{memory}b", "temp_directory": f"{out}.tmp"})
    con.execute("SET preserve_insertion_order = false")
    for table in ("events", "users", "items", "reviews"):
        con.execute(
            f"CREATE VIEW {table} AS SELECT * FROM read_parquet({shop.files(table)}, hive_partitioning = false)"
        )
    rules = [
        (rule.group, " AND ".join(f"{s}_score BETWEEN {low} AND {high}" for s, (low, high) in boxes))
        for rule in GROUP_RULES
        for boxes in [(("r", rule.r), ("f", rule.f), ("m", rule.m))]
    ]
    features = reference_features(
        *("events", "users", "items", "reviews", AS_OF, WINDOWS, TIMEZONE),
        connection=con,
        supplied=(*KINDS, *SUPPLIED_COLUMNS),
        rfm_rules=rules,
    )
    con.close()
    out.mkdir()
    pq.write_table(features, out / "0.parquet")
