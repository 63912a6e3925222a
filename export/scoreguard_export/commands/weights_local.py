"""`scoreguard-export weights add`, `convert` and `verify`: the files of weights on this machine."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard.support.whole_files import write_whole
from scoreguard_export.archive.weights_added import Verdict, Verified, checked
from scoreguard_export.archive.weights_added import add as add_file
from scoreguard_export.archive.weights_added import verify as verify_file
from scoreguard_export.archive.weights_store import WeightsFile, weights_file, weights_files
from scoreguard_export.weights.conversion import convert as convert_file

FOLDER: Final = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Folder of weights; by default ${FOLDER_VARIABLE}, or a folder of the user's data.",
)
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(epilog="Example: scoreguard-export weights add linearity p1q2.pth")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@FOLDER
@JSON
def add(name: str, path: Path, folder: Path | None, as_json: bool) -> None:
    """Check that the file PATH holds the weights NAME, and copy it to where builds look.

    Tensors that are missing, too many or of another shape are named, the first five of each.
    """
    _added(name, path, folder, as_json=as_json)


@click.command(epilog="Example: scoreguard-export weights convert meta-iqa TID2013_KADID10K_IQA_Meta_resnet18.pt")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write, instead of the folder.")
@click.option("--own", multiple=True, metavar="PACKAGE", help="Package of the authors' classes in the file.")
@FOLDER
@JSON
def convert(name: str, path: Path, out: Path | None, own: tuple[str, ...], folder: Path | None, as_json: bool) -> None:
    """Take the tensors of the weights NAME out of PATH, a pickled module or a TorchScript archive.

    A process of its own reads the file and runs none of its code: its classes are replaced by ones that hold state, and
    any other global ends the command. The result is a safetensors file, checked as by `add`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        converted = Path(scratch) / f"{name}.safetensors"
        file = weights_file(name)
        count = convert_file(path, converted, own)
        click.echo(f"{count} tensors of {path}", err=True)
        if out is None:
            _added(name, converted, folder, as_json=as_json)
            return
        sha256 = checked(file, converted)
        write_whole(out, converted.read_bytes())
    answer = {"name": name, "path": str(out), "sha256": sha256, "option": f"--weights {name}={out}"}
    click.echo(json.dumps(answer, indent=2) if as_json else f"{out}\n--weights {name}={out}")


def _added(name: str, path: Path, folder: Path | None, *, as_json: bool) -> None:
    file = weights_file(name)
    added = add_file(file, path, folder)
    if as_json:
        click.echo(json.dumps({"name": name, **asdict(added), "licence": file.source.licence}, default=str, indent=2))
    else:
        click.echo(f"{added.path}\nsha256 {added.sha256}")
    for notice in _notices(file, official=added.official):
        click.echo(f"notice   {notice}", err=True)
    if not added.copied:
        click.echo("it was there already: nothing was copied", err=True)


def _notices(file: WeightsFile, *, official: bool) -> list[str]:
    notices = [file.source.commercial.notice]
    if file.source.sha256 and not official:
        notices.append(f"not the official file of {file.name}, whose sha256 is {file.source.sha256}")
    if file.source.shipped:
        notices.append(f"a build takes the shipped weights of {file.name} unless --weights names these")
    return [notice for notice in notices if notice]


@click.command(epilog="Example: scoreguard-export weights verify carn linearity")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@FOLDER
@JSON
@click.pass_context
def verify(context: click.Context, names: tuple[str, ...], folder: Path | None, as_json: bool) -> None:
    """Compare the files in the folder with the digests recorded of them, or with the catalogue's; all by default.

    The exit code is 1 if a file is broken or one of those named is not there.
    """
    files = [weights_file(name) for name in names] or list(weights_files().values())
    results = {file.name: verify_file(file, folder) for file in files}
    there = [result for result in results.values() if result is not None]
    if as_json:
        click.echo(json.dumps([asdict(result) for result in there], default=str, indent=2))
    else:
        for result in there:
            click.echo(_line(result))
    absent = [name for name in names if results[name] is None]
    for name in absent:
        click.echo(f"no file of {name} in the folder", err=True)
    if absent or any(result.verdict is Verdict.BROKEN for result in there):
        context.exit(1)


def _line(result: Verified) -> str:
    said = result.reason or f"{result.verdict}, sha256 {result.sha256}"
    return f"{result.path}: {said}"
