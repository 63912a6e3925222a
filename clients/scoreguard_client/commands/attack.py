"""`scoreguard attack`: run an attack campaign against a server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from scoreguard.support import console
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.attacks.catalogue import CATALOGUE
from scoreguard_client.campaign.launch import base_of, launch
from scoreguard_client.campaign.options import CampaignOptions
from scoreguard_client.campaign.planning import prepare
from scoreguard_client.campaign.rehearsal import Rehearsal, rehearse
from scoreguard_client.campaign.runner import Runner, Summary
from scoreguard_client.commands._computing import announce, computing_options
from scoreguard_client.commands._connection import connection_options
from scoreguard_client.commands._gradients import gradient_options
from scoreguard_client.commands._plan_file import PlanFile, read_plan
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.commands._rehearsal import say_rehearsal
from scoreguard_client.commands._runner import runner_options
from scoreguard_client.oracles.draws import AUTO
from scoreguard_client.target.images import LeftOut

INCOMPLETE = 1
"""Exit code if some records failed."""


def _read_draws(ctx: click.Context, option: click.Parameter, value: str) -> int:
    number: Any = click.IntRange(min=1)
    return AUTO if value == "auto" else int(number.convert(value, option, ctx))


@click.command(
    epilog="""\b
Example:
  scoreguard attack --attacks fgsm,ifgsm:eps=8/255 --defences none,jpeg,flip --images photos --out runs/first
  scoreguard report runs/first
  scoreguard attack --sweep jpeg.quality=10..90:10 --images photos --out runs/sweep
  scoreguard attack --runner ray --images photos --out runs/on-ray
  scoreguard attack --extend --attacks square --images photos --out runs/first
  scoreguard attack --plan plan.yaml --images photos --out runs/planned --dry-run
