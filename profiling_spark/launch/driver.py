"""The driver's options: what spark-submit would be given, for a driver inside this process or on a cluster.

PROFILING_SPARK_DRIVER_MEMORY  memory of the driver's JVM (default 2g); --conf spark.driver.memory wins
PYSPARK_SUBMIT_ARGS            where a user has set it, it stays as it is; the Delta jars are put in front of it if it
                               names no jars, and options of the command line that it would hide are refused
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling_spark.conf_files import PACKAGE, conf_file, project_folder
from profiling_spark.errors import ConfigError
from profiling_spark.launch.jars import ensure_jars, jar_paths
from profiling_spark.launch.java import search
from profiling_spark.launch.packages import spark_home

LOCAL = "local[*]"
_MODES = ("client", "cluster")
# what was put into PYSPARK_SUBMIT_ARGS, to tell it from a user's own
_OURS = "PROFILING_SPARK_SUBMIT_ARGS"
# Spark generates methods of over 8,000 bytecodes for the quality rules; the JVM leaves such methods uncompiled unless
# told otherwise, and ingest then takes twice as long
_COMPILE_HUGE = "-XX:-DontCompileHugeMethods"


@dataclass(frozen=True)
class SparkOptions:
    """Where Spark runs, and its settings. `conf`: KEY=VALUE each, a later one wins."""

    master: str = LOCAL
    deploy_mode: str = "client"
    conf: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pair in self.conf:
            key, equals, _ = pair.partition("=")
            if not key or not equals:
                raise ConfigError(f"--conf wants KEY=VALUE, found {pair!r}")
        if not self.master:
            raise ConfigError("--master wants a value such as local[*], spark://HOST:7077 or yarn")
        if self.deploy_mode not in _MODES:
            raise ConfigError(f"--deploy-mode: expected client or cluster, found {self.deploy_mode!r}")
        if self.deploy_mode == "cluster" and self.is_local:
            raise ConfigError(f"--deploy-mode cluster needs a --master that is a cluster, found {self.master!r}")

    @classmethod
    def parse(cls, master: str | None = None, deploy_mode: str | None = None, conf: Sequence[str] = ()) -> SparkOptions:
        """Options as given, None where not: --master wins over --conf spark.master, --conf spark.submit.deployMode over
        --deploy-mode. Raises ConfigError.
        """
        checked = cls(conf=tuple(conf))
        settings = checked.settings
        return cls(
            master=master if master is not None else settings.get("spark.master", LOCAL),
            deploy_mode=settings.get("spark.submit.deployMode", deploy_mode or "client"),
            conf=tuple(p for p in conf if p.partition("=")[0] not in ("spark.master", "spark.submit.deployMode")),
        )

    @property
    def is_local(self) -> bool:
        """Whether all of Spark runs in the driver's JVM."""
        return self.master.startswith("local")

    @property
    def settings(self) -> dict[str, str]:
        """`conf` by key."""
        pairs = [pair.partition("=") for pair in self.conf]
        return {key: value for key, _, value in pairs}


