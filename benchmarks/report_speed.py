"""How long the report takes to compute a table: every column of every row, with its interval.

    python benchmarks/report_speed.py --rows 462 --images 1000

The study of 2310.06958 and its successor have tables of this size: 14 attacks on 33 chains, 1000 images each. Records
are synthetic; one in five chains has a random defence if `--draws` is above 1. Prints seconds of the processor and of
the clock for the table, and the milliseconds of each column for one row. Seeded; one process, one thread if
OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.columns import COLUMNS
from scoreguard_client.report.numbers import Numbers, TableOptions
from scoreguard_client.report.table import robustness_table

RANGE = ScoreRange(low=0, high=100)
CHAINS = 33
"""Chains of the table; rows beyond them are further attacks."""


def records_of(row: int, images: int, draws: int) -> Iterator[Record]:
    """Make the records of one row."""
    rng = np.random.default_rng([20240501, row])
    clean = 100 * rng.beta(5, 3, images)
    defended, gains = clean + rng.normal(-2, 3, images), rng.exponential(8, images)
    attack, chain = divmod(row, CHAINS)
    count = draws if chain % 5 == 0 else 1
    for image in range(images):
        for draw in range(count):
            noise = rng.normal(0, 1, 2) if count > 1 else np.zeros(2)
            served = float(defended[image] + noise[0])
            attacked = float(defended[image] + gains[image] + noise[1])
            ssim = float(rng.uniform(0.8, 1))
            yield Record(
                image=f"image{image:04}",
                attack=f"attack{attack}",
                attacked_through="none",
                chain=f"chain{chain}",
                draw=draw,
                image_sha256="",
                metric="synthetic",
                adaptive=False,
                seed=0,
                error="",
                clean_score=float(clean[image]),
                clean_defended=served,
                attacked_score=float(clean[image] + 2 * gains[image]),
                attacked_defended=attacked,
                attacked_score_8bit=float(clean[image] + 2 * gains[image]),
                attacked_defended_8bit=attacked - 0.1,
                psnr=30 + 10 * ssim,
                ssim=ssim,
                purified_psnr=28 + 8 * ssim,
                purified_ssim=0.9 * ssim,
                queries=10,
            )


def main() -> None:
    """Time the table, then each column on its first row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=14 * CHAINS, help="Rows of the table.")
    parser.add_argument("--images", type=int, default=1000, help="Images of each row.")
    parser.add_argument("--draws", type=int, default=1, help="Draws of each image behind a random defence.")
    options = parser.parse_args()

    processor = clock = 0.0
    count = 0
    for row in range(options.rows):  # row by row, so that the records of one row are in memory
        records = list(records_of(row, options.images, options.draws))
        count += len(records)
        begun = time.process_time(), time.perf_counter()
        robustness_table(records, RANGE, TableOptions())
        processor, clock = processor + time.process_time() - begun[0], clock + time.perf_counter() - begun[1]
    print(f"{options.rows} rows of {options.images} images, {count:,} records, {len(COLUMNS)} columns:")
    print(f"{processor:.1f} s of the processor, {clock:.1f} s of the clock")

    numbers = Numbers(list(records_of(0, options.images, options.draws)), RANGE, TableOptions())
    for column in COLUMNS:
        begun_at = time.process_time()
        column.compute(numbers)
        print(f"  {column.key:20} {1000 * (time.process_time() - begun_at):7.1f} ms")


if __name__ == "__main__":
    main()
