"""Carry a large file in parts: split it where it is, join it where it is needed, and confirm that it is the same.

    python scripts/wheel_parts.py split onnxruntime_gpu-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl --out parts
    python scripts/wheel_parts.py join parts --out wheels

`split` writes numbered parts and a JSON file with the name, size and SHA-256 of the whole and of each part. `join`
says which parts are missing, refuses a part or a whole that differs, and writes the file under its own name. It needs
nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

MIB: Final = 1 << 20
PART_MIB: Final = 50
"""Usual size of a part."""
LIST: Final = "parts.json"
_CHUNK: Final = 4 * MIB


class PartsError(Exception):
    """The parts cannot be joined; the message says which file is wrong."""


class Options(argparse.Namespace):
    """The command line."""

    verb: str
    source: Path
    out: Path
    mib: int


def split(source: Path, out: Path, part_bytes: int) -> list[Path]:
    """Write the parts of a file and their list into a folder; returns the parts.

    Raises:
        OSError: a file cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    whole = hashlib.sha256()
    parts: list[Path] = []
    entries: list[dict[str, Any]] = []
    with source.open("rb") as stream:
        while data := stream.read(part_bytes):
            whole.update(data)
            path = out / f"{source.name}.part{len(parts):02}"
            path.write_bytes(data)
            parts.append(path)
            entries.append({"name": path.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    content = {"name": source.name, "size": source.stat().st_size, "sha256": whole.hexdigest(), "parts": entries}
    (out / LIST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return parts


def join(folder: Path, out: Path) -> Path:
    """Write the file that was split; returns its path.

    Raises:
        PartsError: a part is missing or changed, or the list is none.
        OSError: a file cannot be read or written.
    """
    content = _list(folder)
    missing = [part["name"] for part in content["parts"] if not (folder / part["name"]).is_file()]
    if missing:
        raise PartsError(f"{folder}: {', '.join(missing)} missing; bring {'it' if len(missing) == 1 else 'them'} too")
    out.mkdir(parents=True, exist_ok=True)
    path = out / str(content["name"])
    unfinished, whole = path.with_name(f".{path.name}.partial"), hashlib.sha256()
    try:
        with unfinished.open("wb") as stream:
            for part in content["parts"]:
                for data in _checked(folder, part):
                    whole.update(data)
                    stream.write(data)
        if whole.hexdigest() != content["sha256"]:
            raise PartsError(f"{folder}: the joined file has another digest than {LIST} says; split it again")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _list(folder: Path) -> dict[str, Any]:
    path = folder / LIST
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        names = [content["name"], *(part["name"] for part in content["parts"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PartsError(f"{path} is missing or no list of parts: run split first, and bring it too") from error
    if any(Path(name).name != name for name in names):
        raise PartsError(f"{path} names files outside of its folder")
    return content


def _checked(folder: Path, part: dict[str, Any]) -> Iterator[bytes]:
    """Yield the content of a part, and refuse it at its end if it differs."""
    digest = hashlib.sha256()
    with (folder / part["name"]).open("rb") as stream:
        while data := stream.read(_CHUNK):
            digest.update(data)
            yield data
    if digest.hexdigest() != part["sha256"]:
        raise PartsError(f"{folder / part['name']} was changed on the way; bring it again")


def main(argv: Sequence[str] | None = None) -> int:
    """Split or join; returns the exit code."""
    options = parse(argv)
    try:
        if options.verb == "split":
            for part in split(options.source, options.out, options.mib * MIB):
                print(f"{part}  {part.stat().st_size / MIB:.1f} MiB")
        else:
            print(join(options.source, options.out))
    except (PartsError, OSError) as error:
        print(f"wheel_parts: {error}", file=sys.stderr)
        return 2
    return 0


def parse(argv: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, help_text in (("split", "File to split."), ("join", "Folder of the parts.")):
        each = verbs.add_parser(verb)
        each.add_argument("source", type=Path, help=help_text)
        each.add_argument("--out", type=Path, required=True, help="Folder to write.")
        if verb == "split":
            each.add_argument("--mib", type=int, default=PART_MIB, help="Size of a part in MiB.")
    return parser.parse_args(argv, namespace=Options())


if __name__ == "__main__":
    sys.exit(main())
