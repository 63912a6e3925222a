"""The live endpoint as a campaign uses it: many images at once, a failed one never fails the others."""

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
"""How often a server may come back before a piece of work that it does not survive counts as failed."""

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
    """Whether the purified image is wanted."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    score: float | None = None
    """f(g(x)); None if the call failed."""
    purified: FloatImage | None = None
    """g(x), where it was wanted."""
    seconds: float = 0.0
    """Wall time of the call, waiting in the server's queue included."""
    metric_sha256: str = ""
    """Digest of the metric's graph."""
    steps_sha256: str = ""
    """Digests of the defences' graphs, joined by commas."""
    engine: str = ""
    """Engine that scored."""
    error: str = ""
    """Why the call failed; empty if it did not."""
    retryable: bool = False
    """Whether another try may help."""


class Endpoint:
    """Scores jobs concurrently. Errors of one image come back as text; a server that is gone ends the campaign."""

    def __init__(self, client: ScoringClient, metric: str) -> None:
        self._client, self._metric = client, metric

    def score(self, jobs: Iterable[Job]) -> list[Answer]:
        """Answers in the order of the jobs.

        Raises:
            ServerError: the server cannot be reached, or lets this caller do nothing.
        """
        jobs = list(jobs)
        with pool_for(job.image for job in jobs) as pool:
            return list(pool.map(self._score_one, jobs))

    def wait(self, seconds: float, archive_sha256: str) -> None:
        """Wait until a server that has gone is back, with the archive that the campaign attacks.

        Raises:
            ServerGoneError: it is not back after that many seconds, or came back with another archive.
        """
        try:
            self._client.wait_ready(seconds)
            found = self._client.list_metrics().metric(self._metric).archive_sha256
        except UnavailableError as error:
            raise ServerGoneError(f"the server stayed away for {seconds:g} s ({error})") from error
        if found != archive_sha256:
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
            engine=score.provenance.engine,
        )


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Outlasts a server that goes away for a while."""

    endpoint: Endpoint
    """Who may go away."""
    seconds: float
    """How long it is waited for, each time."""
    archive_sha256: str
    """The archive that it must come back with."""

    def outlast(self, work: Callable[[], _Result]) -> _Result:
        """The result of work that is done again once the server is back.

        Raises:
            ServerGoneError: the server stayed away, or came back with another archive.
            UnavailableError: the work made it go away again and again.
        """
        for _ in range(_RETURNS):
            try:
                return work()
            except UnavailableError:
                self.endpoint.wait(self.seconds, self.archive_sha256)
        return work()
