"""The two clients against a real server: the same calls, the same answers."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import io
import multiprocessing
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from scoreguard.v1 import scoring_pb2
from scoreguard_client import (
    AsyncScoringClient,
    CancelledError,
    ConfigurationError,
    ConnectionConfig,
    ImageError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PreparedScore,
    ResourceExhaustedError,
    Score,
    ScoreRequest,
    ScoringClient,
    Step,
    UnavailableError,
    UnsupportedError,
)
from scoreguard_client._responses import to_score
from scoreguard_client.oracles.live import LiveScoreOracle

pytestmark = pytest.mark.base

GREY = np.full((4, 6, 3), 51, np.uint8)  # 51 / 255 = 0.2, so `bright` is 20.


def on_both(target: str, method: str, *args: Any, **options: Any) -> list[Any]:
    """The result of one method on the blocking and on the asyncio client."""

    async def on_async() -> Any:
        async with AsyncScoringClient(target) as client:
            result = getattr(client, method)(*args, **options)
            return [item async for item in result] if inspect.isasyncgen(result) else await result

    with ScoringClient(target) as client:
        result = getattr(client, method)(*args, **options)
        return [list(result) if inspect.isgenerator(result) else result, asyncio.run(on_async())]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))])
def test_a_client_can_be_copied_and_pickled(copied: Callable[[ScoringClient], ScoringClient], running: Any) -> None:
    """It is an address and options; the copy has a connection of its own."""
    config = ConnectionConfig(timeout_seconds=9, token="secret")
    with ScoringClient(running.target, config) as client, copied(client) as other:
        assert (other.target, other.config) == (client.target, config)
        client.close()
        assert other.score(GREY, metric="bright").score == pytest.approx(20)


def test_a_client_and_what_is_built_on_it_work_in_another_process(running: Any) -> None:
    """Spawned, not forked: everything is pickled on the way there, and the answer or the error on the way back."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool, ScoringClient(running.target) as client:
        oracle = LiveScoreOracle(client, client.list_metrics().metric("bright"))
        images = np.full((1, 3, 4, 6), 0.2, np.float32)
        assert pool.submit(oracle.score, images).result(timeout=60) == pytest.approx([20])
        with pytest.raises(NotFoundError, match="brigth"):
            pool.submit(client.score, GREY, metric="brigth").result(timeout=60)


def png(array: Any) -> bytes:
    """An image as a PNG file."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_form_of_an_image_gets_the_same_score(running: Any, tmp_path: Path) -> None:
    """Arrays, Pillow images, paths and bytes of one image are scored alike, with the right precision."""
    path = tmp_path / "grey.png"
    path.write_bytes(png(GREY))
    forms: list[Any] = [GREY, PIL.Image.fromarray(GREY), path, str(path), png(GREY), GREY / 255, GREY / np.float32(255)]
    expected = ["uint8"] * 5 + ["float32"] * 2
    for form, precision in zip(forms, expected, strict=True):
        for answer in on_both(running.target, "score", form, metric="bright"):
            assert answer.score == pytest.approx(20, abs=1e-5)
            assert answer.provenance.precision == precision
            assert (answer.provenance.height, answer.provenance.width) == (4, 6)


def test_a_score_carries_what_was_asked_for(running: Any) -> None:
    """The undefended score, the gap, the purified image, the provenance and the request's name come back."""
    options = {"metric": "bright", "defences": "dim:factor=0.25", "seed": 7, "request_id": "frame 3"}
    for answer in on_both(running.target, "score", GREY, return_undefended=True, return_purified=True, **options):
        assert answer.score == pytest.approx(5, abs=1e-5)
        assert answer.undefended_score == pytest.approx(20, abs=1e-5)
        assert answer.gap == pytest.approx(15, abs=1e-5)
        assert answer.purified.dtype == np.float32
        np.testing.assert_allclose(answer.purified, GREY / 255 * 0.25, atol=1e-7)
        assert answer.provenance.seed == 7
        assert answer.provenance.steps[0].step == Step(name="dim", parameters=(("factor", 0.25),))
        assert answer.timings[0].stage == "metric"
        assert answer.request_id == "frame 3"


