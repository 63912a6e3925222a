"""The frames of a clip, one by one: as they are sent, or decoded from a video that was spooled to a file.

Nothing is read ahead: the next message is taken, or the next frame decoded, when a place for it is free.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, BinaryIO, Final, TypeVar

from scoreguard.chain.clips import Sampling
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.errors import ImageLimitError, VideoError
from scoreguard.v1.scoring_pb2 import Image
from scoreguard.video import EXTRA, Frame, frames_of
from scoreguard_handlers.config import ClipConfig
from scoreguard_handlers.errors import InvalidRequestError, NotDeployedError, ResourceLimitError
from scoreguard_handlers.gateway.clip_parts import ClipPart
from scoreguard_handlers.gateway.messages import Unreadable
from scoreguard_handlers.worker.wire import Buffer

T = TypeVar("T")
Parts = AsyncIterator[ClipPart | Unreadable]
_MIXED: Final = "a clip is a header, then frames only or bytes of one video only"


@dataclass(frozen=True, kw_only=True)
class ClipFrame:
    """A frame to score."""

    index: int
    """Place in the clip, from 0."""
    image: Buffer
    """A serialised `Image`."""


async def clip_frames(
    parts: Parts, sampling: Sampling, config: ClipConfig, max_pixels: int
) -> AsyncGenerator[ClipFrame, None]:
    """Yield the frames of a clip that are scored; `parts` are the messages after the header.

    Raises:
        InvalidRequestError: a message is none of a clip's, frames and videos are mixed, or the video cannot be decoded.
        ResourceLimitError: the video or one of its frames is too large, or there are too many frames.
        NotDeployedError: videos are not decoded here.
    """
    first = await _next(parts)
    if first is None:
        return
    source = _decoded(first, parts, sampling, config, max_pixels) if first.video is not None else _sent(first, parts)
    index = count = 0
    async with aclosing(source):
        async for image in source:
            if sampling.takes(index) and image is not None:
                if count == config.max_frames:
                    raise ResourceLimitError(
                        f"the clip has more than {count} frames to score: that is the limit; score fewer of them "
                        "(sampling.every), or send it in parts",
                        field="sampling",
                        metadata={"limit_frames": str(count)},
                    )
                count += 1
                yield ClipFrame(index=index, image=image)
            if sampling.ends_after(index):
                return
            index += 1


async def _next(parts: Parts) -> ClipPart | None:
    """Return the next message; None at the end."""
    part = await anext(parts, None)
    if isinstance(part, Unreadable):
        raise part.error
    return part


async def _sent(part: ClipPart | None, parts: Parts) -> AsyncGenerator[Buffer | None, None]:
    while part is not None:
        if part.frame is None:
            raise InvalidRequestError(f"{part.kind} came where a frame was expected: {_MIXED}", field="frame")
        yield part.frame
        part = await _next(parts)


async def _decoded(
    part: ClipPart, parts: Parts, sampling: Sampling, config: ClipConfig, max_pixels: int
) -> AsyncGenerator[Buffer | None, None]:
    if find_spec("av") is None:
        raise NotDeployedError(
            f"this server decodes no videos: it needs pip install 'scoreguard[{EXTRA}]' (no module named av); or send "
            "the frames"
        )
    with tempfile.TemporaryFile(prefix="scoreguard-clip-") as file:
        await _spooled(part, parts, file, config.max_video_bytes)
        frames = frames_of(file, max_pixels=max_pixels, every=sampling.every)
        try:
            while (image := await _on_thread(lambda: _wire(frames))) is not _END:
                yield image
        except VideoError as error:
            raise InvalidRequestError(str(error), field="video") from error
        except ImageLimitError as error:
            facts = {error.what: f"{error.value:.15g}", "limit": f"{error.limit:.15g}"}
            raise ResourceLimitError(str(error), field="video", metadata=facts) from error
        finally:
            frames.close()


async def _spooled(part: ClipPart | None, parts: Parts, file: BinaryIO, limit: int) -> None:
    """Write the bytes of a video to a file as they come."""
    size = 0
    while part is not None:
        if part.video is None:
            raise InvalidRequestError(f"{part.kind} came inside a video: {_MIXED}", field="video")
        data = part.video
        size += len(data)
        if size > limit:
            raise ResourceLimitError(
                f"the video has more than {limit} bytes: that is the limit; send it in parts, or its frames",
                field="video",
                metadata={"limit_bytes": str(limit)},
            )
        try:
            await _on_thread(lambda data=data: file.write(data))  # type: ignore[misc]
        except OSError as error:
            raise ResourceLimitError(f"the video cannot be kept: {error.strerror or error}; try again later") from error
        part = await _next(parts)
    file.flush()
    file.seek(0)


_END: Final[Any] = object()


def _wire(frames: Iterator[Frame | None]) -> Any:
    """Return the next frame as a serialised `Image`, None for one that is not scored, or `_END`."""
    frame = next(frames, _END)
    return Image(tensor=to_tensor(frame)).SerializeToString() if frame is not None and frame is not _END else frame


async def _on_thread(work: Callable[[], T]) -> T:
    """Run on a thread; if the caller leaves, wait until the thread is done with what it uses."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
