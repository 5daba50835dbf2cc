"""What every settings model shares."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from types import NoneType
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

Keys = tuple[str, ...]
"""Path of a setting: names of keys, places in lists as text."""

FAULTS = "faults"
"""Type of the validation error that lists faults, under the same name in its context."""


@dataclass(frozen=True)
class Fault:
    """What cannot be meant: the setting's path from the model that finds it, what is wrong with it and expected.

    `also`: paths of other settings that the message rests on. Where one of all these is itself wrong, it is not raised.
    """

    keys: Keys
    message: str
    also: tuple[Keys, ...] = ()

    def under(self, *path: str) -> Fault:
        """The same, seen from a model further up."""
        return replace(self, keys=(*path, *self.keys), also=tuple((*path, *keys) for keys in self.also))


class Model(BaseModel):
    """Frozen; an unknown key is a fault, never a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def faults(self) -> Iterable[Fault]:
        """What cannot be meant although each value is allowed by itself."""
        return ()

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        found = tuple(self.faults())
        if found:
            text = "; ".join(f"{'.'.join(f.keys)}: {f.message}" if f.keys else f.message for f in found)
            raise PydanticCustomError("faults", "{text}", {"text": text, FAULTS: found})
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic takes true for 1, and YAML takes yes, on, no and off for truth values
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if any(isinstance(v, bool) for v in parts) and _is_number(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("expected a number; YAML takes yes, no, on and off for true and false")
        return value


def _is_number(annotation: Any) -> bool:
    """Whether the values of a field are numbers, alone, in a list, or under keys."""
    args = [a for a in get_args(annotation) if a is not Ellipsis]
    if hasattr(annotation, "__metadata__"):
        return _is_number(args[0])
    if getattr(annotation, "__origin__", None) is dict:
        return _is_number(args[1])
    if args:
        return all(_is_number(a) or a is NoneType for a in args) and not all(a is NoneType for a in args)
    return annotation in (int, float, Decimal)


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean X?` where a known name is near, else nothing."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[int, Field(ge=1, le=3650)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
