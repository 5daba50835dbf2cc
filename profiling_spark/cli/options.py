"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click

from profiling_spark.errors import ConfigError


@dataclass(frozen=True)
class Given:
    """What stands on the command line beside a command's own options."""

    config: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    log: str | None = None
    as_of: date | None = None
    refit: bool = False
    master: str | None = None
    deploy_mode: str | None = None
    conf: tuple[str, ...] = ()

    def line(self, program: str, command: str, *options: str) -> str:
        """The command line of another command with the same settings."""
        import shlex

        files = [part for file in self.config for part in ("--config", str(file))]
        pairs = [part for pair in self.overrides for part in ("--set", pair)]
        return shlex.join([*shlex.split(program), command, *files, *pairs, *options])


class Day(click.ParamType[Any]):
    """A date as YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Fails with what was expected."""
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"expected a date as YYYY-MM-DD, found {value!r}", param, ctx)


_Function = Callable[..., Any]

_SETTINGS = (
    click.option("--config", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
                 help="Settings in YAML; repeatable, later files win."),
    click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="One setting; repeatable."),
)  # fmt: skip
_OUTPUT = (
    click.option("--json", "as_json", is_flag=True, help="The result as one JSON line on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Stack traces and Spark's own log."),
)
_LOG = (click.option("--log", metavar="FILE", help="Append a log of JSON lines; - for stderr."),)
_SPARK = (
    click.option("--master", metavar="URL", help="Spark master (default: local[*])."),
    click.option("--deploy-mode", type=click.Choice(["client", "cluster"]), help="Where the driver runs."),
    click.option("--conf", multiple=True, metavar="KEY=VALUE", help="A setting of Spark; repeatable."),
)
_DATE = (
    click.option("--as-of", type=Day(), help="Date of the run, exclusive (default: the day after the latest event)."),
)
_FIT = (click.option("--refit", is_flag=True, help="Fit models anew even where a stored one serves."),)


def _taking(*groups: tuple[Callable[[_Function], _Function], ...]) -> Callable[[_Function], _Function]:
    """The options of these groups as one argument `given`."""
    names = {f.name for f in fields(Given)}

    def decorated(function: _Function) -> _Function:
        @wraps(function)
        def with_given(**values: Any) -> Any:
            shared = {name: values.pop(name) for name in list(values) if name in names}
            if shared.get("quiet") and shared.get("verbose"):
                raise click.UsageError("--quiet and --verbose contradict each other")
            return function(Given(**shared), **values)

        made: _Function = with_given
        for option in reversed([option for group in groups for option in group]):
            made = option(made)
        return made

    return decorated


reading = _taking(_SETTINGS, _OUTPUT)
"""Of a command that needs settings and no Spark."""
looking = _taking(_SETTINGS, _OUTPUT, _SPARK)
"""Of a command that looks at tables."""
tool = _taking(_SETTINGS, _OUTPUT, _SPARK)
"""Of a tool that keeps nothing."""
running = _taking(_SETTINGS, _DATE, _OUTPUT, _LOG, _SPARK)
"""Of a stage."""
fitting = _taking(_SETTINGS, _DATE, _FIT, _OUTPUT, _LOG, _SPARK)
"""Of a stage that fits models."""


def exclusive(**options: object) -> None:
    """Raise ConfigError where more than one of these options is given."""
    found = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if len(found) > 1:
        raise ConfigError(f"{' and '.join(found)} contradict each other")