"""
)
@click.option(
    "--metric",
    default=CampaignOptions.metric,
    help="Deployed metrics, separated by commas; optional if only one is deployed. See `scoreguard catalogue`.",
)
@click.option(
    "--attacks",
    default=CampaignOptions.attacks,
    show_default=True,
    help="Attacks as name:key=value, separated by commas; all = every attack that needs no file.",
)
@click.option(
    "--chains",
    "--defences",
    "defences",
    default=CampaignOptions.defences,
    show_default=True,
    help="Chains to score behind, separated by commas; steps are joined by '+'; all = none and every defence.",
)
@click.option(
    "--sweep",
    multiple=True,
    metavar="NAME.PARAM=LOW..HIGH:STEP",
    help="Add a chain for each value of a defence's parameter: a range, or a list NAME.PARAM=V,V; repeatable.",
)
@click.option("--degraded", is_flag=True, help="Also score degraded copies of each image, for the order of scores.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|CSV|VIDEO",
    help="Clean images: a folder, a CSV list of them with people's scores, or with --frames a video.",
)
@click.option(
    "--mos-column",
    default=CampaignOptions.mos_column,
    metavar="NAME",
    help="Column of people's scores in a CSV list; default mos or dmos.",
)
@click.option(
    "--mos-lower-is-better/--mos-higher-is-better",
    default=CampaignOptions.mos_lower_is_better,
    help="Direction of people's scores; by default dmos is lower-is-better, and all others higher-is-better.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    help="Frames to take of each video, evenly spaced; without it videos are passed over.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="RUN",
    help="Run directory; an existing run is resumed.",
)
@click.option("--adaptive", is_flag=True, help="Also run adaptive attacks, through each chain.")
@gradient_options
@computing_options
@click.option("--limit", type=click.IntRange(min=1), help="Use at most this many images, in name order.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=CampaignOptions.seed,
    show_default=True,
    help="Seed for all randomness.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=CampaignOptions.draws,
    show_default=True,
    help="Scores of each image behind a random defence.",
)
@click.option(
    "--crafting-draws",
    default=str(CampaignOptions.crafting_draws),
    show_default=True,
    callback=_read_draws,
    metavar="N|auto",
    help="Draws per query of an attack through a random defence (EOT); auto = as many as each image's gradient needs.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=CampaignOptions.batch,
    show_default=True,
    help="Attack at most this many images at once.",
)
@click.option("--checkpoint", is_flag=True, help="Gradient checkpointing: less memory, slower.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=CampaignOptions.patience,
    show_default=True,
    help="Seconds to wait for an unreachable server.",
)
@runner_options
@click.option("--extend", is_flag=True, help="Add images, attacks, chains, metrics or draws to the run in --out.")
@click.option("--keep-attacked", is_flag=True, help="Keep every attacked image as PNG, for `scoreguard dataset`.")
@click.option("--keep-all", is_flag=True, help="Keep every attacked image, not only those shown in the report.")
@click.option(
    "--distance",
    default=CampaignOptions.distance,
    metavar="NAME[=WEIGHTS]",
    help="Perceptual distance to measure: st-lpips[=FILE], lpips=FOLDER or dists=FOLDER; default none.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=read_plan,
    metavar="FILE",
    help="YAML file with any of these options; the command line overrides it.",
)
@click.option("--dry-run", is_flag=True, help="Attack one image, and print what all would take; nothing is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@connection_options
def command(
    target: str,
    config: ConnectionConfig,
    plan: PlanFile | None,
    dry_run: bool,
    also: Sequence[str],
    as_json: bool,
    **rest: Any,
) -> int:
    """Attack a metric behind defences on a server, image by image, and keep every score.

    Rerun the same command to resume.
    """
    options, not_given = CampaignOptions(**rest), _from(ParameterSource.DEFAULT)
    if options.extend:
        # The defaults of a new campaign would add to the run what nobody asked for.
        options = replace(
            options,
            attacks="" if "attacks" in not_given else options.attacks,
            defences="" if "defences" in not_given else options.defences,
        )
    with ScoringClient(target, config) as client, ExitStack() as opened, meter() as shown:
        others = [opened.enter_context(ScoringClient(other, config)) for other in also]
        if plan is not None:
            plan.check(client.list_metrics(), options.metric, _from(ParameterSource.DEFAULT_MAP))
        if dry_run:
            say_rehearsal(_rehearsed(options, client, shown), as_json)
            return 0
        summary = launch(options, client, lambda runner: _begin(shown, runner, options), others)
    _say(summary, options.out, as_json)
    return INCOMPLETE if summary.failed or any(_is_file(entry) for entry in summary.left_out) else 0


def _from(source: ParameterSource) -> set[str]:
    """Return the parameters whose values are from there."""
    context = click.get_current_context()
    return {name for name in context.params if context.get_parameter_source(name) is source}


def _rehearsed(options: CampaignOptions, client: ScoringClient, shown: Meter) -> Rehearsal:
    prepared = prepare(options, client, base_of(options))
    announce(options.computing, prepared.computation.device)
    return rehearse(prepared, shown.advance)


def _begin(shown: Meter, runner: Runner, options: CampaignOptions) -> Any:
    announce(options.computing, runner.computation.device)
    shown.begin(runner.steps)
    return shown.advance


def _is_file(entry: LeftOut) -> bool:
    return entry.name not in CATALOGUE


def _say(summary: Summary, run: Path, as_json: bool) -> None:
    if as_json:
        click.echo(console.json_text(asdict(summary) | {"run": str(run)}))
        return
    for entry in summary.left_out:
        click.echo(f"left out: {entry.name}: {entry.error}", err=True)
    click.echo(f"{summary.records} records in {run}")
    if summary.failed:
        advice = f"; rerun to try the {summary.retryable} that may pass" if summary.retryable else ""
        click.echo(f"{summary.failed} failed, the first with: {summary.first_error}{advice}")
    click.echo(f"next: scoreguard report {run}")
