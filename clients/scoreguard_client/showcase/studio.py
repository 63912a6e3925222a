"""Produce the images: one call per defence and image gives both the purified image and its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard.v1.codec import ImageArray
from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._exceptions import InternalError, ScoreguardError, UnavailableError
from scoreguard_client._models import FloatImage, MetricDescription, Score
from scoreguard_client.oracles.live import is_random
from scoreguard_client.scores.fidelity import like, psnr, ssim
from scoreguard_client.scores.purification import quality_score
from scoreguard_client.showcase.cards import Card, Pair, View
from scoreguard_client.showcase.details import Window, follow
from scoreguard_client.showcase.images import show, show_difference
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.errors import FATAL
from scoreguard_client.target.images import unit_values

_NOT_THE_DEFENCE: Final = frozenset({"queue", "decode", "metric", "gradient"})


@dataclass(frozen=True, kw_only=True)
class Studio:
    """A photo and its attacked form, before a deployed metric."""

    client: ScoringClient
    """The connection."""
    metric: MetricDescription
    """The metric."""
    clean: ImageArray
    """x as stored in the file, (H, W, 3): uint8, or float32 for a 16-bit file."""
    attacked: FloatImage
    """x', (H, W, 3); sent unchanged, never rounded to 8 bits."""
    window: Window
    """The detail."""
    factor: float
    """Amplification of differences."""
    seed: int
    """Seed of random defences: the same for both images, so that only the attack makes a difference."""

    def undefended(self) -> Pair:
        """Score the undefended photo and its attacked form.

        Raises:
            ServerError: the metric cannot score them.
        """
        clean, attacked = self._score(self.clean, ()), self._score(self.attacked, ())
        return self._pair(clean, unit_values(self.clean), attacked, self.attacked)

    def card(self, chain: Sequence[Step]) -> Card:
        """Run one defence; an error of this defence alone is written on its card.

        Raises:
            ServerError: the server is unreachable, or refuses this caller.
        """
        pair, error = None, ""
        try:
            pair = self._purified_pair(chain)
        except (UnavailableError, *FATAL):
            raise
        except ScoreguardError as failure:
            error = " ".join(str(failure).split()) or type(failure).__name__
        defences = [self.metric.defence(step.name) for step in chain]
        return Card(
            label=format_chain(chain),
            chain=complete_chains([tuple(chain)], self.metric)[0],
            title=" + ".join(defence.title for defence in defences),
            random=is_random(self.metric, chain),
            size_preserving=all(defence.size_preserving for defence in defences),
            pair=pair,
            error=error,
        )

    def _purified_pair(self, chain: Sequence[Step]) -> Pair:
        clean, attacked = self._score(self.clean, chain), self._score(self.attacked, chain)
        return self._pair(clean, _purified(clean), attacked, _purified(attacked))

    def _score(self, image: ImageArray, chain: Sequence[Step]) -> Score:
        return self.client.score(
            image, metric=self.metric.name, defences=list(chain), seed=self.seed, return_purified=bool(chain)
        )

    def _pair(self, clean: Score, clean_seen: FloatImage, attacked: Score, attacked_seen: FloatImage) -> Pair:
        window = follow(self.window, unit_values(self.clean), clean_seen)
        return Pair(
            clean=self._view(clean, clean_seen, window),
            attacked=self._view(attacked, attacked_seen, window),
            difference=show_difference(attacked_seen, clean_seen, window, self.factor),
            window=window,
            higher_is_better=self.metric.higher_is_better,
        )

    def _view(self, answer: Score, seen: FloatImage, window: Window) -> View:
        original = unit_values(self.clean)
        comparable = like(original, seen)
        similarity, ratio = ssim(original, comparable), psnr(original, comparable)
        return View(
            score=answer.score,
            psnr=ratio,
            ssim=similarity,
            quality=quality_score(np.array([similarity]), np.array([ratio])),
            height=seen.shape[0],
            width=seen.shape[1],
            milliseconds=sum(t.milliseconds for t in answer.timings if t.stage not in _NOT_THE_DEFENCE),
            shown=show(seen, window),
        )


def _purified(answer: Score) -> FloatImage:
    if answer.purified is None:
        raise InternalError("the server returned no purified image")
    return answer.purified
