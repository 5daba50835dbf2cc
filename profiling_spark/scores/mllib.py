"""MLlib's side of the forest: the fit, and the node table that it saves."""

from __future__ import annotations

from pyspark.ml.classification import RandomForestClassificationModel, RandomForestClassifier
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame, SparkSession

from profiling_spark.prepare import Preparation, sorted_for_fit
from profiling_spark.scores.forest import Forest, forest_of

MAX_MEMORY_MB = 1024  # below it MLlib splits a level into several passes
MIN_ROWS_A_LEAF = 10  # a share of fewer customers is noise, and deep levels cost most of the fit


def fit_forest(
    labelled: DataFrame, preparation: Preparation, *, trees: int, depth: int, rate: float, seed: int, partitions: int
) -> RandomForestClassificationModel:
    """MLlib's forest on the rows of `labelled` (user_id, raw columns, label)."""
    numbered = [f"_{j}" for j in range(len(preparation.names))]
    columns = [c.alias(n) for c, n in zip(preparation.columns(), numbered, strict=True)]
    rows = labelled.select("user_id", "label", *columns).transform(sorted_for_fit, partitions)
    vectors = VectorAssembler(inputCols=numbered, outputCol="_vector").transform(rows)
    forest = RandomForestClassifier(
        featuresCol="_vector",
        labelCol="label",
        numTrees=trees,
        maxDepth=depth,
        minInstancesPerNode=MIN_ROWS_A_LEAF,
        maxMemoryInMB=MAX_MEMORY_MB,
        subsamplingRate=rate,
        seed=seed,
    )
    fitted: RandomForestClassificationModel = forest.fit(vectors.select("_vector", "label"))
    return fitted


def read_forest(spark: SparkSession, mllib_path: str) -> Forest:
    """The forest from the node table that MLlib saved. Raises ModelError where it is not as MLlib writes it."""
    nodes = spark.read.parquet(f"{mllib_path}/data").select(
        "treeID",
        "nodeData.id",
        "nodeData.leftChild",
        "nodeData.rightChild",
        "nodeData.split.featureIndex",
        "nodeData.split.leftCategoriesOrThreshold",
        "nodeData.impurityStats",
    )
    table = nodes.toArrow().sort_by([("treeID", "ascending"), ("id", "ascending")])
    return forest_of({name: table.column(name) for name in table.column_names})
