"""Clips in the caller's own process, on the command line, and attacked frame by frame."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_archives import write_tiny_archive
from videos import moving, written

from scoreguard.chain.clips import Sampling
from scoreguard_client import ImageError, InvalidRequestError, ScoringClient, async_local, local
from scoreguard_client.cli import main
from scoreguard_client.clip_attack import attack_clip, sampled_frames

FRAMES = list(moving(7))
BRIGHTNESS = [float(frame.mean()) / 2.55 for frame in FRAMES]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A metric of images and one of videos."""
    folder = tmp_path_factory.mktemp("clips")
    for metric in ("bright", "motion"):
        write_tiny_archive(folder, metric)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video without loss."""
    path = tmp_path_factory.mktemp("video") / "clip.mkv"
    path.write_bytes(written(FRAMES))
    return path


def test_a_clip_scores_in_process(store: Path, clip: Path) -> None:
    """From both clients, as a file and as frames; one of videos pools, one of images averages."""

    async def asynchronous() -> Any:
        async with async_local(store) as client:
            return await client.score_clip(FRAMES, metric="motion", return_undefended=True)

    with local(store) as client:
        motion = client.score_clip(clip, metric="motion", return_undefended=True)
        bright = client.score_clip(clip, metric="bright", every=3)
    assert motion.score == motion.undefended_score
    assert motion.score == pytest.approx(0.5 * BRIGHTNESS[-1] + 0.5 * float(np.mean(BRIGHTNESS)), abs=1e-3)
    assert (motion.pooling, bright.pooling) == ("temporal", "mean")
    assert bright.frames == (0, 3, 6)
    assert bright.score == pytest.approx(np.mean(BRIGHTNESS[::3]), abs=1e-3)
    other = asyncio.run(asynchronous())
    assert (other.score, other.frame_scores) == (motion.score, motion.frame_scores)


def test_an_error_in_process_is_the_servers(store: Path) -> None:
    """One line with the field."""
    with local(store) as client:
        with pytest.raises(InvalidRequestError, match="frame 1 has 64 x 40 pixels") as caught:
            client.score_clip([FRAMES[0], FRAMES[1][:40]], metric="motion")
        assert caught.value.field == "frame"
        with pytest.raises(InvalidRequestError, match="the video cannot be decoded"):
            client.score_clip(b"\0\0\0\0ftypisom" + bytes(50), metric="motion")


def to(store: Path) -> tuple[str, str]:
    """The option that runs a model store in this process."""
    return "--target", f"local:{store}"


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    code = main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_the_command_scores_videos_by_their_suffix(store: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The number first, then the frames and how they were pooled."""
    code, out, err = run(capfd, "score", clip, "--metric", "motion", "--undefended", *to(store))
    assert (code, err) == (0, "")
    score = 0.5 * BRIGHTNESS[-1] + 0.5 * float(np.mean(BRIGHTNESS))
    assert out == f"{score:.4f}  (7 frames, pooled by the metric)  (undefended {score:.4f}, gap +0.0000)\n"


def test_the_command_writes_json_with_the_score_of_every_frame(
    store: Path, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line a clip, also where one fails."""
    (tmp_path / "none.mp4").write_bytes(b"none of it")
    options = ("--metric", "bright", "--every", 2, "--limit", 3, "--draw", "frame", "--json", *to(store))
    code, out, err = run(
        capfd, "score", clip, tmp_path / "none.mp4", "--defence", "gain:factor=0.5", *options, *to(store)
    )
    good, bad = map(json.loads, out.splitlines())
    assert code == 2
    assert good["frames"] == [0, 2, 4]
    assert good["frame_scores"] == pytest.approx([value / 2 for value in BRIGHTNESS[:5:2]], abs=1e-3)
    assert (good["pooling"], good["draw"], good["defences"]) == ("mean", "frame", "gain:factor=0.5")
    assert bad["error"]["code"] == "INVALID_ARGUMENT"
    assert "the video cannot be decoded" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--adaptive",), "--adaptive goes with --attack"),
        (("--smoothing", "200"), "are for images"),
        (("--save-purified", "out.png"), "are for images"),
        (("--attack", "none"), "no attack 'none'"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    store: Path, clip: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    """Exit code 2 and one line."""
    code, out, err = run(capfd, "score", clip, "--metric", "bright", *to(store), *options)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("adaptive", [False, True])
def test_an_attacked_clip_stands_beside_the_clean_one(store: Path, clip: Path, adaptive: bool) -> None:
    """Attacked frame by frame within the budget, scored as floats, at the same places of the clip."""
    with local(store) as client:
        found = attack_clip(
            client,
            clip,
            metric="bright",
            attack="square:queries=6:eps=8/255",
            defences="gain:factor=0.5",
            adaptive=adaptive,
            sampling=Sampling(every=3),
        )
    assert found.clean.frames == found.attacked.frames == (0, 3, 6)
    assert found.clean.score == pytest.approx(np.mean(BRIGHTNESS[::3]) / 2, abs=1e-3)
    assert found.attacked.provenance.precision == "float32"
    assert 0.0 < found.gain <= 100 * 8 / 255
    assert all(up > down for up, down in zip(found.attacked.frame_scores, found.clean.frame_scores, strict=True))
    assert 7 / 255 < found.l_infinity <= 8 / 255 + 1e-6


def test_the_command_attacks_a_clip(store: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Clean, attacked and the gain; the same seed gives the same numbers."""
    options = ("--metric", "motion", "--attack", "square:queries=4", "--limit", 2, "--seed", 5, *to(store))
    code, out, _ = run(capfd, "score", clip, *options)
    clean, attacked = out.splitlines()
    assert code == 0
    assert clean.startswith("clean ")
    assert attacked.startswith("attacked ")
    assert "gain +" in attacked
    code, out, _ = run(capfd, "score", clip, *options, "--json")
    record = json.loads(out)
    assert record["gain"] == pytest.approx(record["attacked"]["score"] - record["score"])
    assert f"{record['attacked']['score']:.4f}" in attacked
    assert record["attack"].startswith("square:")


def test_frames_that_cannot_be_read_here_are_said_with_the_path(tmp_path: Path) -> None:
    """As by the server."""
    (tmp_path / "none.mp4").write_bytes(b"none of it")
    with pytest.raises(ImageError, match=r"none\.mp4: the video cannot be decoded"):
        list(sampled_frames(tmp_path / "none.mp4", Sampling()))
    with pytest.raises(ImageError, match=r"cannot read"), ScoringClient("localhost:1") as client:
        client.score_clip(tmp_path / "missing.mp4", metric="bright")
