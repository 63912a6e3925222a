"""Estimate what a piece of work will cost before it runs: pixels, worker time, and worker memory.

The pixels come from the tensor's shape or the file's header; nothing is decoded. Time is pixels times the runs of each
stage times the stage's rate, which is learnt from the answers. Memory is pixels times measured bytes
(`benchmarks/memory.py`; docs/large-images.md has the table).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from scoreguard.chain.execution import COUNT_PARAMETER, is_diffusion, tiling_of
from scoreguard.chain.resolve import STEP_PARAMETER, ResolvedStep
from scoreguard.images import read_image
from scoreguard.v1.errors import ImageLimitError
from scoreguard.v1.scoring_pb2 import PURIFIED_FORMAT_PNG, PurifyRequest, ScoreGradientRequest
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.request_check import Request, smoothing_of
from scoreguard_handlers.worker.wire import Buffer

_AT_ONCE: Final = (b"\x89PNG", b"\xff\xd8")
"""First bytes of files whose short headers are read in microseconds; all others are read on a thread."""
_AT_ONCE_BYTES: Final = 1 << 15
_HEADER_SECONDS: Final = 1.0
_GRADIENT_RUNS: Final = 3
"""Runs of a stage for a gradient: the derivative costs about two more."""
_SECONDS: Final = 0.25
"""Rate of a stage not seen before, in seconds per megapixel: that of a small network on one core."""
_DECODE_SECONDS: Final = 0.03
_WEIGHT: Final = 0.3
"""Weight of a new observation in a rate; less for a small image, whose time is mostly overhead."""
_WEIGHT_PIXELS: Final = 0.25
DECODE: Final = "decode"
METRIC: Final = "metric"
GRADIENT: Final = "gradient"
SMOOTHING: Final = "smoothing"

# Bytes of a worker's memory for one pixel, from `benchmarks/memory.py`.
_DECODED: Final = 16
"""Integers while decoding, then float32 planes. An array is read in the message itself: its planes alone are 12."""
_METRIC: Final = 136
_METRICS: Final = {"lite": 56, "nima": 8, "niqe": 136}
"""Measured metrics; others are assumed to be like the largest."""
_STEP: Final = 56
_STEPS: Final = {
    "blur": 24, "fcn-filter": 200, "flip": 16, "quantise": 24, "resize": 16, "rotate": 24, "upscale": 24,
}  # fmt: skip
"""Steps that take less or more than that."""
_TILED: Final = 32
"""A step in tiles holds its parts and their join ..."""
_TILE: Final = 1024
"""... and processes one tile, whose pixels take this much each: 400 to 6000 were measured."""
_GRADIENT: Final = 360
_PURIFIED_PNG: Final = 20
_PURIFIED_FLOAT: Final = 60


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one piece of work will cost."""

    megapixels: float = 0.0
    """Pixels of the image; 0 if it cannot be read or will be refused."""
    runs: Mapping[str, float] = field(default_factory=dict)
    """Runs of each stage over the whole image, by the stage's name without parameters."""
    memory_bytes: int = 0
    """Peak memory of the worker."""


class Rates:
    """Seconds per megapixel of each stage, learnt from past timings."""

    def __init__(self) -> None:
        self._rates: dict[str, float] = {DECODE: _DECODE_SECONDS}

    def seconds(self, estimate: Estimate) -> float:
        """Estimate the time that a worker will need."""
        return sum(
            runs * estimate.megapixels * self._rates.get(stage, _SECONDS) for stage, runs in estimate.runs.items()
        )

    def learn(self, estimate: Estimate, result: WorkResult) -> None:
        """Take an answer's timings into account."""
        kind = result.WhichOneof("result")
        if kind is None or kind == "status" or not estimate.megapixels:
            return
        weight = _WEIGHT * estimate.megapixels / (estimate.megapixels + _WEIGHT_PIXELS)
        spent = Counter[str]()
        for timing in getattr(result, kind).timings:
            spent[timing.stage.partition(":")[0]] += timing.milliseconds / 1000
        for stage, seconds in spent.items():
            if runs := estimate.runs.get(stage, 0.0):
                before = self._rates.get(stage, _SECONDS)
                self._rates[stage] = before + weight * (seconds / (runs * estimate.megapixels) - before)

    def stopped(self, estimate: Estimate, seconds: float) -> None:
        """Take into account that work ran this long without finishing: its unknown stages cost more than that."""
        unknown = [stage for stage in estimate.runs if stage not in self._rates]
        known = {stage: runs for stage, runs in estimate.runs.items() if stage in self._rates}
        left = seconds - self.seconds(replace(estimate, runs=known))
        work = sum(estimate.runs[stage] for stage in unknown) * estimate.megapixels
        if unknown and work and left > work * _SECONDS:
            self._rates |= dict.fromkeys(unknown, left / work)


