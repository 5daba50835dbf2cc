"""The settings in force, and what settings there are."""

from __future__ import annotations

import json

import click

from profiling_spark.cli.options import Given, reading
from profiling_spark.errors import ConfigError


@click.group()
def config() -> None:
    """Every setting in force and where it comes from; the JSON schema of the settings."""


@config.command()
@reading
@click.argument("key", required=False)
@click.option("--given", "only_given", is_flag=True, help="Without those that have their default.")
def show(given: Given, key: str | None, only_given: bool) -> int:
    """Each setting with its value and origin: default, file and line, --set, environment. KEY: that part alone.

    What comes from the environment is shown as ${NAME}, never with its value.
    """
    from profiling_spark.cli.execute import reported, write
    from profiling_spark.config import read_settings
    from profiling_spark.config.show import explained

    with reported(given):
        found = explained(read_settings(given.config, given.overrides))
        lines = [
            (path, value, origin)
            for path, value, origin in found
            if (key is None or path == key or path.startswith(f"{key}.")) and not (only_given and origin == "default")
        ]
        if not lines and key is not None and not only_given:
            raise ConfigError(f"{key}: expected the path of a setting, such as {found[0][0]}, found none of that name")
        if given.as_json:
            write(json.dumps([dict(zip(("key", "value", "origin"), line, strict=True)) for line in lines]))
        else:
            from profiling_spark.cli.show import console, rows

            rows(console(), ("setting", "value", "origin"), lines)
    return 0


@config.command()
def schema() -> int:
    """The JSON schema of a settings file, for editors: put it in a file and name it in the first line of yours, as in
    `# yaml-language-server: $schema=profiling_spark.schema.json`.
    """
    from profiling_spark.cli.execute import write
    from profiling_spark.config.show import schema as made

    write(json.dumps(made(), indent=2, ensure_ascii=False))
    return 0
