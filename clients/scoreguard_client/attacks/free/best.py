"""The best of many everyday edits: what anybody can do who may look at the score.

The first query is about the clean image, each further one about a candidate of `candidates`, in that order: every edit
with its defaults, then stronger, then milder. The default of `queries` asks each of them once. Further queries edit the
best image so far once more: a candidate drawn at random, at a random strength, is kept if the score rises.

Every candidate is inside the budget: one that is too strong for an image is weakened first (`free.base`). The clean
image is a candidate too, so no image ends below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.base import Companions, SearchResult
from scoreguard_client.attacks.best import BestSeen
from scoreguard_client.attacks.free.base import (
    MIN_SSIM,
    AtStrength,
    FreeEdit,
    edited_images,
    eight_bit,
    require_min_ssim,
)
from scoreguard_client.attacks.free.candidates import CANDIDATES, candidates
from scoreguard_client.attacks.regions.ssim import SsimRegion
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class FreeBest(ScoreAttack):
    """A black box that tries everyday edits; exactly `queries` queries per image."""

    name = "free-best"
    title = "Best everyday edit"
    paper, year, budget = FreeEdit.paper, FreeEdit.year, FreeEdit.budget

    queries: int = 1 + len(CANDIDATES)
    """Calls per image; as many as there are candidates, and one about the clean image."""
    min_ssim: float = MIN_SSIM
    """Smallest SSIM with the clean image, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min_ssim(self, self.min_ssim)

    def region(self, clean: Images, companions: Companions) -> SsimRegion:
        """All images that are similar enough."""
        del companions
        return SsimRegion(clean=clean, min_ssim=self.min_ssim)

    def run(self, session: Session) -> SearchResult:
        """Ask about each candidate, then about edits of the best image."""
        best, region, edits = BestSeen(session), self.region(session.clean, {}), candidates()
        for edit in edits:
            if not session.left:
                return best.found
            pairs = zip(session.clean, session.rngs, strict=True)
            editors = (edit.editor(eight_bit(image), rng) for image, rng in pairs)
            best.ask(edited_images(session.clean, region, editors)[0])
        while session.left:
            pairs = zip(best.images, session.rngs, strict=True)
            editors = (_drawn(edits, image, rng) for image, rng in pairs)
            best.ask(edited_images(best.images, region, editors)[0])
        return best.found


def _drawn(edits: Sequence[FreeEdit], image: Images, rng: np.random.Generator) -> AtStrength:
    """Draw an edit of one image (3, H, W), and its largest strength."""
    edit, most = edits[int(rng.integers(len(edits)))], rng.uniform()
    editor = edit.editor(eight_bit(image), rng)
    return lambda strength: editor(most * strength)
