"""Command options for configuration fields: type, range and default come from the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from scoreguard_handlers.config_file import Values
from scoreguard_handlers.knobs import Knob, knobs

F = TypeVar("F", bound=Callable[..., Any])
_KNOBS: Final = {knob.key: knob for knob in knobs()}
_FOLDERS: Final = {"model_store", "torchserve.log_dir"}
_MUST_EXIST: Final = {"model_store", "security.tokens_file", "security.tls_key", "security.tls_cert"}
_SHOWN_DEFAULTS: Final = {"workers": "the cores"}


class ConfigOption(click.Option):
    """An option that sets one field."""

    key: str
    scale: int
    further: bool = False
    """Whether it is listed below the others, because it is rarely needed."""


class ServeCommand(click.Command):
    """A command with an option for every field: the common ones first, the others below them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options as two lists."""
        usual: list[tuple[str, str]] = []
        further: list[tuple[str, str]] = []
        for each in self.get_params(ctx):
            if (row := each.get_help_record(ctx)) is not None:
                (further if getattr(each, "further", False) else usual).append(row)
        for title, rows in (("Options", usual), ("Further options (docs/operations.md says what they do)", further)):
            with formatter.section(title):
                formatter.write_dl(rows)


def option(flags: str, key: str, text: str, *, scale: int = 1) -> Callable[[F], F]:
    """Make an option for a field; with a scale, the option's unit is that many of the field's units."""
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


def further_options(command: click.Command) -> list[click.Parameter]:
    """Add an option for each field that the command lacks: `--admission-queue-bytes` sets `admission.queue_bytes`."""
    taken = {each.key for each in command.params if isinstance(each, ConfigOption)}
    return [_further(key) for key in _KNOBS if key not in taken]


def _further(key: str) -> ConfigOption:
    knob, flag = _KNOBS[key], key.replace(".", "-").replace("_", "-")
    words = f"--{flag}/--no-{flag}" if knob.kind is bool else f"--{flag}"
    made = ConfigOption([words], type=None if knob.kind is bool else _type_of(knob, 1), default=knob.default)
    made.key, made.scale, made.further = key, 1, True
    made.show_default = knob.default is not None
    return made


def given(context: click.Context) -> Values:
    """Return the fields that the command line sets, by key."""
    values: dict[str, Any] = {}
    for each in context.command.params:
        if isinstance(each, ConfigOption) and _on_the_command_line(each, context):
            value = context.params[each.name or ""]
            values[each.key] = value * each.scale if each.scale != 1 else value
    return values


def _on_the_command_line(each: ConfigOption, context: click.Context) -> bool:
    return context.get_parameter_source(each.name or "") is ParameterSource.COMMANDLINE


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
