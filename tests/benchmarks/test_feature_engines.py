"""The engines of the features benchmark that need no Spark, on a small shop: they must write the same table."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import with_duckdb
import with_pandas
import with_polars
from feature_shop import AS_OF, Shop, generate
from feature_tables import differences

EVENTS = 2_000
ENGINES = {"duckdb": with_duckdb.build, "polars": with_polars.build, "pandas": with_pandas.build}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of 2,000 events as plain Parquet."""
    return generate(tmp_path_factory.mktemp("shop"), EVENTS)


@pytest.fixture(scope="module")
def tables(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each engine wrote, by its name."""
    folder = tmp_path_factory.mktemp("tables")
    for name, build in ENGINES.items():
        build(shop, folder / name)
    return {name: folder / name for name in ENGINES}


def test_engines_write_the_same_features(tables: dict[str, Path]) -> None:
    assert differences(tables) == []


def test_a_difference_is_reported(tables: dict[str, Path], tmp_path: Path) -> None:
    other = {
        "views_90d": pl.col("views_90d") + 1,
        "night_share_90d": pl.col("night_share_90d") + 1e-8,
        "monetary": pl.col("monetary").cast(pl.Float64),
        "favorite_hour": pl.col("favorite_hour").fill_null(0),
    }
    changed = pl.read_parquet(tables["polars"] / "0.parquet").with_columns(**other)
    changed.write_parquet(tmp_path / "0.parquet")
    found = differences({"duckdb": tables["duckdb"], "changed": tmp_path})
    assert [text.split(" of ")[0] for text in found] == list(other)


def test_missing_customers_are_reported(tables: dict[str, Path], tmp_path: Path) -> None:
    pl.read_parquet(tables["polars"] / "0.parquet").head(50).write_parquet(tmp_path / "0.parquet")
    assert differences({"duckdb": tables["duckdb"], "changed": tmp_path})[0].startswith("customers: ")


def test_the_shop_is_as_asked_for(shop: Shop, tmp_path: Path) -> None:
    again, skewed = generate(tmp_path / "again", EVENTS), generate(tmp_path / "skewed", EVENTS, heavy=900)
    events, same, other = (pl.read_parquet(s.files("events")) for s in (shop, again, skewed))
    assert events.equals(same)
    assert (events.height, other.height, events["event_id"].n_unique()) == (EVENTS, EVENTS, EVENTS)
    assert other["user_id"].value_counts()["count"].max() == 900
    assert events["event_type"].n_unique() == 11
    assert events["event_date"].max() >= AS_OF  # what no feature may see
