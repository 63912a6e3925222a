"""Clips through the gateway on the local backend: scores, draws, sampling, limits, and what is refused."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from gateways import Line, connected, details_of, eventually, failure_of, metrics_of
from tiny_archives import png, write_tiny_archive
from videos import moving, written

from scoreguard.chain.clips import frame_seed
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import (
    CLIP_DRAW_EACH_FRAME,
    CLIP_DRAW_ONCE,
    POOLING_MEAN,
    POOLING_TEMPORAL,
    ClipHeader,
    FrameSampling,
    Image,
    ScoreClipRequest,
    ScoreDefendedRequest,
)
from scoreguard.v1.spec import parse_chain
from scoreguard_handlers.config import AdmissionConfig, ClipConfig

FRAMES = list(moving(7))
BRIGHTNESS = [float(frame.mean()) / 2.55 for frame in FRAMES]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A metric of images and one of videos."""
    folder = tmp_path_factory.mktemp("clips")
    for metric in ("bright", "motion", "dark"):
        write_tiny_archive(folder, metric)
    return folder


def header(metric: str = "bright", chain: str = "", **fields: Any) -> ScoreClipRequest:
    """The first message."""
    steps = [step.to_message() for step in parse_chain(chain)] if chain else []
    return ScoreClipRequest(header=ClipHeader(metric=metric, defences=steps, **fields))


def sent(frames: Iterable[Any] = FRAMES) -> Iterator[ScoreClipRequest]:
    """Frames, as arrays or files."""
    for frame in frames:
        image = Image(encoded=frame) if isinstance(frame, bytes) else Image(tensor=to_tensor(frame))
        yield ScoreClipRequest(frame=image)


def uploaded(data: bytes, size: int = 1000) -> Iterator[ScoreClipRequest]:
    """A video in pieces."""
    return (ScoreClipRequest(video=data[start : start + size]) for start in range(0, max(len(data), 1), size))


def call(line: Line, *parts: Iterable[ScoreClipRequest] | ScoreClipRequest) -> Any:
    """A call with these messages."""
    messages = [message for part in parts for message in ([part] if isinstance(part, ScoreClipRequest) else part)]
    return line.stub.ScoreClip(iter(messages))


async def test_a_metric_of_images_gives_the_mean_of_its_frames(store: Path) -> None:
    """Each frame has the score that ScoreDefended gives for it, to the last bit."""
    async with connected(store) as line:
        answer = await call(line, header(chain="gain:factor=0.5", request_id="mine", seed=3), sent())
        alone = [
            await line.stub.ScoreDefended(
                ScoreDefendedRequest(
                    image=Image(tensor=to_tensor(frame)), metric="bright", seed=3, defences=answer_steps(answer)
                )
            )
            for frame in FRAMES
        ]
    assert list(answer.frame_scores) == [one.score for one in alone]
    assert answer.frame_scores == pytest.approx([value / 2 for value in BRIGHTNESS], abs=1e-3)
    assert answer.score == pytest.approx(np.mean(answer.frame_scores))
    assert (answer.pooling, answer.pool_sha256, answer.draw) == (POOLING_MEAN, "", CLIP_DRAW_ONCE)
    assert list(answer.frames) == [*range(7)]
    assert (answer.request_id, answer.higher_is_better) == ("mine", True)
    provenance = answer.provenance
    assert (provenance.seed, provenance.height, provenance.width) == (3, 48, 64)
    assert provenance.metric_sha256 == alone[0].provenance.metric_sha256
    assert {timing.stage for timing in answer.timings} == {"queue", "decode", "gain:factor=0.5", "metric"}
    assert not answer.HasField("undefended_score")


def answer_steps(answer: Any) -> list[Any]:
    """The chain that an answer names."""
    return [step.step for step in answer.provenance.steps]


