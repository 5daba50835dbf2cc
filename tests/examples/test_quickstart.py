"""The notebook of examples/, cell by cell, in a session of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def ran(spark, tmp_path_factory):
    """What the notebook's names stand for after its last cell."""
    cells = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    names = {"spark": spark, "here": EXAMPLES, "lake": tmp_path_factory.mktemp("quickstart") / "lake"}
    for cell in cells:
        assert not cell.get("outputs")  # nothing that was true of another run
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    return names


def test_every_line_is_accounted_for(ran):
    lines = (EXAMPLES / "orders.csv").read_text(encoding="utf-8").splitlines()[1:]
    outcome = ran["ingested"]
    assert (outcome.rows_in, outcome.rows_rejected) == (len(lines), 2)
    assert outcome.rows_in == outcome.rows_out + 2


def test_profiles_say_what_the_file_says(ran):
    orders = pl.read_csv(EXAMPLES / "orders.csv", infer_schema_length=0).filter(
        (pl.col("customer") != "") & (pl.col("ordered_at") != "soon")
    )
    spent = orders.group_by(user_id="customer").agg(
        monetary=(pl.col("pieces").cast(pl.Int64) * pl.col("price").cast(pl.Decimal(18, 2))).sum().cast(pl.Float64),
        frequency=pl.col("order_no").n_unique().cast(pl.Int64),
    )
    found = ran["points"].select("user_id", "monetary", pl.col("frequency").cast(pl.Int64))
    assert found.height == 120
    joined = found.join(spent, on="user_id", suffix="_right")
    assert joined.filter(pl.col("frequency") != pl.col("frequency_right")).is_empty()
    assert joined.filter((pl.col("monetary") - pl.col("monetary_right")).abs() > 0.005).is_empty()


def test_the_chart_shows_every_customer_in_a_named_segment(ran):
    drawn = ran["chart"].to_dict()
    (rows,) = drawn["datasets"].values()
    assert len(rows) == 120
    assert {r["segment_name_en"] for r in rows} == set(ran["segments"]["name_en"])
    assert 3 <= len(ran["segments"]) <= 6


def test_the_users_session_goes_on(ran, spark):
    assert spark.range(2).count() == 2
