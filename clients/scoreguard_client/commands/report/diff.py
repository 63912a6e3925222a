"""`scoreguard report diff A B`: what moved between two reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scoreguard.support import console
from scoreguard_client.report.differences import Change, Kind, compare, read_any
from scoreguard_client.report.tables.model import Cell


@click.command(
    epilog="""\b
Examples:
  scoreguard report diff runs/before runs/after
  scoreguard report diff main/tables.json runs/after --exit-code
"""
)
@click.argument("first", type=click.Path(exists=True, path_type=Path), metavar="A")
@click.argument("second", type=click.Path(exists=True, path_type=Path), metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as one JSON object.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if a number moved beyond its interval.")
def command(first: Path, second: Path, as_json: bool, exit_code: bool) -> int:
    """Compare two run directories, or the tables.json of their reports: numbers that moved beyond their intervals."""
    with Console(stderr=True).status("computing both"):
        found = compare(read_any(first), read_any(second))
    moved, differ = found.of(Kind.MOVED), found.of(Kind.DIFFERS)
    if as_json:
        click.echo(console.json_text({"first": str(first), "second": str(second), **found.to_json()}))
        return int(exit_code and bool(moved))
    if found.plans:
        click.echo(f"the plans differ: {found.plans}")
    _print("moved beyond their intervals", moved)
    _print("differ, no interval", differ)
    only = f"; lines only in A: {found.only_first}, only in B: {found.only_second}"
    click.echo(
        f"{found.compared} numbers compared: {len(moved)} moved beyond their intervals, {len(differ)} differ without "
        f"one{only if found.only_first or found.only_second else ''}"
    )
    return int(exit_code and bool(moved))


def _print(title: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    table = Table(title=title, header_style="bold")
    table.add_column("table", overflow="fold")
    table.add_column("line", overflow="fold")
    table.add_column("number", overflow="fold")
    table.add_column("A", justify="right", no_wrap=True)
    table.add_column("B", justify="right", no_wrap=True)
    for change in changes:
        title, *line, heading = change.where
        cells = (_cell(cell, change.digits) for cell in (change.before, change.after))
        table.add_row(*map(escape, (title, " ".join(line), heading, *cells)))
    console.output().print(table)


def _cell(cell: Cell, digits: int) -> str:
    return f"{cell.value(digits)} {cell.interval(digits)}".strip()
