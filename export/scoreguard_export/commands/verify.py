"""`scoreguard-export verify`: check archives again.

Imports are deferred until the command runs: `--help` needs none of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from scoreguard.chain.devices import CPU, DEVICE_HELP, find_device
from scoreguard.support.console import output
from scoreguard.v1.archive import archives_in
from scoreguard_export.commands.announce import announce


@click.command(epilog="Example: scoreguard-export verify --model-store model_store --device auto")
@click.option("--model-store", type=click.Path(path_type=Path), default=Path("model_store"), show_default=True)
@click.option("--same-code", is_flag=True, help="Refuse archives exported by other code than this version's.")
@click.option("--device", default=CPU, show_default=True, help=DEVICE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model_store: Path, same_code: bool, device: str, as_json: bool) -> None:
    """Verify digests, parity and golden vectors of every archive in a model store.

    On another device than the CPU, every graph is also compared with its result on the CPU.
    """
    from scoreguard_export.archive.model_store import edited_server_files
    from scoreguard_export.archive.verify import verify_store
    from scoreguard_export.commands.device_tables import device_table, half_table, note_onnx
    from scoreguard_export.errors import ArchiveError
    from scoreguard_export.progress import counted

    chosen = find_device(device)
    announce(device, chosen)
    note_onnx(chosen)
    manifests = [archive.manifest for archive in archives_in(model_store)]
    total = sum(1 + sum(len(defence.variants) for defence in manifest.defences) for manifest in manifests)
    with counted("verify", total) as progress:
        results = verify_store(model_store, progress, chosen)
    if same_code and (foreign := {result.path: result.not_compared for result in results if result.not_compared}):
        path, parts = next(iter(foreign.items()))
        raise ArchiveError(f"{path}: exported by other code than this version's: {', '.join(parts)}")
    if edited := edited_server_files(model_store):
        click.echo(
            f"notice: {model_store}: not what this version writes: {', '.join(edited)}; read it before plain "
            "torchserve runs by it",
            err=True,
        )
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=2, default=str))
        return
    for result in results:
        click.echo(
            f"{result.path}: {result.files} digests, {result.graphs} modules, golden vectors: right "
            f"(largest difference {result.largest_error:.2g})"
        )
        if result.on_device:
            output().print(device_table(result.on_device))
        if result.half:
            output().print(half_table(result.half))
        if result.not_compared:
            names = ", ".join(result.not_compared)
            click.echo(
                f"notice: {result.path}: exported by other code than this version's: {names}; facts were not compared",
                err=True,
            )
