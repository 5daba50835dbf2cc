"""Read settings from YAML files and `--set` pairs. All faults are reported together, with file, key and value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from profiling_spark.config.settings import Settings
from profiling_spark.errors import ConfigError

_Keys = tuple[str, ...]


def load_settings(files: Sequence[Path], overrides: Sequence[str] = ()) -> Settings:
    """Merge the files (later ones win, key by key; lists are replaced) and then `key.path=value` pairs.

    Raises ConfigError that lists every fault.
    """
    merged: dict[str, Any] = {}
    origin: dict[_Keys, str] = {}
    for file in files:
        _merge(merged, _read(file), (), str(file), origin)
    for pair in overrides:
        _merge(merged, _parse_override(pair), (), f"--set {pair}", origin)
    try:
        return Settings.model_validate(merged)
    except ValidationError as err:
        faults = [_describe(dict(fault), origin) for fault in err.errors()]
        raise ConfigError("the settings are wrong:\n" + "\n".join(f"  {f}" for f in faults)) from err


def config_hash(settings: Settings) -> str:
    """sha256 of the settings in force, the same for the same values in any order of keys."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as err:
        raise ConfigError(f"settings file {file}: expected a readable YAML file, found {err.strerror}") from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise ConfigError(f"settings file {file}: expected YAML, found: {err}") from err
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"settings file {file}: expected keys and values, found a {type(loaded).__name__}")
    return loaded


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win silently; here a repeated key is a fault."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(k) for k in keys if keys.count(k) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _parse_override(pair: str) -> dict[str, Any]:
    key, sign, text = pair.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {pair}: expected key.path=value, such as --set storage.root=/data/lake")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise ConfigError(f"--set {pair}: the value is not YAML: {err}") from err
    for part in reversed(key.split(".")):
        value = {part: value}
    result: dict[str, Any] = value
    return result


def _merge(into: dict[str, Any], new: dict[str, Any], path: _Keys, file: str, origin: dict[_Keys, str]) -> None:
    for key, value in new.items():
        here = (*path, str(key))
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value, here, file, origin)
            continue
        origin[here] = file
        if isinstance(value, dict):
            into[key] = {}
            _merge(into[key], value, here, file, origin)
        else:
            into[key] = value


def _describe(fault: dict[str, Any], origin: dict[_Keys, str]) -> str:
    keys = tuple(str(part) for part in fault["loc"])
    file = next((origin[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in origin), "settings")
    name = ".".join(keys) or "(all)"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = f"this key is not known here; allowed: {', '.join(_allowed(keys[:-1]))}"
    value = fault.get("input")
    shown = "" if isinstance(value, dict) or fault["type"] == "missing" else f" = {value!r}"
    return f"{file}: {name}{shown}: {message}"


def _allowed(path: _Keys) -> list[str]:
    """Keys that the model at `path` knows, for the message about an unknown one."""
    model: Any = Settings
    for part in path:
        fields = getattr(model, "model_fields", {})
        annotation = fields[part].annotation if part in fields else model
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if hasattr(c, "model_fields")), model)
    return sorted(getattr(model, "model_fields", {}))
