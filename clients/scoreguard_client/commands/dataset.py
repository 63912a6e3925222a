"""`scoreguard dataset`: publish the attacked images of a campaign."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scoreguard.support import console
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.dataset import NOT_STATED, DatasetOptions, publish
from scoreguard_client.progress import Progress

_PATH = click.Path(path_type=Path)
_MB = 1_000_000


@click.command(
    epilog="""\b
Example:
  scoreguard attack --keep-attacked --defences none,jpeg --images photos --out runs/kept
  scoreguard dataset runs/kept --out published --licence cc-by-4.0 --source 'my photographs'
"""
)
@click.argument("run", type=_PATH, metavar="RUN")
@click.option("--out", type=_PATH, required=True, metavar="DIR", help="New folder.")
@click.option("--images", type=_PATH, metavar="DIR", help="Folder of the clean images, if they have moved.")
@click.option("--title", default=DatasetOptions.title, help="Name of the data set; by default after the run.")
@click.option(
    "--licence",
    "--license",
    "licence",
    default=DatasetOptions.licence,
    show_default=True,
    help="Licence of the clean images, as an identifier such as cc-by-4.0 or by its name.",
)
@click.option("--source", default=DatasetOptions.source, show_default=True, help="Where the clean images are from.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def command(as_json: bool, **rest: Any) -> int:
    """Write the attacked and clean images of RUN as a data set: PNG, one table (CSV, Parquet), datasheet, checksums.

    RUN must have been made with --keep-attacked.
    """
    options = DatasetOptions(**rest)
    with meter() as shown:
        published = publish(options, lambda steps: _begin(shown, steps))
    if as_json:
        click.echo(console.json_text(asdict(published) | {"out": str(options.out)}))
        return 0
    attacked, clean, size = published.attacked, published.clean, published.size / _MB
    click.echo(f"{attacked} attacked and {clean} clean images in {options.out}: {published.files} files, {size:.3g} MB")
    stated = {"--licence": options.licence, "--source": options.source}
    if missing := [name for name, value in stated.items() if value == NOT_STATED]:
        click.echo(f"note: README.md says 'not stated' for {' and '.join(missing)}: state them before you publish it")
    return 0


def _begin(shown: Meter, steps: int) -> Progress:
    shown.begin(steps)
    return shown.advance
