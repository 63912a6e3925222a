"""Speed and memory of the report of a large run: the records read, every table, and the files of the tables.

    python benchmarks/report_large.py --records 100000

The run is that of `ledger_speed.py`: 10 attacks and 10 chains before one metric, so that 100,000 records are 1,000
images. It is written first, by a process of its own, which does not count. The aim is 60 s and 1 GB for all steps.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scoreguard_client.report import TableOptions, read_reports, tables_of
from scoreguard_client.report.source import source_of
from scoreguard_client.report.writers import write_files

WRITER = Path(__file__).with_name("ledger_speed.py")
Result = TypeVar("Result")


class Options(argparse.Namespace):
    """What to measure."""

    records: int
    resamples: int


def main() -> None:
    """Print the seconds of each step, and the peak of memory (Linux)."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        words = ["--records", str(options.records), "--run", str(run), "--step", "write"]
        subprocess.run([sys.executable, str(WRITER), *words], check=True)
        started = time.perf_counter()
        reports = timed("rows", lambda: read_reports(run, TableOptions(resamples=options.resamples)))
        tables = timed("tables", lambda: tables_of(reports))
        timed("files", lambda: write_files(tables, source_of(reports), run / "report"))
        seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"all: {seconds:.1f} s, peak {peak / 1024:.0f} MiB")


def timed(name: str, step: Callable[[], Result]) -> Result:
    """Run a step and print how long it took."""
    started = time.perf_counter()
    result = step()
    print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
    return result


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=TableOptions.resamples)
    return parser.parse_args(namespace=Options())


if __name__ == "__main__":
    main()
