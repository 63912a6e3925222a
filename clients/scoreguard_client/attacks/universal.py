"""Base of the universal attacks: a perturbation trained on other images is added unchanged.

    x' = clip(x + amplitude * tile(u), 0, 1)

u is repeated from the top left corner and cut to the image's size. The study takes the amplitudes 0.2, 0.4 and 0.8.
Its public code scores x + amplitude * u without the cut to [0, 1]; here values stay in [0, 1], as in the later code of
the same group (arXiv 2408.01541). The mode of the training belongs to the file, not to the attack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np

from scoreguard_client.attacks.base import Attack, Companions, Needs, SearchResult
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images
from scoreguard_client.perturbations.artifact import UniversalPerturbation, load_perturbation
from scoreguard_client.perturbations.errors import PerturbationError
from scoreguard_client.perturbations.recipe import Kind
from scoreguard_client.perturbations.tiling import tiled

_DIGEST: Final = re.compile(r"(?:[0-9a-f]{64})?\Z")


@dataclass(frozen=True, kw_only=True)
class UniversalAttack(Attack):
    """One trained perturbation for all images; the metric is not queried until the images are made."""

    needs = Needs.TRAINING
    budget = "L∞ ≤ amplitude x largest value"
    asks_for = "a trained perturbation: file=PATH"
    same_to_readers = Attack.same_to_readers | {"file", "digest"}
    kind: ClassVar[Kind]
    """The training whose perturbations it applies."""

    file: str = ""
    """The perturbation: what `scoreguard uap train` wrote, or a published .npy or .png; must be given."""
    amplitude: float = 0.4
    """Factor of the perturbation; 0.2, 0.4 and 0.8 in the benchmark (arXiv 2310.06958)."""
    digest: str = ""
    """SHA-256 that the file must have, hexadecimal; empty = any. `pinned` fills it in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        make = f"scoreguard uap train --kind {self.kind} makes one"
        self.require(bool(self.file), f"give the perturbation, {self.name}:file=FILE; {make}")
        self.require(0 < self.amplitude <= 10, f"amplitude must be in (0, 10], not {self.amplitude:g}")
        self.require(bool(_DIGEST.match(self.digest)), "digest is a SHA-256 of 64 hexadecimal digits")

    @classmethod
    def sample(cls) -> Self:
        """Create an instance whose file does not exist."""
        return cls(file="-")

    @cached_property
    def perturbation(self) -> UniversalPerturbation:
        """The perturbation to add, read once.

        Raises:
            PerturbationError: the file is missing, damaged, does not match the digest, or is of another training.
        """
        found = load_perturbation(Path(self.file), self.digest)
        if found.recipe is not None:
            self._require_trained(found.recipe.kind, self.kind.value, f"use {found.recipe.kind}-uap")
            self._require_trained(found.recipe.direction, self.direction.value, "train one with --direction")
        return found

    @property
    def eps(self) -> float:
        """Radius of the L-infinity ball: amplitude times the largest absolute value of the perturbation."""
        return self.amplitude * self.perturbation.largest

    @property
    def keeps_clean(self) -> bool:
        """False: the metric is not queried, and a perturbation may lower the score of an image."""
        return False

    @property
    def queries_needed(self) -> int:
        """Zero: the image is never queried."""
        return 0

    def pinned(self) -> Self:
        """Return the same attack with the digest of its file.

        Raises:
            PerturbationError: the file cannot be used.
        """
        return replace(self, digest=self.perturbation.sha256)

    def region(self, clean: Images, companions: Companions) -> Ball:
        """The ball of radius eps."""
        del companions
        return ball_around(clean, self.eps)

    def run(self, session: Session) -> SearchResult:
        """Add the perturbation."""
        added = np.float32(self.amplitude) * tiled(self.perturbation.values, *session.clean.shape[2:])
        return SearchResult(images=session.region.clip(session.clean + added))  # pyright: ignore[reportArgumentType]

    def _require_trained(self, there: str, here: str, advice: str) -> None:
        if there != here:
            raise PerturbationError(f"{self.file} was trained as {there}, and {self.name} is {here}: {advice}")
