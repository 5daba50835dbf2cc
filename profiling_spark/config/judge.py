"""What is wrong with settings as they were given: faults of single values and of values together, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from profiling_spark.config.base import FAULTS, Fault, Keys, nearest
from profiling_spark.config.environment import SHORT, concealed
from profiling_spark.config.given import Given, Origin
from profiling_spark.config.settings import Settings
from profiling_spark.config.yaml_file import taken_for

# a fault taken out may show further ones of the models above it; settings are not deeper than this
_ROUNDS = 20
# branches of unions in the settings; others have brackets in their names
_BRANCHES = ("decimal", "DayRates")
_WORDS = {
    **dict.fromkeys(("model_type", "dict_type"), "expected keys and values"),
    **dict.fromkeys(("tuple_type", "list_type"), "expected a list"),
}
_NO_TEXT = ("string_type", "literal_error", "enum")


def judged(given: Given, found: Sequence[tuple[Origin, Fault]]) -> tuple[Settings | None, list[str]]:
    """(the settings, None where they are wrong; every fault as a line). `found`: what reading the files found.

    What is wrong is taken out and the rest is judged again, so that one fault hides no other; of what rests on a value
    that is wrong nothing is reported.
    """
    broken = {keys for keys, g in given.all() if g.is_broken} | {f.keys for _, f in found}
    lines = [(origin, f"{'.'.join(f.keys)}: {f.message}") for origin, f in found]
    raw = given.plain()
    for keys in broken:
        parent = given.at(keys[:-1])
        if parent is None or not isinstance(parent.value, tuple):  # what a list lacks would move the others up
            _put(raw, keys)
    settings, faults = None, []
    for _ in range(_ROUNDS):
        try:
            settings = Settings.model_validate(raw)
            break
        except ValidationError as err:
            errors = [(_path(e["loc"]), dict(e)) for e in err.errors()]
        faults = [pair for keys, e in errors for pair in _faults(keys, e, given)]
        lines += [_line(f, given, error) for f, error in faults if not _touches((f.keys, *f.also), broken)]
        taken = [_put(raw, f.keys, _instead_of(error)) for f, error in faults]
        broken |= {f.keys for f, _ in faults}
        if not any(taken):
            break
    if settings is None and not lines:  # nothing is ever refused without a word
        lines = [_line(f, given, error) for f, error in faults]
    return settings, _in_order(lines)


def _path(loc: Sequence[str | int]) -> Keys:
    """Keys and places, without the names that pydantic gives to a key as such and to the branches of a union."""
    return tuple(str(part) for part in loc if "[" not in str(part) and part not in _BRANCHES)


def _in_order(lines: Sequence[tuple[Origin, str]]) -> list[str]:
    """Each once, of one file from its first line to its last."""
    places = list(dict.fromkeys(origin.place for origin, _ in lines))
    ordered = sorted(lines, key=lambda pair: (places.index(pair[0].place), pair[0].line or 0))
    return list(dict.fromkeys(f"{origin.start}: {text}" for origin, text in ordered))


def _faults(loc: Keys, error: dict[str, Any], given: Given) -> Iterator[tuple[Fault, dict[str, Any]]]:
    """The faults of one validation error, each with the error."""
    listed: Iterable[Fault] | None = error.get("ctx", {}).get(FAULTS)
    if listed is not None:
        yield from ((f.under(*loc), {}) for f in listed)
        return
    message = _WORDS.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    if error["type"] == "extra_forbidden":
        allowed = _allowed(loc[:-1])
        message = f"this key is not known here; allowed: {', '.join(allowed)}{nearest(loc[-1], allowed)}"
    elif error["type"] == "literal_error":
        message += nearest(str(error["input"]), _literals(error))
    exact = given.at(loc)
    if exact is not None and error["type"] in _NO_TEXT and isinstance(exact.value, bool | int | float | date):
        key = "" if loc[-1].isdigit() else f"{loc[-1]}: "
        message += f"; YAML takes {exact.text} for {taken_for(exact.value)}: quote it, {key}'{exact.text}'"
        if exact.origin.environment:
            message = f"expected a text; a variable's value stays one in quotes, {key}'{exact.text}'"
    yield Fault(loc, message), error


def _line(fault: Fault, given: Given, error: dict[str, Any]) -> tuple[Origin, str]:
    """(where, `key = value: message`) of the first of the fault's settings that was given."""
    keys = next((k for k in (fault.keys, *fault.also) if given.at(k) is not None), fault.keys)
    place, near = given.nearest(keys)
    origin = near.origin if place else Origin("settings")
    value = error.get("input") if error.get("type") != "missing" else None
    text = ""
    if place == keys and not isinstance(near.value, dict):
        text = f" = {_shown(near)}"
    elif value is not None and not isinstance(value, dict) and not near.environment:
        text = f" = {value!r}"
    related = [g for k in (fault.keys, *fault.also) for _, g in given.nearest(k)[1].all()]
    secrets = {pair for g in related for pair in g.secrets}
    # a long value is concealed wherever it may have come from
    secrets |= {pair for _, g in given.all() for pair in g.secrets if len(pair[1]) >= SHORT}
    return origin, f"{'.'.join(keys) or '(all)'}{text}: {concealed(fault.message, secrets)}"


def _shown(given: Given) -> str:
    """As it was written: what YAML made of `no` is False, and nobody wrote that."""
    return repr(given.value) if given.is_text and not given.environment else given.as_written()


def _touches(paths: Iterable[Keys], broken: Iterable[Keys]) -> bool:
    """Whether one of the paths is a broken one, lies in one, or has one in it."""
    known = tuple(broken)
    return any(a[: len(b)] == b[: len(a)] for a in paths for b in known)


def _put(raw: Any, keys: Keys, instead: str | None = None) -> bool:
    """Put another value at the path, else remove what is there, or the longest part of the path that is a key."""
    for n in range(len(keys), 0, -1):
        parent = raw
        for key in keys[: n - 1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and keys[n - 1] in parent:
            if instead is not None and n == len(keys):
                parent[keys[-1]] = instead
            else:
                del parent[keys[n - 1]]
            return True
    return False


def _instead_of(error: dict[str, Any]) -> str | None:
    """The allowed word that was probably meant, so that the rest of a model can be judged."""
    is_word = error.get("type") == "literal_error"
    return next(iter(get_close_matches(str(error["input"]), _literals(error), n=1)), None) if is_word else None


def _literals(error: dict[str, Any]) -> list[str]:
    return [part.strip("' ") for part in str(error.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(",")]


def _allowed(path: Keys) -> list[str]:
    """Keys that the model at `path` knows, for the message about an unknown one."""
    model: Any = Settings
    for part in path:
        fields = getattr(model, "model_fields", {})
        annotation = fields[part].annotation if part in fields else model
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if hasattr(c, "model_fields")), model)
    return sorted(getattr(model, "model_fields", {}))
