"""The messages of a clip, as they arrive, and its frames, as requests to score an image."""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from scoreguard.chain.clips import frame_seed
from scoreguard.v1.scoring_pb2 import ClipHeader, ScoreClipRequest, ScoreDefendedRequest
from scoreguard_handlers.errors import InvalidRequestError
from scoreguard_handlers.worker.received import Received, read_request
from scoreguard_handlers.worker.wire import Buffer, header, nested_messages

_FRAME = ScoreClipRequest.FRAME_FIELD_NUMBER
_IMAGE = ScoreDefendedRequest.IMAGE_FIELD_NUMBER


@dataclass(frozen=True, kw_only=True)
class ClipPart:
    """One message of a clip: one of the three, or none."""

    header: ClipHeader | None = None
    frame: Buffer | None = None
    """A serialised `Image`."""
    video: bytes | None = None

    @property
    def kind(self) -> str:
        """Return what it is, in words."""
        parts = {"a header": self.header, "a frame": self.frame, "bytes of a video": self.video}
        return next((name for name, part in parts.items() if part is not None), "nothing")

    @classmethod
    def of(cls, message: ScoreClipRequest) -> ClipPart:
        """Return the part that a parsed message holds."""
        form = message.WhichOneof("part")
        if form == "header":
            return cls(header=message.header)
        if form == "frame":
            return cls(frame=message.frame.SerializeToString())
        return cls(video=message.video) if form == "video" else cls()


def read_clip_part(data: bytes) -> ClipPart:
    """Parse one message; a frame stays where it is.

    Raises:
        DecodeError: the bytes are not such a message.
    """
    frames = nested_messages(data, ScoreClipRequest, _FRAME)
    if frames is not None and len(frames) == 1:
        return ClipPart(frame=frames[0])
    return ClipPart.of(ScoreClipRequest.FromString(data))


def frame_request(head: ClipHeader, image: Buffer, index: int, seed: int) -> Received[ScoreDefendedRequest]:
    """Make the request to score a frame.

    Args:
        head: how the clip is scored.
        image: the frame, a serialised `Image`.
        index: its place in the clip.
        seed: of the clip.

    Raises:
        InvalidRequestError: the bytes are no `Image`.
    """
    rest = ScoreDefendedRequest(
        metric=head.metric,
        defences=head.defences,
        seed=frame_seed(seed, index, head.draw),
        return_undefended_score=head.return_undefended_score,
        request_id=head.request_id,
    )
    wire = b"".join([header(_IMAGE, len(image)), image, rest.SerializeToString()])
    try:
        return replace(read_request(wire, ScoreDefendedRequest), frame=True)
    except DecodeError as error:
        raise InvalidRequestError("the bytes are not an Image", field="frame") from error
