r"""How well each metric agrees with people, and its graphs with its module, on images with human scores.

    python benchmarks/metric_accuracy.py --data DIR --weights nima=nima_mobilenet_technical.pt --weights ...

Takes every metric whose weights are shipped, not needed, or given. Each image is scored at its native size by the
eager module, by TorchScript, and by ONNX Runtime, with one thread each. Correlations are those of the eager scores,
sign-corrected: 1 is full agreement. The last column is the largest difference between any two of the three, as a share
of the metric's range.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_export.progress import counted
from scoreguard_export.training.evaluate_mos import AgreementRow, HumanScore, agreement, read_live, read_samples
from scoreguard_export.training.photos import read_photo

GROUPS: Final = (("LIVE subset", "all"), ("TID2013", "all"))
"""Data sets with enough images for a correlation."""

Score = Callable[[torch.Tensor], float]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One metric."""

    metric: str
    rows: tuple[AgreementRow, ...]
    images: int
    """Images that it could read."""
    too_small: int
    """Images below its smallest size, which are left out."""
    apart: float
    """Largest difference between two engines on an image, as a share of the range."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder that contains mos/.")
    parser.add_argument(
        "--weights", action="append", default=[], metavar="NAME=FILE", help="Weights that are not shipped."
    )
    parser.add_argument("--only", default="", help="Names, separated by commas; default: every metric with weights.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table in Markdown.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
    files = {name: Path(path) for name, _, path in (text.partition("=") for text in options.weights)}
    asked = options.only.split(",") if options.only else CATALOGUE
    names = [name for name in asked if CATALOGUE[name].at_hand(files)]
    images = read_live(options.data) + read_samples(options.data)
    with counted("metrics", len(names)) as done:
        found = []
        for name in names:
            found.append(measure(load_metric(name, files), images))
            done(name)
    print(json.dumps([asdict(each) for each in found], indent=2) if options.json else "\n".join(table(found)))


@torch.no_grad()
def measure(metric: Metric, images: Sequence[HumanScore]) -> Accuracy:
    """Score every image in every engine."""
    with tempfile.TemporaryDirectory() as folder:
        engines = list(scorers(metric, Path(folder)))
        scores, known = [], []
        for image in images:
            pixels = torch.from_numpy(read_photo(image.path).copy()).permute(2, 0, 1)[None].float() / 255
            if min(pixels.shape[2:]) >= metric.facts.minimum_size:
                scores.append([score(pixels) for score in engines])
                known.append(image)
    values = np.array(scores)
    facts = metric.facts
    return Accuracy(
        metric=facts.name,
        rows=tuple(agreements(known, values[:, 0] * (1 if facts.higher_is_better else -1))),
        images=len(known),
        too_small=len(images) - len(known),
        apart=float(np.ptp(values, axis=1).max()) / (facts.score_range.high - facts.score_range.low),
    )


def scorers(metric: Metric, folder: Path) -> Iterator[Score]:
    """Yield the eager module, TorchScript and ONNX Runtime."""
    torchscript, onnx = folder / "metric.pt", folder / "metric.onnx"
    export_torchscript(metric, torchscript)
    export_onnx(metric, onnx)
    script, graph = load_torchscript(torchscript), load_onnx(onnx, input_names(metric))
    yield lambda pixels: float(metric(pixels)[0])
    yield lambda pixels: float(script((pixels,))[0])
    yield lambda pixels: float(graph((pixels,))[0])


def agreements(images: Sequence[HumanScore], predicted: np.ndarray) -> Iterator[AgreementRow]:
    """Yield the agreement with people on each group."""
    for dataset, group in GROUPS:
        rows = [index for index, image in enumerate(images) if image.dataset == dataset and group in image.groups]
        yield agreement(dataset, group, np.array([images[index].quality for index in rows]), predicted[rows])


def table(found: Sequence[Accuracy]) -> Iterator[str]:
    """Yield the lines of the table."""
    counted_groups = zip(GROUPS, found[0].rows, strict=True)
    heads = [f"{name} ({row.count}): {kind}" for (name, _), row in counted_groups for kind in ("SROCC", "PLCC")]
    yield f"| metric | {' | '.join(heads)} | engines apart |"
    yield "|---" * (len(heads) + 2) + "|"
    for each in found:
        numbers = [number(value) for row in each.rows for value in (row.srocc, row.plcc)]
        yield f"| `{each.metric}` | {' | '.join(numbers)} | {each.apart:.1e} |"


def number(value: float | None) -> str:
    """Format a correlation; a dash if there are too few images."""
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
