"""`scoreguard-export train`: make the weights that this project ships."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.lite import train_lite

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_PATH = click.Path(path_type=Path)
_DEFAULT_WORK = Path("runs/train-lite")


@click.group(name="train", epilog="Example: scoreguard-export train lite --photos photos --out lite.safetensors")
def command() -> None:
    """Train a shipped metric; the same command continues a run that was stopped."""


@command.command(
    epilog="Example: scoreguard-export train lite --photos photos --holdout kodim05 --out lite.safetensors"
)
@click.option("--photos", type=_FOLDER, multiple=True, help="Folder of pristine photographs; may be given again.")
@click.option("--bundled/--no-bundled", default=True, help="Use the photographs that scikit-image brings, too.")
@click.option("--exclude", multiple=True, help="Photograph never to touch, by name without extension.")
@click.option("--holdout", multiple=True, help="Photograph kept for validation, by name without extension.")
@click.option("--out", type=_PATH, default=_DEFAULT_WORK / "lite.safetensors", show_default=True, help="Weights file.")
@click.option("--work", type=_PATH, default=_DEFAULT_WORK, show_default=True, help="Folder of crops and checkpoint.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--epochs", type=int, default=24, show_default=True)
@click.option("--crops", type=int, default=20_000, show_default=True, help="Distorted crops to train on.")
@click.option("--validation-crops", type=int, default=1_000, show_default=True)
@click.option("--crop-size", type=int, default=112, show_default=True, help="Side of a crop, in pixels.")
@click.option("--batch", type=int, default=48, show_default=True)
@click.option("--learning-rate", type=float, default=3e-3, show_default=True)
@click.option("--ranking-weight", type=float, default=0.3, show_default=True)
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that make crops.")
@click.option("--threads", type=int, default=1, show_default=True, help="Torch threads.")
def lite(**options: object) -> None:
    """Train `lite` on photographs with synthetic distortions, supervised by full-reference measures."""
    console = Console(stderr=True)
    path = train_lite(TrainingConfig(**options), progress=console.print, console=console)  # type: ignore[arg-type]
    click.echo(str(path))
