"""Memory of a worker for one large image: its peak above what it holds at rest, in MB per megapixel.

    python benchmarks/memory.py --model-store model_store --metric lite --megapixels 12

Each case runs in a separate process, which scores a small image first, so one-time loading is not counted. The peak
is the kernel's (VmHWM), so this runs on Linux only. Unlike time, memory does not depend on the machine's load.
"""

from __future__ import annotations

import argparse
import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import (
    PURIFIED_FORMAT_PNG,
    Image,
    PurifyRequest,
    ScoreDefendedRequest,
    ScoreGradientRequest,
)
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.pieces import read_call
from scoreguard_handlers.worker.worker import Worker

SMALL = 0.2
CASES = (
    "score none", "score blur", "score jpeg", "score resize", "purify-png blur", "purify-png jpeg", "purify-float blur",
)  # fmt: skip
"""The kind of request, and the chain."""
GRADIENT_CASES = ("gradient none", "gradient blur")


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    megapixels: float
    form: str
    cases: list[str]
    one: str


def main() -> None:
    """Measure each case in a separate process and print a table."""
    plan = parse()
    if plan.one:
        print(measure(plan, plan.one))
        return
    print(f"{plan.metric}, one image ({plan.form}) of {plan.megapixels:g} megapixels")
    print(f"{'asked for':>14} {'chain':>20} {'MB/MP':>6} {'peak MB':>8} {'at rest MB':>10} {'kept MB':>8}")
    for case in plan.cases or (*CASES, *GRADIENT_CASES):
        command = [sys.executable, __file__, *sys.argv[1:], "--one", case]
        subprocess.run(command, check=True)


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--form", choices=["jpeg", "uint8", "float32"], default="jpeg", help="a file, or an array")
    parser.add_argument("--cases", nargs="*", default=[], help='such as "score jpeg" or "purify-png tv"')
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args(namespace=Plan())


def measure(plan: Plan, case: str) -> str:
    """Measure one row in this process."""
    kind, _, chain = case.partition(" ")
    worker = Worker.load(Archive(plan.model_store / f"{plan.metric}.mar"), WorkerConfig(gradients=True))
    answer(worker, work(kind, chain, SMALL, plan.form))
    message = work(kind, chain, plan.megapixels, plan.form)
    Path("/proc/self/clear_refs").write_text("5")
    rest = status("VmRSS")
    answer(worker, message)
    peak, kept = status("VmHWM") - rest, status("VmRSS") - rest
    return f"{kind:>14} {chain:>20} {peak / plan.megapixels:6.0f} {peak:8.0f} {rest:10.0f} {kept:8.0f}"


def answer(worker: Worker, message: bytes) -> None:
    """Do what a worker does from request bytes to response bytes."""
    response = worker.answer(read_call(message))
    if problem := response.results[0].status.message:
        sys.exit(problem)
    response.SerializeToString()


def work(kind: str, chain: str, megapixels: float, form: str) -> bytes:
    """Return the bytes of a call with one image."""
    image, steps = in_form(photograph(megapixels), form), [step.to_message() for step in parse_chain(chain)]
    if kind == "score":
        item = WorkItem(score=ScoreDefendedRequest(image=image, defences=steps))
    elif kind == "gradient":
        item = WorkItem(gradient=ScoreGradientRequest(image=image, defences=steps))
    else:
        item = WorkItem(purify=PurifyRequest(image=image, defences=steps))
        if kind == "purify-png":
            item.purify.purified_format = PURIFIED_FORMAT_PNG
    return WorkerRequest(items=[item]).SerializeToString()


def in_form(file: Image, form: str) -> Image:
    """Return the image unchanged, or as an array."""
    if form == "jpeg":
        return file
    values = np.asarray(PillowImage.open(io.BytesIO(file.encoded)), np.uint8)
    return Image(tensor=to_tensor(values if form == "uint8" else values.astype(np.float32) / np.float32(255)))


def photograph(megapixels: float) -> Image:
    """Make a smooth random JPEG, 4:3."""
    height = int(math.sqrt(megapixels * 1e6 * 3 / 4))
    width = height * 4 // 3
    coarse = np.random.default_rng(0).integers(0, 256, (height // 64 + 2, width // 64 + 2, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = PillowImage.fromarray(coarse).resize((width, height), PillowImage.Resampling.BICUBIC)
    image.save(buffer, "JPEG", quality=90)
    return Image(encoded=buffer.getvalue())


def status(key: str) -> float:
    """Read a line of this process's status, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