def prepare(options: SparkOptions, *, verbose: bool) -> None:
    """Set os.environ so that the session which this process builds runs as `options` say; to be called before it does.

    Finds Java and the jars, fetching those if need be. Does nothing under spark-submit, which has done it. Raises
    EnvironmentProblem, or ConfigError where PYSPARK_SUBMIT_ARGS would hide an option.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    options = SparkOptions.parse(options.master if options.master != LOCAL else None, options.deploy_mode, options.conf)
    if options.deploy_mode != "client":
        raise ConfigError("a driver inside this process has --deploy-mode client")
    given = _users_arguments()
    if given and options != SparkOptions():
        raise ConfigError(
            "PYSPARK_SUBMIT_ARGS is set, and would hide --master and --conf. Type: unset PYSPARK_SUBMIT_ARGS. "
            "Or put the options there."
        )
    jars = _find(os.environ)
    if given:
        if not any(word in given for word in ("--jars", "spark.jars", "--packages")):
            os.environ["PYSPARK_SUBMIT_ARGS"] = f"{shlex.join(['--jars', ','.join(map(str, jars))])} {given}"
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        return
    level = "warn" if verbose else "error"
    java_options = [
        f"-Dlog4j2.configurationFile={conf_file('log4j2.properties').as_uri()}",
        f"-Dprofiling_spark.log.level={level}",
    ]
    arguments = shlex.join([*_arguments(options, jars, java_options, os.environ), "pyspark-shell"])
    os.environ["PYSPARK_SUBMIT_ARGS"] = os.environ[_OURS] = arguments
    if options.is_local:
        os.environ["PYSPARK_PYTHON"] = sys.executable
    else:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)


def is_given(option: str) -> bool:
    """Whether PYSPARK_SUBMIT_ARGS names an option, such as --master, or a setting of Spark: the session then must not
    set it as well, since what Python sets wins.
    """
    words = shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", ""))
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _users_arguments() -> str:
    """PYSPARK_SUBMIT_ARGS unless it was made here, in this process or in the one that started it."""
    given = os.environ.get("PYSPARK_SUBMIT_ARGS", "")
    return "" if given == os.environ.get(_OURS) else given


def cluster_command(
    options: SparkOptions, arguments: Sequence[str], main: Path | None = None
) -> tuple[list[str], dict[str, str]]:
    """spark-submit and its environment for a driver that runs on the cluster. `main` is the file with the command,
    default the package's own. The command must end before this process does, which then removes the package's zip.
    """
    options = SparkOptions.parse(options.master, options.deploy_mode, options.conf)
    environ = dict(os.environ)
    jars = _find(environ)
    for name in ("PYSPARK_SUBMIT_ARGS", _OURS):
        environ.pop(name, None)
    # no path of this machine: the driver runs elsewhere, without this project's files
    settings = _arguments(options, jars, [], environ)
    file = main or PACKAGE / "__main__.py"
    command = [str(spark_home(environ) / "bin" / "spark-submit"), *settings, str(file), *arguments]
    return command, environ


def _find(environ: MutableMapping[str, str]) -> list[Path]:
    """Java, Spark and the jars, told to the processes to come by `environ`; returns the jars."""
    home = spark_home(environ)
    found = search(environ)
    java = found.required()
    if found.note:
        _say(found.note)
    folder = ensure_jars(environ, java=java, say=_say)
    environ["SPARK_HOME"] = str(home)
    environ["JAVA_HOME"] = str(java.home)
    environ["PROFILING_SPARK_JARS"] = str(folder)
    environ.setdefault("POLARS_MAX_THREADS", "1")  # a task is one core
    if project := project_folder():  # a clone need not be installed
        paths = [p for p in environ.get("PYTHONPATH", "").split(os.pathsep) if p]
        if str(project) not in paths:
            environ["PYTHONPATH"] = os.pathsep.join([str(project), *paths])
    return jar_paths(folder)


def _arguments(
    options: SparkOptions, jars: Sequence[Path], java_options: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    """For spark-submit. Settings that are set here as well are joined, or the user's wins."""
    theirs = options.settings
    memory = theirs.pop("spark.driver.memory", environ.get("PROFILING_SPARK_DRIVER_MEMORY") or "2g")
    more_java = theirs.pop("spark.driver.extraJavaOptions", "")
    more_jars = theirs.pop("spark.jars", "")
    files = [f for f in [theirs.pop("spark.submit.pyFiles", "")] if f]
    ours = {"spark.executor.extraJavaOptions": _COMPILE_HUGE}
    if not options.is_local:
        # the cluster's machines need the package and, unless PYSPARK_PYTHON says where, the same path to Python
        files.insert(0, str(_zipped_package()))
        ours["spark.executorEnv.POLARS_MAX_THREADS"] = environ["POLARS_MAX_THREADS"]
    java = " ".join(["-XX:+UseParallelGC", _COMPILE_HUGE, *([more_java] if more_java else []), *java_options])
    arguments = [part for key, value in {**ours, **theirs}.items() for part in ("--conf", f"{key}={value}")]
    arguments += ["--master", options.master, "--deploy-mode", options.deploy_mode]
    arguments += ["--jars", ",".join([*map(str, jars), *([more_jars] if more_jars else [])])]
    arguments += ["--driver-memory", memory, "--driver-java-options", java]
    return arguments + (["--py-files", ",".join(files)] if files else [])


def _zipped_package() -> Path:
    """This package with its conf/ as a zip in a folder that is removed at exit."""
    import tempfile
    import zipfile

    folder = Path(tempfile.mkdtemp(prefix="profiling_spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project = project_folder()
    sources = [(PACKAGE, PACKAGE.name)] + ([(project / "conf", f"{PACKAGE.name}/conf")] if project else [])
    with zipfile.ZipFile(folder / f"{PACKAGE.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for source, name in sources:
            for file in sorted(source.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, f"{name}/{file.relative_to(source).as_posix()}")
    return folder / f"{PACKAGE.name}.zip"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
