"""Closed-loop load through the public client: each of N callers sends its next image when the last one is answered.

Every answer is checked: an image with its seed has one score, so an answer that differs is an error. Requests are
encoded once, because the load generator usually shares the machine with the server.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import PIL.Image

from scoreguard_client._async_client import AsyncScoringClient
from scoreguard_client._exceptions import ConfigurationError, ScoreguardError
from scoreguard_client._images import ImageLike
from scoreguard_client._requests import DefencesLike, PreparedScore, ScoreRequest

__all__ = ["LoadResult", "run_load", "synthetic_images"]

WRONG_SCORE: Final = "WrongScore"
_ERROR_PAUSE_SECONDS: Final = 0.05
_PERCENTILES: Final = (50, 90, 99)


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What one run of the load measured."""

    callers: int
    """Concurrent callers."""
    seconds: float
    """Wall time from the first request to the last answer."""
    latencies_ms: tuple[float, ...] = field(repr=False)
    """Time of each correct answer, in order of arrival."""
    errors: tuple[tuple[str, int], ...]
    """(kind of error, count); `WrongScore` is an answer that differs from the first one for the same image and seed."""

    @property
    def requests(self) -> int:
        """Correct answers."""
        return len(self.latencies_ms)

    @property
    def failures(self) -> int:
        """Wrong or missing answers."""
        return sum(count for _, count in self.errors)

    @property
    def requests_per_second(self) -> float:
        """Correct answers per second."""
        return self.requests / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Latency within which this percentage of the correct answers came; NaN without answers."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else math.nan

    def summary(self) -> dict[str, float | int | dict[str, int] | None]:
        """The numbers, machine-readable; None if there was no answer to measure."""
        measured = {f"p{percent}_ms": self.percentile_ms(percent) for percent in _PERCENTILES}
        return {
            "callers": self.callers,
            "seconds": self.seconds,
            "requests": self.requests,
            "requests_per_second": self.requests_per_second,
            **{name: value if math.isfinite(value) else None for name, value in measured.items()},
            "failures": self.failures,
            "errors": dict(self.errors),
        }


async def run_load(
    client: AsyncScoringClient,
    images: Sequence[ImageLike],
    *,
    metric: str,
    defences: DefencesLike = "",
    callers: int,
    seconds: float,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> LoadResult:
    """Load a server for a number of seconds.

    Each image is scored once before the clock starts, which warms the server up and gives the reference scores.

    Args:
        client: the client; all callers share its connection.
        images: the images; callers go through them in turn.
        metric: name of a deployed metric.
        defences: the chain; empty = undefended.
        callers: concurrent callers, at least 1.
        seconds: time after which no new request is sent.
        seed: of random defences, the same for every request.
        tolerance: largest relative or absolute difference between two scores of one image. Scores of different batches
            differ in the last bits.

    Raises:
        ScoreguardError: the warm-up failed.
        ConfigurationError: there are no images, or no callers.
    """
    if not images or callers < 1 or not seconds > 0:
        raise ConfigurationError("a load needs at least one image, one caller and a positive time")
    prepared = [
        PreparedScore.of(ScoreRequest(image=image, metric=metric, defences=defences, seed=seed)) for image in images
    ]
    expected = [(await client.score_prepared(request)).score for request in prepared]
    load = _Load(client=client, prepared=prepared, expected=expected, tolerance=tolerance)
    start = time.perf_counter()
    turns = itertools.cycle(range(len(prepared)))
    await asyncio.gather(*(load.call_until(start + seconds, turns) for _ in range(callers)))
    return LoadResult(
        callers=callers,
        seconds=time.perf_counter() - start,
        latencies_ms=tuple(load.latencies_ms),
        errors=tuple(sorted(load.errors.items())),
    )


@dataclass(kw_only=True)
class _Load:
    client: AsyncScoringClient
    prepared: Sequence[PreparedScore]
    expected: Sequence[float]
    tolerance: float
    latencies_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    async def call_until(self, end: float, turns: Iterator[int]) -> None:
        """Run one caller; turns are shared, so concurrent callers send different images."""
        while (start := time.perf_counter()) < end:
            index = next(turns)
            try:
                score = (await self.client.score_prepared(self.prepared[index])).score
            except ScoreguardError as error:
                self.errors[type(error).__name__] += 1
                # A server that is down refuses at once: do not spin.
                await asyncio.sleep(_ERROR_PAUSE_SECONDS)
                continue
            if math.isclose(score, self.expected[index], rel_tol=self.tolerance, abs_tol=self.tolerance):
                self.latencies_ms.append((time.perf_counter() - start) * 1000)
            else:
                self.errors[WRONG_SCORE] += 1


def synthetic_images(width: int, height: int, count: int, *, seed: int = 0, quality: int = 90) -> list[bytes]:
    """Make JPEG files of smooth random colour fields with grain: sizes and decoding work like photographs."""
    generator = np.random.default_rng(seed)
    return [_synthetic(generator, width, height, quality) for _ in range(count)]


def _synthetic(generator: np.random.Generator, width: int, height: int, quality: int) -> bytes:
    coarse = PIL.Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    field_ = np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC), np.float32)
    grain = generator.normal(0, 6, field_.shape)
    image = PIL.Image.fromarray(np.clip(field_ + grain, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
