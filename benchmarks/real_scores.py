r"""Scores of clean and attacked photographs on `lite` and `nima`: the real populations of `interval_coverage.py`.

    scoreguard-export build --metrics lite,nima --defences resize,jpeg --weights nima=nima_mobilenet_technical.pt \
        --model-store built
    python benchmarks/real_scores.py --images nips2017 --model-store built

Attacks are crafted on the metric alone, L∞ 4/255; scores are scaled by the metric's range, 1 = best.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Final

import numpy as np
import PIL.Image
from coverage_populations import REAL

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import parse_attack
from scoreguard_client.oracles.local import LocalOracle, find_surrogate

ATTACKS: Final = {"FGSM": "fgsm:eps=4/255", "I-FGSM": "ifgsm:eps=4/255:iterations=5"}
CHAINS: Final = ("none", "resize", "jpeg:quality=50")
BATCH: Final = 10


def main() -> None:
    """Attack, score, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="Folder of photographs of one size.")
    parser.add_argument("--model-store", type=Path, required=True, help="Where the archives are.")
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    options = parser.parse_args()
    paths = sorted(options.images.glob("*.png"))
    photographs = [np.asarray(PIL.Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) for path in paths]
    images = np.stack(photographs) / np.float32(255)
    columns: dict[str, list[float]] = {}
    for metric in ("lite", "nima"):
        columns |= scores_of(options.model_store, metric, images, options.device)
    with REAL.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(map("{:.4f}".format, column) for column in columns.values()), strict=True))


def scores_of(store: Path, metric: str, images: np.ndarray, device: str) -> dict[str, list[float]]:
    """Return the columns of one metric, clean and attacked."""
    archive = find_surrogate(store, metric)
    facts, columns = archive.manifest.metric.facts, {}
    batches = np.array_split(images, -(-len(images) // BATCH))
    for title, attack in ATTACKS.items():
        attacked = [parse_attack(attack)(batch, LocalOracle(archive, device=device)).attacked for batch in batches]
        for chain in CHAINS:
            oracle = LocalOracle(archive, parse_chain(chain), device=device)
            for kind, side in (("clean", batches), ("attacked", attacked)):
                scores = np.concatenate([oracle.score(batch) for batch in side])
                unit = (scores - facts.range_low) / (facts.range_high - facts.range_low)
                columns[f"{metric}, {title}, {chain} {kind}"] = unit.tolist()
    return columns


if __name__ == "__main__":
    main()
