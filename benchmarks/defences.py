"""Speed of every defence relative to what a user would use instead, in one run, and its peak memory.

    python benchmarks/defences.py
    python benchmarks/defences.py --only blur,jpeg --sizes 299x299 --rounds 9
    python benchmarks/defences.py --markdown docs/defence-speed.md --json

Every round times, in turn and with one thread each, the exported graph on ONNX Runtime, the exported graph as
TorchScript, and each reference twice: on an image in the format that its library prefers, and with the conversion from
and to the format that a chain works on, float32 NCHW in [0, 1]. The table shows the median over rounds of the ratio of
speeds within a round, reference time over ours: 1 is as fast, 2 is twice as fast. Machines differ and drift,
ratios within a round do not. `--clock processor` measures processor time instead of wall-clock time, for a busy
machine.

Learned defences run with untrained weights, since the speed does not depend on them, and are compared with the same
network in eager torch, both on the tiles that the server cuts. The cost of a diffusion purifier is that of its
denoiser, times `t` or `steps`.

Memory is the largest resident size of a fresh process that runs one graph on one image (`defence_memory.py`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from defence_references import LEVELS, Planes, image, references
from defence_tables import DEVICE_ENGINE, memory_table, speed_table, study_table
from study_speeds import FPS

from scoreguard.chain.devices import CPU, CUDA, DEVICE_HELP, Device, find_device
from scoreguard.chain.numerics import DEFAULT
from scoreguard.chain.tiles import in_tiles
from scoreguard.chain.torchscript import load_graph
from scoreguard.v1.errors import ContractError
from scoreguard.v1.manifest_pb2 import Tiling
from scoreguard_export.defences.base import Defence, Tiles
from scoreguard_export.defences.catalogue import CATALOGUE, defence_named
from scoreguard_export.errors import ExportError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import Case, input_names, make_inputs
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.progress import counted

CLOCKS: Final = {"wall": time.perf_counter, "processor": time.process_time}
ENGINES: Final = {"onnx": "ONNX Runtime", "torchscript": "TorchScript"}
_SLICE_SECONDS: Final = 0.05
"""In each round a contender is called repeatedly for about this long."""
_SEED: Final = 0

Run = Callable[[], Any]


class Plan(argparse.Namespace):
    """What to measure."""

    only: str
    sizes: str
    memory_sizes: str
    rounds: int
    seconds: float
    clock: str
    device: str
    image: Path | None
    markdown: Path | None
    json: bool


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An exported defence with its default parameters."""

    name: str
    defence: Defence
    onnx: Path
    torchscript: Path
    tiling: Tiling | None

    def inputs(self, planes: Planes) -> dict[str, Any]:
        """Return the graph's inputs for one image, as tensors by name."""
        case = Case(batch=1, height=planes.shape[2], width=planes.shape[3])
        made = make_inputs(self.defence, case, torch.from_numpy(planes), _SEED)
        return dict(zip(input_names(self.defence), made, strict=True))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One defence on one engine at one size, compared with one reference."""

    defence: str
    size: str
    engine: str
    per_second: float
    """Images per second, the median; not comparable across machines."""
    reference: str
    form: str
    ratio: float
    """Speed as a multiple of the reference's on an image in its own format."""
    lowest: float
    highest: float
    converted: float
    """Speed as a multiple of the reference's with the conversion from and to the chain's format."""
    difference: float
    """Mean absolute difference of the two results, in levels of 255."""
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Largest resident size of a process that runs one graph on one image."""

    defence: str
    size: str
    engine: str
    peak: int
    """In bytes."""
    before: int
    """In bytes: with the engine, the graph and the image loaded."""


def main() -> None:
    """Measure and print."""
    plan = parse()
    device = find_device(plan.device)
    print(device.announcement, file=sys.stderr)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
    names = plan.only.split(",") if plan.only else [name for name in CATALOGUE if not needs_sampler(name)]
    sizes, memory_sizes = list(parse_sizes(plan.sizes)), list(parse_sizes(plan.memory_sizes))
    speeds, memories = list[Speed](), list[Memory]()
    with tempfile.TemporaryDirectory() as home, counted("measured", len(names)) as done:
        for name in names:
            subject = exported(name, Path(home))
            for height, width in sizes:
                planes = image(plan.image, height, width)
                speeds += measure_speed(subject, planes, plan)
                if not device.is_cpu:
                    speeds += measure_device(subject, planes, plan, device)
            for height, width in memory_sizes:
                planes = image(plan.image, height, width)
                memories += [measure_memory(subject, planes, engine, Path(home)) for engine in ENGINES]
            done(name)
    show(plan, speeds, memories)


def show(plan: Plan, speeds: Sequence[Speed], memories: Sequence[Memory]) -> None:
    """Print JSON or tables, and write the Markdown tables."""
    tables = "\n\n".join(filter(None, (speed_table(speeds), study_table(speeds, FPS), memory_table(memories))))
    if plan.markdown:
        plan.markdown.write_text(tables + "\n")
    if plan.json:
        rows = {"speed": [asdict(row) for row in speeds], "memory": [asdict(row) for row in memories]}
        print(json.dumps({"plan": vars(plan), **rows}, default=str))
    else:
        print(tables)


def needs_sampler(name: str) -> bool:
    """Return whether a defence is a loop around a denoiser; the denoiser has its own row."""
    return bool(CATALOGUE[name].schedule({}))


def exported(name: str, home: Path) -> Subject:
    """Export a defence; a learned one gets untrained weights, always the same ones."""
    defence, tiles = built(name)
    subject = Subject(
        name=name,
        defence=defence,
        onnx=home / f"{name}.onnx",
        torchscript=home / f"{name}.pt",
        tiling=Tiling(size=tiles.size, overlap=tiles.overlap, multiple=tiles.multiple) if tiles else None,
    )
    export_torchscript(defence, subject.torchscript)
    export_onnx(defence, subject.onnx)
    return subject


def built(name: str) -> tuple[Defence, Tiles | None]:
    """Build a defence with default structural parameters; return it with its tiling."""
    torch.manual_seed(_SEED)
    made = defence_named(name)
    structural = {parameter.name: parameter.default for parameter in made.facts.structural}
    return made(**structural).eval().requires_grad_(False), made.tiles(structural)


def contenders(subject: Subject, planes: Planes) -> tuple[dict[str, Run], dict[str, str]]:
    """Return what is timed, by name, and the format of each reference."""
    inputs = subject.inputs(planes)
    names = list(inputs)
    graphs = {"onnx": load_onnx(subject.onnx, names), "torchscript": load_torchscript(subject.torchscript)}
    runs: dict[str, Run] = {name: tiled(subject, graph, inputs) for name, graph in graphs.items()}
    forms: dict[str, str] = {}
    for found in references(subject.name, inputs, subject.defence.structural):
        own = found.form.read(planes)
        key = f"{found.name}, {found.form}"
        forms[key] = found.form
        runs[key] = partial(found.run, own)
        runs[converting(key)] = partial(found.converted, planes)
    if not forms:
        forms["eager torch"] = "float32 NCHW, torch"
        runs["eager torch"] = tiled(subject, lambda given: subject.defence(*given), inputs)
    return runs, forms


def converting(name: str) -> str:
    """Return the name of a reference with its conversions."""
    return f"{name} from and to float32 NCHW"


def tiled(subject: Subject, graph: Callable[[tuple[Any, ...]], Any], inputs: dict[str, Any]) -> Run:
    """Return a run of a graph, on the image or on its tiles."""
    image, *others = inputs.values()
    if subject.tiling is None:
        return lambda: graph((image, *others))

    def part(tile: Any, rows: slice, columns: slice) -> Any:
        del rows, columns  # no learned defence takes noise of the image's shape
        return graph((tile.contiguous(), *others))

    tiling = subject.tiling
    return lambda: in_tiles(image, tiling, part, lambda parts, axis: torch.cat(list(parts), dim=axis))


def measure_speed(subject: Subject, planes: Planes, plan: Plan) -> list[Speed]:
    """Time every contender, round after round."""
    runs, forms = contenders(subject, planes)
    clock = CLOCKS[plan.clock]
    with torch.inference_mode():
        results, first = called(runs, clock)
        rounds = [first]
        if sum(first.values()) < plan.seconds:  # else there is only time for the first call of each
            rounds = list(timed_rounds(runs, clock, plan.rounds, plan.seconds))
    size = f"{planes.shape[3]}×{planes.shape[2]}"
    return [
        summary(subject.name, size, engine, name, forms[name], rounds, distance(results[engine], results, name))
        for name in forms
        for engine in ENGINES
    ]


def measure_device(subject: Subject, planes: Planes, plan: Plan, device: Device) -> list[Speed]:
    """Time TorchScript and the same eager module on another device, computing repeatably as the server does."""
    script = load_graph(subject.torchscript, device.torch)
    eager = built(subject.name)[0].to(device.torch)
    inputs = {name: value.to(device.torch) for name, value in subject.inputs(planes).items()}

    def finished(run: Run) -> Any:
        result = run()
        torch.cuda.synchronize(device.torch) if device.kind == CUDA else result.cpu()
        return result

    runs: dict[str, Run] = {
        DEVICE_ENGINE: partial(finished, tiled(subject, lambda given: script(*given), inputs)),
        "eager torch": partial(finished, tiled(subject, lambda given: eager(*given), inputs)),
    }
    with torch.no_grad(), DEFAULT.applied(device.torch):
        results = {name: run().cpu() for name, run in runs.items()}
        rounds = list(timed_rounds(runs, time.perf_counter, plan.rounds, plan.seconds))
    size, form = f"{planes.shape[3]}×{planes.shape[2]}", "float32 NCHW, torch"
    far = distance(results[DEVICE_ENGINE], results, "eager torch")
    return [summary(subject.name, size, DEVICE_ENGINE, "eager torch", form, rounds, far)]


def timed_rounds(
    runs: dict[str, Run], clock: Callable[[], float], count: int, limit: float
) -> Iterator[dict[str, float]]:
    """Return seconds per call of each contender, in alternating order; no round begins after `limit` seconds."""
    warm = {name: timed(run, 1, clock) for name, run in runs.items()}
    calls = {name: max(1, int(_SLICE_SECONDS / max(seconds, 1e-6))) for name, seconds in warm.items()}
    started = time.perf_counter()
    for number in range(count):
        if number and time.perf_counter() - started > limit:
            return
        order: Iterable[str] = runs if number % 2 == 0 else reversed(runs)
        yield {name: timed(runs[name], calls[name], clock) for name in order}


def called(runs: dict[str, Run], clock: Callable[[], float]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the result and seconds of each contender's first call."""
    results: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for name, run in runs.items():
        started = clock()
        results[name] = run()
        seconds[name] = clock() - started
    return results, seconds


