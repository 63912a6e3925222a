"""Build a configuration from keys: the fields of `ServeConfig` in a TOML or YAML file, and other layers over them."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

import yaml

from scoreguard.support.near import near_names
from scoreguard.support.shown import shown
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.knobs import Knob, knobs

Values = Mapping[str, Any]
"""Values by field name; those of a section are a mapping as well."""
_YAML: Final = (".yaml", ".yml")


def build(*layers: Values) -> ServeConfig:
    """Build the configuration from values by key (`port`, `admission.window`); a later layer wins.

    Raises:
        StartupError: a value is missing, or the values are incompatible.
    """
    flat = {key: value for layer in layers for key, value in layer.items()}
    if "model_store" not in flat:
        raise StartupError("give --model-store, SCOREGUARD_MODEL_STORE, or model_store in the --config file")
    made: ServeConfig = _make(ServeConfig, "", flat)
    return made


def read_file(path: Path) -> Values:
    """Read a file's values by key; paths in it are relative to its folder. `.yaml` and `.yml` are YAML, others TOML.

    Raises:
        StartupError: it cannot be read, or has a key or value that the configuration does not accept.
    """
    content = _content(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StartupError(f"{path} must hold keys and values, such as 'workers: 2'")
    known = {knob.key: knob for knob in knobs()}
    return {key: _read_value(path, known, key, value) for key, value in _flat(path, content)}


def _content(path: Path) -> object:
    try:
        text = path.read_text()
        return yaml.safe_load(text) if path.suffix in _YAML else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}") from error
    except (yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        kind = "YAML" if path.suffix in _YAML else "TOML"
        raise StartupError(f"{path} is not {kind}: {shown(' '.join(str(error).split()), 200)}") from error


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
