"""Clips through both clients: files, frames and arrays, the options, and what goes wrong on the caller's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from videos import moving, written

from scoreguard.v1 import scoring_pb2 as pb
from scoreguard_client import AsyncScoringClient, ClipScore, ImageError, InvalidRequestError, ScoringClient
from scoreguard_client.testing import FakeService

FRAMES = list(moving(5))
BRIGHTNESS = [100 * float(frame.mean()) / 255 for frame in FRAMES]
FORMS: dict[str, Any] = {
    "list": FRAMES,
    "generator": lambda: iter(FRAMES),
    "array": np.stack(FRAMES),
    "channels first": np.stack(FRAMES).transpose(0, 3, 1, 2),
    "video": lambda: written(FRAMES),
}


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    """A video of some megabytes, so that it is sent in several messages."""
    path = tmp_path / "clip.mkv"
    path.write_bytes(written(moving(5, 400, 600)))
    assert path.stat().st_size > 2 << 20
    return path


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_in_any_form_has_the_scores_of_its_frames(running: Any, form: str) -> None:
    """A list, an iterator, one array with the channels at either end, the bytes of a video."""
    clip = FORMS[form]() if callable(FORMS[form]) else FORMS[form]
    with ScoringClient(running.target) as client:
        found = client.score_clip(clip, metric="bright", request_id="mine", seed=4)
    assert isinstance(found, ClipScore)
    assert found.frame_scores == pytest.approx(BRIGHTNESS, abs=1e-3)
    assert found.score == pytest.approx(np.mean(BRIGHTNESS), abs=1e-3)
    assert (found.frames, found.pooling, found.draw) == ((0, 1, 2, 3, 4), "mean", "clip")
    assert (found.request_id, found.provenance.seed, found.higher_is_better) == ("mine", 4, True)
    assert (found.provenance.height, found.provenance.width) == (48, 64)


def test_a_video_file_is_sent_in_pieces(running: Any, clip_file: Path) -> None:
    """As a path or as text."""
    with ScoringClient(running.target) as client:
        first = client.score_clip(clip_file, metric="bright")
        second = client.score_clip(str(clip_file), metric="bright")
    assert len(first.frames) == 5
    assert first.frame_scores == second.frame_scores


def test_an_image_is_a_clip_of_one(running: Any, tmp_path: Path) -> None:
    """A file, its bytes, or an image of Pillow."""
    path = tmp_path / "one.png"
    PIL.Image.fromarray(FRAMES[0]).save(path)
    with ScoringClient(running.target) as client:
        for clip in (path, path.read_bytes(), PIL.Image.fromarray(FRAMES[0])):
            found = client.score_clip(clip, metric="bright")
            assert found.frame_scores == pytest.approx(BRIGHTNESS[:1], abs=1e-3)


def test_the_options_reach_the_server(running: Any) -> None:
    """Draw, sampling, defences and the rest; a seed is drawn by the client if there is none."""
    with ScoringClient(running.target) as client:
        found = client.score_clip(
            FRAMES, metric="bright", defences="dim", draw="frame", every=2, limit=9, return_undefended=True
        )
    (head,) = running.service.clips
    assert (head.metric, [step.name for step in head.defences]) == ("bright", ["dim"])
    assert (head.draw, head.sampling.every, head.sampling.limit) == (pb.CLIP_DRAW_EACH_FRAME, 2, 9)
    assert head.return_undefended_score
    assert head.HasField("seed")
    assert (found.frames, found.draw, found.provenance.seed) == ((0, 2, 4), "frame", head.seed)


def test_the_asynchronous_client_gives_the_same(running: Any, clip_file: Path) -> None:
    """Of a file, of frames, and of frames that are made as they are sent."""

    async def made() -> AsyncIterator[Any]:
        for frame in FRAMES:
            await asyncio.sleep(0)
            yield frame

    async def scores() -> list[ClipScore]:
        async with AsyncScoringClient(running.target) as client:
            return [await client.score_clip(clip, metric="bright") for clip in (clip_file, FRAMES, made())]

    file, frames, asynchronous = asyncio.run(scores())
    assert len(file.frames) == 5
    assert frames.frame_scores == asynchronous.frame_scores == pytest.approx(BRIGHTNESS, abs=1e-3)


def test_an_error_of_a_frame_comes_back_to_the_caller(running: Any) -> None:
    """Not as the server's, and no partial score in its place."""

    def broken() -> Iterator[Any]:
        yield FRAMES[0]
        raise ZeroDivisionError("no more frames")

    with ScoringClient(running.target) as client:
        with pytest.raises(ZeroDivisionError, match="no more frames"):
            client.score_clip(broken(), metric="bright")
        with pytest.raises(ImageError, match="shape"):
            client.score_clip([FRAMES[0], FRAMES[1][..., 0]], metric="bright")


@pytest.mark.parametrize(
    ("clip", "options", "error", "said"),
    [
        (FRAMES[0], {}, ImageError, "a list of images is wanted"),
        ("none.mp4", {}, ImageError, "cannot read none.mp4"),
        (FRAMES, {"draw": "always"}, InvalidRequestError, "draw is 'clip' or 'frame'"),
        (FRAMES, {"every": 0}, InvalidRequestError, "every is at least 1"),
        (FRAMES, {"metric": ""}, InvalidRequestError, "name the metric"),
        (FRAMES, {"defences": "jpeg:"}, InvalidRequestError, "cannot read"),
        ([], {}, InvalidRequestError, "the clip has no frame"),
    ],
)
def test_what_cannot_be_sent_is_said_in_one_line(
    running: Any, clip: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Before anything is sent, where that can be known."""
    with ScoringClient(running.target) as client, pytest.raises(error, match=said) as caught:
        client.score_clip(clip, **{"metric": "bright", **options})
    assert "\n" not in str(caught.value)


def test_the_fake_service_scores_clips_too() -> None:
    """For tests of one's own code."""
    with FakeService().client() as client:
        found = client.score_clip(FRAMES, metric="bright")
    assert found.frame_scores == pytest.approx(BRIGHTNESS, abs=1e-3)
    assert found.score == pytest.approx(np.mean(BRIGHTNESS), abs=1e-3)
