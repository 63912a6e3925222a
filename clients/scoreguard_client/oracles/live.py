"""Live oracles: the endpoint itself answers, with scores or, if the operator allows it, with gradients."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from scoreguard.chain.rounding import Rounding
from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._chains import complete_step
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import FloatImage, Gradient, MetricDescription, Score
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.drawing import Drawing
from scoreguard_client.oracles.in_flight import CALLS_IN_FLIGHT, pool_for
from scoreguard_client.oracles.seeds import Questions, base_seeds, draw_seeds, draws_each

_Answer = TypeVar("_Answer", Score, Gradient)


def facts_of(metric: MetricDescription) -> OracleFacts:
    """Return range and direction of a deployed metric."""
    return OracleFacts(metric=metric.name, score_range=metric.declared_range)


def is_random(metric: MetricDescription, chain: Sequence[Step]) -> bool:
    """Whether the score behind a chain depends on the seed.

    Raises:
        NotFoundError: a defence of the chain is not deployed before this metric.
    """
    return any(metric.defence(step.name).random for step in chain)


class LiveScoreOracle(Drawing):
    """f(g(x)) from the endpoint, with unrounded float32 values and several calls in flight."""

    def __init__(
        self,
        client: ScoringClient,
        metric: MetricDescription,
        chain: Sequence[Step] = (),
        *,
        seed: int | Sequence[int] = 0,
        draws: int = 1,
        calls_in_flight: int = CALLS_IN_FLIGHT,
    ) -> None:
        """Create an oracle.

        Args:
            client: the connection.
            metric: the deployed metric.
            chain: the defences before it.
            seed: of random defences, one for all images or one for each; each call draws anew.
            draws: draws per call whose mean is the score; deterministic chains take one.
            calls_in_flight: maximum number of concurrent calls; fewer if images are large.

        Raises:
            NotFoundError: a defence of the chain is not deployed before this metric.
            ParameterError: a parameter of the chain is unknown or out of range.
        """
        random = is_random(metric, chain)
        self._draws = draws if random else 1
        self._client, self._chain = client, format_chain(chain)
        steps = tuple(complete_step(step, metric, index) for index, step in enumerate(chain))
        calls = draws if random else 1
        self._facts = replace(facts_of(metric), chain=steps, calls_per_question=calls, random=random)
        self._seed, self._questions, self._in_flight = seed, Questions(), calls_in_flight
        self._last_calls = np.zeros(0, dtype=np.int64)

    def score(self, images: Images) -> Scores:
        """Compute scores (N,) of images (N, 3, H, W).

        Raises:
            ServerError: a call failed.
        """
        answers = self._ask(self._score_one, images)
        return np.array([np.mean([answer.score for answer in own]) for own in answers], dtype=np.float64)

    def _score_one(self, image: FloatImage, seed: int) -> Score:
        return self._client.score(image, metric=self._facts.metric, defences=self._chain, seed=seed)

    def _ask(self, call: Callable[[FloatImage, int], _Answer], images: Images) -> list[list[_Answer]]:
        """Query each image, and return its answers, one for each of its draws."""
        question = self._questions.next()
        bases, draws = base_seeds(self._seed, len(images)), draws_each(self._draws, len(images))
        rows = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images]
        seeds = [draw_seeds(base, question, number) for base, number in zip(bases, draws, strict=True)]
        indices = [index for index, number in enumerate(draws) for _ in range(number)]
        with pool_for(rows, self._in_flight) as pool:
            found = list(pool.map(call, [rows[index] for index in indices], itertools.chain.from_iterable(seeds)))
        answers: list[list[_Answer]] = [[] for _ in draws]
        for index, answer in zip(indices, found, strict=True):
            answers[index].append(answer)
        self._last_calls = np.array([sum(answer.attempts for answer in own) for own in answers], dtype=np.int64)
        return answers


class LiveGradientOracle(LiveScoreOracle):
    """Score and gradient from the endpoint's GradientService."""

    _rounding = Rounding.STRAIGHT_THROUGH

    def with_rounding(self, rounding: Rounding) -> LiveGradientOracle:
        """Return the same endpoint and draws with another derivative of rounding."""
        twin = copy.copy(self)
        twin._rounding = rounding
        return twin

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Compute scores (N,) and d score / d image (N, 3, H, W), means over draws.

        Raises:
            ServerError: a call failed, or the server serves no gradients.
        """
        answers = self._ask(self._gradient_one, images)
        scores = np.array([np.mean([answer.score for answer in own]) for own in answers], dtype=np.float64)
        means = [np.mean([answer.gradient for answer in own], axis=0, dtype=np.float32) for own in answers]
        return scores, np.ascontiguousarray(np.stack(means).transpose(0, 3, 1, 2))

    def _gradient_one(self, image: FloatImage, seed: int) -> Gradient:
        return self._client.gradient(
            image, metric=self._facts.metric, defences=self._chain, seed=seed, rounding=self._rounding
        )
