"""`scoreguard attack`: run an attack campaign against a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import yaml

from scoreguard.support import console
from scoreguard.v1.errors import SpecError
from scoreguard.v1.spec import parse_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.attacks.catalogue import CATALOGUE
from scoreguard_client.attacks.text_values import escaped
from scoreguard_client.campaign.launch import launch
from scoreguard_client.campaign.options import CampaignOptions
from scoreguard_client.campaign.runner import Runner, Summary
from scoreguard_client.commands._computing import announce, computing_options
from scoreguard_client.commands._connection import connection_options
from scoreguard_client.commands._gradients import gradient_options
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.oracles.draws import AUTO
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.images import LeftOut

INCOMPLETE = 1
"""Exit code if some records failed."""


def _read_draws(ctx: click.Context, option: click.Parameter, value: str) -> int:
    number: Any = click.IntRange(min=1)
    return AUTO if value == "auto" else int(number.convert(value, option, ctx))


def _read_plan(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    names = {key: name for key, name in _keys(ctx.command) if name not in ("plan", "help")}
    values = _load(path)
    if unknown := sorted(values.keys() - names.keys()):
        raise PlanError(f"{path}: unknown key {unknown[0]!r}; the keys are the long options, for example attacks")
    opposites = {_key(flag) for option in ctx.command.params for flag in option.secondary_opts}
    values = {
        key: not value if key in opposites and isinstance(value, bool) else value for key, value in values.items()
    }
    ctx.default_map = {names[key]: _as_text(value, attacks=key == "attacks") for key, value in values.items()}


def _keys(command: click.Command) -> Iterator[tuple[str, str]]:
    """Map every long option, as a plan writes it, to the name of the parameter that it sets."""
    for option in command.params:
        for flag in (*option.opts, *option.secondary_opts):
            yield _key(flag), option.name or ""


def _key(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def _load(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise PlanError(f"{path}: a plan is a mapping of options, for example 'attacks: [fgsm, ifgsm]'")
    return {str(key).replace("-", "_"): value for key, value in data.items()}


def _as_text(value: Any, *, attacks: bool = False) -> Any:
    """Convert the value of a plan's key to its option's form; in attack texts, separators inside values are escaped."""
    if isinstance(value, dict) and not _names(value, attacks=attacks):
        value = [{name: parameters} for name, parameters in value.items()]
    if value in ([], {}):
        raise PlanError("a plan lists no attack or no defence: leave the key out, or write none")
    if isinstance(value, dict):
        return _item(value, attacks=attacks)
    return ",".join(_item(item, attacks=attacks) for item in value) if isinstance(value, list) else value


def _names(item: dict[Any, Any], *, attacks: bool) -> list[str]:
    """Return the key of a mapping that names what the other keys are parameters of, if it has one."""
    return [key for key in (("name", "attack") if attacks else ("name",)) if key in item]


def _item(value: Any, *, attacks: bool) -> str:
    """Convert one attack or chain of a list: text, a mapping, or a list of steps."""
    if isinstance(value, list):
        return "+".join(_item(step, attacks=attacks) for step in value)
    if not isinstance(value, dict):
        return str(value)
    if names := _names(value, attacks=attacks):
        rest = {key: entry for key, entry in value.items() if key != names[0]}
        return _spec(str(value[names[0]]), rest, attacks=attacks)
    if len(value) != 1:
        raise PlanError(f"{value!r} is no attack and no defence: write {{ifgsm: {{eps: 8/255}}}}, or name: ifgsm")
    ((name, parameters),) = value.items()
    if not isinstance(parameters, dict | None):
        raise PlanError(f"the parameters of {name!r} must be a mapping, for example {{{name}: {{eps: 8/255}}}}")
    return _spec(str(name), parameters or {}, attacks=attacks)


def _spec(name: str, parameters: dict[Any, Any], *, attacks: bool) -> str:
    if attacks:
        return ":".join([name, *(f"{key}={escaped(str(value))}" for key, value in parameters.items())])
    parts = [f"{key}={value}" for key, value in parameters.items()]
    if wrong := next((part for part in parts if not _is_one_pair(name, part)), None):
        raise PlanError(f"{name}: {wrong!r} holds one of the marks : , + that separate attacks, steps and parameters")
    return ":".join([name, *parts])


def _is_one_pair(name: str, part: str) -> bool:
    """Whether a parameter stays one in the text of a chain: a colon as in 4:2:0 is harmless."""
    if not any(mark in part for mark in ":,+"):
        return True
    try:
        return [len(step.parameters) for step in parse_chain(f"{name}:{part}")] == [1]
    except SpecError:
        return False


@click.command(
    epilog="""\b
Example:
  scoreguard attack --attacks fgsm,ifgsm:eps=8/255 --defences none,jpeg,flip --images photos --out runs/first
  scoreguard report runs/first
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
@click.option("--images", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of clean images.")
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
    expose_value=False,
    callback=_read_plan,
    metavar="FILE",
    help="YAML file with any of these options; the command line overrides it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@connection_options
def command(target: str, config: ConnectionConfig, as_json: bool, **rest: Any) -> int:
    """Attack a metric behind defences on a server, image by image, and keep every score.

    Rerun the same command to resume.
    """
    options = CampaignOptions(**rest)
    with ScoringClient(target, config) as client, meter() as shown:
        summary = launch(options, client, lambda runner: _begin(shown, runner, options))
    _say(summary, options.out, as_json)
    return INCOMPLETE if summary.failed or any(_is_file(entry) for entry in summary.left_out) else 0


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