def timed(run: Run, calls: int, clock: Callable[[], float]) -> float:
    """Return the seconds per call."""
    started = clock()
    for _ in range(calls):
        run()
    return (clock() - started) / calls


def distance(ours: Any, results: dict[str, Any], name: str) -> float:
    """Return the mean absolute difference from a reference, in levels of 255; NaN if the sizes differ."""
    other = np.asarray(results.get(converting(name), results[name]))
    own = np.asarray(ours)
    return float(np.abs(own - other).mean() * LEVELS) if own.shape == other.shape else float("nan")


def summary(
    name: str, size: str, engine: str, reference: str, form: str, rounds: list[dict[str, float]], difference: float
) -> Speed:
    """Return the medians over rounds of the ratios within each round."""
    ratios = [seconds[reference] / seconds[engine] for seconds in rounds]
    return Speed(
        defence=name,
        size=size,
        engine=engine,
        per_second=1.0 / statistics.median(seconds[engine] for seconds in rounds),
        reference=reference.partition(",")[0],
        form=form,
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        converted=statistics.median(
            seconds.get(converting(reference), seconds[reference]) / seconds[engine] for seconds in rounds
        ),
        difference=difference,
        rounds=len(rounds),
    )


def measure_memory(subject: Subject, planes: Planes, engine: str, home: Path) -> Memory:
    """Run one graph in a separate process."""
    inputs = {name: value.numpy() for name, value in subject.inputs(planes).items()}
    np.savez(home / "inputs.npz", **inputs)
    tiling = subject.tiling
    task = {
        "engine": engine,
        "graph": str(subject.onnx if engine == "onnx" else subject.torchscript),
        "inputs": str(home / "inputs.npz"),
        "names": list(inputs),
        "tiling": [tiling.size, tiling.overlap, tiling.multiple] if tiling else None,
    }
    script = Path(__file__).with_name("defence_memory.py")
    found = subprocess.run([sys.executable, script, json.dumps(task)], capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(f"{subject.name} on {ENGINES[engine]} ended with {found.returncode}: {found.stderr.strip()[-500:]}")
    told = json.loads(found.stdout)
    size = f"{planes.shape[3]}×{planes.shape[2]}"
    return Memory(defence=subject.name, size=size, engine=engine, peak=told["peak"], before=told["before"])


def parse_sizes(text: str) -> Iterator[tuple[int, int]]:
    """Read WIDTHxHEIGHT,… as (height, width)."""
    for part in filter(None, text.split(",")):
        width, _, height = part.partition("x")
        yield int(height), int(width)


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="Names of defences, separated by commas; all where left out.")
    parser.add_argument("--sizes", default="299x299,1920x1080", help="WIDTHxHEIGHT of the timed images.")
    parser.add_argument("--memory-sizes", default="1920x1080,4000x3000", help="Of those that memory is measured on.")
    parser.add_argument("--rounds", type=int, default=7, help="Rounds after one call to warm up.")
    parser.add_argument("--seconds", type=float, default=60.0, help="No round of a defence begins after this long.")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="Processor time is for a busy machine.")
    parser.add_argument("--device", default=CPU, help=f"{DEVICE_HELP} Beside the CPU, unless it is the CPU.")
    parser.add_argument("--image", type=Path, help="A photograph; else one that scikit-image has.")
    parser.add_argument("--markdown", type=Path, help="Write the tables to this file.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    return parser.parse_args(namespace=Plan())


if __name__ == "__main__":
    try:
        main()
    except (ExportError, ContractError) as error:
        sys.exit(str(error))
