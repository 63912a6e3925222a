"""Gain of everyday edits behind each chain: what anybody can do without gradients.

    python benchmarks/free_edits.py --model-store built --images kodak24 --limit 8 --chains none,jpeg:quality=50,resize

An edit is made once and scored behind every chain, as a campaign does; `free-best` asks through each chain. Scores are
those of the 8-bit image, gains are score points. "Raised" counts the images that score higher than before the edit,
"weakened" those for which the edit was too strong for `min_ssim`. docs/strongest-attacks.md has the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import Attack, parse_attack, parse_attacks
from scoreguard_client.attacks.catalogue import CATALOGUE
from scoreguard_client.attacks.regions.ssim import unit_floats
from scoreguard_client.oracles import LocalOracle, find_surrogate
from scoreguard_client.oracles.base import Images
from scoreguard_client.scores import ssim

SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".bmp"}
HEADING: Final = "| attack | gain | least and greatest | raised | SSIM | weakened |\n|---|---|---|---|---|---|"
FREE: Final = ",".join(name for name in CATALOGUE if name.startswith("free-"))


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    chains: str
    images: Path
    skip: int
    limit: int
    attacks: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An attack of one image, scored behind one chain."""

    gain: float
    """Score minus the clean image's."""
    similarity: float
    """SSIM with the clean image."""
    flags: str
    """The attack's flags."""


def main() -> None:
    """Measure and print one table for each chain."""
    plan = parse()
    torch.set_num_threads(plan.threads)
    archive, images = find_surrogate(plan.model_store, plan.metric), [read(path) for path in files(plan)]
    oracles = {chain: LocalOracle(archive, parse_chain(chain)) for chain in plan.chains.split(",")}
    attacks = parse_attacks(plan.attacks)
    # What asks nothing gives the same image through any chain.
    any_oracle = next(iter(oracles.values()))
    blind = {attack: made(attack, any_oracle, images, plan) for attack in attacks if not attack.needs.asks}
    for chain, oracle in oracles.items():
        clean = [score(oracle, image) for image in images]
        print(f"\n{plan.metric} behind {chain}, {len(images)} images that score {np.mean(clean):.2f}\n", flush=True)
        print(HEADING, flush=True)
        for attack in attacks:
            edited = blind.get(attack) or made(attack, oracle, images, plan)
            print(row(attack, [outcome(oracle, *each) for each in zip(images, clean, edited, strict=True)]), flush=True)


def made(attack: Attack, oracle: LocalOracle, images: Sequence[Images], plan: Plan) -> list[tuple[Images, str]]:
    """Attack each image, with its place in the folder as seed; return it rounded to 8 bits, with its flags."""
    results = [attack(image, oracle, seeds=[seed]) for seed, image in enumerate(images, plan.skip)]
    return [(unit_floats(result.attacked_8bit), result.flags[0]) for result in results]


def outcome(oracle: LocalOracle, image: Images, clean: float, edited: tuple[Images, str]) -> Outcome:
    """Score one edited image."""
    attacked, flags = edited
    return Outcome(gain=score(oracle, attacked) - clean, similarity=ssim(to_hwc(image), to_hwc(attacked)), flags=flags)


def row(attack: Attack, outcomes: Sequence[Outcome]) -> str:
    """Format a row of the table."""
    gains = np.array([one.gain for one in outcomes])
    cells = [
        f"`{text_of(attack)}`",
        f"{gains.mean():+.2f}",
        f"{gains.min():+.2f} to {gains.max():+.2f}",
        f"{int((gains > 0).sum())} of {len(gains)}",
        f"{np.mean([one.similarity for one in outcomes]):.3f}",
        str(sum("weakened" in one.flags or "unedited" in one.flags for one in outcomes)),
    ]
    return f"| {' | '.join(cells)} |"


def text_of(attack: Attack) -> str:
    """Format an attack without the parameters that have their defaults."""
    defaults = str(parse_attack(attack.name)).split(":")
    return ":".join(part for part in str(attack).split(":") if part == attack.name or part not in defaults)


def score(oracle: LocalOracle, image: Images) -> float:
    """Return the score of one image through the oracle's chain."""
    return float(oracle.score(image)[0])


def files(plan: Plan) -> list[Path]:
    """Return the image files, in name order."""
    found = sorted(path for path in plan.images.iterdir() if path.suffix.lower() in SUFFIXES)
    return found[plan.skip : plan.skip + plan.limit]


def read(path: Path) -> Images:
    """Read an image as a batch of one."""
    levels = np.asarray(Image.open(path).convert("RGB"))
    return unit_floats(levels.transpose(2, 0, 1)[None])


def to_hwc(image: Images) -> npt.NDArray[np.float32]:
    """Return a batch of one as (H, W, 3)."""
    return np.ascontiguousarray(image[0].transpose(1, 2, 0))


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--chains", default="none,jpeg:quality=50,resize", help="separated by commas")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--skip", type=int, default=0, help="images to leave out, by name")
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--attacks", default=FREE, help="separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(namespace=Plan())


if __name__ == "__main__":
    main()
