"""Attack a clip frame by frame, and score it clean and attacked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scoreguard.chain.clips import Sampling, frame_seed
from scoreguard.images import MAX_PIXELS
from scoreguard.support.shown import shown_path
from scoreguard.v1 import errors as contract
from scoreguard.v1.scoring_pb2 import CLIP_DRAW_EACH_FRAME
from scoreguard.v1.spec import parse_chain
from scoreguard.video import EXTRA, frames_of
from scoreguard_client._client import ScoringClient
from scoreguard_client._clip_models import ClipDraw, ClipScore
from scoreguard_client._clips import is_video_file
from scoreguard_client._exceptions import ImageError, MissingExtraError
from scoreguard_client._images import from_file, read_bytes
from scoreguard_client._models import FloatImage
from scoreguard_client.attacks.base import Attack, Needs
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.oracles.base import ScoreOracle
from scoreguard_client.oracles.live import LiveGradientOracle, LiveScoreOracle


@dataclass(frozen=True, kw_only=True)
class AttackedClip:
    """A clip, clean and attacked, scored alike."""

    attack: str
    """The attack with all its parameters."""
    clean: ClipScore
    """Of the frames as they are."""
    attacked: ClipScore
    """Of the attacked frames as float values, never rounded."""
    l_infinity: float
    """Largest change of a value in any frame, in [0, 1] units."""

    @property
    def gain(self) -> float:
        """By how much the attack raised the quality, in the metric's units."""
        change = self.attacked.score - self.clean.score
        return change if self.clean.higher_is_better else 0.0 - change


def attack_clip(
    client: ScoringClient,
    path: str | os.PathLike[str],
    *,
    metric: str,
    attack: str | Attack,
    defences: str = "",
    adaptive: bool = False,
    seed: int = 0,
    draw: ClipDraw = "clip",
    sampling: Sampling | None = None,
    return_undefended: bool = False,
    timeout: float | None = None,
) -> AttackedClip:
    """Attack each frame by itself, through the endpoint, then score the clip before and after.

    Frames are decoded here, and attacked as they are sent: a long clip takes little memory. The attack moves the score
    of each frame as a clip of one, which for a metric of videos is not the score of the clip.

    Args:
        client: the connection; an attack by gradients needs a server that serves them.
        path: a video, or an image, which is a clip of one frame.
        metric: name of a deployed metric.
        attack: such as `ifgsm:eps=8/255`.
        defences: the chain that both clips are scored behind.
        adaptive: whether the attack works through that chain; otherwise it attacks the metric alone.
        seed: of random defences and of the attack.
        draw: as in `score_clip`; frames count from 0 among those that are scored.
        sampling: which frames are attacked and scored; None = all.
        return_undefended: also score both clips without the defences.
        timeout: seconds for each of the two clips.

    Raises:
        ImageError: the file cannot be read, or holds no frame.
        MissingExtraError: PyAV is not installed.
        AttackError: the attack cannot be read, or does not fit.
        ServerError: the server refused.
    """
    found = parse_attack(attack) if isinstance(attack, str) else attack
    sampling, where = sampling or Sampling(), Path(path)
    oracle = _oracle(client, metric, found, defences if adaptive else "", seed, draw)
    places: list[int] = []
    largest = 0.0

    def clean() -> Iterator[FloatImage]:
        for index, frame in sampled_frames(where, sampling):
            places.append(index)
            yield frame

    def attacked() -> Iterator[FloatImage]:
        nonlocal largest
        for place, (_, frame) in enumerate(sampled_frames(where, sampling)):
            changed = attacked_frame(frame, found, oracle(place), seed)
            largest = max(largest, float(np.abs(changed - frame).max()))
            yield changed

    def scored(frames: Iterable[FloatImage]) -> ClipScore:
        score = client.score_clip(
            frames,
            metric=metric,
            defences=defences,
            seed=seed,
            draw=draw,
            return_undefended=return_undefended,
            timeout=timeout,
        )
        return replace(score, frames=tuple(places))

    before, after = scored(clean()), scored(attacked())
    return AttackedClip(attack=str(found), clean=before, attacked=after, l_infinity=largest)


def attacked_frame(frame: FloatImage, attack: Attack, oracle: ScoreOracle, seed: int) -> FloatImage:
    """Attack one frame (H, W, 3) in [0, 1]."""
    images = np.ascontiguousarray(frame.transpose(2, 0, 1)[None])
    found = attack(images, oracle, seeds=[seed]).attacked[0]
    return np.ascontiguousarray(found.transpose(1, 2, 0))


def sampled_frames(path: Path, sampling: Sampling) -> Iterator[tuple[int, FloatImage]]:
    """Yield the place and the values of each frame that is scored, (H, W, 3) in [0, 1]; an image is one frame.

    Raises:
        ImageError: the file cannot be read, or holds no frame.
        MissingExtraError: PyAV is not installed.
    """
    if not is_video_file(path):
        yield 0, _floats(from_file(path, read_bytes(path)))
        return
    try:
        with path.open("rb") as file:
            for index, frame in enumerate(frames_of(file, max_pixels=MAX_PIXELS, every=sampling.every)):
                if frame is not None:
                    yield index, _floats(frame)
                if sampling.ends_after(index):
                    return
    except ModuleNotFoundError as error:
        raise MissingExtraError("decoding a video", EXTRA, "av") from error
    except (contract.VideoError, contract.ImageLimitError) as error:
        raise ImageError(f"{shown_path(path)}: {error}") from error


def _floats(values: Any) -> FloatImage:
    found: FloatImage = values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values
    return found


def _oracle(
    client: ScoringClient, metric: str, attack: Attack, chain: str, seed: int, draw: ClipDraw
) -> Callable[[int], ScoreOracle]:
    """Return what gives the oracle of each frame, by its place in the clip that is sent."""
    described = client.list_metrics().metric(metric)
    kind = LiveGradientOracle if attack.needs is Needs.GRADIENT else LiveScoreOracle
    steps = parse_chain(chain) if chain else ()

    def oracle(place: int) -> ScoreOracle:
        own = frame_seed(seed, place, CLIP_DRAW_EACH_FRAME) if draw == "frame" else seed
        return kind(client, described, steps, seed=own)

    return oracle