async def estimate(
    received: Received[Request], steps: Sequence[ResolvedStep], *, metric: str, max_pixels: int
) -> Estimate:
    """Estimate a request's cost for a metric; a file's header is read on a thread unless that takes microseconds."""
    request, pixels = received.head, await _pixels(received)
    if not 0 < pixels <= max_pixels:
        return Estimate()
    memory = pixels * _bytes(request, steps, metric) + max((_tile_bytes(step, pixels) for step in steps), default=0)
    return Estimate(megapixels=pixels / 1e6, runs=_runs(request, steps), memory_bytes=int(memory))


async def _pixels(received: Received[Request]) -> int:
    image = received.head.image
    if image.WhichOneof("payload") == "tensor":
        shape = image.tensor.shape
        return math.prod(shape[:2]) if len(shape) == 3 and min(shape) > 0 else 0
    data = received.image
    if len(data) <= _AT_ONCE_BYTES and bytes(data[:4]).startswith(_AT_ONCE):
        return _header_pixels(data)
    return await asyncio.to_thread(_header_pixels, data)


def _header_pixels(data: Buffer) -> int:
    """Count pixels with the worker's reader: with no pixel allowed, it reports their number and decodes none."""
    try:
        read_image(bytes(data), max_pixels=0, max_seconds=_HEADER_SECONDS)
    except ImageLimitError as error:
        return int(error.value) if error.what == "pixels" else 0
    except Exception:  # the worker will report what is wrong with it
        return 0
    return 0


def _runs(request: Request, steps: Sequence[ResolvedStep]) -> dict[str, float]:
    stages = Counter[str]()
    for step in steps:
        stages[step.facts.name] += _step_runs(step)
    if isinstance(request, ScoreGradientRequest):
        return {DECODE: 1, GRADIENT: _GRADIENT_RUNS * (1 + stages.total())}
    if isinstance(request, PurifyRequest):
        return {DECODE: 1, **stages}
    if (smoothing := smoothing_of(request)) is not None:
        return {DECODE: 1, SMOOTHING: smoothing.samples * (1 + stages.total())}
    return {DECODE: 1, METRIC: 1 + (request.return_undefended_score and bool(steps)), **stages}


def _step_runs(step: ResolvedStep) -> int:
    """Return how often a step runs its graph: a diffusion runs its denoiser repeatedly."""
    if not is_diffusion(step):
        return 1
    numbers = dict(step.values)
    return max(1, int(numbers.get(COUNT_PARAMETER) or numbers.get(STEP_PARAMETER) or 1))


def _bytes(request: Request, steps: Sequence[ResolvedStep], metric: str) -> float:
    """Return the peak bytes per pixel."""
    if isinstance(request, ScoreGradientRequest):
        return _DECODED + _GRADIENT + _STEP * len(steps)
    stages, left = [0.0], 1.0
    for step in steps:
        stages.append(left * (_TILED if tiling_of(step) else _STEPS.get(step.facts.name, _STEP)))
        left *= _pixels_left(step)
    if isinstance(request, PurifyRequest) or request.return_purified_image:
        png = request.purified_format == PURIFIED_FORMAT_PNG
        stages.append(left * (_PURIFIED_PNG if png else _PURIFIED_FLOAT))
    if not isinstance(request, PurifyRequest):
        scored = 1.0 if request.return_undefended_score else left
        stages.append(scored * _METRICS.get(metric, _METRIC))
    return _DECODED + max(stages)


def _tile_bytes(step: ResolvedStep, pixels: int) -> int:
    """Return the memory that a step in tiles takes for one tile."""
    tiling = tiling_of(step)
    return 0 if tiling is None else _TILE * min(pixels, tiling.size**2)


def _pixels_left(step: ResolvedStep) -> float:
    """Return the share of pixels left after a step that permanently shrinks images."""
    values = step.step.numbers
    if step.facts.size_preserving or values.get("restore"):
        return 1.0
    return min(1.0, values.get("scale", 1.0)) ** 2
