"""`scoreguard uap`: train universal perturbations, and inspect them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image

from scoreguard.support import console
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.attacks.base import Direction, Mode
from scoreguard_client.attacks.text_values import escaped
from scoreguard_client.commands._computing import announce, computing_options
from scoreguard_client.commands._connection import connection_options
from scoreguard_client.commands._gradients import gradient_options
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.perturbations.artifact import UniversalPerturbation, load_perturbation
from scoreguard_client.perturbations.errors import PerturbationError
from scoreguard_client.perturbations.recipe import Kind
from scoreguard_client.universal.launch import TrainingOptions, train
from scoreguard_client.universal.training import Training

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.group(
    name="uap",
    invoke_without_command=True,
    epilog="""\b
Example:
  scoreguard uap train --kind optimized --images photos --out uaps/optimized-lite.safetensors
  scoreguard uap show uaps/optimized-lite.safetensors --png uaps/optimized-lite.png
  scoreguard attack --attacks optimized-uap:file=uaps/optimized-lite.safetensors --images others --out runs/uap
""",
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Train universal perturbations on a folder of images, and inspect them."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command(
    name="train",
    epilog="""\b
Example:
  scoreguard uap train --kind optimized --metric lite --surrogate model_store --images photos \\
      --out uaps/optimized-lite.safetensors
""",
)
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), required=True, help="Training method.")
@click.option("--metric", default=TrainingOptions.metric, show_default=True, help="Metric to train against.")
@click.option("--images", type=_PATH, required=True, metavar="DIR", help="Folder of training images.")
@click.option("--out", type=_PATH, required=True, metavar="FILE", help="File to write (.safetensors).")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=TrainingOptions.mode.value,
    show_default=True,
    help="Method as published, or as the public benchmark's code computes it.",
)
@click.option(
    "--direction",
    type=click.Choice([direction.value for direction in Direction]),
    default=TrainingOptions.direction.value,
    show_default=True,
    help="Direction of the quality.",
)
@click.option(
    "--chain", default=TrainingOptions.chain, show_default=True, help="Chain to train through; steps are joined by '+'."
)
@gradient_options
@computing_options
@click.option("--epochs", type=_COUNT, help="Passes over the images; default 5, for generative 1, for momentum 20.")
@click.option("--batch", type=_COUNT, default=TrainingOptions.batch, show_default=True, help="Images per step.")
@click.option(
    "--size", type=_COUNT, default=TrainingOptions.size, show_default=True, help="Height and width in pixels."
)
@click.option(
    "--bound", type=_POSITIVE, help="Largest absolute value; default 0.1, or 10/255 for generative and momentum."
)
@click.option(
    "--rate",
    type=_POSITIVE,
    help="Step or learning rate; default 0.001, for cumulative 0.01 (benchmark: 1), for momentum 1/255.",
)
@click.option(
    "--channels",
    type=_COUNT,
    default=TrainingOptions.channels,
    show_default=True,
    help="Channels of the generator's first layer.",
)
@click.option(
    "--draws",
    type=_COUNT,
    default=TrainingOptions.draws,
    show_default=True,
    help="Draws per query of a random chain (EOT).",
)
@click.option("--limit", type=_COUNT, help="Use at most this many images, in name order.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=TrainingOptions.seed,
    show_default=True,
    help="Seed for all randomness.",
)
@click.option(
    "--checkpoint-every",
    type=_COUNT,
    default=TrainingOptions.checkpoint_every,
    show_default=True,
    help="Steps between checkpoints.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@connection_options
def train_command(target: str, config: ConnectionConfig, as_json: bool, out: Path, **rest: Any) -> None:
    """Train a perturbation that moves a metric's score on every image.

    Rerun the same command to resume; it ends with the same file.
    """
    options = TrainingOptions(out=out, **_as_enums(rest))
    with ScoringClient(target, config) as client, meter() as shown:
        result = train(options, client, lambda training: _begin(shown, training, options))
    if as_json:
        click.echo(console.json_text({"file": str(out)} | result.facts()))
        return
    click.echo(f"{out}: sha256 {result.sha256}, largest value {result.largest:.4g}")
    click.echo(f"next: scoreguard attack --attacks {options.kind}-uap:file={escaped(str(out))} --images DIR --out RUN")


@command.command(
    name="show",
    epilog="""\b
Example:
  scoreguard uap show uaps/optimized-lite.safetensors --png uaps/optimized-lite.png
""",
)
@click.argument("file", type=_PATH)
@click.option(
    "--png", type=_PATH, metavar="FILE", help="Save it as an image: grey is 0, black and white are its largest value."
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON object.")
def show_command(file: Path, png: Path | None, as_json: bool) -> None:
    """Print the facts of a perturbation: ours, or one published as .npy or .png."""
    found = load_perturbation(file)
    if png is not None:
        _draw(found, png)
    if as_json:
        click.echo(console.json_text({"file": str(file)} | found.facts()))
        return
    facts = found.facts()
    for name, value in (facts | (facts.pop("recipe") or {"recipe": "unknown"})).items():
        click.echo(f"{name}: {value:.6g}" if isinstance(value, float) else f"{name}: {value}")


def _as_enums(values: dict[str, Any]) -> dict[str, Any]:
    kinds = {"kind": Kind(values["kind"]), "mode": Mode(values["mode"]), "direction": Direction(values["direction"])}
    return values | kinds


def _begin(shown: Meter, training: Training, options: TrainingOptions) -> Any:
    announce(options.computing, training.teacher.computation.device)
    for entry in training.left_out:
        click.echo(f"left out: {entry.name}: {entry.error}", err=True)
    shown.begin(training.recipe.steps)
    return shown.advance


def _draw(perturbation: UniversalPerturbation, path: Path) -> None:
    scaled = perturbation.values / (perturbation.largest or 1.0)
    levels = np.rint((scaled + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(levels).save(path, "PNG")
    except OSError as error:
        raise PerturbationError(f"cannot write {path}: {error.strerror or error}") from error
