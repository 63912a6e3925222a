"""Score the attacked images of a unit behind its chains, and put the numbers into records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.attacked import Attacked, attacked_images, fidelity_of
from scoreguard_client.campaign.endpoint import Answer, Endpoint, Job
from scoreguard_client.campaign.errors import CleanImageError, may_pass
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.perceptual import PerceptualDistance
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey, is_adaptive
from scoreguard_client.oracles.base import Images
from scoreguard_client.target.crafting import CraftedBatch
from scoreguard_client.target.images import ImageRef
from scoreguard_client.target.units import Unit

CleanTable = Mapping[CleanKey, CleanScore]
"""Clean scores by key."""


class Answers(NamedTuple):
    """Answers for the two forms of an attacked image."""

    exact: Answer
    """For the float values."""
    rounded: Answer
    """For the values rounded to 8 bits."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Turns crafted batches into records through the live endpoint."""

    plan: Plan
    endpoint: Endpoint
    gallery: Gallery
    draws: Mapping[str, int]
    """Draws by chain."""
    clean: CleanTable
    """Clean scores of every image, chain and draw."""
    distance: PerceptualDistance | None = None
    """The perceptual distance to measure."""

    def failed(self, unit: Unit, error: Exception) -> list[Record]:
        """Make a failed record, with the cause, for everything that the unit should have given."""
        text, passing = str(error) or type(error).__name__, may_pass(error)
        return [
            replace(self._begun(image, key), error=text, retryable=passing)
            for image in unit.images
            for key in self.keys(unit, image)
        ]

    def refusal(self, unit: Unit, image: ImageRef) -> CleanImageError | None:
        """Say why an image of a unit is not attacked; None if it is.

        A server that cannot score the clean image cannot score the attacked one, and attacks cost far more than scores.
        """
        chains = dict.fromkeys((UNDEFENDED, unit.attacked_through))
        rows = (self.clean[CleanKey(image.name, chain, 0)] for chain in chains)
        failed = next((row for row in rows if row.error), None)
        return None if failed is None else CleanImageError(failed.error, retryable=failed.retryable)

    def keys(self, unit: Unit, image: ImageRef) -> list[RecordKey]:
        """Keys of every record of an image of a unit."""
        attack = str(unit.attack)
        return [
            RecordKey(image.name, attack, unit.attacked_through, chain, draw)
            for chain in self.plan.scored_behind(unit)
            for draw in range(self.draws[chain])
        ]

    def records(self, unit: Unit, batch: CraftedBatch, clean: Images, done: Collection[RecordKey]) -> list[Record]:
        """Make the records of a unit that are still missing."""
        missing = [[key for key in self.keys(unit, image) if key not in done] for image in unit.images]
        images = attacked_images(unit, batch, clean, self.distance)
        work = [(attacked, keys) for attacked, keys in zip(images, missing, strict=True) if keys]
        # All jobs in one call keep the server busy across images.
        jobs = (_jobs(attacked, key, self._seed(key)) for attacked, keys in work for key in _with_undefended(keys))
        answers = iter(self.endpoint.score(job for pair in jobs for job in pair))
        records = []
        for attacked, keys in work:
            answered = {key: Answers(next(answers), next(answers)) for key in _with_undefended(keys)}
            self._show(unit, attacked, answered)
            records += [self._record(attacked, key, answered) for key in keys]
        return records

    def _seed(self, key: RecordKey) -> int:
        # The seed differs from the clean image's: paired randomness would flatter random defences.
        return self.plan.seed_for("attacked", *key)

    def _begun(self, image: ImageRef, key: RecordKey) -> Record:
        """Start a record with its identity and no numbers yet."""
        return Record(
            image=key.image,
            attack=key.attack,
            attacked_through=key.attacked_through,
            chain=key.chain,
            draw=key.draw,
            image_sha256=image.sha256,
            metric=self.plan.metric,
            adaptive=is_adaptive(key.attacked_through),
            seed=self._seed(key),
        )

    def _record(self, attacked: Attacked, key: RecordKey, answered: Mapping[RecordKey, Answers]) -> Record:
        clean, clean_defended = self.clean[key.undefended.clean], self.clean[key.clean]
        undefended, defended = answered[key.undefended], answered[key]
        sources = (clean, clean_defended, *undefended, *defended)
        failed = next((source for source in sources if source.error), None)
        purified = attacked.exact if key.chain == UNDEFENDED else defended.exact.purified
        fidelity, change = fidelity_of(purified, attacked.clean), attacked.change
        return replace(
            self._begun(attacked.image, key),
            clean_score=clean.score,
            clean_defended=clean_defended.score,
            attacked_score=undefended.exact.score,
            attacked_defended=defended.exact.score,
            attacked_score_8bit=undefended.rounded.score,
            attacked_defended_8bit=defended.rounded.score,
            crafting_score=attacked.crafting_score,
            psnr=change.fidelity.psnr,
            ssim=change.fidelity.ssim,
            l_inf=change.l_inf,
            l_inf_8bit=change.l_inf_8bit,
            changed_pixels=change.changed_pixels,
            purified_psnr=fidelity.psnr,
            purified_ssim=fidelity.ssim,
            queries=attacked.queries,
            crafting_seconds=attacked.seconds,
            scoring_seconds=defended.exact.seconds,
            metric_sha256=defended.exact.metric_sha256,
            steps_sha256=defended.exact.steps_sha256,
            engine=defended.exact.engine,
            flags=attacked.flags,
            error="" if failed is None else failed.error,
            retryable=failed is not None and failed.retryable,
            perceptual=change.perceptual,
        )

    def _show(self, unit: Unit, attacked: Attacked, answered: Mapping[RecordKey, Answers]) -> None:
        name, attack, through = attacked.image.name, str(unit.attack), unit.attacked_through
        self.gallery.show(name, attacked.rounded, attack=attack, attacked_through=through)
        for key, (exact, _) in answered.items():
            if exact.purified is not None and key.draw == 0:
                self.gallery.show(name, exact.purified, attack=attack, attacked_through=through, chain=key.chain)


def _jobs(attacked: Attacked, key: RecordKey, seed: int) -> tuple[Job, Job]:
    exact = Job(image=attacked.exact, chain=key.chain, seed=seed, purified=key.chain != UNDEFENDED)
    return exact, Job(image=attacked.rounded, chain=key.chain, seed=seed)


def _with_undefended(keys: list[RecordKey]) -> list[RecordKey]:
    # Every record also states f(x'), so that score is taken even if `none` is not among the chains.
    return list(dict.fromkeys([keys[0].undefended, *keys]))
