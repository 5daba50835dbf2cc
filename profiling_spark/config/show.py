"""Settings for people and editors: every setting in force with its origin, and the JSON schema of all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from profiling_spark.config.base import Keys, Model
from profiling_spark.config.given import Given, Origin, as_yaml
from profiling_spark.config.load import Loaded
from profiling_spark.config.settings import Settings

_VARIABLE = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
_PACKAGE = Path(__file__).resolve().parents[1]


def explained(loaded: Loaded) -> list[tuple[str, str, str]]:
    """(key path, value as one line of YAML, origin) of every setting in force, in the order of the models.

    Origin: `FILE:LINE`, `--set key=value` or `default`; of a value with variables also `environment NAME`. The value is
    as it was written then, with `${NAME}`.
    """
    dumped = loaded.settings.model_dump(mode="json")
    leaves = _leaves(loaded.settings, dumped, is_set=True)
    return [
        (".".join(keys), *_explained(keys, value, loaded.given if is_set else None)) for keys, value, is_set in leaves
    ]


def _leaves(value: Any, dumped: Any, path: Keys = (), *, is_set: bool) -> Iterator[tuple[Keys, Any, bool]]:
    """(path, value, whether it was given) of every value that has no settings in it; `dumped`: as plain values."""
    given: Collection[str] | None = None
    if isinstance(value, Model):
        given = value.model_fields_set
        inner = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, dict):
        inner = [(str(key), v) for key, v in value.items()]
    elif isinstance(value, tuple) and any(isinstance(v, Model) for v in value):
        inner = [(str(n), v) for n, v in enumerate(value)]
    else:
        inner = []
    if not inner:
        yield path, dumped, is_set
    for key, v in inner:
        part = dumped[int(key)] if isinstance(dumped, list) else dumped[key]
        yield from _leaves(v, part, (*path, key), is_set=is_set and (given is None or key in given))


def _explained(keys: Keys, value: Any, given: Given | None) -> tuple[str, str]:
    """`given`: the root of what was given; None where the value is a default."""
    if given is None:
        return as_yaml(value), str(Origin())
    # a short form, such as `lines: items`, gives what stands under a key of its own
    near = given.nearest(keys)[1]
    origin = Origin(near.origin.place, near.origin.line, near.environment)
    return near.as_written() if origin.environment else as_yaml(value), str(origin)


def schema() -> dict[str, Any]:
    """JSON schema of a settings file, for editors. Descriptions are the comments of conf/base.yaml, which explain every
    setting; a model whose settings do not stand there explains itself.
    """
    made = Settings.model_json_schema()
    models: dict[str, Any] = made["$defs"]
    _describe(made, models, (), descriptions(), "")
    for model in (made, *models.values()):
        for name, field in model.get("properties", {}).items():
            field.setdefault("description", _of_docstring(name, model.get("description", "")))
            _allow_variable(field)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "Settings of profiling_spark",
        "description": "A settings file. What it leaves out has the default of conf/base.yaml.",
    }


def _of_docstring(name: str, text: str) -> str:
    """What a model's docstring has on a setting (`name`: ...), else its first paragraph."""
    start = r"`\w+`(?:, `\w+`)*(?: \([^)]*\))?: "
    sentences = re.findall(rf"({start})(.*?)(?=\s{start}|\n\n|$)", text, re.DOTALL)
    description = next((sentence for head, sentence in sentences if f"`{name}`" in head), text.partition("\n\n")[0])
    return " ".join(description.split())


def _allow_variable(field: dict[str, Any]) -> None:
    """A number, a truth value or one of some words may also be `${NAME}`."""
    kinds = field.get("anyOf", [field])
    if any(k.get("type") in ("integer", "number", "boolean") or {"enum", "pattern"} & k.keys() for k in kinds):
        own = {k: field.pop(k) for k in [*field] if k not in ("default", "description", "title", "anyOf")}
        field["anyOf"] = [*field.get("anyOf", [own]), {"type": "string", "pattern": _VARIABLE}]


def _describe(
    model: dict[str, Any], models: Mapping[str, Any], path: Keys, texts: Mapping[Keys, str], section: str
) -> None:
    """Give each setting its comment, else that of the section which it stands in."""
    for name, field in model.get("properties", {}).items():
        here = (*path, name)
        text = texts.get(here, section)
        if here in texts or (section and "description" not in field):
            field["description"] = text
        for reference in _references(field):
            _describe(models[reference], models, here, texts, text)


def _references(field: Any) -> Iterator[str]:
    """Models that a setting has, one or under keys or in a list."""
    if isinstance(field, dict):
        if "$ref" in field:
            yield str(field["$ref"]).rpartition("/")[2]
        for part in ("items", "additionalProperties", "anyOf"):
            yield from _references(field.get(part))
    if isinstance(field, list):
        for part in field:
            yield from _references(part)


@cache
def descriptions() -> dict[Keys, str]:
    """By key path, the comment above a setting in conf/base.yaml; {} where the file is not there."""
    file = next((p for p in (_PACKAGE / "conf/base.yaml", _PACKAGE.parent / "conf/base.yaml") if p.is_file()), None)
    if file is None:
        return {}
    text = file.read_text(encoding="utf-8")
    return dict(_comments(yaml.compose(text, Loader=yaml.SafeLoader), text.splitlines(), ()))


def _comments(node: yaml.Node | None, lines: list[str], path: Keys) -> Iterator[tuple[Keys, str]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*path, str(key.value))
        above: list[str] = []
        for line in reversed(lines[: key.start_mark.line]):
            if not line.strip().startswith("#"):
                break
            above.append(line.strip().removeprefix("#").strip())
        if above:
            yield here, " ".join(reversed(above))
        yield from _comments(value, lines, here)
