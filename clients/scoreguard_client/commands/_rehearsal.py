"""`scoreguard attack --dry-run`: what would run and what it would cost, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from scoreguard.support import console
from scoreguard_client.campaign.rehearsal import Rehearsal
from scoreguard_client.commands._progress import duration

_UNITS: Final = ("bytes", "kB", "MB", "GB")
_STEP: Final = 1000


def say_rehearsal(found: Rehearsal, as_json: bool) -> None:
    """Print it."""
    if as_json:
        click.echo(console.json_text(asdict(found)))
        return
    parts = (_several(found.metrics, "metric"), _several(found.images, "image"), _several(found.attacks, "attack"))
    there = f", {found.there:,} of them there already" if found.there else ""
    click.echo(f"{', '.join(parts)}: {_several(found.units, 'unit')}, {_several(found.records, 'record')}{there}")
    click.echo(
        f"calls to the server: {found.scoring_calls:,} for scores, "
        f"{found.clean_scores:,} of them of clean images; {found.attack_calls:,} by attacks"
    )
    click.echo(f"about {duration(found.seconds)}, {size(found.disk_bytes)} on disk when finished")
    click.echo(f"measured on {found.probe}, which took {duration(found.probe_seconds)}; nothing was kept")
    if found.probe_failed:
        click.echo(f"{_several(found.probe_failed, 'record')} of it failed, the first with: {found.first_error}")


def size(count: float) -> str:
    """Format a number of bytes for people."""
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
