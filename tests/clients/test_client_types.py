"""What a type checker knows about the client. mypy checks this file too: an ignore that is not needed is an error."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import pytest

from scoreguard_client import AsyncScoringClient, Catalogue, Gradient, Outcome, Purified, Score, ScoringClient

pytestmark = pytest.mark.base

GREY = np.full((4, 6, 3), 51, np.uint8)


def test_results_have_exact_types(running: Any) -> None:
    """No `Any` reaches the user."""
    with ScoringClient(running.target) as client:
        score = assert_type(client.score(GREY, metric="bright", return_undefended=True), Score)
        assert assert_type(score.gap, float | None) == 0
        assert isinstance(assert_type(client.list_metrics(), Catalogue), Catalogue)
        assert isinstance(assert_type(client.purify(GREY, "dim"), Purified), Purified)
        assert isinstance(assert_type(client.gradient(GREY, metric="bright"), Gradient), Gradient)
        batch = assert_type(client.score_batch([GREY], metric="bright"), list[Outcome])
        stream = [assert_type(outcome, Outcome) for outcome in client.score_stream([GREY], metric="bright")]
        assert [type(outcome) for outcome in batch + stream] == [Score, Score]


async def test_the_asyncio_client_has_the_same_types(running: Any) -> None:
    """Awaiting gives what the blocking client returns."""
    async with AsyncScoringClient(running.target) as client:
        assert assert_type(await client.score(GREY, metric="bright"), Score).gap is None


def test_wrong_calls_are_seen_by_the_type_checker() -> None:
    """A forgotten metric, options by position and unknown options fail at run time, and mypy says so before."""
    with ScoringClient("localhost:1") as client:
        with pytest.raises(TypeError):
            client.score(GREY)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            client.score(GREY, "bright")  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            client.score(GREY, metric="bright", sede=3)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            client.purify(GREY)  # type: ignore[call-arg]
