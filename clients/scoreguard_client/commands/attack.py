"""`scoreguard attack`: run an attack campaign against a server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import yaml

from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.campaign.errors import PlanError
from scoreguard_client.campaign.launch import CampaignOptions, Gradients, launch
from scoreguard_client.campaign.runner import PATIENCE_SECONDS, Runner, Summary
from scoreguard_client.commands._connection import connection_options
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.oracles.draws import AUTO

INCOMPLETE = 1
"""Exit code where some records failed."""


def _read_draws(ctx: click.Context, option: click.Parameter, value: str) -> int:
    number: Any = click.IntRange(min=1)
    return AUTO if value == "auto" else int(number.convert(value, option, ctx))


def _read_plan(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    names = {option.name for option in ctx.command.params} - {"plan", "help"}
    ctx.default_map = {name: _as_text(value) for name, value in _load(path).items()}
    unknown = sorted(set(ctx.default_map) - {name for name in names if name})
    if unknown:
        raise PlanError(f"{path}: unknown key {unknown[0]!r}; the keys are the long options, for example attacks")


def _load(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise PlanError(f"{path}: a plan is a mapping of options, for example 'attacks: [fgsm, ifgsm]'")
    return {str(key).replace("-", "_"): value for key, value in data.items()}


def _as_text(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value


@click.command(
    epilog="""\b
Example:
  scoreguard attack --attacks fgsm,ifgsm:eps=8/255 --defences none,jpeg,flip --images photos --out runs/first
  scoreguard report runs/first
"""
)
@click.option("--metric", default="lite", show_default=True, help="Deployed metric to attack.")
@click.option(
    "--attacks", default="fgsm,ifgsm", show_default=True, help="Attacks, name:key=value, separated by commas."
)
@click.option(
    "--defences",
    default="none",
    show_default=True,
    help="Chains to score behind, separated by commas; steps of a chain joined by '+'.",
)
@click.option(
    "--images", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of clean pictures."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Run directory; goes on where it was."
)
@click.option("--adaptive", is_flag=True, help="Also attack through each chain, knowing the defence.")
@click.option(
    "--gradients",
    type=click.Choice([source.value for source in Gradients]),
    help="Where gradients come from; local where there is a surrogate, else live.",
)
@click.option(
    "--surrogate",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Archive or model store for local gradients; ./model_store where present.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Most pictures to take, by name.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Where all drawing starts.")
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Scores taken of each picture behind a random defence.",
)
@click.option(
    "--crafting-draws",
    default="1",
    show_default=True,
    callback=_read_draws,
    metavar="N|auto",
    help="Draws per query of an attack through a random defence (EOT); auto = as many as each image's gradient needs.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Most pictures attacked at once."
)
@click.option("--checkpoint", is_flag=True, help="Local gradients in the memory of one step of the chain, slower.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=PATIENCE_SECONDS,
    show_default=True,
    help="Seconds to wait for a server that has gone.",
)
@click.option("--keep-all", is_flag=True, help="Keep every attacked picture, not only those shown in the report.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_plan,
    metavar="FILE",
    help="YAML file with any of these options; the command line wins.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@connection_options
def command(target: str, config: ConnectionConfig, as_json: bool, gradients: str | None, **rest: Any) -> int:
    """Attack a metric behind defences on a server, picture by picture, and keep every score.

    The same command again goes on where the last one stopped.
    """
    options = CampaignOptions(gradients=None if gradients is None else Gradients(gradients), **rest)
    with ScoringClient(target, config) as client, meter() as shown:
        summary = launch(options, client, lambda runner: _begin(shown, runner))
    _say(summary, options.out, as_json)
    return INCOMPLETE if summary.failed else 0


def _begin(shown: Meter, runner: Runner) -> Any:
    shown.begin(runner.steps)
    return shown.advance


def _say(summary: Summary, run: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(summary) | {"run": str(run)}))
        return
    click.echo(f"{summary.records} records in {run}")
    if summary.failed:
        click.echo(f"{summary.failed} failed, the first with: {summary.first_error}; run again to try them again")
    click.echo(f"next: scoreguard report {run}")
