"""`scoreguard-export build`: archives that the server serves.

Imports are deferred until the command runs: `--help` needs none of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from scoreguard.chain.devices import CPU, DEVICE_HELP, find_device
from scoreguard.support.console import output
from scoreguard_export.commands.announce import announce

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: scoreguard-export build --metrics lite,nima --defences all "
    "--weights nima=nima_mobilenet_technical.pt --model-store model_store"
)
@click.option("--metrics", default="lite", show_default=True, help="Names, separated by commas, or all.")
@click.option("--defences", default="all", show_default=True, help="Names, separated by commas, or all.")
@click.option("--model-store", type=_PATH, default=Path("model_store"), show_default=True, help="Folder to write.")
@click.option("--weights", multiple=True, help="Weights as NAME=FILE, or FILE if one metric is built.")
@click.option(
    "--default-variants", is_flag=True, help="Export only the default of each structural parameter: faster, smaller."
)
@click.option(
    "--self-contained", is_flag=True, help="Store the graphs inside each archive, which can then be moved alone."
)
@click.option(
    "--calibration", multiple=True, type=_PATH, help="File of `calibrate`, for the manifest; may be repeated."
)
@click.option("--device", default=CPU, show_default=True, help=DEVICE_HELP)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16: also measure half precision and declare it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    metrics: str,
    defences: str,
    model_store: Path,
    weights: tuple[str, ...],
    default_variants: bool,
    self_contained: bool,
    calibration: tuple[Path, ...],
    device: str,
    precision: str,
    as_json: bool,
) -> None:
    """Export metrics and defences to TorchScript and ONNX, verify both, and pack one archive per metric.

    Metrics and defences whose code, weights and libraries are unchanged since an earlier build of the store are reused.
    On another device than the CPU, every graph is also compared with its result on the CPU.
    """
    from scoreguard_export.archive.build import BuildConfig, build, count_steps
    from scoreguard_export.archive.digest_check import unofficial
    from scoreguard_export.archive.requested import requested
    from scoreguard_export.commands.device_tables import device_table, note_onnx
    from scoreguard_export.progress import counted

    chosen = find_device(device)
    announce(device, chosen)
    note_onnx(chosen)
    asked = requested(metrics, defences, weights, lambda line: click.echo(line, err=True))
    for notice in unofficial(asked.weights):
        click.echo(f"notice: {notice}", err=True)
    config = BuildConfig(
        metrics=asked.metrics,
        defences=asked.defences,
        model_store=model_store,
        weights=asked.weights,
        default_variants=default_variants,
        self_contained=self_contained,
        calibrations=calibration,
        device=chosen,
        precision=precision,
    )
    with counted("export", count_steps(config)) as progress:
        built = build(config, progress)
    if as_json:
        click.echo(json.dumps([asdict(archive) for archive in built.archives], indent=2, default=str))
        return
    for archive in built.archives:
        click.echo(f"{archive.path}  sha256 {archive.sha256}")
    if built.on_device:
        output().print(device_table(built.on_device))
    click.echo(f"exported: {len(built.exported)}, unchanged since an earlier build: {len(built.kept)}", err=True)
