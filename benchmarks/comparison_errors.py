"""How often comparisons of chains are wrong, as the table of docs/intervals.md.

    python benchmarks/comparison_errors.py --tables 2000

Makes tables of chains whose true order is known, and prints, for each kind of table and number of images: the share of
tables in which a pair of chains that are alike is called different at 5 % by each test, corrected for the number of
pairs and not; and the share in which every chain's true rank is inside its interval. Chains share the images, some of
which are hard for all. Seeded: the same command prints the same table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.comparisons import holm, sign_flip_ps, signed_rank_p
from scoreguard_client.scores.ranking import ranks

Values = npt.NDArray[np.float64]
SEED: Final = 20240501
LEVEL: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of table."""

    levels: tuple[float, ...]
    """True mean gain of each chain, up to a factor."""
    draw: Callable[[np.random.Generator, int], Values]
    """Draws how much an image gains behind a chain of level 1, for so many images."""
    shared: bool = True
    """Whether some images are hard for all chains."""

    def table(self, rng: np.random.Generator, images: int) -> dict[str, Values]:
        """Draw the gains of each chain: (images,)."""
        hard = rng.exponential(1, images) if self.shared else np.ones(images)
        return {f"chain{number}": level * hard * self.draw(rng, images) for number, level in enumerate(self.levels)}

    def true_ranks(self) -> list[tuple[int, int]]:
        """Return the best and the worst true rank of each chain: chains that are alike share theirs."""
        return [
            (1 + sum(other < level for other in self.levels), sum(other <= level for other in self.levels))
            for level in self.levels
        ]


KINDS: Final = {
    "six alike, normal": Kind(levels=(1,) * 6, draw=lambda rng, n: rng.normal(1, 0.5, n), shared=False),
    "six alike, skewed": Kind(levels=(1,) * 6, draw=lambda rng, n: rng.exponential(1, n)),
    "six alike, one image in ten": Kind(
        levels=(1,) * 6, draw=lambda rng, n: np.where(rng.random(n) < 0.1, 0.3, 0.0), shared=False
    ),
    "two alike of four, skewed": Kind(levels=(0.2, 1, 1, 3), draw=lambda rng, n: rng.exponential(1, n)),
}


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Shares of tables."""

    wilcoxon: float
    """With two chains that are alike called different by the signed-rank test, corrected."""
    flips: float
    """The same by the sign-flip test, corrected."""
    uncorrected: float
    """The same by the signed-rank test, not corrected."""


def errors(kind: Kind, images: int, tables: int) -> Errors:
    """Count the tables in which a pair of chains that are alike is called different."""
    rng = np.random.default_rng([SEED, images])
    pairs = list(combinations(range(len(kind.levels)), 2))
    same = np.array([kind.levels[first] == kind.levels[second] for first, second in pairs])
    counts = np.zeros(3)
    for _ in range(tables):
        gains = list(kind.table(rng, images).values())
        differences = np.stack([gains[first] - gains[second] for first, second in pairs])
        ranked = np.array([signed_rank_p(row) for row in differences])
        tests = (holm(ranked), holm(sign_flip_ps(differences)), ranked)
        counts += [ps[same].min() <= LEVEL for ps in tests]
    wilcoxon, flips, uncorrected = (counts / tables).tolist()
    return Errors(wilcoxon=wilcoxon, flips=flips, uncorrected=uncorrected)


def ranks_held(kind: Kind, images: int, tables: int) -> float:
    """Return the share of tables in which all true ranks are inside their intervals; NaN if there are none."""
    rng, names = np.random.default_rng([SEED, images, 1]), [str(number) for number in range(images)]
    held = 0
    for _ in range(tables):
        given = ranks(kind.table(rng, images), names)
        if any(rank.low is None or rank.high is None for rank in given):
            return float("nan")
        ends = [(rank.low or 0, rank.high or 0) for rank in given]
        held += all(
            low <= best and worst <= high for (low, high), (best, worst) in zip(ends, kind.true_ranks(), strict=True)
        )
    return held / tables


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=500, help="Tables of each kind.")
    parser.add_argument("--sizes", default="6,30,100", help="Images of a table, separated by commas.")
    options = parser.parse_args()
    print("| chains | n | Wilcoxon | sign flips | uncorrected | all ranks held |")
    print("|---|---|---|---|---|---|")
    for title, kind in KINDS.items():
        for images in map(int, options.sizes.split(",")):
            found, held = errors(kind, images, options.tables), ranks_held(kind, images, options.tables)
            shares = [f"{share:.3f}" for share in (found.wilcoxon, found.flips, found.uncorrected)]
            print(f"| {title} | {images} | {' | '.join(shares)} | {held:.3f} |".replace("nan", "–"), flush=True)


if __name__ == "__main__":
    main()
