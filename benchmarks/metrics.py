"""Speed of every metric: both graphs relative to the eager module and to pyiqa's own call, and peak memory.

    python benchmarks/metrics.py --markdown speeds.md
    python benchmarks/metrics.py --only nima,meta-iqa --sizes 512x384 --memory-sizes "" --rounds 5

Every round times, in turn and with one thread each, the eager module, the graph as TorchScript, the graph on ONNX
Runtime, and pyiqa's network where it has the metric and is installed, on a tensor that it need not convert. The table
shows the median over rounds of the ratio of speeds within a round. Machines differ and drift, ratios within a round do
not. Weights are random, since the speed does not depend on them; what pyiqa reads otherwise is said beside its column.

The graphs' scores are compared with the eager module's on the way, as a share of the metric's range.

Memory is the largest resident size of a fresh process that runs the ONNX graph on one image (`defence_memory.py`), with
a limit of address space and of time. A service cuts nothing into tiles: what bounds memory is the metric's own resize.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from defence_references import image
from defences import parse_sizes, timed_rounds
from torch import nn

from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE
from scoreguard_export.progress import counted

PEERS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "brisque": ("brisque_matlab", "the same"),
        "niqe": ("niqe_matlab", "the same"),
        "piqe": ("piqe", "the same"),
        "cnniqa": ("cnniqa", "the same"),
        "dbcnn": ("dbcnn", "the same"),
        "meta-iqa": ("metaiqa", "the same"),
        "hyper-iqa": ("hyperiqa", "the same crops at native size"),
        "paq2piq": ("paq2piq", "the same"),
        "tres": ("tres", "the same crops at native size"),
        "maniqa": ("maniqa", "the same crops"),
        "nima-inceptionresnetv2": ("nima", "the same"),
        "nima-vgg16": ("nima-vgg16-ava", "the same"),
        "clip-iqa": ("clipiqa", "five pairs of texts"),
        "laion-aesthetic": ("laion_aes", "the same"),
    }
)
"""pyiqa's name of a metric, and how it reads an image in comparison."""
EAGER: Final = "eager"
ENGINES: Final = ("TorchScript", "ONNX Runtime")
PYIQA: Final = "pyiqa"

_BYTES: Final = 14 << 30
_SECONDS: Final = 600
"""Limits of the process whose memory is measured."""

Run = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One metric at one size."""

    metric: str
    size: str
    rounds: int
    per_second: float
    """Images per second on ONNX Runtime, the median; not comparable across machines."""
    ratios: dict[str, tuple[float, float, float]]
    """Speed as a multiple of the eager module's, by contender: median, lowest and highest."""
    apart: float
    """Largest difference of a graph's score from the eager module's, as a share of the range."""
    over_pyiqa: float | None
    """Speed of ONNX Runtime as a multiple of pyiqa's, the median; None if it has not the metric or fails."""
    note: str = ""
    """How pyiqa reads the image, or why there is no number."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Largest resident size of a process that runs the ONNX graph on one image."""

    metric: str
    size: str
    reads: str
    """How the metric reads an image."""
    peak: int | None
    """In bytes; None if the process met its limits."""
    beyond: str = ""
    """Which limit."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="Names of metrics, separated by commas; all where left out.")
    parser.add_argument("--sizes", default="512x384,1920x1080", help="WIDTHxHEIGHT of the timed images.")
    parser.add_argument("--memory-sizes", default="4000x3000", help="Of those that memory is measured on.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds of each comparison.")
    parser.add_argument("--seconds", type=float, default=30, help="No round of a comparison begins after these.")
    parser.add_argument("--crops", type=int, default=4, help="Crops of metrics that read a grid; 0 = all.")
    parser.add_argument("--markdown", type=Path, help="Also write the tables to this file.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    names = options.only.split(",") if options.only else list(CATALOGUE)
    speeds, memories = list[Speed](), list[Memory]()
    with counted("measured", len(names)) as done:
        for name in names:
            with tempfile.TemporaryDirectory() as home:
                subject = Subject(name, Path(home), options.crops)
                for height, width in parse_sizes(options.sizes):
                    speeds.append(subject.speed(height, width, options.rounds, options.seconds))
                for height, width in parse_sizes(options.memory_sizes):
                    memories.append(subject.memory(height, width))
            done(name)
            tables = "\n\n".join(filter(None, (speed_table(speeds), memory_table(memories))))
            if options.markdown:  # after each metric: all of them take an hour
                options.markdown.write_text(tables + "\n", encoding="utf-8")
    rows = {"speed": [asdict(row) for row in speeds], "memory": [asdict(row) for row in memories]}
    print(json.dumps(rows) if options.json else tables)


class Subject:
    """An exported metric with random weights, and pyiqa's network of it."""

    def __init__(self, name: str, home: Path, crops: int) -> None:
        """Export both graphs into a folder."""
        torch.manual_seed(0)
        self.name, self.home, self.crops = name, home, crops
        self.module = untrained(CATALOGUE[name])
        fewer(self.module, crops)
        self.onnx, self.torchscript = home / "metric.onnx", home / "metric.pt"
        export_torchscript(self.module, self.torchscript)
        export_onnx(self.module, self.onnx)

    def contenders(self, planes: torch.Tensor) -> dict[str, Run]:
        """Return what is timed, by name."""
        script, graph = load_torchscript(self.torchscript), load_onnx(self.onnx, input_names(self.module))
        return {
            EAGER: partial(self.module, planes),
            ENGINES[0]: partial(script, (planes,)),
            ENGINES[1]: partial(graph, (planes,)),
        }

    def speed(self, height: int, width: int, rounds: int, seconds: float) -> Speed:
        """Time every contender, round after round."""
        planes = torch.from_numpy(image(None, height, width))
        runs = self.contenders(planes)
        note = ""
        with torch.inference_mode():
            if self.name in PEERS and find_spec(PYIQA):
                note = add_peer(runs, self.name, planes, self.crops)
            apart = self.apart(runs)
            times = list(timed_rounds(runs, time.perf_counter, rounds, seconds))
        ratios = {name: spread([each[EAGER] / each[name] for each in times]) for name in runs if name != EAGER}
        over = [each[PYIQA] / each[ENGINES[1]] for each in times if PYIQA in each]
        return Speed(
            metric=self.name,
            size=f"{width}×{height}",
            rounds=len(times),
            per_second=1.0 / statistics.median(each[ENGINES[1]] for each in times),
            ratios=ratios,
            apart=apart,
            over_pyiqa=statistics.median(over) if over else None,
            note=note,
        )

    def apart(self, runs: Mapping[str, Run]) -> float:
        """Return how far the score of a graph is from the eager module's, the larger of both, as a share of the range.

        Random weights may score far beyond the range; then of the score.
        """
        eager, *graphs = (float(np.asarray(runs[name]()).reshape(-1)[0]) for name in (EAGER, *ENGINES))
        return max(abs(graph - eager) for graph in graphs) / max(self.module.facts.score_range.width, abs(eager))

    def memory(self, height: int, width: int) -> Memory:
        """Run the ONNX graph in a separate process."""
        np.savez(self.home / "inputs.npz", image=image(None, height, width))
        task = {
            "engine": "onnx",
            "graph": str(self.onnx),
            "inputs": str(self.home / "inputs.npz"),
            "names": ["image"],
            "tiling": None,
        }
        peak, beyond = peak_of(task)
        size = f"{width}×{height}"
        return Memory(metric=self.name, size=size, reads=self.module.facts.input_rule, peak=peak, beyond=beyond)


