"""One run of an attack: counts every call, turns scores into the objective, and keeps the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard.chain.rounding import Rounding, any_rounds
from scoreguard_client.attacks.errors import OracleAnswerError, OracleMismatchError, QueryBudgetError
from scoreguard_client.attacks.regions.base import Region
from scoreguard_client.oracles.base import (
    CallCounter,
    DrawingOracle,
    GradientOracle,
    Gradients,
    Images,
    RoundingOracle,
    ScoreOracle,
    Scores,
)
from scoreguard_client.oracles.draws import draws_needed

Counts = npt.NDArray[np.int64]
"""A number for each image: (N,)."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How often an attack may ask."""

    questions: int
    """Questions that it declares; one more is a bug of the attack."""
    calls: int | None = None
    """Calls that it may spend on each image; None = as many as its questions cost."""
    kept: int = 0
    """Questions of these that the search leaves for what is asked about its result, see `Session.release`."""


class Session:
    """What an attack's `run` works with.

    The objective is what the attack raises: the score, negated where a low score means high quality, and negated again
    where the attack lowers quality. A question about a batch costs each image one call, or one for each draw of a
    random defence, and one more for each time that the call had to be sent again.
    """

    def __init__(
        self, *, name: str, region: Region, oracle: ScoreOracle, limits: Limits, seeds: Sequence[int], sign: float
    ) -> None:
        self.region = region
        self.oracle = oracle
        """Who answers; an attack made of others hands it on to them."""
        self.seeds = tuple(seeds)
        """One for each image."""
        self.rngs = tuple(np.random.default_rng(seed) for seed in seeds)
        """One generator for each image, so that an image's attack does not depend on its batch."""
        self.calls: Counts = np.zeros(len(region.clean), dtype=np.int64)
        """Calls so far about each image, (N,)."""
        self.trace: list[Scores] = []
        """The scores in the order of the questions, each (N,), in the metric's own units."""
        self.asked = 0
        """Questions so far."""
        self.clean_objective: Scores | None = None
        """The objective of the clean images, (N,), where a question was about exactly them; the first answer."""
        self._kept, self._absorbed = limits.kept, 0
        self._name, self._limits, self._sign = name, limits, sign

    def take_rounding(self, rounding: Rounding) -> None:
        """Let gradients take another derivative of rounding, where the chain rounds and the oracle has a choice."""
        if any_rounds(self.oracle.facts.chain) and isinstance(self.oracle, RoundingOracle):
            self.oracle = self.oracle.with_rounding(rounding)

    def take_draws(self) -> None:
        """Let questions average over as many draws as the spread of the gradient asks for, where nobody chose a number.

        The draws are each image's own; the single ones that the spread is measured on count as calls.
        """
        facts = self.oracle.facts
        if facts.random and facts.calls_per_question == 1 and isinstance(self.oracle, DrawingOracle):
            needed = draws_needed(self.oracle, self.clean)
            self.calls = self.calls + np.array(needed.calls, dtype=np.int64)
            self.oracle = self.oracle.with_draws(needed.draws)

    @property
    def clean(self) -> Images:
        """The images that the attack starts from, (N, 3, H, W)."""
        return self.region.clean

    @property
    def span(self) -> float:
        """Width of the metric's declared range: the scale of the objective beside another loss."""
        return self.oracle.facts.span

    @property
    def left(self) -> int:
        """Questions that may still be asked: an attack whose budget counts calls stops at 0."""
        left = self._limits.questions + self._absorbed - self.asked
        if self._limits.calls is not None:
            calls = self._limits.calls - int(self.calls.max(initial=0))
            left = max(min(left, calls // self.oracle.facts.calls_per_question), 0)
        return left if self._kept == 0 else max(left - self._kept, 0)

    def release(self) -> None:
        """Give back the questions that were kept for the end."""
        self._kept = 0

    def objective(self, images: Images) -> Scores:
        """The objective of each image, (N,)."""
        self._ask()
        scores = self._oracle_scores(images)
        return self._remembered(images, self._sign * self._keep(scores))

    def gradient(self, images: Images) -> Gradients:
        """Derivative of the objective with respect to each image, (N, 3, H, W)."""
        return self.value_and_gradient(images)[1]

    def value_and_gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """The objective (N,) and its derivative (N, 3, H, W); one question."""
        if not isinstance(self.oracle, GradientOracle):
            raise OracleMismatchError(self._name)
        self._ask()
        scores, gradients = self.oracle.gradient(images)
        self._count(len(images))
        kept = self._keep(scores)
        _require_finite("gradient", gradients.reshape(len(gradients), -1).sum(axis=1, dtype=np.float64))
        return self._remembered(images, self._sign * kept), np.float32(self._sign) * gradients

    def absorb(self, calls: Counts, trace: Scores) -> None:
        """Add what another attack has asked on behalf of this one; its questions are held by its own budget.

        Args:
            calls: calls about each image, (N,).
            trace: its scores, (questions, N).
        """
        self.calls = self.calls + calls
        self.asked += len(trace)
        self._absorbed += len(trace)
        self.trace.extend(trace)

    def _remembered(self, images: Images, objective: Scores) -> Scores:
        if self.clean_objective is None and np.array_equal(images, self.clean):
            self.clean_objective = objective
        return objective

    def _oracle_scores(self, images: Images) -> Scores:
        scores = self.oracle.score(images)
        self._count(len(images))
        return scores

    def _ask(self) -> None:
        if self.left < 1:
            raise QueryBudgetError(self._name, self._limits.questions)
        self.asked += 1

    def _count(self, images: int) -> None:
        oracle: object = self.oracle
        calls = oracle.last_calls if isinstance(oracle, CallCounter) else np.ones(images, dtype=np.int64)
        self.calls = self.calls + calls

    def _keep(self, scores: Scores) -> Scores:
        scores = np.asarray(scores, dtype=np.float64)
        _require_finite("score", scores)
        self.trace.append(scores)
        return scores


def _require_finite(what: str, values: Scores) -> None:
    indices = np.flatnonzero(~np.isfinite(values))
    if indices.size:
        raise OracleAnswerError(what, indices.tolist())
