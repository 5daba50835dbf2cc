"""The command line, the same for every job."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NoReturn

from profiling_spark.config import Settings, load_settings
from profiling_spark.errors import EXIT_CODES, ConfigError


@dataclass(frozen=True)
class Command:
    """Options of a job. `since`: build_features computes every date from here to as_of; `stale`: the dates that later
    rows would change. `replay`: the run whose refused rows ingest judges again (LAST: the newest that has any);
    `reload`: the source whose files ingest takes again. `check`: maintain only verifies.
    """

    config: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    as_of: date | None = None
    since: date | None = None
    quiet: bool = False
    verbose: bool = False
    json: bool = False
    refit: bool = False
    replay: str | None = None
    reload: str | None = None
    stale: bool = False
    check: bool = False

    def settings(self) -> Settings:
        """Settings of the files and --set pairs. Raises ConfigError with every fault."""
        return load_settings(self.config, self.overrides)

    def line(self, job: str, *options: str) -> str:
        """The command for another run with the same settings."""
        given = [part for file in self.config for part in ("--config", str(file))]
        given += [part for pair in self.overrides for part in ("--set", pair)]
        return shlex.join(["scripts/submit.sh", job, *given, *options])


LAST = "last"
"""`--replay last`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}\n{self.format_usage().rstrip()}")


def bare_parser(job: str, description: str) -> argparse.ArgumentParser:
    """Options that every job and every tool has."""
    codes = "\n".join(f"  {code}  {text}" for code, text in EXIT_CODES.items())
    made = _Parser(
        prog=f"submit.sh {job}",
        description=description.strip().split("\n\n")[0],
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--config", action="append", default=[], type=Path, metavar="FILE", help="repeatable, later wins")
    made.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting, repeatable")
    made.add_argument("--json", action="store_true", help="the result as one JSON line on stdout")
    loudness = made.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="errors only")
    loudness.add_argument("--verbose", action="store_true", help="stack traces and Spark's log")
    return made


def parser(job: str, description: str) -> argparse.ArgumentParser:
    """Options that every job has."""
    made = bare_parser(job, description)
    made.add_argument("--as-of", type=_day, metavar="YYYY-MM-DD", help="default: the day after the latest event")
    made.add_argument("--refit", action="store_true", help="fit models anew even where a stored one serves")
    if job == "build_features":
        made.add_argument("--from", dest="since", type=_day, metavar="YYYY-MM-DD", help="every date from here ...")
        made.add_argument("--to", dest="until", type=_day, metavar="YYYY-MM-DD", help="... to here, both included")
        made.add_argument("--stale", action="store_true", help="the dates that rows which came later would change")
    if job == "ingest":
        again = made.add_mutually_exclusive_group()
        again.add_argument(
            "--replay", metavar="RUN_ID", help=f"judge what that run ({LAST}: the newest) refused again, as set today"
        )
        again.add_argument("--reload", metavar="SOURCE", help="take all files of a source again, as mapped today")
    if job == "maintain":
        made.add_argument("--check", action="store_true", help="change nothing: verify keys and the ledger of files")
    return made


def parse(job: str, description: str, arguments: list[str] | None = None) -> Command:
    """Read the command line. Raises ConfigError where it is wrong."""
    return to_command(parser(job, description).parse_args(arguments))


def to_command(found: argparse.Namespace) -> Command:
    """The options of a parsed command line. Raises ConfigError where they contradict each other."""
    since, until = getattr(found, "since", None), getattr(found, "until", None)
    as_of = getattr(found, "as_of", None)
    if (since is None) != (until is None) or (since is not None and as_of is not None):
        raise ConfigError("--from and --to go together, and without --as-of")
    if getattr(found, "stale", False) and (since is not None or as_of is not None):
        raise ConfigError("--stale finds its dates itself: without --as-of, --from and --to")
    if since is not None and until is not None and since > until:
        raise ConfigError(f"--from {since} must not be after --to {until}")
    return Command(
        config=tuple(found.config),
        overrides=tuple(found.set),
        as_of=as_of or until,
        since=since,
        quiet=found.quiet,
        verbose=found.verbose,
        json=found.json,
        refit=getattr(found, "refit", False),
        replay=getattr(found, "replay", None),
        reload=getattr(found, "reload", None),
        stale=getattr(found, "stale", False),
        check=getattr(found, "check", False),
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, found {text!r}") from err
