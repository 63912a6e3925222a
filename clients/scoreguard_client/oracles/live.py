"""Live oracles: the endpoint itself answers, with scores or, where the operator allows it, with gradients."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from scoreguard.v1.rounding import Rounding
from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._chains import complete_step
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import FloatPicture, Gradient, MetricDescription, Score
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.seeds import base_seeds, draw_seeds

CALLS_IN_FLIGHT: Final = 8
"""Calls that one oracle keeps under way: enough to fill the server's batches."""

_Answer = TypeVar("_Answer", Score, Gradient)


def facts_of(metric: MetricDescription) -> OracleFacts:
    """Range and direction of a deployed metric."""
    low, high = metric.score_range
    return OracleFacts(metric=metric.name, range_low=low, range_high=high, higher_is_better=metric.higher_is_better)


def is_random(metric: MetricDescription, chain: Sequence[Step]) -> bool:
    """Whether the score behind a chain depends on the seed.

    Raises:
        NotFoundError: a defence of the chain is not deployed before this metric.
    """
    return any(metric.defence(step.name).random for step in chain)


class LiveScoreOracle:
    """f(g(x)) from the endpoint, float32 values unrounded; several calls are under way at once."""

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
        """Keep what to ask.

        Args:
            client: the connection.
            metric: the deployed metric.
            chain: the defences before it.
            seed: where the draws of random defences start, one for all pictures or one for each; each call draws anew.
            draws: draws per call whose mean is the score; deterministic chains take one.
            calls_in_flight: calls under way at once.

        Raises:
            NotFoundError: a defence of the chain is not deployed before this metric.
            ParameterError: a parameter of the chain is unknown or out of range.
        """
        self._draws = draws if is_random(metric, chain) else 1
        self._client, self._chain = client, format_chain(chain)
        steps = tuple(complete_step(step, metric, place) for place, step in enumerate(chain))
        self._facts = replace(facts_of(metric), chain=steps, calls_per_question=self._draws)
        self._seed, self._questions, self._in_flight = seed, itertools.count(1), calls_in_flight
        self._last_calls = np.zeros(0, dtype=np.int64)

    @property
    def facts(self) -> OracleFacts:
        """The metric's range and direction."""
        return self._facts

    @property
    def last_calls(self) -> npt.NDArray[np.int64]:
        """Calls that the last question cost each picture, (N,): its draws, and each time that one was sent again."""
        return self._last_calls

    def score(self, images: Images) -> Scores:
        """Scores (N,) of pictures (N, 3, H, W).

        Raises:
            ServerError: one of the calls failed.
        """
        answers = self._ask(self._score_one, images)
        scores = np.array([answer.score for answer in answers], dtype=np.float64)
        return np.asarray(scores.reshape(self._draws, len(images)).mean(axis=0))

    def _score_one(self, picture: FloatPicture, seed: int) -> Score:
        return self._client.score(picture, metric=self._facts.metric, defences=self._chain, seed=seed)

    def _ask(self, call: Callable[[FloatPicture, int], _Answer], images: Images) -> list[_Answer]:
        """Results for every draw of every picture: all pictures of draw 0, then all of draw 1, ..."""
        question = next(self._questions)
        pictures = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images] * self._draws
        bases = base_seeds(self._seed, len(images))
        draws = (draw_seeds(bases, question, number) for number in range(self._draws))
        seeds = [seed for drawn in draws for seed in drawn]
        with _pool(self._in_flight) as pool:
            answers = list(pool.map(call, pictures, seeds))
        attempts = np.array([answer.attempts for answer in answers], dtype=np.int64)
        self._last_calls = attempts.reshape(self._draws, len(images)).sum(axis=0)
        return answers


class LiveGradientOracle(LiveScoreOracle):
    """Score and gradient from the endpoint's GradientService."""

    _rounding = Rounding.STRAIGHT_THROUGH

    def with_rounding(self, rounding: Rounding) -> LiveGradientOracle:
        """The same endpoint and draws with another derivative of rounding."""
        twin = copy.copy(self)
        twin._rounding = rounding
        return twin

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Scores (N,) and d score / d picture (N, 3, H, W), means over draws.

        Raises:
            ServerError: one of the calls failed, or the server gives no gradients.
        """
        answers = self._ask(self._gradient_one, images)
        shape = (self._draws, len(images))
        scores = np.array([answer.score for answer in answers], dtype=np.float64).reshape(shape)
        gradients = np.stack([answer.gradient.transpose(2, 0, 1) for answer in answers]).astype(np.float32)
        return scores.mean(axis=0), gradients.reshape(*shape, *gradients.shape[1:]).mean(axis=0)

    def _gradient_one(self, picture: FloatPicture, seed: int) -> Gradient:
        return self._client.gradient(
            picture, metric=self._facts.metric, defences=self._chain, seed=seed, rounding=self._rounding
        )


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scoreguard-oracle")
    try:
        yield pool
    finally:
        # After a failure the calls that have not started are not worth starting.
        pool.shutdown(wait=True, cancel_futures=True)