async def test_a_metric_of_videos_pools_the_features_of_all_frames_in_order(store: Path) -> None:
    """Behind the defences and without them; each frame is a clip of one; the digests are those of the graphs."""
    async with connected(store) as line:
        answer = await call(line, header("motion", "gain:factor=0.5", return_undefended_score=True), sent())
        backwards = await call(line, header("motion"), sent(reversed(FRAMES)))
        alone = await line.stub.ScoreDefended(
            ScoreDefendedRequest(image=Image(tensor=to_tensor(FRAMES[0])), metric="motion")
        )
        manifest = line.gateway.router.catalogue["motion"].archive
    whole = 0.5 * BRIGHTNESS[-1] + 0.5 * float(np.mean(BRIGHTNESS))
    assert answer.undefended_score == pytest.approx(whole, abs=1e-3)
    assert answer.score == pytest.approx(whole / 2, abs=1e-3)
    assert answer.undefended_frame_scores == pytest.approx(BRIGHTNESS, abs=1e-3)
    assert answer.undefended_frame_scores[0] == pytest.approx(alone.score, abs=1e-3)
    assert answer.frame_scores == pytest.approx([value / 2 for value in BRIGHTNESS], abs=1e-3)
    assert backwards.score == pytest.approx(0.5 * BRIGHTNESS[0] + 0.5 * float(np.mean(BRIGHTNESS)), abs=1e-3)
    assert answer.pooling == POOLING_TEMPORAL
    assert answer.pool_sha256 == manifest.digest_of("pool.onnx")
    assert answer.provenance.metric_sha256 == manifest.digest_of("frame.onnx")
    assert "pool" in {timing.stage for timing in answer.timings}


@pytest.mark.parametrize("metric", ["bright", "motion"])
async def test_a_video_scores_as_its_frames(store: Path, metric: str) -> None:
    """A file without loss, in pieces of a kilobyte, equals the frames to the last bit."""
    async with connected(store) as line:
        frames = await call(line, header(metric, seed=1), sent())
        video = await call(line, header(metric, seed=1), uploaded(written(FRAMES)))
    assert (video.score, list(video.frame_scores)) == (frames.score, list(frames.frame_scores))
    assert list(video.frames) == list(frames.frames)
    assert (video.provenance.height, video.provenance.width) == (48, 64)


@pytest.mark.parametrize("source", ["frames", "video"])
@pytest.mark.parametrize(
    ("every", "limit", "taken"), [(3, 0, [0, 3, 6]), (2, 2, [0, 2]), (0, 4, [0, 1, 2, 3]), (50, 0, [0])]
)
async def test_frames_are_sampled_by_the_stated_rule(
    store: Path, source: str, every: int, limit: int, taken: list[int]
) -> None:
    """The answer says which; the last one's place counts for a metric of videos."""
    parts = sent() if source == "frames" else uploaded(written(FRAMES))
    async with connected(store) as line:
        answer = await call(line, header("motion", sampling=FrameSampling(every=every, limit=limit)), parts)
    assert list(answer.frames) == taken
    assert answer.frame_scores == pytest.approx([BRIGHTNESS[index] for index in taken], abs=1e-3)
    expected = 0.5 * BRIGHTNESS[taken[-1]] + 0.5 * float(np.mean([BRIGHTNESS[index] for index in taken]))
    assert answer.score == pytest.approx(expected, abs=1e-3)


