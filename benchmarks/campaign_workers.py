"""Records a second of a campaign by one process, by two, and by two tasks of Ray, as ratios to one.

    OMP_NUM_THREADS=1 python benchmarks/campaign_workers.py --model-store model_store --metric lite --images 24

Every process runs the model store itself (`local:STORE`), so no server is the limit, and computes the gradients of
IFGSM on the same archive. The kinds take turns, so that what else the machine does meets all of them. The speed is
that of the units which ended once every process was at work: starting takes seconds and says nothing about a long run.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL.Image

from scoreguard_client.campaign.ledger import FILE_NAME

KINDS = {
    "one process": ["--workers", "1"],
    "two processes": ["--workers", "2"],
    "two tasks of Ray": ["--runner", "ray", "--workers", "2"],
}
PROGRAM = "import sys; from scoreguard_client.cli import main; sys.exit(main())"


class Options(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    images: int
    side: int
    iterations: int
    rounds: int
    kinds: list[str]


def main() -> None:
    """Run the campaign by each kind in turn, and print a line for each."""
    options = parse()
    speeds: dict[str, list[float]] = {kind: [] for kind in options.kinds}
    with tempfile.TemporaryDirectory() as folder:
        photos = write_images(Path(folder) / "photos", options)
        for number in range(options.rounds):
            for kind, found in speeds.items():
                run, started = Path(folder) / f"{number}-{kind.replace(' ', '-')}", time.perf_counter()
                attack(options, photos, run, KINDS[kind])
                found.append(speed_of(run))
                seconds = time.perf_counter() - started
                print(f"{kind}: {found[-1]:.2f} records/s, {seconds:.0f} s with starting", flush=True)
    base = statistics.median(speeds[options.kinds[0]])
    for kind, found in speeds.items():
        middle = statistics.median(found)
        print(f"{kind}: median {middle:.2f} records/s, {middle / base:.2f} times {options.kinds[0]}")


def write_images(folder: Path, options: Options) -> Path:
    """Write images of smooth noise."""
    folder.mkdir()
    for number in range(options.images):
        coarse = np.random.default_rng(number).integers(30, 220, (8, 8, 3), dtype=np.uint8)
        image = PIL.Image.fromarray(coarse).resize((options.side, options.side), PIL.Image.Resampling.BICUBIC)
        image.save(folder / f"{number:03}.png")
    return folder


def attack(options: Options, photos: Path, run: Path, words: list[str]) -> None:
    """Run the campaign."""
    fixed = ["attack", "--target", f"local:{options.model_store}", "--metric", options.metric, "--images", str(photos)]
    fixed += ["--attacks", f"ifgsm:iterations={options.iterations}", "--defences", "none,jpeg:quality=50"]
    fixed += ["--surrogate", str(options.model_store), "--batch", "1", "--out", str(run)]
    subprocess.run([sys.executable, "-c", PROGRAM, *fixed, *words], check=True, capture_output=True)


def speed_of(run: Path) -> float:
    """Return the records a second once every process had ended its first unit."""
    with closing(sqlite3.connect(run / FILE_NAME)) as connection:
        units = "SELECT owner, ended FROM leases WHERE work NOT LIKE 'clean %' ORDER BY ended"
        ends: list[tuple[str, float]] = connection.execute(units).fetchall()
        records = int(connection.execute("SELECT count(*) FROM records WHERE error = ''").fetchone()[0])
    first: dict[str, float] = {}
    for owner, ended in ends:
        first.setdefault(owner, ended)
    begun = max(first.values())
    later = [ended for _, ended in ends if ended > begun]
    return len(later) * records / len(ends) / (later[-1] - begun)


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    return parser.parse_args(namespace=Options())


if __name__ == "__main__":
    main()
