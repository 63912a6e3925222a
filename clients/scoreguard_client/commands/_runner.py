"""The options of what executes the units of a campaign."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from scoreguard_client.campaign.options import CampaignOptions, RunnerKind

_OPTIONS: Final = (
    click.option(
        "--runner",
        type=click.Choice([kind.value for kind in RunnerKind]),
        default=CampaignOptions.runner.value,
        show_default=True,
        help="What executes the units: processes of this machine, or tasks of Ray (extra ray).",
    ),
    click.option("--address", default="", help="Address of a running Ray, or auto; by default one is started here."),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Units at once: processes of this machine, by default 1, or tasks of Ray, by default all it can.",
    ),
    click.option(
        "--also", multiple=True, metavar="TARGET", help="Further server with the same archives, for Ray; repeatable."
    ),
)


def runner_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function receives `runner` (a `RunnerKind`), `address`, `workers` and `also` (targets)."""

    @functools.wraps(function)
    def with_runner(*args: Any, runner: str, **rest: Any) -> Any:
        return function(*args, runner=RunnerKind(runner), **rest)

    for option in reversed(_OPTIONS):
        with_runner = option(with_runner)
    return with_runner
