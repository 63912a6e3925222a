"""Small scores with known behaviour, as oracles: for trying attacks without a server and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from scoreguard.score_range import ScoreRange
from scoreguard.v1.spec import Step
from scoreguard_client.attacks.per_image import each
from scoreguard_client.oracles.base import GradientOracle, Gradients, Images, OracleFacts, Scores


@dataclass(kw_only=True)
class LinearOracle:
    """score = <weights, image>; the best image in a box takes the box's corner along sign(weights)."""

    weights: Images
    """(3, H, W)."""
    higher_is_better: bool = True
    chain: tuple[Step, ...] = ()
    calls: int = 0
    """Queries so far."""
    seen: list[Images] = field(default_factory=list)
    """The queried images, in order."""

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 1."""
        return OracleFacts(
            metric="linear",
            score_range=ScoreRange(low=0, high=1, higher_is_better=self.higher_is_better),
            chain=self.chain,
        )

    def score(self, images: Images) -> Scores:
        """Compute the inner product."""
        self.calls += 1
        self.seen.append(images.copy())
        products = images.astype(np.float64) * self.weights.astype(np.float64)
        return np.asarray(products.sum(axis=(1, 2, 3)))

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """The weights."""
        return self.score(images), np.broadcast_to(self.weights, images.shape).copy()


@dataclass(kw_only=True)
class CurvedOracle:
    """score = sigmoid(3 mean(sin(9 image) weights)), image by image: its own arithmetic cannot see the batch."""

    weights: Images
    """(3, H, W)."""
    chain: tuple[Step, ...] = ()

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 1."""
        return OracleFacts(metric="curved", score_range=ScoreRange(low=0, high=1), chain=self.chain)

    def score(self, images: Images) -> Scores:
        """Compute the function."""
        return each(self._score, images)

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Compute the function and its derivative."""
        return self.score(images), each(self._slope, images)

    def _score(self, image: Images) -> Scores:
        mean = (np.sin(9.0 * image.astype(np.float64)) * self.weights).mean()
        return np.array([1.0 / (1.0 + np.exp(-3.0 * mean))])

    def _slope(self, image: Images) -> Gradients:
        score = self._score(image)[0]
        outer = 3.0 * score * (1.0 - score) / image.size
        return np.asarray(outer * 9.0 * np.cos(9.0 * image.astype(np.float64)) * self.weights, np.float32)


@dataclass(kw_only=True)
class PeakOracle(LinearOracle):
    """Any change lowers the score, but the gradient does not show it."""

    clean: Images
    """The only images whose score is 0, (N, 3, H, W); all others score below."""

    def score(self, images: Images) -> Scores:
        """Minus the mean change."""
        self.calls += 1
        return np.asarray(-np.abs(images.astype(np.float64) - self.clean).mean(axis=(1, 2, 3)))


@dataclass(kw_only=True)
class CostlyOracle(LinearOracle):
    """Each query costs three calls, and the last image's first call is resent every time."""

    @property
    def facts(self) -> OracleFacts:
        """Three draws."""
        return replace(super().facts, calls_per_question=3)

    @property
    def last_calls(self) -> npt.NDArray[np.int64]:
        """Cost of the last query, (N,)."""
        return np.array([*[3] * (len(self.seen[-1]) - 1), 4])


@dataclass(frozen=True)
class ConstantOracle:
    """One score for every image: a gradient of 0."""

    value: float
    chain: tuple[Step, ...] = ()

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 10."""
        return OracleFacts(metric="constant", score_range=ScoreRange(low=0, high=10), chain=self.chain)

    def score(self, images: Images) -> Scores:
        """The value."""
        return np.full(len(images), self.value)

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """The value, and zeros."""
        return self.score(images), np.zeros_like(images)


@dataclass(kw_only=True)
class ScoreOnly:
    """Hides the gradient of another oracle."""

    inner: GradientOracle

    @property
    def facts(self) -> OracleFacts:
        """The other oracle's facts."""
        return self.inner.facts

    def score(self, images: Images) -> Scores:
        """Return the other oracle's score."""
        return self.inner.score(images)


def ramp(shape: Sequence[int]) -> Images:
    """Draw weights of both signs, of a given shape."""
    return np.linspace(-1, 1, int(np.prod(shape))).reshape(shape).astype(np.float32)


def noise(shape: Sequence[int], seed: int) -> Images:
    """Draw normal weights, of a given shape."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