async def test_the_seed_of_a_frame_follows_from_the_seed_and_the_draw(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for all frames, or one for each by its place in the clip; without a seed the server draws one."""
    async with connected(store) as line:
        seen = list[int]()
        route = line.gateway.router.route

        async def watched(request: Any, seconds: float | None, **named: Any) -> Any:
            seen.append(request.head.seed)
            return await route(request, seconds, **named)

        monkeypatch.setattr(line.gateway.router, "route", watched)
        sampling = FrameSampling(every=3)
        once = await call(line, header(seed=9, sampling=sampling), sent())
        each = await call(line, header(seed=9, sampling=sampling, draw=CLIP_DRAW_EACH_FRAME), sent())
        drawn = await call(line, header(sampling=sampling), sent())
    assert seen[:3] == [9, 9, 9]
    assert seen[3:6] == [frame_seed(9, index, CLIP_DRAW_EACH_FRAME) for index in (0, 3, 6)]
    assert set(seen[6:]) == {drawn.provenance.seed}
    assert (once.provenance.seed, each.provenance.seed, each.draw) == (9, 9, CLIP_DRAW_EACH_FRAME)


SMALL = moving(1, 40, 64)
WRONG: dict[str, tuple[list[Any], str, str, str]] = {
    "nothing": ([], "INVALID_ARGUMENT", "a clip begins with its header, and nothing came first", "header"),
    "no header": ([*sent(FRAMES[:1])], "INVALID_ARGUMENT", "header, and a frame came first", "header"),
    "no frame": ([header()], "INVALID_ARGUMENT", "the clip has no frame: send frames", "frame"),
    "mixed": (
        [header(), *sent(FRAMES[:2]), *uploaded(b"x")],
        "INVALID_ARGUMENT",
        "bytes of a video came where a frame was expected",
        "frame",
    ),
    "mixed too": (
        [header(), *uploaded(b"x"), *sent(FRAMES[:2])],
        "INVALID_ARGUMENT",
        "a frame came inside a video",
        "video",
    ),
    "two headers": ([header(), header()], "INVALID_ARGUMENT", "a header came where a frame", "frame"),
    "empty message": ([header(), ScoreClipRequest()], "INVALID_ARGUMENT", "nothing came where a frame", "frame"),
    "other size": (
        [header(), *sent([*FRAMES[:3], *SMALL])],
        "INVALID_ARGUMENT",
        "frame 3 has 64 x 40 pixels, those before it 64 x 48: a clip has one size",
        "frame",
    ),
    "other size in a video": (
        [
            header(),
            *uploaded(
                b"".join(
                    written(moving(2, height, 48), container="mpegts", codec="mpeg2video", pixels="yuv420p")
                    for height in (32, 64)
                )
            ),
        ],
        "INVALID_ARGUMENT",
        "48 x 64 pixels, those before it 48 x 32: a clip has one size",
        "frame",
    ),
    "bad frame": (
        [header(), *sent([png(50, 48), b"none"])],
        "INVALID_ARGUMENT",
        "frame 1: ",
        "image.encoded",
    ),
    "no video": ([header(), *uploaded(b"none of it")], "INVALID_ARGUMENT", "the video cannot be decoded", "video"),
    "empty video": ([header(), *uploaded(b"")], "INVALID_ARGUMENT", "the video cannot be decoded", "video"),
    "unknown metric": ([header("brigth"), *sent()], "NOT_FOUND", "did you mean bright", "metric"),
    "unknown defence": ([header(chain="gian"), *sent()], "NOT_FOUND", "did you mean gain", "defences[0].name"),
    "bad parameter": (
        [header(chain="gain:factor=9"), *sent()],
        "INVALID_ARGUMENT",
        "factor",
        "defences[0].parameters.factor",
    ),
    "bad draw": ([header(draw=7), *sent()], "INVALID_ARGUMENT", "draw is 7, and none of CLIP_DRAW_ONCE", "header.draw"),
    "too many": ([header(), *sent(FRAMES * 2)], "RESOURCE_EXHAUSTED", "more than 8 frames to score", "sampling"),
    "large video": (
        [header(), *uploaded(bytes(60_000))],
        "RESOURCE_EXHAUSTED",
        "the video has more than 50000 bytes",
        "video",
    ),
    "large frames": (
        [header(), *uploaded(written(moving(1, 80, 64)))],
        "RESOURCE_EXHAUSTED",
        "64 x 80 = 5120 pixels: the limit is 5000",
        "video",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_cannot_be_scored_gives_one_line(store: Path, name: str) -> None:
    """Code, message and field; the server scores the next clip."""
    parts, code, said, field = WRONG[name]
    limits = ClipConfig(max_frames=8, max_video_bytes=50_000)
    async with connected(store, clips=limits, max_pixels=5000) as line:
        error = await failure_of(call(line, parts))
        assert (error.code().name, error.details()) == (code, error.details())
        message = error.details() or ""
        assert said in message
        assert "\n" not in message
        assert details_of(error)["BadRequest"].field_violations[0].field == field
        again = await call(line, header(), sent(FRAMES[:2]))
        assert len(again.frame_scores) == 2


async def test_bytes_that_are_no_message_are_refused_as_such(store: Path) -> None:
    """INVALID_ARGUMENT and not UNKNOWN, at the beginning and later."""
    for first in ([], [header().SerializeToString()]):
        async with connected(store) as line:
            raw: Any = line.channel.stream_unary("/scoreguard.v1.ScoringService/ScoreClip")
            error = await failure_of(raw(iter([*first, b"\xff\xff\xff"])))
            assert (error.code(), "are not a ScoreClipRequest" in (error.details() or "")) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                True,
            )


async def test_without_pyav_a_video_is_refused_with_the_line_that_installs_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames still score."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "scoreguard_handlers.gateway.clip_frames.find_spec", lambda name: None if name == "av" else find(name)
    )
    async with connected(store) as line:
        error = await failure_of(call(line, header(), uploaded(b"anything")))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "pip install 'scoreguard[video]'" in (error.details() or "")
        assert len((await call(line, header(), sent())).frames) == 7


async def test_few_frames_are_read_ahead_of_those_that_were_scored(store: Path) -> None:
    """GRPC's flow control holds a fast caller back, so the memory of a long clip is that of some frames."""
    taken = 0

    async def many() -> AsyncIterator[ScoreClipRequest]:
        nonlocal taken
        yield header(chain="+".join(["slow"] * 40))
        for message in sent(moving(60, 512, 512)):
            taken += 1
            yield message

    async with connected(store, workers=1) as line:
        clip = line.stub.ScoreClip(many())
        await asyncio.sleep(1.5)
        assert 1 < taken < 30
        clip.cancel()


async def test_a_clip_whose_caller_leaves_is_not_scored_to_its_end(store: Path) -> None:
    """Nothing of it waits or runs any more."""
    async with connected(store, metrics_port=0, workers=1) as line:
        clip = call(line, header(chain="+".join(["slow"] * 20)), sent(moving(40, 128, 128)))
        dispatcher = line.gateway.router.dispatchers["bright"]

        async def is_running() -> bool:
            return dispatcher.running > 0

        async def is_idle() -> bool:
            return dispatcher.running == dispatcher.waiting == 0

        await eventually(is_running)
        clip.cancel()
        await eventually(is_idle)
        assert 'scoreguard_calls_total{code="CANCELLED",method="ScoreClip"} 1.0' in await metrics_of(line)


async def test_a_clip_ends_at_its_deadline(store: Path) -> None:
    """DEADLINE_EXCEEDED, however many frames are left."""
    async with connected(store, workers=1) as line:
        messages = [header(chain="+".join(["slow"] * 200)), *sent(moving(4, 512, 512))]
        error = await failure_of(line.stub.ScoreClip(iter(messages), timeout=1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_full_queue_for_a_moment_does_not_end_a_clip(store: Path) -> None:
    """Frames that are refused for now are queued again."""
    admission = AdmissionConfig(queue_limit=1)
    async with connected(store, workers=1, admission=admission) as line:
        parts = [header(chain="+".join(["slow"] * 10)), *sent(moving(6, 128, 128))]
        first, second = await asyncio.gather(call(line, parts), call(line, parts))
    assert len(first.frames) == len(second.frames) == 6


async def test_an_encoded_frame_scores_as_its_pixels(store: Path) -> None:
    """PNG files as frames, large and small."""
    async with connected(store) as line:
        answer = await call(line, header(), sent([png(51, 64), png(102, 64)]))
    assert answer.frame_scores == pytest.approx([20, 40], abs=1e-3)
