"""`scoreguard merge`: put the runs of one campaign together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from scoreguard.support import console
from scoreguard_client.campaign.merging import merge


@click.command(
    epilog="""\b
Example:
  scoreguard merge runs/host1 runs/host2 --out runs/whole
  scoreguard report runs/whole
"""
)
@click.argument("runs", type=click.Path(path_type=Path), metavar="RUN...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="RUN", help="New run directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def command(runs: tuple[Path, ...], out: Path, as_json: bool) -> int:
    """Write a run with the records and images of others: shards, extensions, or runs on other images.

    Every record is there once. Of two with other numbers the first run's stays, and the number of such is printed.
    """
    merged = merge(runs, out)
    if as_json:
        click.echo(console.json_text(asdict(merged) | {"run": str(out)}))
        return 0
    click.echo(f"{merged.records} records in {out}")
    if merged.failed:
        click.echo(f"{merged.failed} failed in every run that has them")
    if merged.missing:
        click.echo(f"{merged.missing} of the merged plan are in no run: scoreguard attack --extend computes them")
    if merged.conflicts:
        click.echo(f"note: {merged.conflicts} records have other numbers in a later run; the first run's stayed")
    click.echo(f"next: scoreguard report {out}")
    return 0
