"""`scoreguard challenge`: score adversarial images that somebody made elsewhere, and add them to a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from scoreguard.support import console
from scoreguard.v1.codec import TOP
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.attacks.external import UNBOUNDED, External
from scoreguard_client.challenge import ChallengeOptions, Outcome, Standing, challenge, standings_of
from scoreguard_client.commands._connection import connection_options
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.progress import Progress
from scoreguard_client.report.text import interval, value

INCOMPLETE = 1
"""Exit code if some images could not be scored."""
_DIGITS = 3
_PATH = click.Path(path_type=Path)


def _read_eps(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        eps = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        eps = math.nan
    if not 0 < eps <= 1:
        raise click.BadParameter(f"{text!r} is no radius in (0, 1] such as 10/255", ctx, option)
    return eps


@click.command(
    epilog="""\b
Example:
  scoreguard challenge runs/first submitted --name alice --eps 10/255
  scoreguard report runs/first
"""
)
@click.argument("run", type=_PATH, metavar="RUN")
@click.argument("images", type=_PATH, metavar="IMAGES")
@click.option("--name", default="", help="Who made the images; by default the name of the folder.")
@click.option("--metric", default="", help="Metrics of the run to score with, separated by commas; default all.")
@click.option("--chain", "--chains", "chains", default="", help="Chains of the run, separated by commas; default all.")
@click.option(
    "--eps", callback=_read_eps, metavar="RADIUS", help="Budget in L∞, as 10/255; default the largest of the run."
)
@click.option(
    "--min-ssim",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Budget as the smallest SSIM, for everyday edits; with --eps both must hold.",
)
@click.option("--adaptive", is_flag=True, help="The images were made knowing the chain that they are scored behind.")
@click.option("--images", "clean", type=_PATH, metavar="DIR", help="Folder of the clean images, if they have moved.")
@click.option(
    "--distance",
    default="",
    metavar="NAME[=WEIGHTS]",
    help="Perceptual distance of the run with its weights, as for scoreguard attack.",
)
@click.option("--replace", is_flag=True, help="Replace a challenge of the same name.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=ChallengeOptions.patience,
    show_default=True,
    help="Seconds to wait for an unreachable server.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@connection_options
def command(target: str, config: ConnectionConfig, as_json: bool, **rest: Any) -> int:
    """Score the adversarial images of folder IMAGES as RUN scores its own, and add them to it.

    A file has the name of its clean image: PNG, TIFF, BMP, PNM, or an array as .npy, (height, width, 3).
    """
    options = ChallengeOptions(**rest)
    with ScoringClient(target, config) as client, meter() as shown:
        outcome = challenge(options, client, lambda steps: _begin(shown, steps))
    standings = standings_of(options.run, outcome.attack.by)
    if as_json:
        click.echo(console.json_text(_facts(outcome, standings, options)))
    else:
        _say(outcome, standings, options)
    return INCOMPLETE if outcome.left_out or outcome.failed else 0


def _begin(shown: Meter, steps: int) -> Progress:
    shown.begin(steps)
    return shown.advance


def _facts(outcome: Outcome, standings: Sequence[Standing], options: ChallengeOptions) -> dict[str, Any]:
    return {
        "run": str(options.run),
        "name": outcome.attack.by,
        "attack": str(outcome.attack),
        "images": len({record.image for record in outcome.records}),
        "records": len(outcome.records),
        "failed": len(outcome.failed),
        "over_budget": list(outcome.over_budget),
        "left_out": [asdict(entry) for entry in outcome.left_out],
        "standings": [asdict(standing) | {"is_best": standing.is_best} for standing in standings],
    }


def _say(outcome: Outcome, standings: Sequence[Standing], options: ChallengeOptions) -> None:
    for entry in outcome.left_out:
        click.echo(f"left out: {entry.name}: {entry.error}", err=True)
    images = len({record.image for record in outcome.records})
    click.echo(f"{images} images of {outcome.attack.by} added to {options.run}, budget {budget_text(outcome.attack)}")
    if outcome.exceeds_run:
        click.echo(f"note: no attack of the run may change more than {levels_text(outcome.largest_eps or 0)}")
    if outcome.over_budget:
        click.echo(f"{len(outcome.over_budget)} outside the budget count nothing, the first: {outcome.over_budget[0]}")
    if outcome.failed:
        click.echo(f"{len(outcome.failed)} records failed, the first with: {outcome.failed[0].error}")
    console.output().print(_table(outcome.attack.by, standings))
    click.echo(f"next: scoreguard report {options.run}")


def budget_text(attack: External) -> str:
    """Return a budget in words."""
    parts = [levels_text(attack.eps)] * (attack.eps < UNBOUNDED)
    parts += [f"SSIM {attack.min_ssim:g}"] * bool(attack.min_ssim)
    return " and ".join(parts) or "unlimited"


def levels_text(eps: float) -> str:
    """Return an L-infinity radius in levels of 8 bits."""
    return f"L∞ {round(eps * TOP, 2):g}/{TOP}"


def _table(name: str, standings: Sequence[Standing]) -> Table:
    table = Table(title="Best known attacks: gain as a share of the range")
    for heading, justify in (("metric", "left"), ("chain", "left"), ("best other", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("gain", escape(name), "images"):
        table.add_column(heading, justify="right")
    table.add_column("best known now")
    for row in standings:
        other = "" if row.best_gain is None else value(row.best_gain, _DIGITS)
        mine = f"{value(row.gain, _DIGITS)} {interval(row.gain, _DIGITS)}".rstrip()
        now = name if row.is_best else row.best
        cells = (row.metric, row.label, row.best or "–", other, mine, str(row.images), now)
        table.add_row(*map(escape, cells), style="bold" if row.is_best else None)
    return table
