"""Read settings from YAML files and `--set` pairs. All faults are reported together, with file, line, key and value."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling_spark.config.environment import Secrets
from profiling_spark.config.given import Given, Origin, merged
from profiling_spark.config.judge import judged
from profiling_spark.config.settings import Settings
from profiling_spark.config.yaml_file import YamlReader
from profiling_spark.errors import ConfigError


@dataclass(frozen=True)
class Loaded:
    """Settings in force, and all that was given for them, merged: `given` is the root of the keys."""

    settings: Settings
    given: Given

    @property
    def origins(self) -> dict[str, Origin]:
        """By key path (`sources.log.path`), for each key that was given; every other has its default."""
        return {
            ".".join(keys): Origin(given.origin.place, given.origin.line, given.environment)
            for keys, given in self.given.all()
            if keys
        }


def load_settings(files: Sequence[Path], overrides: Sequence[str] = ()) -> Settings:
    """The settings of `read_settings`, with the variables of this process."""
    return read_settings(files, overrides).settings


def read_settings(
    files: Sequence[Path], overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Loaded:
    """Merge the files (later ones win, key by key; lists are replaced) and then `key.path=value` pairs.

    `environ`: what `${NAME}` in a value stands for; None: the environment of the process. Raises ConfigError that lists
    every fault; no value of a variable stands in it.
    """
    reader = YamlReader(os.environ if environ is None else environ)
    given, unreadable = Given({}, Origin()), []
    parts: tuple[Path | str, ...] = (*files, *overrides)
    for part in parts:
        try:
            given = merged(given, reader.file(part) if isinstance(part, Path) else reader.override(part))
        except ConfigError as err:
            unreadable.append(str(err))
    if unreadable:  # what a part lacks would look like faults of the others
        raise ConfigError("\n".join(unreadable))
    settings, faults = judged(given, reader.faults)
    if settings is None or faults:
        # without the cause, whose text has the values of variables in it
        raise ConfigError("the settings are wrong:\n" + "\n".join(f"  {f}" for f in faults)) from None
    secrets = {".".join(keys): value.secrets for keys, value in given.all() if value.secrets}
    settings._secrets = Secrets(secrets)  # what Spark finds wrong with SQL is said later, and must not show them
    return Loaded(settings, given)


def config_hash(settings: Settings) -> str:
    """sha256 of the settings in force, the same for the same values in any order of keys."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
