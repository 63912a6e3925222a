"""`scoreguard-export fit`: the statistics of pristine photographs that a metric compares with.

Imports are deferred until the command runs: `--help` needs none of them.
"""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(name="fit", epilog="Example: scoreguard-export fit niqe --photos photos --out weights")
def command() -> None:
    """Fit a shipped model of pristine photographs; it needs no distortions and no labels."""


@command.command(epilog="Example: scoreguard-export fit niqe --photos kodak24 --photos nips2017 --out weights")
@click.option("--photos", type=_FOLDER, multiple=True, help="Folder of pristine photographs; repeat for several.")
@click.option("--bundled/--no-bundled", default=True, help="Also use the photographs of scikit-image.")
@click.option("--exclude", multiple=True, help="Photograph to leave out, by name without extension.")
@click.option(
    "--sharpness",
    type=float,
    default=0.75,
    show_default=True,
    help="Lowest sharpness of a patch, relative to the sharpest.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write.")
def niqe(photos: tuple[Path, ...], bundled: bool, exclude: tuple[str, ...], sharpness: float, out: Path) -> None:
    """Fit the pristine model of `niqe`: niqe.safetensors, and niqe.json, the record of the fit."""
    from scoreguard_export.metrics.niqe_fit import NiqeFitConfig, fit_niqe
    from scoreguard_export.progress import counted
    from scoreguard_export.training.photos import bundled_photos, photos_in

    sources = (*(folder.name for folder in photos), *(("scikit-image",) if bundled else ()))
    config = NiqeFitConfig(sources=sources, excluded=exclude, sharpness=sharpness, out=out)
    every = photos_in(photos) | (bundled_photos() if bundled else {})
    used = {name: photo for name, photo in every.items() if name not in exclude}
    with counted("fit", len(used)) as progress:
        click.echo(str(fit_niqe(used, config, progress)))
