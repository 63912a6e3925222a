"""How often a large purifier used with several metrics is stored on disk and in the page cache.

    python benchmarks/shared_files.py --megabytes 600

Builds a model store of two metrics and one purifier that is mostly a table of numbers, serves it behind TorchServe
with two workers for each metric, scores through the purifier with all of them, and prints

- the time of the second build as a share of the first;
- the size of the store as a multiple of its distinct graphs;
- for each large graph, the files on disk that hold it, and its bytes in the page cache;
- the bytes of the archives that TorchServe unpacked.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from torch import Tensor, nn

from scoreguard.v1.blobs import FOLDER
from scoreguard_client import ScoringClient
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability
from scoreguard_export.defences.catalogue import CATALOGUE

METRICS = ("lite", "niqe")
WORKERS = 2
COLUMNS = 12_000
ROWS = [0]
"""Rows of the table; set by the command line."""


class Table(Defence):
    """Adds a tiny value, looked up in a large table by the image's brightness."""

    facts = DefenceFacts(
        name="table",
        title="Table",
        paper="none",
        year=2026,
        size_preserving=True,
        minimum_size=8,
        parity_tolerance=1e-5,
        differentiability=Differentiability.EXACT,
    )

    def __init__(self, **structural: float) -> None:
        super().__init__(**structural)
        numbers = torch.randn(ROWS[0], COLUMNS, generator=torch.Generator().manual_seed(0))
        self.table = nn.Parameter(numbers, requires_grad=False)

    def forward(self, image: Tensor, *inputs: Any, **named: Any) -> Tensor:
        """Purify a batch."""
        rows = (image.mean(dim=(1, 2, 3)) * (self.table.shape[0] - 1)).long().clamp(0, self.table.shape[0] - 1)
        chosen = self.table.index_select(0, rows).mean(dim=1).reshape(-1, 1, 1, 1)
        return (image + 1e-9 * chosen).clamp(0, 1)


def main() -> None:
    """Build the store, serve it and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=600)
    megabytes = parser.parse_args().megabytes
    ROWS[0] = megabytes * 1_000_000 // (4 * COLUMNS)
    CATALOGUE._places["table"] = replace(CATALOGUE._places["flip"], target=f"{__name__}:Table")
    CATALOGUE._loaded["table"] = Table
    with tempfile.TemporaryDirectory() as folder:
        store, temporary = Path(folder) / "store", Path(folder) / "tmp"
        temporary.mkdir()
        config = BuildConfig(metrics=METRICS, defences=("table",), model_store=store)
        first, second = timed(config), timed(config)
        print(f"second build: {second / first:.3f} of the first")
        print(f"store: {size_of(store) / size_of(store / FOLDER):.3f} times its distinct graphs")
        with served(store, temporary) as target, ScoringClient(target) as client:
            for metric in METRICS * 2 * WORKERS:
                client.score(photo(), metric=metric, defences="table", timeout=100)
            report(folder, megabytes * 1_000_000 // 2)


def photo() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a real photograph."""
    return np.asarray(skimage.data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


def timed(config: BuildConfig) -> float:
    """Return the seconds that a build takes."""
    start = time.monotonic()
    build(config)
    return time.monotonic() - start


def size_of(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def served(store: Path, temporary: Path) -> Iterator[str]:
    """Start the service on a free port; it writes only to `temporary`."""
    words = [str(Path(sys.executable).with_name("scoreguard-serve")), "--model-store", str(store), "--port", "0"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        [*words, "--workers", str(WORKERS)], stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            yield next(iter(server.stdout or ())).split(" on ")[1].split(" ")[0]
        finally:
            server.terminate()
            server.wait(60)


def report(folder: str, large: int) -> None:
    """Print what is on disk and in the page cache."""
    places: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for path in (path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()):
        if (status := path.stat()).st_size > large:
            places[status.st_dev, status.st_ino].append(path)
    for names in places.values():
        size = names[0].stat().st_size
        share = cached(names[0]) / size
        print(f"graph of {size:,} bytes: 1 place, {len(names)} names, {share:.2f} of it in the page cache")
    unpacked = sum(path.stat().st_size for path in Path(folder).glob("tmp/*/models/**/*") if path.is_file())
    print(f"unpacked by TorchServe: {unpacked:,} bytes")


def cached(path: Path) -> int:
    """Return how many bytes of a file are in the page cache (mincore)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pages = -(-len(content) // mmap.PAGESIZE)
        flags = (ctypes.c_ubyte * pages)()
        view = np.frombuffer(content, np.uint8)
        ctypes.CDLL(None).mincore(ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(len(content)), flags)
        del view
        return sum(flag & 1 for flag in flags) * mmap.PAGESIZE


if __name__ == "__main__":
    main()
