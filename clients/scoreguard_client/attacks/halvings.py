"""Schedule that shrinks the share of the image that a random search changes (Andriushchenko et al. 2020, section 3.2).

It halves after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10 000 queries, and scales with the budget.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

_HALVINGS: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_SCHEDULE_LENGTH: Final = 10_000


def halved(share: float, query: int, queries: int) -> float:
    """Return the share at query number `query`, from 0, of `queries`."""
    return float(share / 2 ** bisect_left(_HALVINGS, query * _SCHEDULE_LENGTH // queries))
