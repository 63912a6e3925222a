"""The fake service: the real client on plain functions, scripted errors, and a memory of the calls."""

from __future__ import annotations

import asyncio
import copy
import io
import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from scoreguard_client import (
    CancelledError,
    ConfigurationError,
    ConnectionConfig,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    RetryConfig,
    Score,
    ScoringClient,
    ServerError,
    Smoothing,
    UnavailableError,
    UnsupportedError,
)
from scoreguard_client.campaign import CampaignOptions, launch
from scoreguard_client.oracles.live import LiveGradientOracle
from scoreguard_client.testing import FakeService, fake_client

IMAGE = np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)
ONCE = ConnectionConfig(retry=RetryConfig(attempts=1))
QUICK = ConnectionConfig(retry=RetryConfig(initial_backoff_seconds=0.01))


def halved(image: Any) -> Any:
    """A defence."""
    return image / 2


def test_a_score_is_the_functions_own() -> None:
    """Of the values in [0, 1], whatever form the image came in; the default is a brightness, by content alone."""
    buffer = io.BytesIO()
    PIL.Image.fromarray((IMAGE * 255).astype(np.uint8)).save(buffer, "PNG")
    with fake_client(lambda image: float(image.std()), metric="contrast") as client:
        assert client.score(IMAGE, metric="contrast").score == float(IMAGE.std())
        decoded = (IMAGE * 255).astype(np.uint8).astype(np.float32) / np.float32(255)
        assert client.score(buffer.getvalue(), metric="contrast").score == float(decoded.std())
    with fake_client() as client:
        found = client.score(IMAGE, metric="bright", request_id="a")
        assert found.score == pytest.approx(100 * IMAGE.mean(), rel=1e-6)
        assert (found.request_id, found.higher_is_better, found.provenance.height) == ("a", True, 6)


def test_every_call_of_a_client_is_answered() -> None:
    """Chains, undefended scores, purified images, batches, streams, gradients, the catalogue, readiness."""
    service = FakeService(defences={"half": halved})
    with service.client() as client:
        client.wait_ready()
        score = client.score(IMAGE, metric="bright", defences="half+half", return_undefended=True, return_purified=True)
        assert score.undefended_score == pytest.approx(4 * score.score)
        np.testing.assert_array_equal(score.purified, IMAGE / 4)
        np.testing.assert_array_equal(client.purify(IMAGE, "half").image, IMAGE / 2)
        outcomes = client.score_batch([IMAGE, "missing.png"], metric="bright")
        assert [type(outcome).__name__ for outcome in outcomes] == ["Score", "ImageError"]
        assert len(list(client.score_stream([IMAGE] * 3, metric="bright"))) == 3
        gradient = client.gradient(IMAGE, metric="bright")
        np.testing.assert_allclose(gradient.gradient, np.full(IMAGE.shape, 100 / IMAGE.size), rtol=1e-6)
        metric = client.list_metrics().metric("bright")
        assert (metric.score_range, [defence.name for defence in metric.defences]) == ((0.0, 100.0), ["half"])


def test_the_asyncio_client_is_answered_alike() -> None:
    """Calls, batches and streams."""

    async def scenario() -> list[Any]:
        async with FakeService().async_client() as client:
            await client.wait_ready()
            one = await client.score(IMAGE, metric="bright", seed=1)
            batch = await client.score_batch([IMAGE], metric="bright", seed=1)
            return [one, *batch, *[outcome async for outcome in client.score_stream([IMAGE], metric="bright")]]

    scores = [outcome.score for outcome in asyncio.run(scenario())]
    assert scores == [fake_client().score(IMAGE, metric="bright").score] * 3


def test_the_calls_are_remembered() -> None:
    """Each image by itself, with everything that was asked; failed attempts too."""
    service = FakeService(defences={"half": halved})
    service.fail(UnavailableError("restarting"), calls=[1])
    with service.client(QUICK) as client:
        client.score(IMAGE, metric="bright", defences="half", seed=7, request_id="frame 3")
        client.score_batch([IMAGE, IMAGE / 2], metric="bright")
        client.list_metrics()
    first, again, *batch, last = service.calls
    for call in (first, again):
        assert (call.kind, call.metric, call.chain, call.seed, call.request_id) == (
            "score", "bright", "half", 7, "frame 3",
        )  # fmt: skip
        np.testing.assert_array_equal(call.image, IMAGE)
    assert [call.kind for call in batch] == ["score"] * 2
    assert batch[0].seed != batch[1].seed
    assert last.kind == "list_metrics"


