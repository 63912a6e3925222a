"""From keys to a configuration: the fields of `ServeConfig` as YAML, and the command line's values over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml

from scoreguard.support.near import near_names
from scoreguard.support.shown import shown
from scoreguard_handlers.config import Range, ServeConfig
from scoreguard_handlers.errors import StartupError

Values = Mapping[str, Any]
"""Values by field name; those of a section are a mapping as well."""
_KINDS: Final = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knob:
    """One field of the configuration, with all that its annotation says."""

    key: str
    """`section.name`, or `name` at the top."""
    kind: type
    """bool, int, float, str or Path."""
    choices: tuple[str, ...]
    """The only values allowed; empty = any."""
    range: Range | None
    optional: bool
    """Whether None is a value."""
    default: Any
    """MISSING where a value must be given."""

    def read(self, value: Any) -> Any:
        """The value as the field takes it.

        Raises:
            ValueError: it is of another kind or out of range; the message says what is allowed.
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

    @staticmethod
    def _is_within(value: Any, allowed: Range) -> bool:
        above = value > allowed.low if allowed.above else value >= allowed.low
        return above and (allowed.high is None or value <= allowed.high)

    @staticmethod
    def _allowed(allowed: Range) -> str:
        low = f"above {allowed.low:g}" if allowed.above else f"at least {allowed.low:g}"
        return low if allowed.high is None else f"{low} and at most {allowed.high:g}"


def knobs(kind: type = ServeConfig, section: str = "") -> Iterator[Knob]:
    """Every field of the configuration, those of the sections included."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, key = hints[field.name], f"{section}{field.name}"
        if dataclasses.is_dataclass(hint):
            yield from knobs(cast(type, hint), f"{key}.")
        elif field.metadata.get("knob", True):
            yield _knob(key, hint, field)


def build(*layers: Values) -> ServeConfig:
    """The configuration of values by key (`port`, `admission.window`); a later layer wins.

    Raises:
        StartupError: a value is missing, or the values do not go together.
    """
    flat = {key: value for layer in layers for key, value in layer.items()}
    if "model_store" not in flat:
        raise StartupError("give --model-store, or model_store in the --config file")
    made: ServeConfig = _make(ServeConfig, "", flat)
    return made


def read_file(path: Path) -> Values:
    """The values of a YAML file by key; relative paths in it start at its folder.

    Raises:
        StartupError: it cannot be read, or has a key or value that the configuration does not.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}") from error
    except yaml.YAMLError as error:
        raise StartupError(f"{path} is not YAML: {shown(' '.join(str(error).split()), 200)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StartupError(f"{path} must hold keys and values, such as 'workers: 2'")
    known = {knob.key: knob for knob in knobs()}
    return {key: _read_value(path, known, key, value) for key, value in _flat(path, content)}


def _flat(path: Path, content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    sections = {knob.key.partition(".")[0] for knob in knobs() if "." in knob.key}
    for key, value in content.items():
        if key not in sections:
            yield str(key), value
        elif isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        elif value is not None:
            raise StartupError(f"{path}: {key} is a section: write its keys below it")


def _read_value(path: Path, known: Mapping[str, Knob], key: str, value: Any) -> Any:
    if key not in known:
        near = near_names(shown(key), known)
        hint = f"did you mean {', '.join(near)}?" if near else "docs/operations.md lists the keys"
        raise StartupError(f"{path}: unknown key {shown(key)}: {hint}")
    try:
        read = known[key].read(value)
    except ValueError as error:
        raise StartupError(f"{path}: {key} {error}") from error
    return path.parent / read if isinstance(read, Path) else read


def _make(kind: type, section: str, flat: Values) -> Any:
    given: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        key = f"{section}{field.name}"
        if dataclasses.is_dataclass(hints[field.name]):
            given[field.name] = _make(hints[field.name], f"{key}.", flat)
        elif key in flat:
            given[field.name] = flat[key]
    return kind(**given)


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
