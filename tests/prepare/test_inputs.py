"""Every rule at once: Spark and NumPy agree, the stored form comes back whole; earlier values and categories."""

import json
from datetime import date

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config.prepare import Prepare
from profiling_spark.prepare import Preparation, fit_reduction, matrix_of
from profiling_spark.prepare.encode import Encoding
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.inputs import Inputs, inputs_of, inputs_to_fit

NAN = float("nan")
AS_OF = date(2026, 7, 1)
NUMBERS = ("views_30d", "net_amount_30d", "recency_days", "monetary")
RULES = Prepare.model_validate(
    {
        "missing": {"strategy": "mean", "flag": True},
        "outliers": {"method": "iqr"},
        "columns": {
            "views_30d": {"missing": {"strategy": "forward_fill", "flag": True}},
            "net_amount_30d": {"missing": {"strategy": "model"}, "scaling": "robust"},
            "recency_days": {"outliers": {"method": "z_score", "factor": 2, "action": "null"}, "scaling": "min_max"},
            "monetary": {"outliers": {"method": "iqr", "action": "flag"}, "missing": {"strategy": "drop_row"}},
        },
        "encode": {
            "city": {"method": "one_hot", "max_categories": 2},
            "age_band": {"method": "ordinal", "categories": ["young", "old"]},
            "is_new": {"method": "binary", "categories": ["false", "true"]},
        },
    }
)
SCHEMA = (
    "as_of date, user_id string, views_30d bigint, net_amount_30d double, recency_days int, monetary decimal(28,4), "
    "city string, age_band string, is_new boolean"
)


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    """60 customers on AS_OF with gaps, and for some of them two earlier dates."""
    rng = np.random.default_rng(4)
    cities = ["St. Louis", "Paris", "a`b", None]
    today = [
        (
            AS_OF, f"u{i:02d}", None if i % 7 == 0 else int(rng.poisson(5)), NAN if i % 5 == 0 else 3.0 * i,
            None if i % 6 == 0 else int(rng.integers(1, 60)), 900 if i == 8 else None if i == 9 else i % 10,
            cities[min(i % 6, 3)] if i % 6 != 2 else "Paris", ("young", "old", "ageless", None)[i % 4],
            (True, False, None)[i % 3],
        )
        for i in range(60)
    ]  # fmt: skip
    empty = (None, None, None, None, None, None)
    before = [
        (date(2026, 6, 1), "u00", 11, *empty),
        (date(2026, 6, 20), "u00", 12, *empty),
        (date(2026, 6, 25), "u00", None, *empty),  # knows nothing: the one before counts
        (date(2026, 7, 2), "u00", 99, *empty),  # the future
        (date(2026, 5, 1), "u07", 77, *empty),  # a day too long ago
        (date(2026, 5, 2), "u14", 4, *empty),  # the first day that counts
    ]
    rows = [(*r[:5], None if r[5] is None else float(r[5]), *r[6:]) for r in (*today, *before)]
    frame = spark.createDataFrame(rows, SCHEMA.replace("decimal(28,4)", "double"))
    return frame.withColumn("monetary", frame["monetary"].cast("decimal(28,4)")).coalesce(1).cache()


@pytest.fixture(scope="module")
def raw(table: DataFrame) -> tuple[Inputs, DataFrame]:
    """(what the fit reads, the raw columns of AS_OF)."""
    today = table.where(table["as_of"] == AS_OF)
    inputs = inputs_to_fit(RULES, NUMBERS, today)
    return inputs, inputs.of(today, table, as_of=AS_OF, days=60).orderBy("user_id").cache()


def test_the_raw_columns(raw: tuple[Inputs, DataFrame]) -> None:
    inputs, frame = raw

    # 20 from Paris, 10 from St. Louis and from a`b: of equals the smaller name
    assert inputs.encodings[0] == Encoding("city", "one_hot", ("Paris", "St. Louis"))
    assert inputs.names == (
        *NUMBERS, "city=Paris", "city=St. Louis", "age_band", "is_new=true", "views_30d before",
    )  # fmt: skip
    rows = {r["user_id"]: r for r in frame.collect()}
    assert rows["u00"]["views_30d before"] == 12.0
    assert rows["u07"]["views_30d before"] is None
    assert rows["u14"]["views_30d before"] == 4.0
    assert [u for u, r in sorted(rows.items()) if r["monetary"] is None] == ["u09"]
    assert [r["user_id"] for r in frame.where(inputs.incomplete()).collect()] == ["u09"]


def test_spark_and_numpy_agree_on_every_step_and_the_stored_form_comes_back(raw: tuple[Inputs, DataFrame]) -> None:
    inputs, frame = raw
    arrow = frame.toArrow()
    fitted = fit_preparation(matrix_of(arrow, inputs.names), inputs.names, rules=RULES, encodings=inputs.encodings)

    again = Preparation.from_json(json.loads(json.dumps(fitted.to_json())))

    assert again == fitted
    assert "monetary outlier" in fitted.names
    assert {"views_30d missing", "is_new missing", "age_band missing"} <= set(fitted.names)
    found = frame.select(*[c.alias(f"_{j}") for j, c in enumerate(again.columns())]).toPandas().to_numpy()
    np.testing.assert_allclose(found, fitted.matrix(matrix_of(arrow, fitted.inputs)), rtol=1e-10, atol=1e-12)
    assert not np.isnan(found).any()
    views = next(f for f in fitted.features if f.name == "views_30d")
    assert views.bounds is not None
    assert views.bounds.high < 12  # the earlier value of u00, which is clipped like any other
    assert found[0, fitted.names.index("views_30d")] == pytest.approx(views.scale.values(np.array(views.bounds.high)))
    reduction = fit_reduction(found, components=5)
    prepared = frame.select(*(c.alias(f"_{j}") for j, c in enumerate(fitted.columns())))
    components = reduction.columns([F.col(f"_{j}") for j in range(found.shape[1])])
    reduced = prepared.select(*(c.alias(n) for c, n in zip(components, reduction.names, strict=True))).toPandas()
    np.testing.assert_allclose(reduced.to_numpy(), reduction.transform(found), atol=1e-9)
    assert inputs_of(fitted).encodings == inputs.encodings
    assert inputs_of(fitted).carried == ("views_30d",)


def test_encodings_in_spark_are_those_of_arrays(table: DataFrame, raw: tuple[Inputs, DataFrame]) -> None:
    rows = table.where(table["as_of"] == AS_OF).orderBy("user_id")
    texts = rows.selectExpr("city", "age_band", "cast(is_new AS string) AS is_new").collect()

    found = rows.select(*(c for e in raw[0].encodings for c in e.columns())).toPandas().to_numpy(dtype=float)

    expected = np.hstack([e.values([t[e.name] for t in texts]) for e in raw[0].encodings])
    np.testing.assert_array_equal(found, expected)
