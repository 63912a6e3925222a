"""Pieces of work, and the worker call that carries them: a `WorkerRequest` on the wire.

The gateway writes it around the requests as they arrived, in parts, so an image goes from the caller's message to the
worker with one copy. The worker reads it without copying the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.request_check import Work, kind_of
from scoreguard_handlers.worker.wire import Buffer, header, nested_messages, parse_without_image


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """One piece of work: a `WorkItem` whose request is kept as it arrived."""

    request: Received[Work] | None
    """None = the item was empty."""
    deadline_unix_seconds: float = 0.0
    """Time after which the answer is no longer needed; 0 = no deadline."""
    id: int = 0
    """The gateway's id for it; 0 = it cannot be abandoned before its deadline."""

    @classmethod
    def of(cls, item: WorkItem, image: memoryview | None = None) -> Piece:
        """Return the piece that an item describes; `image` has the image's bytes if the item does not."""
        kind = item.WhichOneof("work")
        request = None if kind is None else Received[Work](head=getattr(item, kind), cut=image, frame=item.frame)
        return cls(request=request, deadline_unix_seconds=item.deadline_unix_seconds, id=item.id)

    @property
    def may_answer_large(self) -> bool:
        """Whether the answer may hold an image or a gradient."""
        if self.request is None:
            return False
        head = self.request.head
        return kind_of(head) not in {"score", "pool"} or bool(getattr(head, "return_purified_image", False))


def write_call(pieces: Sequence[Piece]) -> list[Buffer]:
    """Serialise a `WorkerRequest`, in consecutive parts; the requests are the very bytes that arrived."""
    parts: list[Buffer] = []
    for piece in pieces:
        frame = piece.request is not None and piece.request.frame
        rest = WorkItem(deadline_unix_seconds=piece.deadline_unix_seconds, id=piece.id, frame=frame).SerializeToString()
        body: list[Buffer] = [rest]
        if piece.request is not None:
            wire = piece.request.wire
            number = WorkItem.DESCRIPTOR.fields_by_name[kind_of(piece.request.head)].number
            body = [header(number, len(wire)), wire, rest]
        parts += [header(WorkerRequest.ITEMS_FIELD_NUMBER, sum(map(len, body))), *body]
    return parts


def read_call(data: Buffer) -> list[Piece]:
    """Return the pieces of a serialised `WorkerRequest`; large images stay where they are in `data`.

    Raises:
        DecodeError: the bytes are not a `WorkerRequest`.
    """
    items = nested_messages(data, WorkerRequest, WorkerRequest.ITEMS_FIELD_NUMBER)
    if items is None:
        return pieces_of(WorkerRequest.FromString(bytes(data)))
    return [Piece.of(*parse_without_image(item, WorkItem)) for item in items]


def pieces_of(call: WorkerRequest) -> list[Piece]:
    """Return the pieces of a parsed `WorkerRequest`."""
    return [Piece.of(item) for item in call.items]
