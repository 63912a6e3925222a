"""Sending again: until the deadline, as the server asks, every attempt counted, items of batches and streams too."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from scoreguard_client import (
    AsyncScoringClient,
    ConnectionConfig,
    ResourceExhaustedError,
    RetryConfig,
    Score,
    ScoringClient,
    ServerError,
    UnavailableError,
)
from scoreguard_client._retries import Retries, is_transient

pytestmark = pytest.mark.base

GREY = np.full((4, 6, 3), 51, np.uint8)
FAST = ConnectionConfig(retry=RetryConfig(initial_backoff_seconds=0.01, max_backoff_seconds=0.02))
ONCE = ConnectionConfig(retry=RetryConfig(attempts=1))


def status(code: int, *, retry_after: float | None = None) -> status_pb2.Status:
    """A refusal, with a time to come back where it has one."""
    refusal = status_pb2.Status(code=code, message="not now")
    if retry_after is not None:
        delay = duration_pb2.Duration(nanos=int(retry_after * 1e9))
        refusal.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return refusal


BUSY = status(code_pb2.UNAVAILABLE)
FULL = status(code_pb2.RESOURCE_EXHAUSTED, retry_after=0.05)


def error(code: str, *, retry_after: float | None = None, unreachable: bool = False) -> ServerError:
    """An error as the client raises it."""
    return UnavailableError("not now", code=code, retry_after=retry_after, unreachable=unreachable)


class Clock:
    """A clock that stands still between the pauses."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def pauses(retries: Retries, clock: Clock, failure: ServerError) -> list[float]:
    """Every pause until there is none."""
    found = []
    while (pause := retries.pause_after(failure)) is not None:
        found.append(pause)
        clock.now += pause
    return found


@given(st.floats(0.5, 60), st.floats(0.05, 1), st.floats(1, 3))
def test_the_pauses_fill_the_time_to_the_deadline_and_no_more(timeout: float, first: float, factor: float) -> None:
    """The last attempt begins before the deadline, and one more would not."""
    clock = Clock()
    config = RetryConfig(initial_backoff_seconds=first, max_backoff_seconds=2.0, backoff_multiplier=factor)
    waited = sum(pauses(Retries(config, timeout, clock=clock), clock, error("UNAVAILABLE")))
    assert waited < timeout
    assert waited + 1.2 * 2.0 >= timeout


def test_a_worker_that_needs_eight_seconds_to_return_is_waited_for() -> None:
    """With the defaults: five attempts within two seconds were too few."""
    clock = Clock()
    assert sum(pauses(Retries(RetryConfig(), 30, clock=clock), clock, error("UNAVAILABLE"))) > 20


def test_an_address_where_nobody_answers_is_given_up_soon() -> None:
    """A typing error must not take half a minute."""
    clock = Clock()
    found = pauses(Retries(RetryConfig(), 30, clock=clock), clock, error("UNAVAILABLE", unreachable=True))
    assert 0.5 < sum(found) <= 2.0


def test_the_servers_time_to_come_back_is_heeded() -> None:
    """It is the shortest pause, give or take the jitter."""
    clock = Clock()
    found = pauses(Retries(RetryConfig(), 30, clock=clock), clock, error("UNAVAILABLE", retry_after=5))
    assert found
    assert all(4 <= pause <= 6 for pause in found)


@pytest.mark.parametrize(
    ("code", "retry_after", "transient"),
    [
        ("UNAVAILABLE", None, True),
        ("RESOURCE_EXHAUSTED", 1.0, True),
        ("RESOURCE_EXHAUSTED", None, False),
        ("INTERNAL", 1.0, False),
        ("DEADLINE_EXCEEDED", None, False),
        ("INVALID_ARGUMENT", None, False),
    ],
)
def test_what_may_get_better_by_itself(code: str, retry_after: float | None, transient: bool) -> None:
    """A server or a worker that restarts, and a queue that empties; an image that is too large stays too large."""
    assert is_transient(error(code, retry_after=retry_after)) is transient


def test_more_refusals_than_grpc_would_outlast_are_one_call(running: Any) -> None:
    """Eight times UNAVAILABLE, and then the answer, which counts all nine attempts."""
    running.service.failures.extend([BUSY] * 8)
    with ScoringClient(running.target, FAST) as client:
        assert client.score(GREY, metric="bright").attempts == 9
    assert len({request.seed for request in running.service.requests}) == 1


def test_a_full_queue_is_asked_again_when_it_says(running: Any) -> None:
    """Not before the time that the server gave."""
    running.service.failures.append(FULL)
    started = time.monotonic()
    with ScoringClient(running.target, FAST) as client:
        assert client.score(GREY, metric="bright").attempts == 2
    assert time.monotonic() - started >= 0.04


