"""The clean scores of a campaign: every image behind every chain, before it is attacked."""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard.v1.codec import ImageArray
from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client.campaign.attacked import fidelity_of
from scoreguard_client.campaign.endpoint import Answer, Job
from scoreguard_client.campaign.errors import may_pass
from scoreguard_client.campaign.records import CleanKey, CleanScore
from scoreguard_client.campaign.results import CleanResult, ShownImage, levels_of
from scoreguard_client.campaign.services import Services
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.target.images import ImageRef


@dataclass(frozen=True, kw_only=True)
class CleanWork:
    """The clean scores of one image under one metric that are still missing."""

    metric: str
    """The metric."""
    image: ImageRef
    """The image."""
    keys: tuple[CleanKey, ...]
    """The scores to take."""
    seed: int
    """The plan's seed."""
    shown: bool = False
    """Whether the report shows the image."""

    @property
    def lease(self) -> str:
        """Name of the lease on it."""
        return f"clean {self.metric} {self.image.name}"


def failed_clean(work: CleanWork, error: Exception) -> CleanResult:
    """Return scores that failed, with the cause."""
    answer = Answer(error=str(error) or type(error).__name__, retryable=may_pass(error))
    return CleanResult(scores=tuple(_score(work, key, None, answer) for key in work.keys))


def score_clean(work: CleanWork, services: Services) -> CleanResult:
    """Score a clean image; if it cannot be read or scored, its scores say why.

    Raises:
        ServerGoneError: the server stayed unreachable, or came back with another archive.
        ServerError: the server refuses this caller.
    """
    try:
        values = services.read(work.image)
    except ScoreguardError as error:
        return failed_clean(work, error)
    jobs = [
        Job(image=values, chain=key.chain, seed=_seed(work, key), purified=key.chain != UNDEFENDED) for key in work.keys
    ]
    endpoint = services.endpoints[work.metric]
    answers = services.patience_with(work.metric).outlast(lambda: endpoint.score(jobs))
    return CleanResult(
        scores=tuple(_score(work, key, values, answer) for key, answer in zip(work.keys, answers, strict=True)),
        images=(ShownImage(image=work.image.name, levels=levels_of(values)),) if work.shown else (),
    )


def _seed(work: CleanWork, key: CleanKey) -> int:
    return derive_seed(work.seed, *key.seed_parts)


def _score(work: CleanWork, key: CleanKey, image: ImageArray | None, answer: Answer) -> CleanScore:
    fidelity = fidelity_of(answer.purified, image)
    return CleanScore(
        metric=key.metric,
        image=key.image,
        chain=key.chain,
        draw=key.draw,
        seed=_seed(work, key),
        score=answer.score,
        purified_psnr=fidelity.psnr,
        purified_ssim=fidelity.ssim,
        seconds=answer.seconds,
        error=answer.error,
        retryable=answer.retryable,
    )
