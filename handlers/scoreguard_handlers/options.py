"""Options of a command that are fields of the configuration: type, range and default come from the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from scoreguard_handlers.config_file import Knob, Values, knobs

F = TypeVar("F", bound=Callable[..., Any])
_GIVEN: Final = {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}
_KNOBS: Final = {knob.key: knob for knob in knobs()}
_FOLDERS: Final = {"model_store", "torchserve.log_dir"}
_MUST_EXIST: Final = {"model_store", "security.tokens_file", "security.tls_key", "security.tls_cert"}
_SHOWN_DEFAULTS: Final = {"workers": "the cores"}


class ConfigOption(click.Option):
    """An option that sets one field."""

    key: str
    scale: int


def option(flags: str, key: str, text: str, *, scale: int = 1) -> Callable[[F], F]:
    """An option for a field; with a scale, the option counts in that many of the field's units."""
    knob = _KNOBS[key]

    def make(*args: Any, **kwargs: Any) -> ConfigOption:
        made = ConfigOption(*args, **kwargs)
        made.key, made.scale = key, scale
        return made

    extra: dict[str, Any] = {"is_flag": True} if knob.kind is bool else {"type": _type_of(knob, scale)}
    if key in _SHOWN_DEFAULTS:
        text = f"{text}  [default: {_SHOWN_DEFAULTS[key]}]"
    elif knob.default is not MISSING:
        extra |= {"default": _default_of(knob, scale), "show_default": knob.kind is not bool}
    return click.option(flags, cls=make, help=text, **extra)  # type: ignore[arg-type]


def given(context: click.Context) -> Values:
    """The fields that the command line sets, by key."""
    return {
        each.key: value * each.scale if each.scale != 1 else value
        for each in context.command.params
        if isinstance(each, ConfigOption) and each.name
        if context.get_parameter_source(each.name) in _GIVEN and (value := context.params[each.name]) is not None
    }


def _type_of(knob: Knob, scale: int) -> Any:
    if knob.choices:
        return click.Choice(knob.choices)
    if knob.kind is Path:
        folder, exists = knob.key in _FOLDERS, knob.key in _MUST_EXIST
        return click.Path(exists=exists, file_okay=not folder, dir_okay=folder, path_type=Path)
    if knob.range is None:
        return knob.kind
    low, high = knob.range.low, knob.range.high
    if knob.kind is float:
        return click.FloatRange(low, high, min_open=knob.range.above)
    lowest = int(low) if scale == 1 else max(1, int(low) // scale)
    return click.IntRange(lowest, None if high is None else int(high) // scale)


def _default_of(knob: Knob, scale: int) -> Any:
    return knob.default // scale if scale != 1 else knob.default
