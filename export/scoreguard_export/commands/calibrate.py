"""`scoreguard-export calibrate`: the range of a metric's scores on a folder of images.

Imports are deferred until the command runs: `--help` needs none of them.
"""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example: scoreguard-export calibrate lite --images photos --out lite-range.json")
@click.argument("metric")
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of images.")
@click.option("--weights", multiple=True, help="Weights as NAME=FILE, or FILE; else fetched or shipped ones.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write, for scoreguard report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(metric: str, images: Path, weights: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Print the lowest and highest score of METRIC on a folder of images, and the quartiles.

    The file names the images by the digest of their list, so that a report can say what its scale is.
    """
    from scoreguard.images import image_files
    from scoreguard.support.whole_files import write_whole
    from scoreguard_export.archive.calibrate import calibrate
    from scoreguard_export.archive.requested import requested
    from scoreguard_export.metrics.catalogue import load_metric
    from scoreguard_export.progress import counted

    asked = requested(metric, "", weights, lambda line: click.echo(line, err=True))
    loaded = load_metric(metric, asked.weights)
    total = len(image_files(images)) if images.is_dir() else 0
    with counted("calibrate", total) as progress:
        found = calibrate(loaded, images, progress)
    if out is not None:
        write_whole(out, found.to_json().encode())
    if as_json:
        click.echo(found.to_json(), nl=False)
        return
    quartiles = f"{found.lower_quartile:.6g} {found.median:.6g} {found.upper_quartile:.6g}"
    click.echo(f"{found.metric} on {found.images} images: {found.low:.6g} to {found.high:.6g}, quartiles {quartiles}")
    click.echo(f"images sha256 {found.images_sha256}")
