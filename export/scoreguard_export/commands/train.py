"""`scoreguard-export train`: make the weights that this project ships."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from scoreguard.chain.devices import CPU, DEVICE_HELP, find_device
from scoreguard.support.console import output
from scoreguard_export.commands.announce import announce
from scoreguard_export.training.checkpoint import torch_threads
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.denoising import LEVELS, DenoisingRow, compare
from scoreguard_export.training.diffusion import DiffusionConfig, train_diffusion
from scoreguard_export.training.fcn_filter import FilterConfig, train_filter
from scoreguard_export.training.lite import train_lite
from scoreguard_export.training.photos import photos_in
from scoreguard_export.training.placement import computing

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_PATH = click.Path(path_type=Path)
_DEFAULT_WORK = Path("runs/train-lite")
_FILTER_WORK = Path("runs/train-fcn-filter")
_DIFFUSION_WORK = Path("runs/train-diffusion")


_Command = Callable[..., None]
_DEVICE: Callable[[_Command], _Command] = click.option("--device", default=CPU, show_default=True, help=DEVICE_HELP)


def _placed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the device in place of its name."""
    name = options["device"]
    device = find_device(name)
    announce(name, device)
    return {**options, "device": device}


@click.group(name="train", epilog="Example: scoreguard-export train lite --photos photos --out lite.safetensors")
def command() -> None:
    """Train a shipped metric or defence; rerun the same command to resume."""


def _where(
    config: type[FilterConfig | DiffusionConfig], name: str, work: Path
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options for where a run keeps its files."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        options: list[Any] = [
            click.option("--out", type=_PATH, default=work / name, show_default=True, help="Weights file."),
            click.option("--work", type=_PATH, default=work, show_default=True, help="Folder of the checkpoint."),
            click.option("--seed", type=int, default=config.seed, show_default=True),
            click.option("--threads", type=int, default=config.threads, show_default=True, help="Torch threads."),
            _DEVICE,
        ]
        for option in reversed(options):
            function = option(function)
        return function

    return add


@command.command(
    epilog="Example: scoreguard-export train lite --photos photos --holdout kodim05 --out lite.safetensors"
)
@click.option("--photos", type=_FOLDER, multiple=True, help="Folder of pristine photographs; repeat for several.")
@click.option(
    "--bundled/--no-bundled", default=TrainingConfig.bundled, help="Also use the photographs of scikit-image."
)
@click.option("--exclude", multiple=True, help="Photograph to leave out, by name without extension.")
@click.option("--holdout", multiple=True, help="Photograph held out for validation, by name without extension.")
@click.option(
    "--out",
    type=_PATH,
    default=_DEFAULT_WORK / "lite.safetensors",
    show_default=True,
    help="Weights file.",
)
@click.option("--work", type=_PATH, default=_DEFAULT_WORK, show_default=True, help="Folder of crops and checkpoint.")
@click.option("--seed", type=int, default=TrainingConfig.seed, show_default=True)
@click.option("--epochs", type=int, default=TrainingConfig.epochs, show_default=True)
@click.option("--crops", type=int, default=TrainingConfig.crops, show_default=True, help="Distorted crops to train on.")
@click.option("--validation-crops", type=int, default=TrainingConfig.validation_crops, show_default=True)
@click.option(
    "--crop-size", type=int, default=TrainingConfig.crop_size, show_default=True, help="Side of a crop, in pixels."
)
@click.option("--batch", type=int, default=TrainingConfig.batch, show_default=True)
@click.option("--learning-rate", type=float, default=TrainingConfig.learning_rate, show_default=True)
@click.option("--ranking-weight", type=float, default=TrainingConfig.ranking_weight, show_default=True)
@click.option(
    "--workers", type=int, default=TrainingConfig.workers, show_default=True, help="Processes that make crops."
)
@click.option("--threads", type=int, default=TrainingConfig.threads, show_default=True, help="Torch threads.")
@_DEVICE
def lite(**options: Any) -> None:
    """Train `lite` on photographs with synthetic distortions, supervised by full-reference measures."""
    console = Console(stderr=True)
    path = train_lite(TrainingConfig(**_placed(options)), progress=console.print, console=console)
    click.echo(str(path))


