"""Every defence through the gateway and the real TorchServe: it scores, it purifies, and images keep their draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from live_servers import LiveServer
from served import RANDOM, SERVED, photo_like, step_of

from scoreguard_client import Score, ScoreRequest, ScoringClient

pytestmark = pytest.mark.live
SIDE = 80
"""Half of it is still read by the metric."""


@pytest.fixture(scope="module")
def client(lite_server: LiveServer) -> Iterator[ScoringClient]:
    """A connection to the session's server."""
    with ScoringClient(lite_server.gateway.address) as connected:
        yield connected


def test_every_defence_is_listed(client: ScoringClient) -> None:
    """In the order of the catalogue, with its facts."""
    (metric,) = client.list_metrics().metrics
    assert tuple(defence.name for defence in metric.defences) == SERVED


@pytest.mark.parametrize("name", SERVED)
def test_it_scores_and_purifies(client: ScoringClient, name: str) -> None:
    """The score is that of the purified image, and Purify gives the same image as ScoreDefended."""
    image, chain = photo_like(SIDE, SIDE + 3), step_of(name, SIDE)
    scored = client.score(image, metric="lite", defences=chain, seed=6, return_purified=True)
    purified = client.purify(image, chain, metric="lite", seed=6)
    assert scored.purified is not None
    assert np.array_equal(scored.purified, purified.image)
    assert [step.step.name for step in scored.provenance.steps] == [name]
    again = client.score(purified.image, metric="lite")
    assert 0.0 <= scored.score <= 100.0
    assert scored.score == pytest.approx(again.score, abs=1e-4)


def test_two_equal_images_of_a_batch_get_draws_of_their_own(client: ScoringClient) -> None:
    """One call, every random defence twice with one seed each: other images, and those of the seeds alone."""
    image = photo_like(SIDE, SIDE + 3)
    requests = [
        ScoreRequest(image=image, metric="lite", defences=step_of(name, SIDE), seed=seed, return_purified=True)
        for name in RANDOM
        for seed in (3, 4)
    ]
    outcomes = client.score_batch(requests)
    for name, first, second in zip(RANDOM, outcomes[::2], outcomes[1::2], strict=True):
        assert isinstance(first, Score), first
        assert isinstance(second, Score), second
        assert (first.provenance.seed, second.provenance.seed) == (3, 4)
        assert first.purified is not None and second.purified is not None
        assert not np.array_equal(first.purified, second.purified)
        alone = client.purify(image, step_of(name, SIDE), seed=3)
        assert np.array_equal(first.purified, alone.image)