def peak_of(task: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return the peak of a process with the task, in bytes, or the limit that it met."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))

    command = [sys.executable, str(Path(__file__).with_name("defence_memory.py")), json.dumps(task)]
    try:
        found = subprocess.run(
            command, preexec_fn=limited, timeout=_SECONDS, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"over {_SECONDS // 60} minutes"
    if not found.returncode:
        return int(json.loads(found.stdout)["peak"]), ""
    if "alloc" in found.stderr.lower():
        return None, f"over {_BYTES >> 30} GiB"
    sys.exit(f"{task['graph']} ended with {found.returncode}: {found.stderr.strip()[-500:]}")


def untrained(kind: type[Metric]) -> Metric:
    """Build a metric without its weights files; those that are shipped are read."""
    return (kind.from_weights() if kind.at_hand({}) else kind()).eval().requires_grad_(False)


def fewer(network: nn.Module, crops: int) -> None:
    """Have a network that reads the crops of a grid read some of them; 0 leaves it as it is."""
    for name in ("crops", "test_sample", "num_crop"):
        if crops and hasattr(network, name):
            setattr(network, name, crops)


def add_peer(runs: dict[str, Run], name: str, planes: torch.Tensor, crops: int) -> str:
    """Add pyiqa's network to what is timed; return how it reads the image, or why it cannot be timed."""
    from scoreguard_export.metrics.pyiqa.networks import network_of

    theirs, reads = PEERS[name]
    try:
        network: nn.Module = network_of(theirs)
        fewer(network, crops)
        network(planes)
    # A third party's network may fail in any way; then there is no number, and the reason stands in its place.
    except Exception as error:
        return f"pyiqa fails: {type(error).__name__}"
    runs[PYIQA] = partial(network, planes)
    return reads


def spread(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the lowest and the highest."""
    return statistics.median(ratios), min(ratios), max(ratios)


def speed_table(speeds: Sequence[Speed]) -> str:
    """Return the table of speeds, in Markdown."""
    heads = ["metric", "size", "TorchScript / eager", "ONNX / eager", "ONNX / pyiqa", "pyiqa reads", "apart"]
    return "\n".join([row(heads), row(["---"] * len(heads)), *map(row, map(speed_cells, speeds))]) if speeds else ""


def speed_cells(speed: Speed) -> list[str]:
    """Return the cells of a row; what is slower than its reference is bold."""
    graphs = [ratio(*speed.ratios[engine]) for engine in ENGINES]
    over = "–" if speed.over_pyiqa is None else marked(speed.over_pyiqa)
    return [f"`{speed.metric}`", speed.size, *graphs, over, speed.note or "–", f"{speed.apart:.0e}"]


def ratio(median: float, low: float, high: float) -> str:
    """Format a ratio with its lowest and highest round."""
    return f"{marked(median)} ({low:.2f}–{high:.2f})"


def marked(value: float) -> str:
    """Format a ratio; bold below 1."""
    return f"**{value:.2f}**" if value < 1 else f"{value:.2f}"


def memory_table(memories: Sequence[Memory]) -> str:
    """Return the table of memory, in Markdown."""
    heads = ["metric", "size", "peak, GB", "reads"]
    lines = [row([f"`{each.metric}`", each.size, peak_text(each), each.reads]) for each in memories]
    return "\n".join([row(heads), row(["---"] * len(heads)), *lines]) if memories else ""


def peak_text(memory: Memory) -> str:
    """Return the peak in gigabytes, or the limit that was met."""
    return memory.beyond if memory.peak is None else f"{memory.peak / 1e9:.1f}"


def row(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
