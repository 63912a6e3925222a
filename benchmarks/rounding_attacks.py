"""Strength of each attack behind a chain that rounds, on photographs and on JPEG copies of them.

    python benchmarks/rounding_attacks.py --model-store built --metric lite --images kodak24 --limit 12 --copies 10

Every image is attacked through the chain with the gradients of the local archive, with the same budget for all attacks.
The attacked image is rounded to 8 bits before it is scored through the same chain. With `--copies Q` the images are
first compressed by Pillow at that quality, and the table shows how many attacked copies score higher than their
original. docs/strongest-attacks.md gives the commands that made its tables.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import Attack, parse_attack
from scoreguard_client.oracles import LocalOracle, find_surrogate
from scoreguard_client.oracles.base import Images

ATTACKS: Final = (
    "pgd:iterations=20:restarts=1",
    "apgd:iterations=30",
    "mpgd:iterations=30:rounding=straight-through",
    "mpgd:iterations=30",
    "dct-threshold:iterations=30",
)
TOP: Final = 255
SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".bmp"}
Levels = npt.NDArray[np.uint8]


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    chain: str
    images: Path
    skip: int
    limit: int
    size: int
    copies: int
    eps: str
    attacks: list[str]
    threads: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One image of the test."""

    original: Levels
    """(3, H, W)."""
    attacked: Levels
    """Start of the attack: the original or its copy."""


def main() -> None:
    """Measure and print."""
    plan = parse()
    torch.set_num_threads(plan.threads)
    oracle = LocalOracle(find_surrogate(plan.model_store, plan.metric), parse_chain(plan.chain), device=plan.device)
    images = [read(path, plan) for path in files(plan)]
    originals = np.array([score(oracle, image.original) for image in images])
    clean = np.array([score(oracle, image.attacked) for image in images])
    print(f"{plan.metric} behind {plan.chain}, {plan.eps}: {len(images)} images", flush=True)
    print(f"originals {originals.mean():.2f}, attacked from {clean.mean():.2f}", flush=True)
    print("| attack | score | gain | least and greatest | pass their original |\n|---|---|---|---|---|", flush=True)
    for text in plan.attacks:
        attack = parse_attack(f"{text}:eps={plan.eps}")
        found = np.array([attacked(attack, oracle, image, place) for place, image in enumerate(images)])
        gains, passing = found - clean, int((found > originals).sum())
        span = f"{gains.min():.2f} to {gains.max():.2f}"
        row = [f"`{text}`", f"{found.mean():.2f}", f"{gains.mean():.2f}", span, f"{passing} of {len(images)}"]
        print(f"| {' | '.join(row)} |", flush=True)


def files(plan: Plan) -> list[Path]:
    """Return the image files, in name order."""
    found = sorted(path for path in plan.images.iterdir() if path.suffix.lower() in SUFFIXES)
    return found[plan.skip : plan.skip + plan.limit]


def read(path: Path, plan: Plan) -> Photo:
    """Read an image at the requested size, with its copy."""
    image = Image.open(path).convert("RGB")
    if plan.size:
        image = image.resize((plan.size, plan.size), Image.Resampling.BICUBIC)
    copy = image
    if plan.copies:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=plan.copies)
        copy = Image.open(io.BytesIO(stream.getvalue())).convert("RGB")
    original, attacked = (np.asarray(one).transpose(2, 0, 1) for one in (image, copy))
    return Photo(original=original, attacked=attacked)


def batch_of(levels: Levels) -> Images:
    """Return one image as a batch."""
    return (levels[None] / np.float32(TOP)).astype(np.float32)


def score(oracle: LocalOracle, levels: Levels) -> float:
    """Return the score of one image through the chain."""
    return float(oracle.score(batch_of(levels))[0])


def attacked(attack: Attack, oracle: LocalOracle, photo: Photo, seed: int) -> float:
    """Attack one image; return the score of the result, rounded to 8 bits."""
    result = attack(batch_of(photo.attacked), oracle, seeds=[seed])
    return score(oracle, result.attacked_8bit[0])


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--chain", default="jpeg:quality=50")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--skip", type=int, default=0, help="images to leave out, by name")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--size", type=int, default=0, help="side to resize to; 0 = as they are")
    parser.add_argument("--copies", type=int, default=0, help="JPEG quality of the copies; 0 = the images themselves")
    parser.add_argument("--eps", default="2/255")
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    return parser.parse_args(namespace=Plan())


if __name__ == "__main__":
    main()
