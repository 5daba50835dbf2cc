"""The only place that makes a SparkSession ready (UTC, Delta, Arrow, sizes): our own or one that the user brings."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.doctor import examine, require
from profiling_spark.errors import EnvironmentProblem
from profiling_spark.launch.driver import SparkOptions, is_given, prepare
from profiling_spark.launch.stderr import quiet_jvm

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # what BI readers can open: reader 1, writer 2, classic checkpoints (docs/tables.md)
    "spark.databricks.delta.properties.defaults.minReaderVersion": "1",
    "spark.databricks.delta.properties.defaults.minWriterVersion": "2",
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    "spark.databricks.delta.properties.defaults.checkpointPolicy": "classic",
    "spark.databricks.delta.snapshotPartitions": "2",
}
# what a running session can no longer be given
_STATIC = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")
_BEHAVIOUR = {
    "spark.sql.session.timeZone": "UTC",
    # INT96 is Spark's default; other readers would not see UTC microseconds
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # with pruning a cut last line of a CSV file passes as good
    "spark.sql.csv.parser.columnPruning.enabled": "false",
    # pandas writes nanoseconds, which Spark refuses; as numbers ingest can make microseconds of them
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # Spark 4 decodes Unicode and Latin-1 only; shops have GBK
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # a kernel's bucket is one Arrow table: its text may pass 2 GiB
    "spark.sql.execution.arrow.useLargeVarTypes": "true",
    # a limit in bytes adds up the sizes of all columns at every row; the limit of rows a batch is enough
    "spark.sql.execution.arrow.maxBytesPerBatch": "2147483647",
    # rows reach Python in buffers of this many bytes: with the 64 KB of the default a fifth of the time is system calls
    "spark.buffer.size": "1048576",
    # VACUUM and file listing fan out over this many tasks; the default of 10,000 takes a minute on a tiny table
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
    # inferring filters from the rules' nested conditions took 18 s of planning for the demo's events
    "spark.sql.constraintPropagation.enabled": "false",
    # looks at Python's stack for every column expression
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.ui.retainedExecutions": "20",
}


_SMALL_PARTITIONS = 2


def local_jars(environ: dict[str, str] | None = None) -> list[Path]:
    """Delta jars in the folder that PROFILING_SPARK_JARS names; empty where spark-submit passes them itself."""
    folder = (os.environ if environ is None else environ).get("PROFILING_SPARK_JARS", "")
    return sorted(Path(folder).glob("*.jar")) if folder else []


def build_session(settings: Settings, *, name: str, verbose: bool = False) -> SparkSession:
    """The session of this process. Master, memory and jars given to spark-submit win over what stands here.

    Spark's own log, stack traces of failed tasks above all, is shown with `verbose` only.
    """
    builder = SparkSession.builder.appName(f"profiling_spark {name}")
    for key, value in {**_DELTA, **_BEHAVIOUR, **_of_settings(settings)}.items():
        builder = builder.config(key, value)
    # without this the workers take the system's interpreter, which lacks the packages
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # a task is one core: Polars must not start a thread per core in every task
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    if not submitted():  # what is set here would win over what the command line has put in PYSPARK_SUBMIT_ARGS
        if not is_given("--master"):
            builder = builder.master(os.environ.get("PROFILING_SPARK_MASTER", "local[*]"))
        if not is_given("--jars"):
            builder = builder.config("spark.jars", ",".join(str(j) for j in local_jars()))
        if not is_given("spark.ui.enabled"):
            builder = builder.config("spark.ui.enabled", "false")
    with quiet_jvm():
        spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN" if verbose else "OFF")
    _quiet_logger(verbose)
    return spark


Started = Callable[[], SparkSession]
"""Waits for a session that is being started; raises what went wrong there."""


def begin_session(settings: Settings, *, name: str, verbose: bool = False, keeps: bool = True) -> Started:
    """Start a session beside what this thread does meanwhile: Spark takes as long as the imports of all stages.

    `keeps`: something will be written to the storage. Raises EnvironmentProblem at once where the machine lacks
    something.
    """
    if not submitted() and not os.environ.get("PYSPARK_SUBMIT_ARGS"):
        prepare(SparkOptions(), verbose=verbose)  # called from Python: no command line has done it
    jars = None if submitted() else local_jars()
    require(examine(storage_root=settings.storage.root if keeps else None, jars=jars, environ=os.environ))
    pool = ThreadPoolExecutor(1, thread_name_prefix="session")
    begun = pool.submit(build_session, settings, name=name, verbose=verbose)
    pool.shutdown(wait=False)
    return begun.result


def adopted(spark: SparkSession, settings: Settings) -> SparkSession:
    """A session of our own beside one that the user brings, on the same cluster: theirs keeps its settings.

    Raises EnvironmentProblem where the user's lacks what cannot be set in a running session.
    """
    own = spark.newSession()
    absent = [f"{key}={_DELTA[key]}" for key in _STATIC if _DELTA[key] not in str(own.conf.get(key, ""))]
    if absent:
        options = " ".join(f"--conf {setting}" for setting in absent)
        raise EnvironmentProblem(f"the Spark session: Delta is not set up in it; start it with {options}")
    for key, value in {**_DELTA, **_BEHAVIOUR, **_of_settings(settings)}.items():
        if key not in _STATIC and own.conf.isModifiable(key):
            own.conf.set(key, value)
    _quiet_logger(verbose=False)
    return own


def _of_settings(settings: Settings) -> dict[str, str]:
    # a version that is kept for time travel needs its removed files known for as long
    return {
        "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": (
            f"interval {settings.maintain.keep_days} days"
        ),
        "spark.sql.shuffle.partitions": str(settings.spark.shuffle_partitions),
    }


def _quiet_logger(verbose: bool) -> None:
    # PySpark prints a Java stack trace for every AnalysisException, also for those that are caught
    for logger in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(logger).setLevel(logging.ERROR if verbose else logging.CRITICAL)


def plan_for(spark: SparkSession, settings: Settings, *, is_small: bool) -> None:
    """Plan small inputs once and for few tasks; of larger ones Spark adapts the plan to what it finds on the way, for
    which it runs a job a stage.
    """
    partitions = settings.spark.shuffle_partitions
    given = spark.sparkContext.getConf().get("spark.sql.adaptive.enabled", "true")  # a user's own choice stands
    spark.conf.set("spark.sql.adaptive.enabled", "false" if is_small else str(given))
    spark.conf.set("spark.sql.shuffle.partitions", str(min(partitions, _SMALL_PARTITIONS) if is_small else partitions))


@contextmanager
def session_setting(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    """A setting of Spark SQL for the frames that are made inside: Spark reads it when it analyses an expression."""
    before = spark.conf.get(name)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        spark.conf.set(name, str(before))


def submitted() -> bool:
    """True under spark-submit, which sets the gateway's address before Python starts."""
    return "PYSPARK_GATEWAY_PORT" in os.environ
