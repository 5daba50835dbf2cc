"""YAML of settings, read with the line of each value. What YAML takes for something else than it looks is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from profiling_spark.config.base import Fault, Keys
from profiling_spark.config.environment import Expanded, expand
from profiling_spark.config.given import Given, Origin, as_yaml
from profiling_spark.errors import ConfigError

_TAG = "tag:yaml.org,2002:"


class YamlReader:
    """Reads one file, or the value of one --set, into `Given`; `faults` lists what is wrong in it, with paths."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[tuple[Origin, Fault]] = []

    def file(self, path: Path) -> Given:
        """A settings file. Raises ConfigError where it cannot be read or is no YAML with keys and values."""
        try:
            found = self._read(path.read_text(encoding="utf-8"), Origin(str(path)), (), name=str(path))
        except OSError as err:
            raise ConfigError(f"settings file {path}: expected a readable YAML file, found {err.strerror}") from err
        except (yaml.YAMLError, UnicodeDecodeError) as err:
            raise ConfigError(f"settings file {path}: expected YAML, found: {err}") from err
        if found is None:
            return Given({}, Origin(str(path)))
        if not isinstance(found.value, dict):
            kind = "list" if isinstance(found.value, tuple) else type(found.value).__name__
            raise ConfigError(f"settings file {path}: expected keys and values, found a {kind}")
        return found

    def override(self, pair: str) -> Given:
        """`key.path=value` of --set. Raises ConfigError where it is none, or the value no YAML."""
        key, sign, text = pair.partition("=")
        origin = Origin(f"--set {pair}")
        if not sign or not key:
            raise ConfigError(f"{origin}: expected key.path=value, such as --set storage.root=/data/lake")
        keys = tuple(key.split("."))
        try:
            value = self._read(text, origin, keys, name="--set") or Given(None, origin)
        except yaml.YAMLError as err:
            raise ConfigError(f"{origin}: the value is not YAML: {err}") from err
        for part in reversed(keys):
            value = Given({part: value}, origin)
        return value

    def _read(self, text: str, origin: Origin, keys: Keys, *, name: str) -> Given | None:
        loader = yaml.SafeLoader(text)
        loader.name = name
        try:
            node = loader.get_single_node()
            return None if node is None else _Walk(self, loader, origin, is_file=not keys).value(node, keys, None, ())
        finally:
            loader.dispose()


class _Walk:
    """Goes through the nodes of one document."""

    def __init__(self, reader: YamlReader, loader: yaml.SafeLoader, origin: Origin, *, is_file: bool) -> None:
        self.reader, self.loader, self.origin, self.is_file = reader, loader, origin, is_file

    def value(self, node: yaml.Node, keys: Keys, key: yaml.Node | None, above: tuple[int, ...]) -> Given:
        origin = self._origin(node if key is None else key)
        if id(node) in above:
            raise yaml.constructor.ConstructorError(None, None, "an alias of what it stands in", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            self._find_repeated(node, keys)
            self.loader.flatten_mapping(node)
            pairs = ((k, v, self._key(k, v, keys)) for k, v in node.value)
            return Given({name: self.value(v, (*keys, name), k, (*above, id(node))) for k, v, name in pairs}, origin)
        if isinstance(node, yaml.SequenceNode):
            parts = (self.value(v, (*keys, str(n)), None, (*above, id(node))) for n, v in enumerate(node.value))
            return Given(tuple(parts), origin)
        return self._scalar(node, keys, origin)  # a document has no other nodes

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self.origin.place, node.start_mark.line + 1) if self.is_file else self.origin

    def _fault(self, origin: Origin, keys: Keys, message: str) -> None:
        self.reader.faults.append((origin, Fault(keys, message)))

    def _find_repeated(self, node: yaml.MappingNode, keys: Keys) -> None:
        """YAML lets the last of two equal keys win silently; here a repeated key is a fault."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in lines and key.tag != f"{_TAG}merge":
                self._fault(self._origin(key), (*keys, name), f"this key stands twice, first in line {lines[name]}")
            lines.setdefault(name, key.start_mark.line + 1)

    def _key(self, key: yaml.Node, value: yaml.Node, keys: Keys) -> str:
        """A key as it is written: all keys of the settings are texts."""
        name = str(key.value)
        if not isinstance(key, yaml.ScalarNode):
            self._fault(self._origin(key), keys, "expected a text as a key, found a list or keys and values")
        elif key.tag != f"{_TAG}str":
            typed = f"'{name}': {value.value if isinstance(value, yaml.ScalarNode) else '...'}"
            what = taken_for(self._plain(key.value, key))
            self._fault(self._origin(key), (*keys, name), f"YAML takes the key {name} for {what}: quote it, {typed}")
        return name

    def _scalar(self, node: yaml.Node, keys: Keys, origin: Origin) -> Given:
        text = str(node.value)
        made = expand(text, self.reader.environ) if "${" in text else Expanded(text, {}, (), False)
        for fault in made.faults:
            self._fault(origin, keys, f"{text}: {fault}")
        origin = Origin(origin.place, origin.line, made.names)
        is_plain = getattr(node, "style", None) is None
        # a text in which a variable stands stays one; a variable alone is what YAML makes of its value
        tag = f"{_TAG}str" if made.names and not made.is_whole else node.tag
        if made.is_whole and is_plain:
            tag = self.loader.resolve(yaml.ScalarNode, made.text, (True, False))  # type: ignore[no-untyped-call]
        is_text = tag == f"{_TAG}str"
        secrets = tuple(made.values.items())
        try:
            value = made.text if is_text else self._construct(made.text, tag, node)
        except ValueError:
            self._fault(origin, keys, f"YAML takes {text} for a date that does not exist; a text needs quotes")
            return Given(None, origin, text, secrets=secrets, is_broken=True)
        if is_plain and (what := surprising(made.text, value)):
            self._fault(origin, keys, f"YAML takes {text} for {what}: quote it, {_last(keys)}'{text}'")
            return Given(value, origin, text, secrets=secrets, is_broken=True)
        if made.is_whole and not is_text:
            secrets = (*secrets, (text, str(value)))  # 0x10 is 16, and neither is for the terminal
        return Given(value, origin, text, is_text, secrets, is_broken=bool(made.faults))

    def _construct(self, text: str, tag: str, node: yaml.Node) -> Any:
        return self.loader.construct_object(yaml.ScalarNode(tag, text, node.start_mark, node.end_mark))

    def _plain(self, text: str, node: yaml.Node) -> Any:
        try:
            return self._construct(text, node.tag, node)
        except ValueError:
            return text


def _last(keys: Keys) -> str:
    return "" if keys[-1].isdigit() else f"{keys[-1]}: "


def surprising(text: str, value: object) -> str:
    """What YAML 1.1 takes a plain number for, where nobody means that: 12:30 is 750, and 010 is 8."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if ":" in text:
        return "a number of base 60"
    digits = text.lstrip("+-").replace("_", "")
    return "a number of base 8" if len(digits) > 1 and digits[0] == "0" and digits.isdigit() else ""


def taken_for(value: object) -> str:
    """What YAML made of a plain scalar, in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, int | float):
        return f"the number {as_yaml(value)}"
    return "a date" if isinstance(value, date) else "something else than text"
