"""An expression looks at one row: what looks at others, makes several or changes is refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ingest_shop import GOOD, HEADER, settings
from pyspark.sql import DataFrame, SparkSession

from profiling_spark.config import Settings
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.job import ingest
from profiling_spark.one_row import check_one_row

COLUMNS = (
    "a string, b string, n int, list array<int>, pairs map<string,int>, t timestamp, js string, user string, "
    "`max(n) over` string, `rand( )` string, `now` string, `count (all)` string, it struct<version:string,user:string>"
)
ONE_ROW = [
    "a",
    "count (all)",  # a column's name as a whole
    "`max(n) over`",
    "concat(`rand( )`, `now`)",
    "'max(a) over (partition by b)'",
    "concat(a, 'now()', \"rand()\", 'it''s uuid()', 'a\\'s uuid()', r'\\', ' uuid()')",
    "a = 'now' or b = 'today'",
    "user",
    "it.user || it.version",
    "coalesce(USER, a) /* now() */ -- rand()",
    "aggregate(list, 0, (user, version) -> user + version)",
    "reduce(list, 0, (x, y) -> x + y, x -> x * 2)",
    "filter(list, current_user -> current_user > 1)[0]",
    "transform(list, x -> x + n)",
    "exists(list, x -> x > 1)",
    "forall(list, x -> x > 1)",
    "zip_with(list, list, (x, y) -> x + y)",
    "map_filter(pairs, (k, v) -> v > 1)",
    "array_sort(list, (l, r) -> l - r)",
    "array_max(list) + greatest(n, 1) + size(list)",
    "case when n > 1 then a else coalesce(b, 'x') end",
    "get_json_object(js, '$.max(x)')",
    "from_json(js, 'array<struct<k:string>>')[0].k",
    "timestamp_micros(try_cast(a as bigint))",
    "unix_timestamp(a)",
    "cast('2026-01-01' as date)",
    "to_date(a)",
    "date '2026-01-01'",
    "xxhash64(a, b)",
    "sequence(1, n)",
    "case when raise_error('x') is null then a end",
]
OTHERS = {
    "several rows": [
        "explode(list)",
        "EXPLODE_OUTER(list)",
        "posexplode(list)",
        "inline(array(struct(n)))",
        "stack(2, a, b)",
        "json_tuple(js, 'a')",
        "explode(list) + 1",
    ],
    "other rows": [
        "max(a)",
        "Count(*)",
        "any(n > 1)",
        "every(n > 1)",
        "collect_list(a)",
        "first(a)",
        "count(a) filter (where n > 1)",
        "median(n)",
        "approx_count_distinct(a)",
        "`max`(a)",
        "sum(n) over (partition by a)",
        "row_number() over (order by a)",
        "lag(a) over (partition by b order by n)",
        "case when n > 1 then max(a) end",
        "transform(array(max(n)), x -> x + 1)",
        "window(t, '1 hour').start",
        "(select max(id) from range(3))",
        "exists (select 1)",
    ],
    "another value": [
        "rand()",
        "uuid()",
        "shuffle(list)[0]",
        "monotonically_increasing_id()",
        "SPARK_PARTITION_ID()",
        "coalesce(a, cast(Rand(42) as string))",
        "transform(list, x -> rand())",
        "system.builtin.rand()",
        "reflect('java.util.UUID', 'randomUUID')",
        "aes_encrypt(a, b)",
    ],
    "when, where or by whom": [
        "current_date",
        "CURRENT_TIMESTAMP",
        "now()",
        "`now` ()",
        "coalesce(t, Now( ))",
        "curdate()",
        "unix_timestamp()",
        "date 'now'",
        "cast('Today' as date)",
        "timestamp('yesterday')",
        "'now'::timestamp",
        "case when a = 'x' then current_user end",
        "version()",
    ],
    "where the file lies": ["input_file_name()", "regexp_extract(Input_File_Name(), 'day=(.*)/', 1)"],
}


@pytest.fixture(scope="module")
def empty(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], COLUMNS)


def test_expressions_over_one_row_pass(empty: DataFrame) -> None:
    for text in ONE_ROW:
        if text not in empty.columns:
            empty.selectExpr(text)  # Spark takes it
    check_one_row(empty, {f"sources.s.columns.{n}": text for n, text in enumerate(ONE_ROW)}, source="sources.s")


def test_other_expressions_are_refused_whatever_stands_beside_them(empty: DataFrame) -> None:
    messages: dict[str, str] = {}
    for fault, texts in OTHERS.items():
        for text in texts:
            # an expression that is wrong in itself does not hide another one
            beside = {"first": "a", "fault": text, "last": "no_such_column" if text == "max(a)" else "b"}
            with pytest.raises(ConfigError, match="expected a value of one row") as raised:
                check_one_row(empty, beside, source="sources.s")
            messages[text] = str(raised.value)
            assert f"fault = {text!r}" in messages[text]
            assert fault in messages[text], text
    assert "sources.s.lines" in messages["explode(list)"]
    assert "sources.s.fill_down" in messages["max(a)"]
    assert "sources.s.repeats: count" in messages["row_number() over (order by a)"]
    assert "sources.s.repeats: count" in messages["monotonically_increasing_id()"]


def test_an_expression_that_is_wrong_in_another_way_is_left_to_its_user(empty: DataFrame) -> None:
    check_one_row(empty, {"x": "no_such_column + 1"})
    check_one_row(empty, {"x": "a ("})


COLUMN, WHERE, RULE, KEEP = "column", "where", "rule", "keep"


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        # the mappings of three people who had found out what Spark can do
        (COLUMN, "max(nullif(order, '')) over (partition by what)", r"sources\.log\.columns\.order_id = .*fill_down"),
        (COLUMN, "explode_outer(from_json(order, 'array<string>'))", r"columns\.order_id = .*sources\.log\.lines"),
        (COLUMN, "monotonically_increasing_id()", r"columns\.order_id = .*repeats: count"),
        (WHERE, "id = max(id)", r"sources\.log\.where = 'id = max\(id\)'"),
        (RULE, "event_time > now()", r"ingest\.rules odd: when = .*when, where or by whom"),
        (KEEP, "rand()", r"ingest\.keep\.events = 'rand\(\)'"),
    ],
)
def test_nothing_is_claimed_or_read(tables, make_context, tmp_path: Path, place: str, text: str, message: str) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "day.csv").write_text(HEADER + GOOD[0] + "\n", encoding="utf-8")
    base: dict[str, Any] = settings(tables.root, tmp_path / "raw").model_dump(mode="json")
    if place == COLUMN:
        base["sources"]["log"]["columns"]["order_id"] = text
    elif place == WHERE:
        base["sources"]["log"]["where"] = text
    elif place == RULE:
        base["ingest"]["rules"] = [{"name": "odd", "when": text}]
    else:
        base["ingest"]["keep"] = {"events": text}
    with pytest.raises(ConfigError, match=message):
        ingest(make_context(Settings.model_validate(base)))
    assert not tables.exists(INGESTED_FILES)
    assert not tables.exists(EVENTS)
