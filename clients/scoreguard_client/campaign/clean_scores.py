"""The clean scores of a campaign: every image behind every chain, before anything is attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scoreguard.v1.codec import ImageArray
from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client.campaign.attacked import fidelity_of
from scoreguard_client.campaign.endpoint import Answer, Endpoint, Job, Patience
from scoreguard_client.campaign.errors import may_pass
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore
from scoreguard_client.target.images import ImageRef, read_image


@dataclass(frozen=True, kw_only=True)
class CleanScorer:
    """Scores clean images; an image that cannot be read or scored gets a record that says why."""

    plan: Plan
    """The plan of the campaign."""
    endpoint: Endpoint
    """The endpoint that scores."""
    patience: Patience
    """How long to wait for an unreachable server."""
    gallery: Gallery
    """Store of the images shown in the report."""
    folder: Path
    """Folder of the clean images."""

    def scores(self, image: ImageRef, keys: Sequence[CleanKey]) -> list[CleanScore]:
        """Return the scores of one image, in the order of the keys.

        Raises:
            ServerGoneError: the server stayed unreachable, or came back with another archive.
            ServerError: the server refuses this caller.
        """
        try:
            values = read_image(self.folder, image)
        except ScoreguardError as error:
            answer = Answer(error=str(error), retryable=may_pass(error))
            return [self._score(key, None, answer) for key in keys]
        self.gallery.show(image.name, values)
        jobs = [
            Job(image=values, chain=key.chain, seed=self._seed(key), purified=key.chain != UNDEFENDED) for key in keys
        ]
        answers = self.patience.outlast(lambda: self.endpoint.score(jobs))
        return [self._score(key, values, answer) for key, answer in zip(keys, answers, strict=True)]

    def _seed(self, key: CleanKey) -> int:
        return self.plan.seed_for("clean", *key)

    def _score(self, key: CleanKey, image: ImageArray | None, answer: Answer) -> CleanScore:
        fidelity = fidelity_of(answer.purified, image)
        return CleanScore(
            image=key.image,
            chain=key.chain,
            draw=key.draw,
            seed=self._seed(key),
            score=answer.score,
            purified_psnr=fidelity.psnr,
            purified_ssim=fidelity.ssim,
            seconds=answer.seconds,
            error=answer.error,
            retryable=answer.retryable,
        )
