"""`scoreguard-export build`: archives that the server serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from scoreguard_export.build import BuildConfig, build, count_steps
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.defences.catalogue import buildable
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS
from scoreguard_export.official import unofficial
from scoreguard_export.progress import counted
from scoreguard_export.weights_store import fetched

_PATH = click.Path(path_type=Path)
EVERYTHING = "all"


@click.command(
    epilog="Example: scoreguard-export build --metrics lite,nima --defences all "
    "--weights nima=nima_mobilenet_technical.pt --model-store model_store"
)
@click.option("--metrics", default="lite", show_default=True, help="Names, separated by commas, or all.")
@click.option("--defences", default=EVERYTHING, show_default=True, help="Names, separated by commas, or all.")
@click.option("--model-store", type=_PATH, default=Path("model_store"), show_default=True, help="Folder to write.")
@click.option("--weights", multiple=True, help="Weights as NAME=FILE, or FILE where one metric is built.")
@click.option(
    "--default-variants", is_flag=True, help="Only the default of each structural parameter: faster, smaller."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    metrics: str,
    defences: str,
    model_store: Path,
    weights: tuple[str, ...],
    default_variants: bool,
    as_json: bool,
) -> None:
    """Export metrics and defences to TorchScript and ONNX, prove both, and pack one archive per metric."""
    names = _names(metrics, METRICS)
    files = {**_fetched(names, defences), **dict(_weights(text, names) for text in weights)}
    for notice in unofficial(files):
        click.echo(f"notice: {notice}", err=True)
    config = BuildConfig(
        metrics=names,
        defences=_defences(defences, files),
        model_store=model_store,
        weights=files,
        default_variants=default_variants,
    )
    with counted("export", count_steps(config)) as done:
        archives = build(config, done)
    if as_json:
        click.echo(json.dumps([asdict(archive) for archive in archives], indent=2, default=str))
        return
    for archive in archives:
        click.echo(f"{archive.path}  sha256 {archive.sha256}")


def _names(text: str, catalogue: Mapping[str, object]) -> tuple[str, ...]:
    if text == EVERYTHING:
        return tuple(catalogue)
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _fetched(metrics: tuple[str, ...], defences: str) -> dict[str, Path]:
    """What `weights get` has fetched of what is to be built."""
    needed = [name for name in metrics if name in METRICS]
    needed += [
        name for defence in _names(defences, DEFENCES) if defence in DEFENCES for name in DEFENCES[defence].sources
    ]
    return fetched(dict.fromkeys(needed))


def _defences(text: str, files: Mapping[str, Path]) -> tuple[str, ...]:
    """The defences named; `all` leaves out those whose weights are neither shipped nor given, and says so."""
    if text != EVERYTHING:
        return _names(text, DEFENCES)
    found = buildable(files)
    if missing := [name for name in DEFENCES if name not in found]:
        click.echo(f"left out for want of weights (scoreguard-export weights list): {', '.join(missing)}", err=True)
    return found


def _weights(text: str, metrics: tuple[str, ...]) -> tuple[str, Path]:
    name, equals, path = text.rpartition("=")
    if not equals and len(metrics) != 1:
        raise click.BadParameter(f"write NAME={text}: several metrics are built", param_hint="--weights")
    return (name or metrics[0]), Path(path)