@command.command(
    name="fcn-filter",
    epilog="Example: scoreguard-export train fcn-filter --attacked runs/advcf --out fcn_filter.safetensors",
)
@click.option(
    "--attacked", type=_FOLDER, required=True, help="Folder of attacked images, or run directory of a campaign."
)
@click.option("--clean", type=_FOLDER, help="Folder of the originals under the same names; not needed for a campaign.")
@click.option("--attack", default=FilterConfig.attack, show_default=True, help="Attack of the campaign to train on.")
@_where(FilterConfig, "fcn_filter.safetensors", _FILTER_WORK)
@click.option("--epochs", type=int, default=FilterConfig.epochs, show_default=True)
@click.option("--batch", type=int, default=FilterConfig.batch, show_default=True)
@click.option("--learning-rate", type=float, default=FilterConfig.learning_rate, show_default=True)
@click.option("--validation-share", type=float, default=FilterConfig.validation_share, show_default=True)
def fcn_filter(**options: Any) -> None:
    """Train the FCN filter on attacked images, by the study's recipe.

    A campaign is a folder that `scoreguard attack --attacks advcf --keep-all` wrote.
    """
    console = Console(stderr=True)
    click.echo(str(train_filter(FilterConfig(**_placed(options)), progress=console.print)))


@command.command(
    epilog="Example: scoreguard-export train diffusion --photos photos --holdout kodim01 --out denoiser.safetensors"
)
@click.option("--photos", type=_FOLDER, multiple=True, help="Folder of photographs; repeat for several.")
@click.option(
    "--bundled/--no-bundled", default=DiffusionConfig.bundled, help="Also use the photographs of scikit-image."
)
@click.option("--exclude", multiple=True, help="Photograph to leave out, by name without extension.")
@click.option("--holdout", multiple=True, help="Photograph held out for measuring, by name without extension.")
@_where(DiffusionConfig, "denoiser.safetensors", _DIFFUSION_WORK)
@click.option("--steps", type=int, default=DiffusionConfig.steps, show_default=True)
@click.option(
    "--stop-at",
    type=int,
    default=DiffusionConfig.stop_at,
    help="Stop at this step, before the end of the schedule; 0 = at its end.",
)
@click.option(
    "--wind-down",
    type=int,
    default=DiffusionConfig.wind_down,
    help="Last steps over which the learning rate falls to zero.",
)
@click.option("--batch", type=int, default=DiffusionConfig.batch, show_default=True)
@click.option("--crop", type=int, default=DiffusionConfig.crop, show_default=True, help="Side of a crop, in pixels.")
@click.option("--learning-rate", type=float, default=DiffusionConfig.learning_rate, show_default=True)
@click.option(
    "--averaging",
    type=float,
    default=DiffusionConfig.averaging,
    show_default=True,
    help="Decay of the average of the weights.",
)
@click.option(
    "--bfloat16/--float32",
    default=DiffusionConfig.bfloat16,
    help="Run convolutions in bfloat16, which is fast on recent processors only.",
)
@click.option(
    "--save-every", type=int, default=DiffusionConfig.save_every, show_default=True, help="Steps between checkpoints."
)
def diffusion(**options: Any) -> None:
    """Train the denoiser of the diffusion purifier on photographs."""
    console = Console(stderr=True)
    click.echo(str(train_diffusion(DiffusionConfig(**_placed(options)), progress=console.print)))


@command.command(
    name="denoising",
    epilog="Example: scoreguard-export train denoising --photos kodak24 --only kodim01 --peers weights",
)
@click.option("--weights", type=_PATH, help="Weights of the denoiser; the shipped ones by default.")
@click.option("--photos", type=_FOLDER, required=True, help="Folder of photographs.")
@click.option("--only", multiple=True, help="Photograph to measure on, by name without extension; all by default.")
@click.option("--peers", type=_FOLDER, help="Folder with the weights of BF-CNN and FFDNet.")
@click.option("--threads", type=int, default=1, show_default=True, help="Torch threads.")
@click.option("--device", default=CPU, show_default=True, help=DEVICE_HELP)
def denoising(
    weights: Path | None, photos: Path, only: tuple[str, ...], peers: Path | None, threads: int, device: str
) -> None:
    """Compare the PSNR of the denoiser with public ones, at noise of 15, 25 and 50 levels of 255."""
    found = photos_in((photos,))
    if unknown := sorted(set(only) - set(found)):
        raise click.BadParameter(f"no photograph {', '.join(unknown)} in {photos}", param_hint="--only")
    chosen = {name: photo for name, photo in found.items() if name in only or not only}
    placed = _placed({"device": device})["device"]
    with torch_threads(threads), computing(placed):
        rows = list(compare(weights, peers, chosen, device=placed))
    output().print(_psnr_table(rows, len(chosen)))


def _psnr_table(rows: list[DenoisingRow], count: int) -> Table:
    table = Table("denoiser", *(f"sigma {level:g}" for level in LEVELS), title=f"PSNR in dB, mean of {count} images")
    values = {(row.denoiser, row.level): row.psnr for row in rows}
    for name in dict.fromkeys(row.denoiser for row in rows):
        table.add_row(name, *(f"{values[name, level]:.2f}" for level in LEVELS))
    return table
