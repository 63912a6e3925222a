"""Score the attacked images of a unit behind its chains, and put the numbers into records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.attacked import Attacked, attacked_images, fidelity_of
from scoreguard_client.campaign.endpoint import Answer, Endpoint, Job
from scoreguard_client.campaign.errors import CleanImageError, may_pass
from scoreguard_client.campaign.perceptual import PerceptualDistance
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey, is_adaptive
from scoreguard_client.campaign.results import ShownImage, levels_of
from scoreguard_client.oracles.base import Images
from scoreguard_client.oracles.seeds import derive_seed
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
class Scored:
    """One attacked image with its answers."""

    attacked: Attacked
    """The image."""
    keys: Sequence[RecordKey]
    """Its records."""
    answers: Mapping[RecordKey, Answers]
    """The answers of each, and of the undefended metric."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Turns crafted batches of one metric into records."""

    endpoint: Endpoint
    """The metric's endpoint."""
    seed: int
    """The plan's seed."""
    clean: CleanTable
    """Clean scores of every image, chain and draw of the records."""
    distance: PerceptualDistance | None = None
    """The perceptual distance to measure."""

    def refusal(self, unit: Unit, image: ImageRef) -> CleanImageError | None:
        """Say why an image of a unit is not attacked; None if it is.

        A server that cannot score the clean image cannot score the attacked one, and attacks cost far more than scores.
        """
        chains = dict.fromkeys((UNDEFENDED, unit.attacked_through))
        rows = (self.clean[CleanKey(unit.metric, image.name, chain, 0)] for chain in chains)
        failed = next((row for row in rows if row.error), None)
        return None if failed is None else CleanImageError(failed.error, retryable=failed.retryable)

    def scored(
        self, unit: Unit, batch: CraftedBatch, clean: Images, keys: Mapping[str, Sequence[RecordKey]]
    ) -> list[Scored]:
        """Score the images of a unit.

        Args:
            unit: the attacked unit.
            batch: the attack's result for it.
            clean: the clean images, (N, 3, H, W).
            keys: the records to make, by the image's name.
        """
        images = attacked_images(unit, batch, clean, self.distance)
        work = [(image, keys[image.image.name]) for image in images if keys.get(image.image.name)]
        # All jobs in one call keep the server busy across images.
        jobs = (_jobs(image, key, _seed(key, self.seed)) for image, mine in work for key in _with_undefended(mine))
        answers = iter(self.endpoint.score(job for pair in jobs for job in pair))
        return [
            Scored(
                attacked=image,
                keys=mine,
                answers={key: Answers(next(answers), next(answers)) for key in _with_undefended(mine)},
            )
            for image, mine in work
        ]

    def records(self, scored: Scored) -> Iterator[Record]:
        """Make the records of an image."""
        return (self._record(scored.attacked, key, scored.answers) for key in scored.keys)

    def _record(self, attacked: Attacked, key: RecordKey, answered: Mapping[RecordKey, Answers]) -> Record:
        clean, clean_defended = self.clean[key.undefended.clean], self.clean[key.clean]
        undefended, defended = answered[key.undefended], answered[key]
        sources = (clean, clean_defended, *undefended, *defended)
        failed = next((source for source in sources if source.error), None)
        purified = attacked.exact if key.chain == UNDEFENDED else defended.exact.purified
        fidelity, change = fidelity_of(purified, attacked.clean), attacked.change
        return replace(
            _begun(attacked.image, key, self.seed),
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


def failed_records(image: ImageRef, keys: Iterable[RecordKey], seed: int, error: Exception) -> list[Record]:
    """Make failed records of an image, with the cause."""
    text, passing = str(error) or type(error).__name__, may_pass(error)
    return [replace(_begun(image, key, seed), error=text, retryable=passing) for key in keys]


def _seed(key: RecordKey, seed: int) -> int:
    return derive_seed(seed, *key.seed_parts)


def _begun(image: ImageRef, key: RecordKey, seed: int) -> Record:
    """Start a record with its identity and no numbers yet."""
    return Record(
        image=key.image,
        attack=key.attack,
        attacked_through=key.attacked_through,
        chain=key.chain,
        draw=key.draw,
        image_sha256=image.sha256,
        metric=key.metric,
        adaptive=is_adaptive(key.attacked_through),
        seed=_seed(key, seed),
    )


def shown_images(unit: Unit, scored: Scored) -> Iterator[ShownImage]:
    """Yield what a report shows of an attacked image: itself rounded to 8 bits, and purified by each chain."""
    attacked = ShownImage(
        image=scored.attacked.image.name,
        levels=scored.attacked.rounded,
        metric=unit.metric,
        attack=str(unit.attack),
        attacked_through=unit.attacked_through,
    )
    yield attacked
    for key, (exact, _) in scored.answers.items():
        if exact.purified is not None and key.draw == 0:
            yield replace(attacked, levels=levels_of(exact.purified), chain=key.chain)


def _jobs(attacked: Attacked, key: RecordKey, seed: int) -> tuple[Job, Job]:
    exact = Job(image=attacked.exact, chain=key.chain, seed=seed, purified=key.chain != UNDEFENDED)
    return exact, Job(image=attacked.rounded, chain=key.chain, seed=seed)


def _with_undefended(keys: Sequence[RecordKey]) -> list[RecordKey]:
    # Every record also states f(x'), so that score is taken even if `none` is not among the chains.
    return list(dict.fromkeys([keys[0].undefended, *keys]))
