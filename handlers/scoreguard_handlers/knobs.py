"""The fields of a configuration as settings: key, type, range, default, and how to read a value from text or a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from scoreguard.support.shown import shown
from scoreguard_handlers.config import Range, ServeConfig

_KINDS: Final = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
_TRUTHS: Final[dict[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knob:
    """One field of the configuration, with everything that its annotation declares."""

    key: str
    """`section.name`, or `name` at the top level."""
    kind: type
    """bool, int, float, str or Path."""
    choices: tuple[str, ...]
    """The only values allowed; empty = any."""
    range: Range | None
    optional: bool
    """Whether None is a value."""
    default: Any
    """MISSING if a value is required."""

    def read(self, value: Any) -> Any:
        """Convert the value of a file to the field's type.

        Raises:
            ValueError: it has the wrong type or is out of range; the message says what is allowed.
        """
        if value is None and self.optional:
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is Path and isinstance(value, str) and value:
            value = Path(value)
        if not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
            raise ValueError(f"must be {_KINDS[self.kind]}, not {shown(value)}")
        if self.choices and value not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {shown(value)}")
        if self.range is not None and not self._is_within(value, self.range):
            raise ValueError(f"must be {self._allowed(self.range)}, not {shown(value)}")
        return value

    def parse(self, text: str) -> Any:
        """Convert the value of an environment variable to the field's type.

        Raises:
            ValueError: it has the wrong type or is out of range; the message says what is allowed.
        """
        try:
            value = _TRUTHS[text.lower()] if self.kind is bool else self.kind(text)
        except (ValueError, KeyError):
            value = text
        return self.read(value)

    @staticmethod
    def _is_within(value: Any, allowed: Range) -> bool:
        above = value > allowed.low if allowed.above else value >= allowed.low
        return above and (allowed.high is None or value <= allowed.high)

    @staticmethod
    def _allowed(allowed: Range) -> str:
        low = f"above {allowed.low:g}" if allowed.above else f"at least {allowed.low:g}"
        return low if allowed.high is None else f"{low} and at most {allowed.high:g}"


def knobs(kind: type = ServeConfig, section: str = "") -> Iterator[Knob]:
    """Return every field of a configuration, including those of its sections."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, key = hints[field.name], f"{section}{field.name}"
        if dataclasses.is_dataclass(hint):
            yield from knobs(cast(type, hint), f"{key}.")
        elif field.metadata.get("knob", True):
            yield _knob(key, hint, field)


def _knob(key: str, hint: Any, field: dataclasses.Field[Any]) -> Knob:
    optional = get_origin(hint) in {Union, UnionType} and NoneType in get_args(hint)
    if optional:
        hint = next(part for part in get_args(hint) if part is not NoneType)
    allowed: Range | None = None
    if get_origin(hint) is Annotated:
        hint, allowed = get_args(hint)
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    default = field.default
    if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    kind = str if choices else hint
    return Knob(key=key, kind=kind, choices=choices, range=allowed, optional=optional, default=default)
