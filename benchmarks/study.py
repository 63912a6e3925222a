"""The first study of purification (arXiv 2404.06957) again, on `nima`, with adaptive attacks and everyday edits.

    python benchmarks/study.py --model-store STORE --images NIPS --train KODAK --out runs/study

Runs five campaigns, one after the other; each can be stopped and started again, and has a report of its own. STORE
holds `nima`, `niqe` and the study's defences, NIPS the images of NIPS 2017, and KODAK what the universal perturbations
are trained on. With `--lpips FILE` (the weights of ST-LPIPS) the attack `zhang-lpips` runs too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SIMPLE = ("flip", "crop", "rotate", "blur", "median", "jpeg", "resize", "upscale", "bilateral", "unsharp", "fcn-filter")
"""The study's defences that take milliseconds."""
LEARNED = ("realesrgan", "diffpure", "diffpure-edge", "diffpure-unsharp")
"""Those that take seconds."""
QUICK = ("fgsm", "ifgsm", "mifgsm", "amifgsm", "madc")
LONG = ("korhonen", "ssah", "zhang-ssim", "advcf")
UNIVERSAL = ("cumulative", "optimized", "generative")
FREE = ("free-jpeg", "free-sharpen", "free-contrast", "free-rescale", "free-best")
SIDES = {"generative": 256}
"""Training sizes of universal perturbations; the others are trained at the images' own."""
PROGRAM = "import sys; from scoreguard_client.cli import main; sys.exit(main())"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One campaign of the study."""

    attacks: tuple[str, ...]
    defences: tuple[str, ...]
    words: tuple[str, ...]
    """Further options of `scoreguard attack`."""


class Options(argparse.Namespace):
    """What to run."""

    model_store: Path
    images: Path
    train: Path
    out: Path
    lpips: Path | None
    workers: int
    parts: str


def main() -> None:
    """Run the campaigns."""
    options = parse()
    universal = [trained(options, kind) for kind in UNIVERSAL]
    for name, part in parts(universal, options.lpips).items():
        if name in options.parts.split(","):
            attack(options, name, part)


def parts(universal: list[str], lpips: Path | None) -> dict[str, Part]:
    """Return the campaigns by name."""
    perceptual = (f"zhang-lpips:weights={lpips}",) if lpips else ()
    published = (*QUICK, *LONG, *universal)
    return {
        "adaptive": Part(attacks=QUICK, defences=("none", *SIMPLE), words=("--adaptive", "--limit", "40")),
        "unaware": Part(attacks=(*published, *FREE), defences=("none", *SIMPLE), words=()),
        "learned": Part(attacks=(*published, *perceptual), defences=("none", *LEARNED), words=("--limit", "20")),
        "jpeg": Part(
            attacks=("ifgsm",),
            defences=("none",),
            words=("--adaptive", "--limit", "30", "--sweep", "jpeg.quality=10..100:10"),
        ),
        "upscale": Part(
            attacks=("ifgsm",),
            defences=("none",),
            words=("--adaptive", "--limit", "30", "--sweep", "upscale.scale=0.25..0.95:0.1"),
        ),
    }


def trained(options: Options, kind: str) -> str:
    """Train a universal perturbation, and return the attack that adds it."""
    file = options.out / f"{kind}.safetensors"
    words = ["uap", "train", "--kind", kind, "--metric", "nima", "--images", str(options.train), "--out", str(file)]
    scoreguard(*words, "--surrogate", str(options.model_store), "--size", str(SIDES.get(kind, 299)))
    return f"{kind}-uap:file={file}"


def attack(options: Options, name: str, part: Part) -> None:
    """Run or resume one campaign."""
    words = ["attack", "--metric", "nima", "--images", str(options.images), "--out", str(options.out / name)]
    words += ["--attacks", ",".join(part.attacks), "--defences", ",".join(part.defences), *part.words]
    words += ["--surrogate", str(options.model_store), "--target", f"local:{options.model_store}"]
    scoreguard(*words, "--workers", str(options.workers))


def scoreguard(*words: str) -> None:
    """Run a command of the client."""
    subprocess.run([sys.executable, "-c", PROGRAM, *words], check=True)


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model-store", "images", "train", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--lpips", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", default="adaptive,unaware,learned,jpeg,upscale")
    return parser.parse_args(namespace=Options())


if __name__ == "__main__":
    main()
