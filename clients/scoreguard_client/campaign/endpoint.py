"""The live endpoint as a campaign uses it: many images at once; one failing image does not affect the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from scoreguard.v1.codec import ImageArray
from scoreguard_client._client import ScoringClient
from scoreguard_client._exceptions import ScoreguardError, UnavailableError
from scoreguard_client._models import FloatImage
from scoreguard_client.campaign.errors import ServerGoneError, may_pass
from scoreguard_client.oracles.in_flight import pool_for
from scoreguard_client.target.errors import FATAL

_RETURNS: Final = 3
"""How often a server may come back before the work that crashes it counts as failed."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to score."""

    image: ImageArray
    """(H, W, 3), uint8 or float32."""
    chain: str
    """The chain in its text form."""
    seed: int
    """Seed of random defences."""
    purified: bool = False
    """Whether to return the purified image."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Result of one job."""

    score: float | None = None
    """f(g(x)); None if the call failed."""
    purified: FloatImage | None = None
    """g(x), if requested."""
    seconds: float = 0.0
    """Wall time of the call, including the wait in the server's queue."""
    metric_sha256: str = ""
    """Digest of the metric's graph."""
    steps_sha256: str = ""
    """Digests of the defences' graphs, joined by commas."""
    engine: str = ""
    """Engine that scored."""
    error: str = ""
    """Why the call failed; empty if it did not."""
    retryable: bool = False
    """Whether a retry may help."""


class Endpoint:
    """Scores jobs with one metric, concurrently.

    Errors of one image are returned as text; an unreachable server ends the campaign.
    """

    def __init__(self, client: ScoringClient, metric: str, archive_sha256: str) -> None:
        """Score with a metric of a server, as long as the archive behind it has this digest."""
        self._client, self._metric, self._archive_sha256 = client, metric, archive_sha256

    def score(self, jobs: Iterable[Job]) -> list[Answer]:
        """Score jobs; the answers come in the order of the jobs.

        Raises:
            ServerError: the server cannot be reached, or refuses every call of this caller.
        """
        jobs = list(jobs)
        with pool_for(job.image for job in jobs) as pool:
            return list(pool.map(self._score_one, jobs))

    def wait(self, seconds: float) -> None:
        """Wait until an unreachable server is back, with the archive that the campaign attacks.

        Raises:
            ServerGoneError: it is not back after `seconds`, or came back with another archive.
        """
        try:
            self._client.wait_ready(seconds)
            found = self._client.list_metrics().metric(self._metric).archive_sha256
        except UnavailableError as error:
            raise ServerGoneError(f"the server stayed away for {seconds:g} s ({error})") from error
        if found != self._archive_sha256:
            raise ServerGoneError(f"the server came back with another archive of {self._metric}")

    def _score_one(self, job: Job) -> Answer:
        started = time.perf_counter()
        try:
            score = self._client.score(
                job.image, metric=self._metric, defences=job.chain, seed=job.seed, return_purified=job.purified
            )
        except (UnavailableError, *FATAL):
            raise
        except ScoreguardError as error:
            text, seconds = str(error) or type(error).__name__, time.perf_counter() - started
            return Answer(error=text, retryable=may_pass(error), seconds=seconds)
        return Answer(
            score=score.score,
            purified=score.purified,
            seconds=time.perf_counter() - started,
            metric_sha256=score.provenance.metric_sha256,
            steps_sha256=",".join(step.sha256 for step in score.provenance.steps),
            engine=score.provenance.engine_and_computation,
        )


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Waits for a server that is temporarily unreachable."""

    endpoint: Endpoint
    """The endpoint to wait for."""
    seconds: float
    """How long to wait, each time."""

    def outlast(self, work: Callable[[], _Result]) -> _Result:
        """Do work, repeating it once the server is back, and return its result.

        Raises:
            ServerGoneError: the server stayed unreachable, or came back with another archive.
            UnavailableError: the work repeatedly made the server unreachable.
        """
        for _ in range(_RETURNS):
            try:
                return work()
            except UnavailableError:
                self.endpoint.wait(self.seconds)
        return work()