def test_what_is_too_large_is_not_sent_again(running: Any) -> None:
    """The same status without a time to come back is final."""
    running.service.failures.append(status(code_pb2.RESOURCE_EXHAUSTED))
    with ScoringClient(running.target, FAST) as client, pytest.raises(ResourceExhaustedError):
        client.score(GREY, metric="bright")
    assert len(running.service.requests) == 1


def test_refused_items_of_a_batch_are_sent_again(running: Any) -> None:
    """Only they; their answers take their places, and count their attempts."""
    running.service.item_failures.extend([BUSY, FULL])
    with ScoringClient(running.target, FAST) as client:
        outcomes = client.score_batch([GREY, GREY, GREY + 1], metric="bright")
    assert [outcome.attempts for outcome in outcomes if isinstance(outcome, Score)] == [2, 2, 1]
    assert [len(request.requests) for request in running.service.requests] == [3, 2]


def test_refused_items_of_a_stream_are_sent_again_in_their_places(running: Any) -> None:
    """The order stays that of the items."""
    running.service.item_failures.extend([BUSY, BUSY])
    images = [GREY, GREY + 51, GREY + 102]
    with ScoringClient(running.target, FAST) as client:
        outcomes = list(client.score_stream(images, metric="bright"))
    scores = [(round(outcome.score), outcome.attempts) for outcome in outcomes if isinstance(outcome, Score)]
    assert scores == [(20, 2), (40, 2), (60, 1)]


async def test_the_asyncio_client_sends_items_again_as_well(running: Any) -> None:
    """Batch and stream, by the same rules."""
    async with AsyncScoringClient(running.target, FAST) as client:
        running.service.item_failures.append(BUSY)
        batch = await client.score_batch([GREY, GREY], metric="bright")
        running.service.item_failures.append(FULL)
        stream = [outcome async for outcome in client.score_stream([GREY, GREY], metric="bright")]
    for outcomes in (batch, stream):
        assert [outcome.attempts for outcome in outcomes if isinstance(outcome, Score)] == [2, 1]


def test_items_that_stay_refused_keep_their_error(running: Any) -> None:
    """One attempt in all means one call."""
    running.service.item_failures.extend([BUSY, BUSY])
    with ScoringClient(running.target, ONCE) as client:
        (batch,) = client.score_batch([GREY], metric="bright")
        (stream,) = client.score_stream([GREY], metric="bright")
    assert isinstance(batch, UnavailableError)
    assert isinstance(stream, UnavailableError)


def test_a_missing_or_wrong_token_says_how_to_send_one(running: Any) -> None:
    """In the words of the client's own options."""
    running.service.failures.extend([status(code_pb2.UNAUTHENTICATED)] * 2)
    for token, said in (("", "--token-file, SCOREGUARD_TOKEN"), ("wrong", "does not accept this token")):
        config = ConnectionConfig(token=token)
        with ScoringClient(running.target, config) as client, pytest.raises(ServerError, match=said):
            client.list_metrics()


def test_a_message_above_a_limit_says_which_limit_and_what_to_do(running: Any) -> None:
    """The client's own limit for the answer, its own for the request, and the server's."""
    small = ConnectionConfig(max_message_bytes=4096)
    large = np.zeros((100, 100, 3), np.uint8)
    with ScoringClient(running.target, small) as client:
        with pytest.raises(ResourceExhaustedError, match="above this client's limit of 4096: raise --max-message-mib"):
            client.score(large, metric="bright")
        with pytest.raises(ResourceExhaustedError, match=r"the answer of .* as 8-bit PNG"):
            client.score(np.zeros((30, 30, 3), np.uint8), metric="bright", return_purified=True)
    huge = np.zeros((5000, 4500, 3), np.uint8)
    with (
        ScoringClient(running.target, ConnectionConfig(max_message_bytes=1 << 30)) as client,
        pytest.raises(ResourceExhaustedError, match="above the server's limit of 67108864: send a file's bytes"),
    ):
        client.score(huge, metric="bright")


def test_a_purified_image_may_travel_as_png(running: Any) -> None:
    """Rounded to 8 bits, and small enough for an answer that floats would not fit into."""
    small = ConnectionConfig(max_message_bytes=16_384)
    image = np.full((60, 80, 3), 51, np.uint8)
    with ScoringClient(running.target, small) as client:
        answer = client.score(
            image, metric="bright", defences="dim:factor=0.5", return_purified=True, purified_format="png"
        )
        purified = client.purify(image, "dim:factor=0.5", purified_format="png").image
    assert answer.purified is not None
    np.testing.assert_array_equal(np.rint(answer.purified * 255), np.full((60, 80, 3), 26))
    np.testing.assert_array_equal(purified, answer.purified)
