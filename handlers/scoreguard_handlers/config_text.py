"""A configuration as TOML: `--show-config` prints it, and `--config` reads it back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.config_file import Values
from scoreguard_handlers.environment import variable
from scoreguard_handlers.knobs import Knob, knobs

_WIDTH: Final = 40


def config_text(config: ServeConfig, layers: Mapping[str, Values]) -> str:
    """Format every field, section by section, with its origin and its environment variable.

    Args:
        config: The configuration to show; a field without a value is a comment, since TOML has no null.
        layers: The values that were set, by their source, in order of precedence.
    """
    return "".join(f"{line}\n" for line in _lines(config, layers))


def _lines(config: ServeConfig, layers: Mapping[str, Values]) -> Iterator[str]:
    section = ""
    for knob in sorted(knobs(), key=lambda each: "." in each.key):
        inside, _, name = knob.key.rpartition(".")
        if inside != section:
            section = inside
            yield from ("", f"[{section}]")
        value = _value_of(config, knob.key)
        text = f"{name} = {_toml(value)}" if value is not None else f"# {name} ="
        yield f"{text.ljust(_WIDTH)}  # {_origin(knob, layers)}, {variable(knob.key)}"


def _origin(knob: Knob, layers: Mapping[str, Values]) -> str:
    return next((name for name, values in reversed(list(layers.items())) if knob.key in values), "default")


def _value_of(config: object, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _toml(value: object) -> str:
    """Format a value as JSON: numbers, booleans and quoted strings are the same in TOML."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
