"""Every attack of the catalogue, short enough for a test of them all. A new attack belongs on one of the lists."""

from __future__ import annotations

from pathlib import Path

from tests.clients.attacks.conftest import ConstantOracle

from scoreguard_client.attacks import CATALOGUE, Attack, parse_attack
from scoreguard_client.attacks.catalogue import kind_of, parameter_types

SEARCHES = [
    "ifgsm",
    "mifgsm",
    "amifgsm:k=0.2",
    "korhonen:iterations=4:least=2",
    "ssah:iterations=3",
    "madc:iterations=3",
    "zhang-ssim:iterations=3",
    "zhang-lpips:iterations=2",
    "zhang-dists:iterations=2",
    "advcf:iterations=3",
    "pgd:iterations=3",
    "apgd:iterations=9",
    "mpgd:iterations=4",
    "square:queries=20",
    "square:queries=20:mode=benchmark",
    "nes:queries=45",
    "nes:queries=45:mode=benchmark",
    "spsa:queries=20:pairs=4",
    "simba:queries=20",
    "simba:queries=20:basis=pixel",
    "onepixel:queries=20:population=8",
    "onepixel:queries=20:population=8:mode=benchmark",
    "patch-rs:queries=20:side=5",
    "patch-rs:queries=20:mode=benchmark",
    "auto:iterations=9:queries=12",
    "free-best:queries=4",
]
"""Every iterated and every query attack, in each mode in which it keeps the clean image."""
ONE_STEP = ["fgsm", "ioi"]
"""These may end below the clean image, by definition."""
AS_PUBLISHED = [
    "ifgsm:mode=benchmark",
    "mifgsm:mode=benchmark",
    "amifgsm:mode=benchmark",
    "korhonen:mode=benchmark:iterations=3",
    "ssah:mode=benchmark:iterations=3",
    "madc:mode=benchmark:iterations=3",
    "zhang-ssim:mode=benchmark:iterations=3",
    "advcf:mode=benchmark:iterations=3",
]
"""Gradient attacks that hand out what the benchmark's code does, worse than the clean image or not."""
TRAINED = ["cumulative-uap", "optimized-uap", "generative-uap", "momentum-uap"]
"""Names of attacks whose perturbation is added as it is: the metric is not asked."""
EDITS = [name for name in CATALOGUE if name.startswith("free-") and name != "free-best"]
"""Names of the everyday edits: the metric is not asked."""
CHAINED = {"dct-threshold:iterations=3": "quantise:levels=16"}
"""Searches that work through some chains only, each with one."""
COMPANIONS = {"niqe": ConstantOracle(4.0)}


def attack_of(text: str, weights: Path) -> Attack:
    """An attack, with the folder of weights where it needs one."""
    return parse_attack(f"{text}:weights={weights}" if "weights" in parameter_types(kind_of(text)) else text)


def names_listed() -> set[str]:
    """The attacks that are on one of the lists."""
    texts = [*SEARCHES, *CHAINED, *ONE_STEP, *AS_PUBLISHED, *EDITS]
    return {kind_of(text).name for text in texts} | set(TRAINED)
