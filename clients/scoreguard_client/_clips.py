"""Clips as messages, and answers to them as values: shared by both clients."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import PIL.Image

from scoreguard.support.shown import shown_path
from scoreguard.v1 import scoring_pb2 as pb
from scoreguard.video import is_video
from scoreguard_client._batches import Layout, items_of
from scoreguard_client._clip_models import ClipDraw, ClipScore
from scoreguard_client._exceptions import ImageError, InternalError, InvalidRequestError
from scoreguard_client._images import ImageLike, to_image
from scoreguard_client._requests import DefencesLike, metric_name, to_seed, to_steps
from scoreguard_client._responses import finite, to_provenance, to_timings

__all__ = ["ClipLike"]

ClipLike: TypeAlias = str | os.PathLike[str] | bytes | PIL.Image.Image | Iterable[ImageLike]
"""A video file (path or bytes); an image file, which is a clip of one frame; or the frames: any images of one size, in
order, or one array or tensor of all of them, (T, height, width, 3) or (T, 3, height, width)."""

_CHUNK: Final = 1 << 20
_START: Final = 32
"""Bytes of a file that tell a video from an image."""
_DRAWS: Final[dict[ClipDraw, pb.ClipDraw.ValueType]] = {
    "clip": pb.CLIP_DRAW_ONCE,
    "frame": pb.CLIP_DRAW_EACH_FRAME,
}
_POOLINGS: Final[dict[int, Literal["temporal", "mean"]]] = {
    pb.POOLING_TEMPORAL: "temporal",
    pb.POOLING_MEAN: "mean",
}


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How to score a clip."""

    metric: str
    defences: DefencesLike = ""
    seed: int | None = None
    draw: ClipDraw = "clip"
    every: int = 1
    limit: int = 0
    return_undefended: bool = False
    request_id: str = ""

    def to_message(self) -> pb.ScoreClipRequest:
        """The first message.

        Raises:
            InvalidRequestError: the defences, the seed, the draw or the sampling cannot be read.
        """
        if self.draw not in _DRAWS:
            raise InvalidRequestError(f"draw is 'clip' or 'frame', not {self.draw!r}", field="draw")
        if self.every < 1 or self.limit < 0:
            raise InvalidRequestError("every is at least 1, and limit at least 0 (all frames)", field="sampling")
        return pb.ScoreClipRequest(
            header=pb.ClipHeader(
                metric=metric_name(self.metric),
                defences=to_steps(self.defences),
                seed=to_seed(self.seed),
                draw=_DRAWS[self.draw],
                sampling=pb.FrameSampling(every=self.every, limit=self.limit),
                return_undefended_score=self.return_undefended,
                request_id=self.request_id,
            )
        )


class ClipSender:
    """The messages of one clip; they are made as they are sent, perhaps on another thread."""

    def __init__(self, clip: ClipLike | AsyncIterable[ImageLike], options: ClipOptions, layout: Layout | None) -> None:
        """Check what can be checked at once.

        Raises:
            ImageError: the file cannot be read, or a single array is given instead of frames.
            InvalidRequestError: the options cannot be read.
        """
        self._head = options.to_message()
        self._clip = _opened(clip, layout)
        self.failure: Exception | None = None
        """What a frame, or the caller's own iterator, raised; the answer then counts for nothing."""

    def messages(self) -> Iterator[pb.ScoreClipRequest]:
        """Yield all messages."""
        yield self._head
        try:
            yield from map(_message, cast("Iterable[Any]", self._clip))
        except Exception as error:  # any error of the caller's own iterator goes back to the caller
            self.failure = error

    async def async_messages(self) -> AsyncIterator[pb.ScoreClipRequest]:
        """Yield all messages."""
        yield self._head
        try:
            if isinstance(self._clip, AsyncIterable):
                async for part in self._clip:
                    yield _message(part)
            else:
                for part in self._clip:
                    yield _message(part)
        except Exception as error:  # any error of the caller's own iterator goes back to the caller
            self.failure = error

    def score(self, responses: list[pb.ScoreClipResponse]) -> ClipScore:
        """Read the answer.

        Raises:
            InternalError: there is none, or a score in it is not a finite number.
            Exception: a frame could not be sent.
        """
        if self.failure is not None:
            raise self.failure
        if len(responses) != 1:
            raise InternalError(f"the server sent {len(responses)} answers to one clip")
        return _to_clip_score(responses[0])


def is_video_file(path: Path) -> bool:
    """Whether a file is a video, by its name or its first bytes.

    Raises:
        ImageError: it cannot be read; the message names the path.
    """
    try:
        with path.open("rb") as file:
            return is_video(path.name, file.read(_START))
    # A path with a zero byte, for example file contents passed as a path, raises ValueError.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"cannot read {shown_path(path)}: {reason or error}") from error


def _opened(clip: Any, layout: Layout | None) -> Iterable[Any] | AsyncIterable[Any]:
    """Return frames, or parts of a video as `_Chunk`s."""
    if isinstance(clip, (str, os.PathLike)):
        path = Path(clip)
        return _chunks_of(path) if is_video_file(path) else [path]
    if isinstance(clip, (bytes, bytearray, memoryview)):
        data = bytes(clip)
        if not is_video("", data[:_START]):
            return [data]
        return [_Chunk(data[start : start + _CHUNK]) for start in range(0, len(data), _CHUNK)]
    return [clip] if isinstance(clip, PIL.Image.Image) else items_of(clip, layout)


@dataclass(frozen=True)
class _Chunk:
    data: bytes


def _chunks_of(path: Path) -> Iterator[_Chunk]:
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            yield _Chunk(data)


def _message(part: Any) -> pb.ScoreClipRequest:
    if isinstance(part, _Chunk):
        return pb.ScoreClipRequest(video=part.data)
    return pb.ScoreClipRequest(frame=to_image(part))


def _to_clip_score(response: pb.ScoreClipResponse) -> ClipScore:
    undefended = (
        finite(response.undefended_score, "undefended score") if response.HasField("undefended_score") else None
    )
    return ClipScore(
        score=finite(response.score, "score"),
        undefended_score=undefended,
        frame_scores=tuple(finite(score, "frame's score") for score in response.frame_scores),
        undefended_frame_scores=tuple(response.undefended_frame_scores),
        frames=tuple(response.frames),
        pooling=_POOLINGS.get(response.pooling, ""),
        draw="frame" if response.draw == pb.CLIP_DRAW_EACH_FRAME else "clip",
        timings=to_timings(response.timings),
        provenance=to_provenance(response.provenance),
        pool_sha256=response.pool_sha256,
        request_id=response.request_id,
        higher_is_better=response.higher_is_better,
    )
