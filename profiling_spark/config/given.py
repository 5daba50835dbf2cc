"""Settings as they were given: each value with the file and line, or --set, that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from profiling_spark.config.base import Keys

DEFAULT = "default"


@dataclass(frozen=True)
class Origin:
    """Where a setting comes from: a file with its line, `--set key=value`, or the default.

    `environment`: names of the variables in its value; their values stand nowhere in texts.
    """

    place: str = DEFAULT
    line: int | None = None
    environment: tuple[str, ...] = ()

    @property
    def start(self) -> str:
        """File and line, as an editor opens them."""
        return self.place if self.line is None else f"{self.place}:{self.line}"

    def __str__(self) -> str:
        return ", ".join([self.start, *(f"environment {name}" for name in self.environment)])


@dataclass(frozen=True)
class Given:
    """A value as it was given: a scalar, a tuple of these, or a dict of these by key.

    Of a scalar: `text` is how it was written, with `${NAME}` where the environment gives the value; `is_text`: YAML
    takes it for text. `secrets`: what variables stood for, by how they were written. `is_broken`: it has no value.
    """

    value: Any
    origin: Origin
    text: str = ""
    is_text: bool = False
    secrets: tuple[tuple[str, str], ...] = ()
    is_broken: bool = False

    @property
    def children(self) -> tuple[tuple[str, Given], ...]:
        """Values in it, by key or by place."""
        if isinstance(self.value, dict):
            return tuple(self.value.items())
        return tuple((str(n), v) for n, v in enumerate(self.value)) if isinstance(self.value, tuple) else ()

    def at(self, keys: Keys) -> Given | None:
        """The value at a path, None where nothing was given."""
        found: Given | None = self
        for key in keys:
            found = dict(found.children).get(key) if found is not None else None
        return found

    def nearest(self, keys: Keys) -> tuple[Keys, Given]:
        """The value at the path, or at the longest part of it that was given."""
        return next((keys[:n], g) for n in range(len(keys), -1, -1) if (g := self.at(keys[:n])) is not None)

    def all(self, path: Keys = ()) -> Iterator[tuple[Keys, Given]]:
        """Every value with its path, this one first."""
        yield path, self
        for key, child in self.children:
            yield from child.all((*path, key))

    @property
    def environment(self) -> tuple[str, ...]:
        """Names of the variables in it."""
        return tuple(dict.fromkeys(name for _, g in self.all() for name in g.origin.environment))

    def plain(self) -> Any:
        """As Python's own values, for validation."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        return [v.plain() for v in self.value] if isinstance(self.value, tuple) else self.value

    def as_written(self) -> str:
        """One line of YAML: `${NAME}`, not what the environment gave, and `no`, not what YAML made of it."""
        if not self.children:
            is_kept = self.is_broken or bool(self.environment) or not self.is_text
            return self.text if self.text and is_kept else as_yaml(self.value)
        parts = ((k, v.as_written()) for k, v in self.children)
        if isinstance(self.value, dict):
            return "{" + ", ".join(f"{as_yaml(k)}: {text}" for k, text in parts) + "}"
        return "[" + ", ".join(text for _, text in parts) + "]"


def merged(old: Given, new: Given) -> Given:
    """Key by key, the new one wins; lists and scalars are replaced."""
    if not isinstance(old.value, dict) or not isinstance(new.value, dict):
        return new
    values = {k: merged(old.value[k], v) if k in old.value else v for k, v in new.value.items()}
    return Given({**old.value, **values}, new.origin)


def as_yaml(value: Any) -> str:
    """A value in one line of YAML, as it stands in a settings file."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").replace("${", "$${")