@pytest.mark.parametrize(("higher", "gap"), [(True, -21.5), (False, 21.5), (None, None)])
def test_the_gap_is_positive_where_the_undefended_score_claims_more_quality(
    higher: bool | None, gap: float | None
) -> None:
    """For NIQE a rise of the defended score from 3.5 to 25 is a loss of quality; an older server does not say."""
    answer = scoring_pb2.ScoreDefendedResponse(score=25.0, undefended_score=3.5, higher_is_better=higher)
    assert to_score(answer).gap == gap


def test_a_score_without_options_has_no_extras(running: Any) -> None:
    """What was not asked for is None, not zero."""
    for answer in on_both(running.target, "score", GREY, metric="bright"):
        assert answer.undefended_score is None
        assert answer.gap is None
        assert answer.purified is None


@pytest.mark.parametrize(
    "defences",
    [
        "dim:factor=0.5+dim:factor=0.25",
        ["dim", "dim:factor=0.25"],
        [Step(name="dim"), Step(name="dim", parameters=(("factor", 0.25),))],
        "dim:factor=0.125",
        {"dim": {"factor": 0.125}},
        Step(name="dim", parameters=(("factor", 0.125),)),
    ],
    ids=str,
)
def test_a_chain_can_be_written_in_every_form(running: Any, defences: Any) -> None:
    """Text, steps, lists and mappings of the same chain give the same score."""
    with ScoringClient(running.target) as client:
        assert client.score(GREY, metric="bright", defences=defences).score == pytest.approx(2.5, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"metric": "bright", "defences": "dim:factor"}, "defences"),
        ({"metric": "bright", "defences": {"dim": {"factor": float("nan")}}}, "defences"),
        ({"metric": "bright", "defences": {"dim": 3}}, "defences"),
        ({"metric": "bright", "defences": 5}, "defences"),
        ({"metric": "bright", "seed": -1}, "seed"),
        ({"metric": "bright", "seed": 2**64}, "seed"),
        ({"metric": ""}, "metric"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_right_is_refused_before_any_call(
    running: Any, options: dict[str, Any], field: str
) -> None:
    """Bad chains, seeds and names raise locally, in one line that names the field."""
    with ScoringClient(running.target) as client, pytest.raises(InvalidRequestError) as caught:
        client.score(GREY, **options)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
    assert running.service.requests == []


def test_a_seed_is_always_sent(running: Any) -> None:
    """Without a seed the client draws one, another each time; a given seed is sent as it is."""
    with ScoringClient(running.target) as client:
        drawn = [client.score(GREY, metric="bright", defences="shift").provenance.seed for _ in range(3)]
        given = [client.score(GREY, metric="bright", defences="shift", seed=11) for _ in range(2)]
    assert all(request.HasField("seed") for request in running.service.requests)
    assert len(set(drawn)) == 3
    assert given[0].score == given[1].score


def test_a_batch_keeps_order_and_gives_each_item_its_own_outcome(running: Any) -> None:
    """Good items are scored; a bad image here, a bad one there and an unknown metric get errors in their places."""
    items = [
        GREY,
        np.zeros((2, 2)),
        ScoreRequest(image=GREY, metric="bright", defences="dim", request_id="own"),
        b"\x89PNG\r\n\x1a\nnothing more",
        ScoreRequest(image=GREY, metric="nope"),
        GREY * 2,
    ]
    for method in ("score_batch", "score_stream"):
        for outcomes in on_both(running.target, method, items, metric="bright"):
            kinds = [type(outcome) for outcome in outcomes]
            assert kinds == [Score, ImageError, Score, InvalidRequestError, NotFoundError, Score]
            scores = [outcome.score for outcome in outcomes if isinstance(outcome, Score)]
            assert scores == pytest.approx([20, 10, 40], abs=1e-5)
            assert outcomes[2].request_id == "own"


def test_an_empty_batch_makes_no_call(running: Any) -> None:
    """Nothing in, nothing out."""
    assert on_both(running.target, "score_batch", [], metric="bright") == [[], []]
    assert running.service.requests == []


def test_a_batch_above_the_size_limit_is_split(running: Any) -> None:
    """Several calls carry it, each under the limit; the answers keep the order."""
    images = [np.full((32, 32, 3), level, np.uint8) for level in (51, 102, 153, 204, 255)]
    with ScoringClient(running.target, ConnectionConfig(max_message_bytes=7000)) as client:
        outcomes = client.score_batch(images, metric="bright")
    assert [outcome.score for outcome in outcomes if isinstance(outcome, Score)] == pytest.approx(
        [20, 40, 60, 80, 100], abs=1e-5
    )
    assert [len(request.requests) for request in running.service.requests] == [2, 2, 1]


def test_an_item_above_the_size_limit_fails_alone(running: Any) -> None:
    """The error says both sizes; the other items are scored."""
    with ScoringClient(running.target, ConnectionConfig(max_message_bytes=2000)) as client:
        small, large = client.score_batch([GREY, np.zeros((64, 64, 3), np.uint8)], metric="bright")
    assert isinstance(small, Score)
    assert isinstance(large, ResourceExhaustedError)
    assert large.metadata["limit_bytes"] == "2000"


def test_missing_results_are_an_error_not_a_shift(running: Any) -> None:
    """A server that drops an answer is caught; no score lands at another image's place."""
    running.service.forget_last_result = True
    with ScoringClient(running.target) as client:
        with pytest.raises(InternalError, match="1 results for 2 images"):
            client.score_batch([GREY, GREY], metric="bright")
        with pytest.raises(InternalError, match="1 images unanswered"):
            list(client.score_stream([GREY, GREY], metric="bright"))


def test_a_stream_answers_while_its_source_is_still_open(running: Any) -> None:
    """A camera without an end works: each frame's answer comes before the next frame is there."""
    answered = 0

    def frames() -> Iterator[Any]:
        while True:
            yield np.full((2, 2, 3), 51 * (1 + answered % 5), np.uint8)

    with ScoringClient(running.target) as client:
        stream = client.score_stream(frames(), metric="bright")
        for outcome in stream:
            assert isinstance(outcome, Score)
            answered += 1
            if answered == 20:
                break
        stream.close()
    assert answered == 20


async def test_leaving_an_asyncio_stream_early_ends_it(running: Any) -> None:
    """The first answer may be the last that is read; the client goes on working."""
    async with AsyncScoringClient(running.target) as client:
        async with contextlib.aclosing(client.score_stream([GREY] * 50, metric="bright")) as stream:
            assert isinstance(await anext(stream), Score)
        async for outcome in client.score_stream([GREY] * 50, metric="bright"):
            assert isinstance(outcome, Score)
            break
        assert (await client.score(GREY, metric="bright")).score == pytest.approx(20, abs=1e-5)


def test_an_error_of_the_source_comes_back_after_the_answers_before_it(running: Any) -> None:
    """What the caller's own iterator raises is raised to the caller, unchanged; nothing before it is lost."""

    def frames() -> Iterator[Any]:
        yield GREY
        raise KeyError("no more film")

    outcomes = []
    with ScoringClient(running.target) as client, pytest.raises(KeyError, match="no more film"):
        for outcome in client.score_stream(frames(), metric="bright"):
            outcomes.append(outcome)  # noqa: PERF402 -- the loop ends by the exception that is tested
    assert [type(outcome) for outcome in outcomes] == [Score]


async def test_an_asynchronous_source_can_be_streamed(running: Any) -> None:
    """The asyncio client reads from an asynchronous iterator as well."""

    async def frames() -> Any:
        for level in (51, 102):
            await asyncio.sleep(0)
            yield np.full((2, 2, 3), level, np.uint8)

    async with AsyncScoringClient(running.target) as client:
        outcomes = [outcome async for outcome in client.score_stream(frames(), metric="bright")]
    assert [outcome.score for outcome in outcomes if isinstance(outcome, Score)] == pytest.approx([20, 40], abs=1e-5)


async def test_many_calls_run_at_once_on_one_client(running: Any) -> None:
    """Concurrent callers get their own answers."""
    async with AsyncScoringClient(running.target) as client:
        calls = [client.score(np.full((2, 2, 3), level, np.uint8), metric="bright") for level in range(0, 255, 5)]
        answers = await asyncio.gather(*calls)
    assert [answer.score for answer in answers] == pytest.approx([100 * n / 255 for n in range(0, 255, 5)], abs=1e-4)


def test_purify_returns_the_image_that_a_metric_would_see(running: Any) -> None:
    """The purified image is float32, of the image's shape."""
    for answer in on_both(running.target, "purify", GREY, "dim:factor=0.5"):
        np.testing.assert_allclose(answer.image, GREY / 255 * 0.5, atol=1e-7)
        assert answer.image.flags.writeable


def test_purify_without_a_defence_is_refused(running: Any) -> None:
    """There is nothing to do, so the call is a mistake."""
    with ScoringClient(running.target) as client, pytest.raises(InvalidRequestError, match="at least one defence"):
        client.purify(GREY, "none")


def test_a_gradient_is_the_derivative_of_the_score(running: Any) -> None:
    """A small step along the gradient changes the score by the gradient's squared length times the step."""
    image = np.random.default_rng(0).random((5, 7, 3)) * 0.5 + 0.25
    for answer in on_both(running.target, "gradient", image, metric="bright", defences="dim"):
        assert answer.gradient.shape == image.shape
        assert answer.gradient.dtype == np.float32
        moved = image + 0.1 * answer.gradient
        with ScoringClient(running.target) as client:
            after = client.score(moved, metric="bright", defences="dim").score
        assert after - answer.score == pytest.approx(0.1 * float((answer.gradient**2).sum()), rel=1e-2)


def test_gradients_that_are_not_served_say_so(running_without_gradients: Any) -> None:
    """The error is typed and names the cause."""
    with ScoringClient(running_without_gradients.target) as client, pytest.raises(UnsupportedError) as caught:
        client.gradient(GREY, metric="bright")
    assert "does not give gradients" in str(caught.value)
    assert caught.value.code == "UNIMPLEMENTED"


def test_list_metrics_gives_every_fact(running: Any) -> None:
    """Ranges, directions, parameters and digests arrive as plain values."""
    for catalogue in on_both(running.target, "list_metrics"):
        assert (catalogue.server_version, catalogue.gradients) == ("9.8.7", True)
        metric = catalogue.metric("bright")
        assert metric.score_range == (0, 100)
        assert metric.higher_is_better
        factor, level = metric.defence("dim").parameters
        assert (factor.name, factor.default, factor.minimum, factor.maximum, factor.choices) == (
            "factor",
            0.5,
            0,
            1,
            (),
        )
        assert (level.integer, level.choices, level.at_most_side) == (True, (1, 3), True)
        assert metric.defence("shift").random
        assert not metric.defence("dim").random
        assert metric.defence("dim").differentiability == "exact"
        assert metric.files[0].size_bytes == 12


def test_a_name_that_is_not_in_the_catalogue_lists_the_near_ones(running: Any) -> None:
    """Looking up a misspelt name says what was probably meant."""
    with ScoringClient(running.target) as client:
        catalogue = client.list_metrics()
    with pytest.raises(NotFoundError, match="did you mean bright") as caught:
        catalogue.metric("brigth")
    assert caught.value.near == ("bright",)
    with pytest.raises(NotFoundError, match="deployed: dim, shift"):
        catalogue.metric("bright").defence("zzz")


def test_wait_ready_returns_where_the_server_can_score(running: Any) -> None:
    """Nothing to wait for."""
    assert on_both(running.target, "wait_ready", timeout=10) == [None, None]


async def test_wait_ready_gives_up_on_a_server_that_cannot_score(running: Any) -> None:
    """A server that is alive but cannot score is not ready; both clients say so in one line."""
    running.set_serving(False)
    with ScoringClient(running.target) as client, pytest.raises(UnavailableError, match=r"not ready after 0\.4 s"):
        client.wait_ready(timeout=0.4)
    async with AsyncScoringClient(running.target) as aio_client:
        with pytest.raises(UnavailableError, match=r"not ready after 0\.4 s"):
            await aio_client.wait_ready(timeout=0.4)


def test_wait_ready_waits_for_a_server_that_is_not_there_yet(start_server: Any) -> None:
    """A server that is started during the wait ends it, and the first call works."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    starting = threading.Timer(0.5, start_server, kwargs={"port": port})
    with ScoringClient(f"localhost:{port}") as client:
        starting.start()
        client.wait_ready(timeout=20)
        assert client.score(GREY, metric="bright").score == pytest.approx(20, abs=1e-5)
    starting.join()


async def test_wait_ready_waits_until_the_server_can_score(running: Any) -> None:
    """A server that becomes ready during the wait ends it."""
    running.set_serving(False)
    async with AsyncScoringClient(running.target) as client:
        waiting = asyncio.create_task(client.wait_ready(timeout=20))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        running.set_serving(True)
        await waiting


def test_wait_ready_gives_up_where_nothing_listens() -> None:
    """No server at all is the same one-line error."""
    with ScoringClient("localhost:1") as client, pytest.raises(UnavailableError, match="is scoreguard-serve running"):
        client.wait_ready(timeout=0.3)


def test_a_prepared_request_can_be_sent_again_and_again(running: Any) -> None:
    """It gives the same score each time, random defences included."""
    prepared = PreparedScore.of(ScoreRequest(image=GREY, metric="bright", defences="shift"))
    answers = [answer for _ in range(2) for answer in on_both(running.target, "score_prepared", prepared)]
    assert len({answer.score for answer in answers}) == 1
    assert len({answer.provenance.seed for answer in answers}) == 1


def test_a_closed_client_says_that_it_is_closed(running: Any) -> None:
    """Both clients refuse further calls with a typed error."""
    client = ScoringClient(running.target)
    client.close()
    with pytest.raises(CancelledError, match="closed"):
        client.score(GREY, metric="bright")

    async def use_closed() -> None:
        client = AsyncScoringClient(running.target)
        await client.close()
        await client.score(GREY, metric="bright")

    with pytest.raises(CancelledError, match="closed"):
        asyncio.run(use_closed())


def test_an_empty_target_is_refused() -> None:
    """The error says what a target looks like."""
    with pytest.raises(ConfigurationError, match="host:port"):
        ScoringClient(" ")


METHOD_OF_RPC = {
    "ScoreDefended": "score",
    "ScoreDefendedBatch": "score_batch",
    "ScoreDefendedStream": "score_stream",
    "ScoreClip": "score_clip",
    "Purify": "purify",
    "ListMetrics": "list_metrics",
    "ScoreGradient": "gradient",
}


def test_every_rpc_has_a_method_on_both_clients() -> None:
    """No rpc of the contract is out of a user's reach."""
    services = scoring_pb2.DESCRIPTOR.services_by_name.values()
    rpcs = {method.name for service in services for method in service.methods}
    assert rpcs == set(METHOD_OF_RPC)
    for method in METHOD_OF_RPC.values():
        assert callable(getattr(ScoringClient, method))
        assert callable(getattr(AsyncScoringClient, method))


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    """Whatever works on one works on the other."""

    def surface(kind: type) -> dict[str, list[str]]:
        public: dict[str, Callable[..., Any]] = {
            name: member for name, member in inspect.getmembers(kind, callable) if not name.startswith("_")
        }
        return {name: list(inspect.signature(member).parameters) for name, member in public.items()}

    assert surface(ScoringClient) == surface(AsyncScoringClient)
