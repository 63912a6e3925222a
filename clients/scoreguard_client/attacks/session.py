"""One run of an attack: counts every question, turns scores into quality, and keeps the trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoreguard_client.attacks.ball import Ball
from scoreguard_client.attacks.errors import OracleAnswerError, OracleMismatchError, QueryBudgetError
from scoreguard_client.oracles.base import GradientOracle, Gradients, Images, ScoreOracle, Scores


class Session:
    """What an attack's `run` works with. Quality is the score, negated where a low score means high quality."""

    def __init__(self, *, name: str, ball: Ball, oracle: ScoreOracle, budget: int, seeds: Sequence[int]) -> None:
        self.ball = ball
        self.rngs = tuple(np.random.default_rng(seed) for seed in seeds)
        """One generator for each picture, so that a picture's attack does not depend on its batch."""
        self.queries = 0
        """Questions asked so far about each picture."""
        self.trace: list[Scores] = []
        """The scores in the order of the questions, each (N,), in the metric's own units."""
        self._name, self._oracle, self._budget = name, oracle, budget

    @property
    def clean(self) -> Images:
        """The pictures that the attack starts from."""
        return self.ball.clean

    def quality(self, images: Images) -> Scores:
        """Quality of each picture; one query each."""
        self._count()
        return self._sign * self._keep(self._oracle.score(images))

    def gradient(self, images: Images) -> Gradients:
        """Derivative of the quality with respect to each picture; one query each."""
        if not isinstance(self._oracle, GradientOracle):
            raise OracleMismatchError(self._name)
        self._count()
        scores, gradients = self._oracle.gradient(images)
        self._keep(scores)
        _require_finite("gradient", gradients.reshape(len(gradients), -1).sum(axis=1, dtype=np.float64))
        return np.float32(self._sign) * gradients

    @property
    def _sign(self) -> float:
        return self._oracle.facts.sign

    def _count(self) -> None:
        if self.queries >= self._budget:
            raise QueryBudgetError(self._name, self._budget)
        self.queries += 1

    def _keep(self, scores: Scores) -> Scores:
        scores = np.asarray(scores, dtype=np.float64)
        _require_finite("score", scores)
        self.trace.append(scores)
        return scores


def _require_finite(what: str, values: Scores) -> None:
    places = np.flatnonzero(~np.isfinite(values))
    if places.size:
        raise OracleAnswerError(what, places.tolist())
