"""Randomised median smoothing of a chain: score noisy copies, take the median, certify it.

The copies are scored one by one, or a few at once if graphs run batches, so memory does not grow with their number.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.chain.smoothing import Smoothing, noisy_copies
from scoreguard.v1.scoring_pb2 import Certificate
from scoreguard_handlers.errors import NotFiniteError, ResourceLimitError, TooLateError
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import ChainCall, ChainResult, Timings
from scoreguard_handlers.worker.chain import Chain
from scoreguard_handlers.worker.order_statistics import certified_ranks

SMOOTHING_STAGE: Final = "smoothing"
"""Timing stage of all noisy copies; the other stages are those of the image without noise."""
Scores = npt.NDArray[np.float64]


def score_smoothed(
    chain: Chain, image: Array, call: ChainCall, smoothing: Smoothing, *, purified: bool, together: int
) -> tuple[ChainResult, Certificate]:
    """Return the median of the scores of noisy copies, with its certificate.

    Args:
        chain: the chain that scores.
        image: the image, (1, 3, H, W).
        call: how to run it; f(x), if requested, is that of the image without noise.
        smoothing: the settings of the smoothing.
        purified: whether g(x) of the image without noise is requested.
        together: copies in one run of the chain, if the memory suffices.

    Raises:
        SmoothingError: the settings cannot give a certificate.
        ServingError: a stage failed or the deadline passed.
    """
    lower, upper = certified_ranks(smoothing)
    clean = _without_noise(chain, image, call, purified=purified)
    started = time.perf_counter()
    scores = np.sort(_copy_scores(chain, image[0], call, smoothing, together))
    clean.timings.add(SMOOTHING_STAGE, started)
    certificate = Certificate(
        lower=scores[lower - 1], upper=scores[upper - 1], lower_rank=lower, upper_rank=upper, **asdict(smoothing)
    )
    # In float64, since the median of an even number is a mean.
    return replace(clean, scores=np.array([np.median(scores)])), certificate


def _without_noise(chain: Chain, image: Array, call: ChainCall, *, purified: bool) -> ChainResult:
    """Return g(x) and f(x), if requested; no scores."""
    stages: dict[str, float] = {}
    undefended = None
    if call.undefended:
        result = chain.score(image, replace(call, steps=(), undefended=False))
        undefended = result.scores
        stages |= result.timings.milliseconds
    if purified:
        result = chain.purify(image, call)
        image = result.purified
        stages |= result.timings.milliseconds
    return ChainResult(
        purified=image, scores=np.empty(0, np.float32), undefended=undefended, timings=Timings(milliseconds=stages)
    )


def _copy_scores(chain: Chain, image: Array, call: ChainCall, smoothing: Smoothing, together: int) -> Scores:
    scores = np.empty(smoothing.samples)
    first = 0
    while first < smoothing.samples:
        indices = range(first, min(first + together, smoothing.samples))
        try:
            scores[first : indices.stop] = _score_copies(chain, image, call, smoothing.sigma, indices)
            first = indices.stop
        except ResourceLimitError:
            if together == 1:
                raise
            together //= 2  # the memory does not suffice for so many
        except TooLateError as error:
            raise _too_late(first, smoothing.samples) from error
        except NotFiniteError as error:
            raise _uncertified(first, smoothing.samples, error) from error
    return scores


def _score_copies(chain: Chain, image: Array, call: ChainCall, sigma: float, indices: Sequence[int]) -> Array:
    copies, seeds = noisy_copies(image, sigma, call.seeds[0], indices)
    return chain.score(copies, replace(call, seeds=seeds, undefended=False)).scores


def _uncertified(index: int, samples: int, error: NotFiniteError) -> NotFiniteError:
    # NaN has no place in an order.
    return NotFiniteError(
        f"nothing can be certified: number {index + 1} of {samples} noisy copies has no score, since {error}",
        metadata=error.metadata | {"stage": SMOOTHING_STAGE},
    )


def _too_late(done: int, samples: int) -> TooLateError:
    return TooLateError(
        f"the deadline passed after {done} of {samples} noisy copies; allow more time or ask for fewer samples",
        metadata={"stage": SMOOTHING_STAGE, "copies": str(done)},
    )
