"""The forest as arrays against MLlib's own."""

from pathlib import Path

import numpy as np
import pytest
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import SparkSession

from profiling_spark.prepare import Preparation
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.scores.forest import Forest
from profiling_spark.scores.mllib import fit_forest, read_forest

NAMES = ("days_since_last_event", "views_30d", "refunds_30d")


def data(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    raw = np.column_stack([rng.integers(1, 31, rows), rng.poisson(6, rows), rng.poisson(0.4, rows)]).astype(float)
    raw[rng.random(rows) < 0.05, 2] = np.nan
    odds = 0.15 * (raw[:, 0] - 15) - 0.2 * (raw[:, 1] - 6) + np.nan_to_num(raw[:, 2])
    return raw, (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)


@pytest.fixture(scope="module")
def fitted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Forest, Preparation, np.ndarray]:
    """(forest read from the saved model, preparation, MLlib's probability of label 1 by row)."""
    raw, label = data()
    preparation = fit_preparation(raw, NAMES, standardise=False)
    rows = [
        (f"u{i:04d}", float(y), *(None if np.isnan(v) else float(v) for v in x))
        for i, (x, y) in enumerate(zip(raw, label, strict=True))
    ]
    schema = "user_id string, label double, " + ", ".join(f"{n} double" for n in NAMES)
    frame = spark.createDataFrame(rows, schema)
    model = fit_forest(frame, preparation, trees=12, depth=5, rate=0.7, seed=42, partitions=2)
    path = str(tmp_path_factory.mktemp("forest") / "mllib")
    model.write().overwrite().save(path)
    vectors = VectorAssembler(inputCols=list(NAMES), outputCol="_vector").transform(
        frame.select("user_id", *preparation.columns())
    )
    probabilities = model.transform(vectors).select("user_id", vector_to_array("probability")[1].alias("p"))
    ordered = [r["p"] for r in sorted(probabilities.collect(), key=lambda r: r["user_id"])]
    assert Path(path).exists()
    return read_forest(spark, path), preparation, np.array(ordered)


def test_scores_are_mllibs_probabilities(fitted: tuple[Forest, Preparation, np.ndarray]) -> None:
    forest, preparation, probabilities = fitted

    np.testing.assert_allclose(forest.scores(preparation.matrix(data()[0])), probabilities, rtol=0, atol=1e-12)


def test_contributions_add_up_to_the_score(fitted: tuple[Forest, Preparation, np.ndarray]) -> None:
    forest, preparation, _ = fitted

    score, added = forest.contributions(preparation.matrix(data()[0]))

    assert added.shape == (400, 3)
    np.testing.assert_allclose(forest.base + added.sum(axis=1), score, rtol=0, atol=1e-12)


def test_a_row_scores_the_same_alone_and_in_a_batch(fitted: tuple[Forest, Preparation, np.ndarray]) -> None:
    forest, preparation, _ = fitted
    prepared = preparation.matrix(data()[0])

    alone = np.array([forest.scores(prepared[i : i + 1])[0] for i in range(20)])

    np.testing.assert_array_equal(alone, forest.scores(prepared)[:20])


def test_a_tree_that_a_reader_can_walk() -> None:
    """views <= 3 ? (days <= 10 ? 0.4 : 0.9) : 0.1, half of all customers leave."""
    forest = Forest(
        feature=np.array([1, 0, 0, 0, 0]),
        threshold=np.array([3.0, 10.0, 0.0, 0.0, 0.0]),
        left=np.array([1, 2, 2, 3, 4]),
        right=np.array([4, 3, 2, 3, 4]),
        value=np.array([0.5, 0.7, 0.4, 0.9, 0.1]),
        roots=np.array([0]),
        depth=2,
    )

    score, added = forest.contributions(np.array([[20.0, 2.0], [5.0, 3.0], [20.0, 4.0]]))

    np.testing.assert_allclose(score, [0.9, 0.4, 0.1])
    np.testing.assert_allclose(added, [[0.2, 0.2], [-0.3, 0.2], [0.0, -0.4]])
    assert forest.base == 0.5
