"""The only place that makes a SparkSession ready (UTC, Delta, Arrow, sizes): our own or one that the user brings."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.doctor import examine, require
from profiling_spark.errors import ConfigError, EnvironmentProblem
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
}
# what a running session can no longer be given
_STATIC = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")
# stored values rest on these: a run sets them in its own session, whatever the cluster's defaults are
_VALUES = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
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
}
# for speed and quiet: a user's own setting stands
_DEFAULTS = {
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
    "spark.databricks.delta.snapshotPartitions": "2",
    # what comes to the driver is as long as the catalogue, or a sample of the customers: Spark's limit of 1 GB ends a
    # run at half a million items and their neighbours, however much memory the driver has
    "spark.driver.maxResultSize": "0",
}


_PARTITIONS, _SMALL_PARTITIONS = "spark.sql.shuffle.partitions", 2


def local_jars(environ: dict[str, str] | None = None) -> list[Path]:
    """Delta jars in the folder that PROFILING_SPARK_JARS names; empty where spark-submit passes them itself."""
    folder = (os.environ if environ is None else environ).get("PROFILING_SPARK_JARS", "")
    return sorted(Path(folder).glob("*.jar")) if folder else []


def build_session(settings: Settings, *, name: str, verbose: bool = False) -> SparkSession:
    """The session of this process. Master, memory and jars given to spark-submit win over what stands here.

    Spark's own log, stack traces of failed tasks above all, is shown with `verbose` only.
    """
    _refuse_other_values()
    builder = SparkSession.builder.appName(f"profiling_spark {name}")
    for key, value in {**_DELTA, **_VALUES, **_kept_files(settings)}.items():
        builder = builder.config(key, value)
    for key, value in {**_DEFAULTS, **_partitions(settings)}.items():
        if not is_given(key) and not submitted():
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
    if submitted():  # only now Spark tells what its own files and the command line say
        _default(spark, settings)
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
    for key, value in {**_DELTA, **_VALUES, **_kept_files(settings)}.items():
        if key not in _STATIC and own.conf.isModifiable(key):
            own.conf.set(key, value)
    _default(own, settings)
    _quiet_logger(verbose=False)
    return own


def _refuse_other_values() -> None:
    """Raises ConfigError where the command line asks for what would change stored values."""
    words = shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", ""))
    given = {key: value for key, is_pair, value in (word.partition("=") for word in words) if is_pair}
    for key, value in {**_DELTA, **_VALUES}.items():
        found = given.get(key, value)
        if found != value and key not in _STATIC:
            raise ConfigError(f"--conf {key}={found}: expected {value}, on which stored values rest; leave it out")


def _default(spark: SparkSession, settings: Settings) -> None:
    """Set in a running session what the user has not."""
    theirs = dict(spark.sparkContext.getConf().getAll())
    for key, value in {**_DEFAULTS, **_partitions(settings)}.items():
        if key not in theirs and spark.conf.isModifiable(key):
            spark.conf.set(key, value)


def _kept_files(settings: Settings) -> dict[str, str]:
    # a version that is kept for time travel needs its removed files known for as long
    return {
        "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": (
            f"interval {settings.maintain.keep_days} days"
        )
    }


def _partitions(settings: Settings) -> dict[str, str]:
    return {_PARTITIONS: str(settings.spark.shuffle_partitions)}


def _quiet_logger(verbose: bool) -> None:
    # PySpark prints a Java stack trace for every AnalysisException, also for those that are caught
    for logger in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(logger).setLevel(logging.ERROR if verbose else logging.CRITICAL)


def plan_for(spark: SparkSession, settings: Settings, *, is_small: bool) -> None:
    """Plan small inputs once and for few tasks; of larger ones Spark adapts the plan to what it finds on the way, for
    which it runs a job a stage.
    """
    # a user's own choice stands
    conf = spark.sparkContext.getConf()
    given = conf.get("spark.sql.adaptive.enabled", "true")
    partitions = settings.spark.shuffle_partitions
    if is_given(_PARTITIONS) or submitted():
        partitions = int(conf.get(_PARTITIONS, str(partitions)))
    spark.conf.set("spark.sql.adaptive.enabled", "false" if is_small else str(given))
    spark.conf.set(_PARTITIONS, str(min(partitions, _SMALL_PARTITIONS) if is_small else partitions))


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