ERRORS: list[ServerError] = [
    InvalidRequestError("no", field="defences[0]"),
    NotFoundError("no such", metadata={"near": "a,b"}, reason="UNKNOWN_NAME"),
    ResourceExhaustedError("too large", metadata={"limit": "3"}),
    DeadlineExceededError("too late"),
    PermissionDeniedError("not you"),
    CancelledError("gone"),
    InternalError("broken"),
    ServerError("odd"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_at_the_call_that_was_named(error: ServerError) -> None:
    """Alone it is raised, in a batch and a stream it is the item's outcome, with all that it carries."""
    service = FakeService()
    service.fail(error, calls=[2, 4, 6])
    with service.client() as client:
        assert isinstance(client.score(IMAGE, metric="bright"), Score)
        with pytest.raises(type(error)) as caught:
            client.score(IMAGE, metric="bright")
        batch = client.score_batch([IMAGE] * 2, metric="bright")
        stream = list(client.score_stream([IMAGE] * 2, metric="bright"))
    assert isinstance(batch[0], Score)
    for found in (caught.value, batch[1], stream[1]):
        assert isinstance(found, ServerError)
        assert (str(found), found.field, found.metadata) == (str(error), error.field, error.metadata)
        assert found.code
        assert isinstance(error, type(found)) or type(error) is ServerError
    assert error.code == ""  # the caller's own is left as it was


def test_a_refusal_that_passes_is_sent_again_as_to_a_server() -> None:
    """Alone, in a batch and in a stream; the attempts are counted, and without retries it is final."""
    service = FakeService()
    service.fail(ResourceExhaustedError("queue full", retry_after=0.01), calls=[1, 3, 6])
    with service.client(QUICK) as client:
        assert client.score(IMAGE, metric="bright").attempts == 2
        outcomes = [*client.score_batch([IMAGE] * 2, metric="bright"), *client.score_stream([IMAGE], metric="bright")]
    assert [getattr(outcome, "attempts", outcome) for outcome in outcomes] == [2, 1, 2]
    assert len(service.calls) == 7
    once = FakeService()
    once.fail(UnavailableError("restarting", retry_after=0.01), calls=[1])
    with once.client(ONCE) as client, pytest.raises(UnavailableError) as caught:
        client.score(IMAGE, metric="bright")
    assert (caught.value.code, caught.value.retry_after) == ("UNAVAILABLE", 0.01)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda c: c.score(IMAGE, metric="brigth"), NotFoundError, "unknown metric 'brigth': did you mean bright?"),
        (lambda c: c.score(IMAGE, metric="bright", defences="hlaf"), NotFoundError, "did you mean half?"),
        (lambda c: c.score(b"\x89PNG\r\n\x1a\n", metric="bright"), InvalidRequestError, "image"),
        (lambda c: c.gradient(IMAGE, metric="dull"), UnsupportedError, "fake does not give gradients"),
        (lambda c: c.score(IMAGE, metric="bright", smoothing=Smoothing()), UnsupportedError, "does not smooth"),
        (lambda c: c.score(IMAGE, metric="nan"), ConfigurationError, "'nan' gave nan"),
    ],
)
def test_a_wrong_call_is_refused_as_by_a_server(call: Any, kind: type[Exception], said: str) -> None:
    """The same classes; what only the fake cannot do is said in so many words."""
    metrics = {"bright": lambda image: 1.0, "dull": lambda image: 0.0, "nan": lambda image: math.nan}
    with FakeService(metrics=metrics, defences={"half": halved}).client() as client, pytest.raises(kind, match=said):
        call(client)


def test_a_script_that_cannot_be_is_refused() -> None:
    """Call 0, and the gradient of nothing."""
    with pytest.raises(ConfigurationError, match="counted from 1, not 0"):
        FakeService().fail(InternalError("x"), calls=[0])
    with pytest.raises(ConfigurationError, match="'dark', which is no metric"):
        FakeService(gradients={"dark": halved})


def test_a_closed_client_refuses_and_its_service_goes_on() -> None:
    """As a connection would."""
    service = FakeService()
    with service.client() as client:
        pass
    with pytest.raises(CancelledError):
        client.list_metrics()
    assert service.client().list_metrics().metrics


def test_copies_ask_the_same_service_and_pickled_ones_a_twin() -> None:
    """A deep copy stays in this process, and what it asks is remembered; what is pickled goes elsewhere."""
    service = FakeService(defences={"half": halved})
    client = service.client()
    copy.deepcopy(client).list_metrics()
    assert len(service.calls) == 1
    twin = pickle.loads(pickle.dumps(client))
    assert twin.score(IMAGE, metric="bright", defences="half").score > 0
    assert len(service.calls) == 1


def test_threads_may_share_it() -> None:
    """Every call is remembered once, and one failure comes to one of them."""
    service = FakeService()
    service.fail(InternalError("once"), calls=[50])
    barrier = threading.Barrier(8)

    def many(_: int) -> int:
        barrier.wait()
        return sum(isinstance(outcome, Score) for outcome in client.score_stream([IMAGE] * 25, metric="bright"))

    with service.client() as client, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(many, range(8))) == 199
    assert len(service.calls) == 200


def test_oracles_and_campaigns_run_on_it(tmp_path: Path) -> None:
    """What is built on a client needs no more of it than a fake has."""
    photos = tmp_path / "photos"
    photos.mkdir()
    PIL.Image.fromarray((IMAGE * 255).astype(np.uint8)).resize((32, 24)).save(photos / "a.png")
    with FakeService(defences={"half": halved}).client() as client:
        oracle = LiveGradientOracle(client, client.list_metrics().metric("bright"))
        scores, gradients = oracle.gradient(IMAGE.transpose(2, 0, 1)[None])
        assert scores == [client.score(IMAGE, metric="bright").score]
        assert gradients.shape == (1, 3, 6, 8)
        options = CampaignOptions(
            metric="bright", images=photos, out=tmp_path / "run", attacks="square:queries=4", defences="none,half"
        )
        summary = launch(options, client, lambda runner: lambda steps, what: None)
    assert (summary.records, summary.failed) == (2, 0)


def test_it_stands_where_a_client_is_wanted() -> None:
    """No type of its own."""
    assert type(fake_client()) is ScoringClient
    assert fake_client().target == "fake"
