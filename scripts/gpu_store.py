"""Build the model store that `gpu_check.py` measures, and pack it small enough to be carried to another machine.

    python scripts/gpu_store.py --out gpu-store --weights nima=nima_mobilenet_technical.pt
    python scripts/gpu_store.py --out gpu-store --metrics lite --defences flip,jpeg

It builds every metric and defence whose weights are shipped, fetched or given, prints what is missing, and writes the
store and `store.tar.xz`. The two graphs of a method share their weights, so that file is about a quarter of the store.
"""

from __future__ import annotations

import argparse
import lzma
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scoreguard.support.whole_files import whole_file
from scoreguard.v1.errors import ContractError
from scoreguard_export.archive.build import BuildConfig, build, count_steps
from scoreguard_export.archive.requested import EVERYTHING, requested
from scoreguard_export.errors import ExportError
from scoreguard_export.progress import counted

STORE: Final = "model_store"
PACKED: Final = "store.tar.xz"
MIB: Final = 1 << 20
_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 3, "dict_size": 1 << 27}]
"""A dictionary that reaches from a graph to the other one with the same weights."""
_RECORDS: Final = ".builds"
"""What only the next build needs."""


class Options(argparse.Namespace):
    """The command line."""

    out: Path
    metrics: str
    defences: str
    weights: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Build and pack; returns the exit code."""
    options = parse(argv)
    try:
        asked = requested(options.metrics, options.defences, tuple(options.weights), print)
        config = BuildConfig(
            metrics=asked.metrics,
            defences=asked.defences,
            model_store=options.out / STORE,
            weights=asked.weights,
            default_variants=True,
        )
        with counted("export", count_steps(config)) as progress:
            build(config, progress)
        print_size(config.model_store, pack(config.model_store, options.out / PACKED))
    except (ContractError, ExportError, OSError) as error:
        print(f"gpu_store: {error}", file=sys.stderr)
        return 2
    return 0


def pack(store: Path, packed: Path) -> Path:
    """Write the files of a model store as one compressed file, the largest first: equal weights lie side by side."""
    files = [path for path in store.rglob("*") if path.is_file() and _RECORDS not in path.relative_to(store).parts]
    with (
        whole_file(packed) as unfinished,
        lzma.open(unfinished, "wb", filters=_FILTERS) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for path in sorted(files, key=lambda path: (-path.stat().st_size, path.name)):
            archive.add(path, path.relative_to(store))
    return packed


def print_size(store: Path, packed: Path) -> None:
    """Say how large the store is, and the file to carry."""
    whole = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    print(f"{store}: {whole / MIB:.1f} MiB")
    print(f"{packed}: {packed.stat().st_size / MIB:.1f} MiB, for gpu_check.py --model-store")


def parse(argv: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="Folder to write.")
    parser.add_argument("--metrics", default=EVERYTHING, help="Names, separated by commas; all that have weights.")
    parser.add_argument("--defences", default=EVERYTHING, help="Names, separated by commas; all that have weights.")
    parser.add_argument("--weights", action="append", default=[], help="Weights as NAME=FILE; may be repeated.")
    return parser.parse_args(argv, namespace=Options())


if __name__ == "__main__":
    sys.exit(main())
