"""Splitting many images over calls that the server takes."""

from __future__ import annotations

import numpy as np
import pytest

from scoreguard.v1.limits import LIMITS
from scoreguard_client import ScoreRequest
from scoreguard_client._ordering import BatchPlan

pytestmark = pytest.mark.base

GREY = np.full((4, 6, 3), 51, np.uint8)


@pytest.mark.parametrize(
    ("items", "chain", "calls"), [(2050, "", 3), (40, "+".join(["blur:kernel=3:sigma=0.5"] * LIMITS.steps), 4)]
)
def test_a_batch_above_the_limits_of_a_call_is_split(items: int, chain: str, calls: int) -> None:
    """Tiny images reach the server's limit of items first, long chains that of the bytes apart from images."""
    plan = BatchPlan([ScoreRequest(image=GREY, metric="bright", defences=chain)] * items, 64 << 20)
    batches = list(plan.batches())
    assert len(batches) == calls
    assert [place for batch in batches for place in batch.indices] == list(range(items))
    assert max(len(batch.indices) for batch in batches) <= LIMITS.batch_items
