"""An attack under test, with the images, seeds and oracles that the rules use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from scoreguard.v1.spec import Step
from scoreguard_client.attacks.base import Attack, AttackResult, Companions, Needs
from scoreguard_client.attacks.errors import AttackInputError, AttackSpecError
from scoreguard_client.oracles.base import GradientOracle, Images
from scoreguard_client.testing.oracles import CurvedOracle, LinearOracle, ScoreOnly, ramp

SIZES: Final = ((3, 17, 23), (1, 1, 1), (2, 5, 12), (1, 12, 1))
"""Images, height and width: odd, not square, a pixel, a line."""
_RADII: Final = (0.5 / 255, 4 / 255, 0.0314, 1.0)
"""Radii of an L∞ ball: below one level, whole levels, a decimal number, none."""
_SIMILARITIES: Final = (0.0, 0.99)
"""Smallest SSIM: hardly a bound, and one that leaves little."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An attack with the inputs of its test."""

    attack: Attack
    chain: tuple[Step, ...]
    """The chain that the oracles report, so that the attack fits; their scores do not depend on it."""
    companions: Companions
    """Oracles of the other metrics that it needs."""

    def run(self, images: Images, oracle: GradientOracle, seeds: Sequence[int] | None = None) -> AttackResult:
        """Run the attack; the oracle offers a gradient only if the attack needs one."""
        seen = oracle if self.attack.needs is Needs.GRADIENT else ScoreOnly(inner=oracle)
        return self.attack(images, seen, seeds=seeds, companions=self.companions)

    def linear(self, images: Images) -> LinearOracle:
        """Create a linear score for images of this size."""
        return LinearOracle(weights=ramp(images.shape[1:]), chain=self.chain)

    def curved(self, images: Images) -> CurvedOracle:
        """Create a score without a flat region for images of this size."""
        weights = np.cos(np.arange(images[0].size) * 0.3).reshape(images.shape[1:]) + 0.2
        return CurvedOracle(weights=weights.astype(np.float32), chain=self.chain)

    def batches(self) -> Iterator[Images]:
        """Return clean images of every size, without those the attack refuses; it must accept the first.

        Raises:
            AttackInputError: it refuses the first.
        """
        for size in SIZES:
            images = images_of(*size)
            try:
                self.run(images, self.linear(images))
            except AttackInputError:
                if size == SIZES[0]:
                    raise
            else:
                yield images

    def radii(self) -> Iterator[Trial]:
        """Return the attack, and copies with other budgets of `eps` or `min_ssim`, without those it refuses."""
        yield self
        for name, values in (("eps", _RADII), ("min_ssim", _SIMILARITIES)):
            for value in values if name in {field.name for field in fields(self.attack)} else ():
                try:
                    attack = replace(self.attack, **{name: value})  # type: ignore[arg-type]  # not every attack has one
                except AttackSpecError:
                    continue
                yield replace(self, attack=attack)


def images_of(count: int, height: int, width: int) -> Images:
    """Make 8-bit images (N, 3, H, W), with rows at both ends of the range if there are several."""
    levels = np.random.default_rng(1).integers(0, 256, (count, 3, height, width))
    if height > 2:
        levels[:, :, 0, :], levels[:, :, 1, :] = 0, 255
    return (levels / 255).astype(np.float32)


def size_of(images: Images) -> str:
    """Format a shape for a finding: `3×3×17×23`."""
    return "×".join(map(str, images.shape))
