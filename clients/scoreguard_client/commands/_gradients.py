"""The gradient options of every command that attacks or trains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from scoreguard_client.target.gradients import DEFAULT_SURROGATE, Gradients

_OPTIONS: Final = (
    click.option(
        "--gradients",
        type=click.Choice([source.value for source in Gradients]),
        help="Source of gradients; local if there is a surrogate, else live.",
    ),
    click.option(
        "--surrogate",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help=f"Archive or model store for local gradients; ./{DEFAULT_SURROGATE} if present.",
    ),
)


def gradient_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function receives `gradients` (a `Gradients` or None) and `surrogate` (a path or None)."""

    @functools.wraps(function)
    def with_gradients(*args: Any, gradients: str | None, **rest: Any) -> Any:
        return function(*args, gradients=None if gradients is None else Gradients(gradients), **rest)

    for option in reversed(_OPTIONS):
        with_gradients = option(with_gradients)
    return with_gradients
