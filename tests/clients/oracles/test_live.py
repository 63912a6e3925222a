"""The live oracles against a real gRPC server whose metric is 100 times the mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2, status_pb2

from scoreguard.chain.rounding import Rounding
from scoreguard.v1.errors import ParameterError
from scoreguard.v1.scoring_pb2 import ROUNDING_CUBIC, ROUNDING_STRAIGHT_THROUGH
from scoreguard.v1.spec import format_chain, parse_chain
from scoreguard_client import NotFoundError, ResourceExhaustedError, ScoringClient, ServerError
from scoreguard_client.attacks import parse_attack
from scoreguard_client.oracles import DrawingOracle, GradientOracle, LiveGradientOracle, LiveScoreOracle
from scoreguard_client.oracles.base import Images

CHAIN = parse_chain("dim:factor=0.5")


@pytest.fixture
def client(running: Any) -> Iterator[ScoringClient]:
    """A connection to the server."""
    with ScoringClient(running.target) as client:
        yield client


@pytest.fixture
def images() -> Images:
    """Five images, 6 x 4."""
    return np.random.default_rng(0).random((5, 3, 6, 4), dtype=np.float32)


def test_scores_come_in_the_order_of_the_images_and_behind_the_chain(client: ScoringClient, images: Images) -> None:
    """Float values are scored unrounded."""
    metric = client.list_metrics().metric("bright")
    means = images.mean(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(LiveScoreOracle(client, metric).score(images), 100 * means, rtol=1e-6)
    np.testing.assert_allclose(LiveScoreOracle(client, metric, CHAIN).score(images), 50 * means, rtol=1e-6)


def test_gradients_come_with_scores_in_the_layout_of_batches(client: ScoringClient, images: Images) -> None:
    """The derivative of 100 mean(x / 2) is 50 / size everywhere."""
    oracle = LiveGradientOracle(client, client.list_metrics().metric("bright"), CHAIN)
    scores, gradient = oracle.gradient(images)
    np.testing.assert_allclose(scores, oracle.score(images), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.full_like(images, 50 / images[0].size), rtol=1e-6)
    assert isinstance(oracle, GradientOracle)


def test_the_facts_tell_the_chain_with_every_parameter(client: ScoringClient) -> None:
    """Those of the server's description; one that it does not take is refused before any call."""
    metric = client.list_metrics().metric("bright")
    assert format_chain(LiveScoreOracle(client, metric, CHAIN).facts.chain) == "dim:factor=0.5:level=1"
    assert LiveScoreOracle(client, metric).facts.chain == ()
    with pytest.raises(ParameterError, match="it takes factor"):
        LiveScoreOracle(client, metric, parse_chain("dim:fator=1"))


def test_the_derivative_of_rounding_goes_with_every_gradient(
    running: Any, client: ScoringClient, images: Images
) -> None:
    """Straight through unless the twin is asked, whose draws go on where the others are."""
    oracle = LiveGradientOracle(client, client.list_metrics().metric("bright"), parse_chain("shift"), seed=5)
    twin = oracle.with_rounding(Rounding.CUBIC)
    running.service.requests.clear()
    oracle.gradient(images)
    twin.gradient(images)
    asked = running.service.requests
    count = len(images)
    assert [request.rounding for request in asked] == [ROUNDING_STRAIGHT_THROUGH] * count + [ROUNDING_CUBIC] * count
    assert len({request.seed for request in asked}) == 2 * count


def test_only_the_gradient_oracle_has_gradients(client: ScoringClient) -> None:
    """A score oracle cannot be mistaken for one."""
    assert not isinstance(LiveScoreOracle(client, client.list_metrics().metric("bright")), GradientOracle)


def test_random_defences_are_drawn_anew_per_call_and_averaged(
    running: Any, client: ScoringClient, images: Images
) -> None:
    """Draws multiply the calls only behind a random defence; the draws follow from the seed."""
    metric = client.list_metrics().metric("bright")
    random = LiveScoreOracle(client, metric, parse_chain("shift"), seed=5, draws=6)
    running.service.requests.clear()
    first, second = random.score(images), random.score(images)
    assert len(running.service.requests) == 2 * 6 * len(images)
    assert len({request.seed for request in running.service.requests}) == 2 * 6 * len(images)
    assert not np.array_equal(first, second)
    again = LiveScoreOracle(client, metric, parse_chain("shift"), seed=5, draws=6)
    np.testing.assert_array_equal(again.score(images), first)
    running.service.requests.clear()
    LiveScoreOracle(client, metric, CHAIN, draws=6).score(images)
    assert len(running.service.requests) == len(images)


