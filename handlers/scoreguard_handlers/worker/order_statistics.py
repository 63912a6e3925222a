"""Which of the sorted scores bound a quantile of their distribution, and with what confidence."""

from __future__ import annotations

import math

import numpy as np

from scoreguard.chain.smoothing import Smoothing


def certified_ranks(smoothing: Smoothing) -> tuple[int, int]:
    """Return the ranks, from 1, of the scores that bound the median of every image within the radius.

    Let q be the quantile Φ(r/σ) of the scores' distribution. At most Φ(r/σ) of it lies below q, so the number of the N
    scores below q is at most Binomial(N, Φ(r/σ)), and the score of rank k is below q only if that number is at least k.
    The upper rank is the smallest k with

        P(Binomial(N, Φ(r/σ)) ≥ k) ≤ 1 − confidence;

    the lower rank is N + 1 − k, by the same argument on the negated scores. Nothing is assumed of the
    distribution: ties and steps are allowed.

    The confidence is that of each bound, as in the public benchmark, whose 293 and 708 of 1000 come out at σ 0.12,
    r 0.05 and 0.999; both bounds at once hold with probability at least 2·confidence − 1.

    Returns:
        The lower and the upper rank; the median lies between them.

    Raises:
        SmoothingError: a value is out of range, or there are too few samples for any rank to suffice.
    """
    # Imported here, since it takes a second and only smoothing needs it.
    from scipy.special import bdtrc

    smoothing.check()
    samples, below = smoothing.samples, 1 - 0.5 * math.erfc(smoothing.radius / smoothing.sigma / math.sqrt(2))
    # P(Binomial > k) for k = 0 … N − 2; it was checked that rank N suffices.
    tails = bdtrc(np.arange(samples - 1, dtype=np.float64), samples, below)
    upper = 1 + int(np.count_nonzero(tails > 1 - smoothing.confidence))
    return samples + 1 - upper, upper
