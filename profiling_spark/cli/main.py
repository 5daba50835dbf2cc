"""`profiling-spark COMMAND [options]`: which commands there are, and what the process ends with."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence

import click

from profiling_spark import __version__
from profiling_spark.errors import EXIT_CODES, ProfilingError

# by section of the help, in the order of use: name -> where the command is, and its line in the help
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Before a run": {
        "doctor": ("look:doctor", "is this machine ready; what to type if it is not"),
        "config": ("config:config", "every setting in force and where it comes from"),
        "try-mapping": (
            "look:try_mapping",
            "what becomes of the first rows of each source",
        ),
        "plan": ("look:plan", "what a run would do; writes nothing"),
    },
    "Runs": {
        "run": ("jobs:run", "all stages under one date (also: run_pipeline)"),
        "ingest": ("jobs:ingest", "source files to events, users, items, reviews"),
        "build_features": ("jobs:build_features", "features of customers and items"),
        "segment_users": ("jobs:segment_users", "named segments of customers"),
        "score_users": ("jobs:score_users", "who is about to leave, and why"),
        "recommend_items": ("jobs:recommend_items", "what to offer each customer, and why"),
        "build_profiles": ("jobs:build_profiles", "tags, and one wide row a customer"),
        "maintain": ("jobs:maintain", "small files to large ones; --check verifies"),
        "demo": ("jobs:demo", "make a shop's raw logs and run the pipeline on them"),
    },
    "After a run": {
        "runs": ("look:runs", "past runs, or the stages of one"),
        "tables": ("look:tables", "the Delta tables: rows, size, last change"),
        "models": ("look:models", "which models serve, their figures; rollback"),
        "evaluate_recommender": ("evaluate:evaluate_recommender", "how well an engine ranks a test file of yours"),
    },
}
_ALIASES = {"run_pipeline": "run"}
_CODES = "\n".join(f"  {code}  {text}" for code, text in EXIT_CODES.items())


class Commands(click.Group):
    """Finds a command by its name, with `-` or `_`, and imports its module only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help."""
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """None where there is none of that name."""
        names = {name.replace("-", "_"): name for name in self.list_commands(ctx)}
        plain = cmd_name.replace("-", "_")
        name = names.get(_ALIASES.get(plain, plain))
        if name is None:
            return None
        module, _, attribute = next(s[name][0] for s in COMMANDS.values() if name in s).partition(":")
        found = getattr(importlib.import_module(f"profiling_spark.cli.{module}"), attribute)
        assert isinstance(found, click.Command)  # for mypy
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By section; the lines stand here, so that help imports no command."""
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(20), line) for name, (_, line) in section.items()], col_max=22)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Adds what was perhaps meant to click's message about an unknown name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as err:
            import difflib

            near = difflib.get_close_matches(args[0], [*self.list_commands(ctx), *_ALIASES], n=1)
            hint = f" Did you mean {near[0]}?" if near else f" '{ctx.command_path} --help' lists the commands."
            raise click.UsageError(f"{err.message.rstrip('.')}.{hint}", ctx) from err


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=f"\b\nExit codes:\n{_CODES}",
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="profiling_spark")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Customer profiling as Spark jobs: from raw behaviour logs to features, segments, scores, recommendations and
    profiles in Delta tables. `COMMAND --help` shows the options of each.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def program() -> str:
    """What the user types to call this command: scripts/submit.sh says so when it is in between."""
    return os.environ.get("PROFILING_SPARK_PROGRAM", "profiling-spark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code of the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = commands.main(given, prog_name=program(), standalone_mode=False)
        return int(code or 0)
    except click.ClickException as err:
        _as_json(given, err.format_message(), err.exit_code)
        err.show()
        return err.exit_code
    except ProfilingError as err:
        _as_json(given, str(err), err.exit_code)
        sys.stderr.write(f"error: {err}\n")
        return err.exit_code
    except SystemExit as err:  # a command that has said why
        return err.code if isinstance(err.code, int) else 1
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted; the next run clears up what this one left\n")
        return 130


def _as_json(given: Sequence[str], message: str, code: int) -> None:
    if "--json" in given:
        sys.stdout.write(json.dumps({"status": "failed", "exit_code": code, "error": message}) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
