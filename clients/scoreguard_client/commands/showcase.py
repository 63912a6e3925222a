"""`scoreguard showcase`: one photo through every defence, clean and attacked, as a page of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from scoreguard.support import console
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.commands._connection import METRIC_HELP, connection_options
from scoreguard_client.commands._gradients import gradient_options
from scoreguard_client.commands._progress import Meter, meter
from scoreguard_client.progress import Progress
from scoreguard_client.showcase import captions
from scoreguard_client.showcase.cards import Order, Showcase, in_order
from scoreguard_client.showcase.launch import ShowcaseOptions, make_showcase
from scoreguard_client.showcase.page import page_of
from scoreguard_client.showcase.sheet import draw_sheet

INCOMPLETE = 1
"""Exit code if some defences failed."""
_PATH = click.Path(path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Example:
  scoreguard showcase photo.png --metric lite --attack ifgsm:eps=8/255 --out page.html --sheet sheet.png
"""
)
@click.argument("photo", type=_PATH, metavar="PHOTO")
@click.option("--metric", default=ShowcaseOptions.metric, help=METRIC_HELP)
@click.option("--attack", default=ShowcaseOptions.attack, show_default=True, help="Attack as name:key=value.")
@click.option(
    "--chains",
    "--defences",
    "defences",
    default=ShowcaseOptions.defences,
    help="Chains to show, separated by commas; steps of a chain are joined by '+'. By default every deployed defence.",
)
@click.option("--out", type=_FILE, required=True, metavar="PAGE.html", help="Page to write, as one file.")
@click.option("--sheet", type=_FILE, metavar="SHEET.png", help="Also write everything as one image.")
@click.option(
    "--sort",
    "order",
    type=click.Choice([order.value for order in Order]),
    default=Order.SERVER.value,
    show_default=True,
    help="Order of the defences: the server's, best quality first, or smallest gain first.",
)
@click.option(
    "--detail",
    default=ShowcaseOptions.detail,
    metavar="X,Y,SIDE",
    help="Part to show enlarged, in pixels; chosen automatically by default.",
)
@gradient_options
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=ShowcaseOptions.seed,
    show_default=True,
    help="Seed of the attack and of random defences.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
@connection_options
def command(
    target: str,
    config: ConnectionConfig,
    as_json: bool,
    out: Path,
    sheet: Path | None,
    order: str,
    **rest: Any,
) -> int:
    """Attack PHOTO once on the undefended metric and show it behind every defence, clean and attacked."""
    _check_place(out, ".html")
    if sheet is not None:
        _check_place(sheet, ".png")
    with ScoringClient(target, config) as client, meter() as shown:
        options = ShowcaseOptions(**rest)
        showcase = make_showcase(options, client, lambda steps: _begin(shown, steps))
    showcase = replace(showcase, cards=in_order(showcase.cards, Order(order)))
    _write(showcase, out, sheet)
    _say(showcase, out, sheet, as_json)
    return INCOMPLETE if showcase.failed else 0


def _begin(shown: Meter, steps: int) -> Progress:
    shown.begin(steps)
    return shown.advance


def _check_place(path: Path, suffix: str) -> None:
    """Check before the work, not after it."""
    if path.suffix.lower() != suffix:
        raise click.UsageError(f"{path} must end in {suffix}")
    if not path.parent.is_dir():
        raise click.UsageError(f"there is no folder {path.parent} to write {path.name} into")


def _write(showcase: Showcase, out: Path, sheet: Path | None) -> None:
    try:
        out.write_text(page_of(showcase), encoding="utf-8")
        if sheet is not None:
            draw_sheet(showcase, sheet)
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or out}: {error.strerror or error}") from error


def _say(showcase: Showcase, out: Path, sheet: Path | None, as_json: bool) -> None:
    if as_json:
        files = {"page": str(out), "sheet": None if sheet is None else str(sheet)}
        click.echo(console.json_text(showcase.to_json() | files))
        return
    console.output().print(_table(showcase))
    for card in showcase.failed:
        click.echo(f"{card.label}: {card.error}")
    click.echo(f"{out} has the images")


def _table(showcase: Showcase) -> Table:
    facts = showcase.facts
    table = Table("defence", title=f"{facts.photo}, {captions.attack_line(facts)}")
    for heading in ("clean", "attacked", "gain", "quality clean", "attacked", "time"):
        table.add_column(heading, justify="right")
    rows = [("none", showcase.undefended), *((card.label, card.pair) for card in showcase.cards if card.pair)]
    for label, pair in rows:
        scores = [captions.score(view, facts) for view in (pair.clean, pair.attacked)]
        qualities = [captions.quality(view) for view in (pair.clean, pair.attacked)]
        table.add_row(label, *scores, captions.gain(pair, facts), *qualities, captions.duration(pair))
    return table
