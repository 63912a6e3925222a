"""Speed and memory of a run's ledger: records written, read, and reported.

    python benchmarks/ledger_speed.py --records 100000

The records are made up, with the fields of real ones: 10 attacks and 10 chains before one metric, so that 100,000
records are 1,000 images; a transaction holds a unit of 8 images. Each step runs in a separate process, whose peak of
memory is the kernel's (Linux). `report` prints the table with its intervals (`--resamples`), which take most of its
time.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scoreguard_client.campaign import ImageRef, Ledger, Plan, PlannedMetric, Record
from scoreguard_client.report import TableOptions, read_report

STEPS = ("write", "read", "done", "report")
ATTACKS = tuple(f"fgsm:direction=up:eps={number / 255}" for number in range(1, 11))
CHAINS = ("none", *(f"jpeg:quality={quality}:subsampling=4:2:0" for quality in range(10, 100, 10)))
BATCH = 8


class Options(argparse.Namespace):
    """What to measure."""

    records: int
    resamples: int
    step: str
    run: Path


def main() -> None:
    """Measure each step in a process of its own, and print a line for each."""
    options = parse()
    if options.step:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            words = ["--records", str(options.records), "--resamples", str(options.resamples), "--run", f"{folder}/run"]
            subprocess.run([sys.executable, __file__, *words, "--step", step], check=True)
        size = sum(path.stat().st_size for path in Path(folder, "run").glob("campaign.sqlite*"))
        print(f"on disk {size / 1e6:.0f} MB, {size / options.records:.0f} bytes a record")


def measure(options: Options) -> None:
    """Do one step."""
    plan, started = plan_of(options.records), time.perf_counter()
    if options.step == "write":
        with Ledger.create(options.run, plan, facts_of(options.records)) as ledger:
            for records in units(plan):
                ledger.add_unit(records, ())
    elif options.step == "report":
        read_report(options.run, TableOptions(resamples=options.resamples))
    else:
        with Ledger.open(options.run) as ledger:
            found = ledger.records() if options.step == "read" else ledger.done()
            if len(found) != options.records:
                sys.exit(f"{len(found)} of {options.records} records are there")
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{options.step}: {seconds:.1f} s, peak {peak / 1024:.0f} MiB", flush=True)


def plan_of(records: int) -> Plan:
    """Return a plan of about that many records."""
    metric = PlannedMetric(
        name="lite",
        archive_sha256="ab" * 32,
        range_low=0,
        range_high=100,
        higher_is_better=True,
        chains=CHAINS,
        gradients="live",
    )
    count = records // (len(ATTACKS) * len(CHAINS))
    return Plan(
        metrics=(metric,),
        attacks=ATTACKS,
        adaptive=False,
        images=tuple(ImageRef(name=f"{n:06}.png", sha256=f"{n:064x}", height=512, width=512) for n in range(count)),
        seed=0,
        draws=1,
        crafting_draws=1,
        batch=BATCH,
    )


def facts_of(records: int) -> dict[str, object]:
    """Return what a report needs beside the plan."""
    metric: dict[str, object] = {"title": "lite", "calibration": None, "transfer": False, "labels": {}, "rounding": []}
    of_metrics = {"lite": metric | {"expected": records}}
    return {"metrics": of_metrics, "server_version": "0", "computation": {}, "shown": []}


def units(plan: Plan) -> Iterator[list[Record]]:
    """Yield the records of one unit after another, with random numbers."""
    drawn = random.Random(0)
    for unit in plan.units():
        digests = {image.name: image.sha256 for image in unit.images}
        yield [
            Record(
                **key._asdict(),
                image_sha256=digests[key.image],
                adaptive=False,
                seed=drawn.getrandbits(53),
                clean_score=drawn.gauss(50, 10),
                clean_defended=drawn.gauss(50, 10),
                attacked_score=drawn.gauss(60, 10),
                attacked_defended=drawn.gauss(55, 10),
                attacked_score_8bit=drawn.gauss(60, 10),
                attacked_defended_8bit=drawn.gauss(55, 10),
                crafting_score=drawn.gauss(60, 10),
                psnr=drawn.gauss(32, 1),
                ssim=drawn.uniform(0.8, 0.9),
                l_inf=0.04,
                l_inf_8bit=0.04,
                changed_pixels=262144,
                purified_psnr=drawn.gauss(28, 1),
                purified_ssim=drawn.uniform(0.7, 0.9),
                queries=2,
                crafting_seconds=drawn.random(),
                scoring_seconds=drawn.random(),
                metric_sha256="cd" * 32,
                steps_sha256="ef" * 32,
                engine="onnxruntime 1.31.0 CPUExecutionProvider",
            )
            for key in plan.keys(unit)
        ]


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=TableOptions.resamples)
    parser.add_argument("--step", choices=STEPS, default="", help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, default=Path(), help=argparse.SUPPRESS)
    return parser.parse_args(namespace=Options())


if __name__ == "__main__":
    main()
