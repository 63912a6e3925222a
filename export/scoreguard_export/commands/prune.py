"""`scoreguard-export prune`: remove the graphs of earlier builds from a model store.

Imports are deferred until the command runs: `--help` needs none of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command(epilog="Example: scoreguard-export prune --model-store model_store")
@click.option("--model-store", type=click.Path(path_type=Path), default=Path("model_store"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model_store: Path, as_json: bool) -> None:
    """Remove graphs that no archive of a model store uses.

    A running scoreguard-serve keeps what it serves. Restart plain TorchServe after a rebuild before you prune.
    """
    from scoreguard_export.archive.prune import prune

    pruned = prune(model_store)
    if as_json:
        click.echo(json.dumps(asdict(pruned)))
        return
    click.echo(f"removed {pruned.files} files ({pruned.size_bytes / 1e6:.1f} MB) and {pruned.records} build records")
