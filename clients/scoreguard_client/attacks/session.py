"""One run of an attack: counts every call, turns scores into the objective, and keeps the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard.chain.rounding import Rounding, any_rounds
from scoreguard_client.attacks.errors import OracleAnswerError, OracleMismatchError, QueryBudgetError
from scoreguard_client.attacks.regions.base import Region
from scoreguard_client.oracles.arrays import Put, equal, float64, functions, is_host, on_host, unchanged
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
    """How many queries an attack may make."""

    questions: int
    """Queries that it declares; one more is a bug in the attack."""
    calls: int | None = None
    """Calls that it may spend on each image; None = as many as its queries cost."""
    kept: int = 0
    """Queries among these reserved for the search's result, see `Session.release`."""


class Session:
    """What an attack's `run` works with.

    The objective is what the attack raises: the score, negated if a low score means high quality, and negated again if
    the attack lowers quality. A query about a batch costs each image one call, or one for each draw of a random
    defence, and one more each time the call is resent.

    Behind an oracle with a device, an attack that works `on_device` sees images, answers and regions as arrays there.
    Then nothing is copied to the host before `finish`, which also finds answers that are not finite: on the host each
    query does.
    """

    def __init__(
        self,
        *,
        name: str,
        region: Region,
        oracle: ScoreOracle,
        limits: Limits,
        seeds: Sequence[int],
        sign: float,
        put: Put = unchanged,
    ) -> None:
        self.region = region
        self.oracle = oracle
        """The oracle; an attack composed of others passes it on to them."""
        self.seeds = tuple(seeds)
        """One for each image."""
        self.rngs = tuple(np.random.default_rng(seed) for seed in seeds)
        """One generator for each image, so that an image's attack does not depend on its batch."""
        self.put = put
        """Copies a NumPy array, such as random numbers, to where the images are."""
        self.calls: Counts = np.zeros(len(region.clean), dtype=np.int64)
        """Calls so far for each image, (N,)."""
        self.trace: list[Scores] = []
        """The scores in query order, each (N,), in the metric's own units."""
        self.asked = 0
        """Queries so far."""
        self._clean_objective: Scores | None = None
        self._perhaps_clean: tuple[Images, Scores] | None = None
        self._sums: list[tuple[int, Any]] = []
        self._kept, self._absorbed = limits.kept, 0
        self._name, self._limits, self._sign = name, limits, sign

    def take_rounding(self, rounding: Rounding) -> None:
        """Use another derivative of rounding for gradients, if the chain rounds and the oracle has a choice."""
        if any_rounds(self.oracle.facts.chain) and isinstance(self.oracle, RoundingOracle):
            self.oracle = self.oracle.with_rounding(rounding)

    def take_draws(self) -> None:
        """Average queries over as many draws as the spread of the gradient requires, unless the caller chose a number.

        Each image has its own draws; the single draws that measure the spread count as calls.
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
    def clean_objective(self) -> Scores | None:
        """The objective of the clean images, (N,): the first answer to a query about exactly them, if any.

        On a device that is a query about `clean` itself, or else the first query, which is compared only here: a
        comparison waits for the device.
        """
        if self._clean_objective is None and self._perhaps_clean is not None:
            (images, objective), self._perhaps_clean = self._perhaps_clean, None
            if equal(images, self.clean):
                self._clean_objective = objective
        return self._clean_objective

    @property
    def span(self) -> float:
        """Width of the metric's declared range: the scale of the objective relative to another loss."""
        return self.oracle.facts.span

    @property
    def left(self) -> int:
        """Queries left; an attack whose budget counts calls stops at 0."""
        left = self._limits.questions + self._absorbed - self.asked
        if self._limits.calls is not None:
            calls = self._limits.calls - int(self.calls.max(initial=0))
            left = max(min(left, calls // self.oracle.facts.calls_per_question), 0)
        return left if self._kept == 0 else max(left - self._kept, 0)

    def release(self) -> None:
        """Release the queries that were reserved for the end."""
        self._kept = 0

    def objective(self, images: Images) -> Scores:
        """Query the objective of each image, (N,)."""
        self._ask()
        scores = self._oracle_scores(images)
        return self._remembered(images, self._sign * self._keep(scores))

    def gradient(self, images: Images) -> Gradients:
        """Query the derivative of the objective with respect to each image, (N, 3, H, W)."""
        return self.value_and_gradient(images)[1]

    def value_and_gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Query the objective (N,) and its derivative (N, 3, H, W); one query."""
        if not isinstance(self.oracle, GradientOracle):
            raise OracleMismatchError(self._name)
        self._ask()
        scores, gradients = self.oracle.gradient(images)
        self._count(len(images))
        kept = self._keep(scores)
        library = functions(gradients)
        sums = library.sum(gradients.reshape(len(gradients), -1), axis=1, dtype=library.float64)
        if is_host(sums):
            _require_finite("gradient", sums)
        else:
            self._sums.append((len(self.trace), sums))
        return self._remembered(images, self._sign * kept), self._sign * gradients

    def absorb(self, calls: Counts, trace: Scores) -> None:
        """Add the calls that another attack made on behalf of this one; its own budget limits its queries.

        Args:
            calls: calls for each image, (N,).
            trace: its scores, (queries, N).
        """
        self.calls = self.calls + calls
        self.asked += len(trace)
        self._absorbed += len(trace)
        self.trace.extend(self.put(trace))

    def finish(self) -> Scores:
        """Return the trace as one NumPy array, (queries, N).

        Raises:
            OracleAnswerError: an answer from a device was not finite.
        """
        if is_host(self.trace[0]):
            return np.stack(self.trace)
        stack = functions(self.trace[0]).stack
        trace = on_host(stack(self.trace))
        sums = on_host(stack([sums for _, sums in self._sums])) if self._sums else trace[:0]
        queries = [(asked, "gradient", row) for (asked, _), row in zip(self._sums, sums, strict=True)]
        queries += [(asked, "score", row) for asked, row in enumerate(trace, 1)]
        for _, what, row in sorted(queries, key=lambda query: (query[0], query[1] == "gradient")):
            _require_finite(what, row)
        return trace

    def _remembered(self, images: Images, objective: Scores) -> Scores:
        if self._clean_objective is None:
            if images is self.clean or (is_host(images) and equal(images, self.clean)):
                self._clean_objective = objective
            elif self.asked == 1 and not is_host(images):
                self._perhaps_clean = images, objective
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
        scores = np.asarray(scores, dtype=np.float64) if self.put is unchanged else float64(scores)
        if is_host(scores):
            _require_finite("score", scores)
        self.trace.append(scores)
        return scores


def _require_finite(what: str, values: Scores) -> None:
    indices = np.flatnonzero(~np.isfinite(values))
    if indices.size:
        raise OracleAnswerError(what, indices.tolist())
