"""Reasons say where an amount rests on flagged rows."""

from __future__ import annotations

from decimal import Decimal

from pyspark.sql import SparkSession

from profiling_spark.config.settings import Tag
from profiling_spark.profile.tags import tag_rows
from profiling_spark.report.summary import _example

TAGS = {
    "rich": Tag(name_en="Rich", name_zh="富", when="monetary >= 10", reason="spent {monetary}"),
    "lately": Tag(name_en="L", name_zh="近", when="user_id is not null", value="net_amount_30d", reason="lately"),
    "loyal": Tag(name_en="Loyal", name_zh="忠", when="frequency > 0", reason="{frequency} orders"),
}
COLUMNS = (
    "as_of date, user_id string, frequency int, monetary decimal(28,4), flagged_amount decimal(28,4), "
    "purchase_amount_30d decimal(28,4), net_amount_30d decimal(28,4), flagged_amount_30d decimal(28,4)"
)


def row(user: str, *amounts: str | None) -> tuple[object, ...]:
    return (None, user, 3, *(None if a is None else Decimal(a) for a in amounts))


def test_tags_that_look_at_amounts_say_how_much_of_them_is_in_doubt(spark: SparkSession) -> None:
    rows = [
        row("planted", "1000", "830", "50", "50", "0"),
        row("refunded", "10", "830", "900", "80", "830"),  # most came back
        row("honest", "1000", "199", "50", "50", "0"),
        row("indebted", "-5", "0", "0", "0", "0"),
        row("old lake", "1000", None, "50", "50", None),
    ]
    wide = spark.createDataFrame(rows, COLUMNS)
    found = {(r["user_id"], r["tag"]): r["reason"] for r in tag_rows(wide, TAGS, ("many_pieces",)).collect()}

    part = "% of the amount rests on flagged rows (many_pieces)"
    assert found["planted", "rich"] == f"spent 1000.00; 83{part}"
    assert found["planted", "lately"] == "lately"
    assert found["refunded", "rich"] == f"spent 10.00; 100{part}"
    assert found["refunded", "lately"] == f"lately; 92{part}"
    assert found["honest", "rich"] == "spent 1000.00"
    assert found["old lake", "rich"] == "spent 1000.00"
    assert {reason for (_, tag), reason in found.items() if tag == "loyal"} == {"3 orders"}
    two = {r["reason"] for r in tag_rows(wide, TAGS, ("a", "b")).where("user_id = 'planted'").collect()}
    assert "spent 1000.00; 83% of the amount rests on flagged rows (a or b)" in two


def test_the_summary_says_it_of_its_examples() -> None:
    customer = {"user_id": "u", "frequency": 9, "monetary": Decimal(1000), "rfm_group": "loyal"}
    doubtful = customer | {"flagged_amount": Decimal(830)}
    lines = [_example(c, {})[1].strip() for c in (customer, doubtful, customer | {"flagged_amount": Decimal(20)})]
    assert lines[0] == lines[2] == "value    9 orders, 1,000.00 spent, loyal"
    assert lines[1] == f"{lines[0]}; 83% of the amount rests on flagged rows"
