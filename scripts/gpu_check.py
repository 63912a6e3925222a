"""Measure on a machine with a GPU what this project promises of one, within a budget of time, into one JSON file.

    python scripts/gpu_check.py --model-store store.tar.xz --wheels wheels --budget 480 --out gpu.json
    python scripts/gpu_check.py --model-store model_store --device cpu --quick --budget 60

It runs from a checkout that is not installed. Prepare the model store on another machine with `gpu_store.py`; make the
tables of docs/gpu.md with `gpu_page.py`. Sections run most important first; each has its share of the budget, and fails
alone. The results are on disk after each section.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Final

from gpu import bring
from gpu.sections import FIRST, SECTIONS, chosen

UNUSABLE: Final = 2
"""Exit code where nothing could be measured."""
STOPPED: Final = 130
"""Exit code after Ctrl-C or SIGTERM."""


class Options(argparse.Namespace):
    """The command line."""

    model_store: Path
    device: str
    sections: str
    budget: float
    quick: bool
    out: Path
    wheels: Path | None
    section: str
    part: Path
    seconds: float


def main(argv: list[str] | None = None) -> int:
    """Run the check, or one section of it; returns the exit code."""
    options, began = parse(argv), time.monotonic()
    bring.use(bring.source_folders())
    if options.section:
        return run_section(options)
    signal.signal(signal.SIGTERM, _stop)
    try:
        with tempfile.TemporaryDirectory() as home:
            return check(options, Path(home), began)
    except KeyboardInterrupt:
        print(f"gpu_check: stopped; what was measured is in {options.out}", file=sys.stderr)
        return STOPPED


def check(options: Options, home: Path, began: float) -> int:
    """Check what is there, then run every section."""
    try:
        sections = chosen(options.sections)
        if options.wheels is not None:
            bring.use(bring.unpacked(options.wheels, home / "wheels"))
        store = unpacked_store(options.model_store, home)
    except (ValueError, OSError, tarfile.TarError) as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return UNUSABLE
    needs = bring.missing([section.name for section in sections])
    for need in needs:
        print(f"gpu_check: {bring.line_about(need)}", file=sys.stderr)
    if any(not need.sections for need in needs):
        return UNUSABLE
    from gpu.part import FAILED
    from gpu.runner import Check

    words = ["--model-store", str(store), "--device", options.device, *(["--quick"] if options.quick else [])]
    run = Check(
        sections=sections,
        budget=options.budget,
        began=began,
        out=options.out,
        home=home,
        options=words,
        device=options.device,
        quick=options.quick,
    )
    first = run.run()["sections"][FIRST]
    if first["status"] == FAILED:
        print(f"gpu_check: {first['reason']}", file=sys.stderr)
        return UNUSABLE
    print(f"results in {options.out}")
    return 0


def run_section(options: Options) -> int:
    """Run one section in this process."""
    ends = time.monotonic() + options.seconds
    from gpu.part import FAILED, Part
    from gpu.runner import MARGIN_SECONDS
    from gpu.work import Work

    from scoreguard.chain.devices import find_device
    from scoreguard.v1.errors import DeviceError

    part = Part(section=options.section)
    part.write(options.part)
    try:
        device = find_device(options.device)
    except DeviceError as error:
        part.status, part.reason = FAILED, str(error)
        part.write(options.part)
        return 1
    ends -= MARGIN_SECONDS
    work = Work(device=device, store=options.model_store, quick=options.quick, ends=ends, part=part, path=options.part)
    (section,) = (each for each in SECTIONS if each.name == options.section)
    try:
        section.load()(work)
    except Exception as error:  # the section's failure is its result
        work.fail(error)
        return 1
    work.finish()
    return 0


def unpacked_store(path: Path, home: Path) -> Path:
    """Return a model store as a folder, unpacking the file that `gpu_store.py` wrote.

    Raises:
        OSError: there is nothing at the path.
        tarfile.TarError: the file cannot be read.
    """
    if path.is_dir():
        return path.absolute()
    with tarfile.open(path) as archive:
        archive.extractall(home / "store", filter="data")
    return home / "store"


def parse(argv: list[str] | None) -> Options:
    """Read the command line."""
    names = ", ".join(section.name for section in SECTIONS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-store", type=Path, default=Path("model_store"), help="Folder, or store.tar.xz.")
    parser.add_argument("--device", default="cuda", help="Device of the graphs: auto, cpu, cuda or cuda:N.")
    parser.add_argument("--sections", default="", help=f"Some of {names}; all where left out.")
    parser.add_argument("--budget", type=float, default=480.0, help="Seconds for everything.")
    parser.add_argument("--quick", action="store_true", help="Few items, briefly: whether it works, not how fast.")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="File of the results.")
    parser.add_argument("--wheels", type=Path, help="Folder of wheels to use without installing them.")
    for hidden, kind in (("--section", str), ("--part", Path), ("--seconds", float)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args(argv, namespace=Options())


def _stop(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that the process of a section is ended as well."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