def test_each_image_may_have_draws_of_its_own(running: Any, client: ScoringClient, images: Images) -> None:
    """As many calls as draws, counted image by image; a mean of one draw is what that draw alone answers."""
    metric = client.list_metrics().metric("bright")
    one = LiveGradientOracle(client, metric, parse_chain("shift"), seed=[1, 2, 3, 4, 5])
    assert isinstance(one, DrawingOracle)
    assert one.facts.random
    several = one.with_draws([1, 4, 1, 2, 1])
    running.service.requests.clear()
    scores, gradients = several.gradient(images)
    assert len(running.service.requests) == 9
    assert several.last_calls.tolist() == [1, 4, 1, 2, 1]
    assert several.facts.calls_per_question == 4
    alone = one.gradient(images)
    np.testing.assert_array_equal(scores[[0, 2, 4]], alone[0][[0, 2, 4]])
    np.testing.assert_array_equal(gradients[[0, 2, 4]], alone[1][[0, 2, 4]])
    assert not np.isin(scores[[1, 3]], alone[0]).any()


def test_square_raises_the_live_score_with_exactly_its_queries(
    running: Any, client: ScoringClient, images: Images
) -> None:
    """Every query is one request for each image."""
    oracle = LiveScoreOracle(client, client.list_metrics().metric("bright"))
    running.service.requests.clear()
    result = parse_attack("square:queries=30")(images, oracle)
    assert len(running.service.requests) == 30 * len(images)
    assert np.all(result.scores >= result.trace[0])


def test_a_call_that_is_sent_again_costs_one_more_query(running: Any, client: ScoringClient, images: Images) -> None:
    """Retries happen inside the channel; the answer says how many there were."""
    metric = client.list_metrics().metric("bright")
    oracle = LiveScoreOracle(client, metric, calls_in_flight=1)
    running.service.failures.extend([status_pb2.Status(code=code_pb2.UNAVAILABLE, message="restarting")] * 2)
    oracle.score(images)
    assert oracle.last_calls.tolist() == [3, 1, 1, 1, 1]
    random = LiveScoreOracle(client, metric, parse_chain("shift"), draws=4)
    random.score(images)
    assert random.last_calls.tolist() == [4] * 5
    assert random.facts.calls_per_question == 4


def test_draws_do_not_depend_on_the_rest_of_the_batch(client: ScoringClient, images: Images) -> None:
    """With a seed for each image, an image alone is drawn as in its batch."""
    metric = client.list_metrics().metric("bright")
    chain = parse_chain("shift")
    together = LiveScoreOracle(client, metric, chain, seed=[4, 5, 6, 7, 8], draws=2).score(images)
    alone = LiveScoreOracle(client, metric, chain, seed=[6], draws=2).score(images[2:3])
    np.testing.assert_array_equal(together[2:3], alone)


def test_a_refused_call_ends_the_question_with_the_servers_error(
    running: Any, client: ScoringClient, images: Images
) -> None:
    """No score is made up for the image."""
    oracle = LiveScoreOracle(client, client.list_metrics().metric("bright"))
    running.service.failures.append(status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="queue full"))
    with pytest.raises(ResourceExhaustedError, match="queue full"):
        oracle.score(images)


def test_a_server_without_gradients_says_so(running_without_gradients: Any, images: Images) -> None:
    """The gradient oracle raises what the server answers."""
    with ScoringClient(running_without_gradients.target) as client:
        oracle = LiveGradientOracle(client, client.list_metrics().metric("bright"))
        with pytest.raises(ServerError):
            oracle.gradient(images)


def test_a_chain_that_is_not_deployed_is_refused_at_once(client: ScoringClient) -> None:
    """Before any query."""
    with pytest.raises(NotFoundError):
        LiveScoreOracle(client, client.list_metrics().metric("bright"), parse_chain("jpeg"))
