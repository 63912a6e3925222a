"""One submitted image behind the chains of a run, scored by the run's own scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from scoreguard.v1.codec import ImageArray
from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.base import OUT_OF_RANGE, AttackResult
from scoreguard_client.attacks.external import OVER_BUDGET, External
from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.campaign.attacked import Attacked
from scoreguard_client.campaign.endpoint import Endpoint, Patience
from scoreguard_client.campaign.external import ExternalRecord
from scoreguard_client.campaign.perceptual import PerceptualDistance
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey
from scoreguard_client.campaign.results import ShownImage
from scoreguard_client.campaign.scoring import Scored, Scorer, shown_images
from scoreguard_client.challenge.budget import Budget
from scoreguard_client.challenge.errors import ChallengeError
from scoreguard_client.challenge.submissions import Submitted
from scoreguard_client.oracles.base import Images
from scoreguard_client.scores.fidelity import ssim
from scoreguard_client.target.crafting import CraftedBatch
from scoreguard_client.target.images import ImageRef, as_batch, unit_values
from scoreguard_client.target.units import Unit

_RANGE_SLACK: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one image."""

    records: tuple[ExternalRecord, ...]
    """Its records."""
    images: tuple[ShownImage, ...]
    """The submitted image in 8 bits, and purified by each chain."""


@dataclass(frozen=True, kw_only=True)
class Challenger:
    """Scores the images of one challenge."""

    attack: External
    """Who made them, and the budget."""
    budget: Budget
    """The budget."""
    plan: Plan
    """The plan of the run."""
    endpoints: Mapping[str, Endpoint]
    """The metrics to score with, by name."""
    chains: Mapping[str, Sequence[str]]
    """The chains before each metric."""
    adaptive: bool
    """Whether the images were made knowing the chain."""
    distance: PerceptualDistance | None
    """The perceptual distance to measure."""
    patience: float
    """Seconds to wait for an unreachable server."""

    def clean_keys(self, image: ImageRef) -> list[CleanKey]:
        """Keys of the clean scores that the records of an image compare with."""
        keys = (key for name in self.endpoints for key in self.plan.clean_keys(self.plan.metric(name), image.name))
        return [key for key in keys if key.chain in (UNDEFENDED, *self.chains[key.metric])]

    def score(
        self, image: ImageRef, clean: ImageArray, submitted: Submitted, scores: Mapping[CleanKey, CleanScore]
    ) -> Result:
        """Score a submitted image.

        Args:
            image: the clean image.
            clean: its values, (H, W, 3).
            submitted: what was submitted for it, of the same size.
            scores: the clean scores.

        Raises:
            ChallengeError: a clean score is missing.
            ServerGoneError: the server stayed unreachable, or came back with another archive.
        """
        if missing := [key for key in self.clean_keys(image) if key not in scores]:
            raise ChallengeError(
                f"the run has no clean score of {image.name} behind {missing[0].chain} yet: "
                "run scoreguard attack again to finish it"
            )
        before, images = as_batch([clean]), list[ShownImage]()
        batch, records = self._batch(before, as_batch([submitted.values])), list[ExternalRecord]()
        for name, endpoint in self.endpoints.items():
            scorer = Scorer(endpoint=endpoint, seed=self.plan.seed, clean=scores, distance=self.distance)
            scored = self._scored(scorer, self._unit(name, image), batch, before)
            is_inside = self._is_inside(scored.attacked)
            records += (self._external(record, submitted, is_inside=is_inside) for record in scorer.records(scored))
            images += shown_images(self._unit(name, image), scored)
        return Result(records=tuple(records), images=tuple(images))

    def _unit(self, metric: str, image: ImageRef) -> Unit:
        return Unit(metric=metric, attack=self.attack, attacked_through=UNDEFENDED, images=(image,))

    def _scored(self, scorer: Scorer, unit: Unit, batch: CraftedBatch, clean: Images) -> Scored:
        (image,), metric = unit.images, self.plan.metric(unit.metric)
        keys = [
            RecordKey(metric.name, image.name, str(self.attack), UNDEFENDED, chain, draw)
            for chain in self.chains[metric.name]
            for draw in range(self.plan.draws_of(metric, chain))
        ]
        patience = Patience(endpoint=scorer.endpoint, seconds=self.patience)
        (scored,) = patience.outlast(lambda: scorer.scored(unit, batch, clean, {image.name: keys}))
        return scored

    def _batch(self, clean: Images, images: Images) -> CraftedBatch:
        result = AttackResult(
            attacked=images,
            attacked_8bit=self._eight_bit(clean, images),
            scores=np.full(1, np.nan),
            queries=np.zeros(1, dtype=np.int64),
            trace=np.empty((0, 1)),
            flags=("",),
        )
        return CraftedBatch(result=result, seconds=0.0)

    def _eight_bit(self, clean: Images, images: Images) -> Levels:
        """Round as an attack of the run does, inside the budget, an image that is inside; else to the nearest level."""
        region = self.attack.region(clean, {})
        is_inside = np.array_equal(region.clip(images), images)
        return region.quantise(images) if is_inside else rounded(images)

    def _is_inside(self, attacked: Attacked) -> bool:
        return self.budget.holds(attacked.change, ssim(attacked.clean, unit_values(attacked.rounded)))

    def _external(self, record: Record, submitted: Submitted, *, is_inside: bool) -> ExternalRecord:
        flags = [OVER_BUDGET] * (not is_inside) + [OUT_OF_RANGE] * self._is_out_of_range(record)
        known = replace(
            record,
            # One image is scored behind all chains, whatever of them was known; the seeds are the same.
            attacked_through=record.chain if self.adaptive else UNDEFENDED,
            adaptive=self.adaptive and record.chain != UNDEFENDED,
            flags=",".join(flags),
            # Nobody knows what the search took.
            crafting_score=None,
            queries=None,
            crafting_seconds=None,
        )
        return ExternalRecord(**asdict(known), submitted_sha256=submitted.sha256)

    def _is_out_of_range(self, record: Record) -> bool:
        declared, score = self.plan.metric(record.metric).declared, record.attacked_defended
        slack = _RANGE_SLACK * declared.width
        return score is not None and not declared.low - slack <= score <= declared.high + slack
