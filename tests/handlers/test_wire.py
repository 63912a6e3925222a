"""Messages read and written by hand: the same as protobuf reads and writes them, whatever form they come in."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard.v1.scoring_pb2 import (
    DATA_TYPE_UINT8,
    DefenceStep,
    Image,
    PurifyRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedBatchResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    ScoreDefendedResult,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
    ScoreGradientRequest,
    Tensor,
)
from scoreguard.v1.worker_pb2 import TorchServePredictionsRequest, WorkerRequest, WorkItem
from scoreguard_handlers.backends.torchserve import _prediction
from scoreguard_handlers.gateway.methods import write_batch, write_stream_message
from scoreguard_handlers.worker.pieces import Piece, read_call, write_call
from scoreguard_handlers.worker.received import Received, read_batch, read_request, read_stream_message

LARGE = bytes(range(256)) * 300
"""More than is worth cutting out."""
ENCODED = ScoreDefendedRequest(image=Image(encoded=LARGE), metric="lite", seed=0, request_id="a")
TENSOR = ScoreDefendedRequest(
    metric="lite", image=Image(tensor=Tensor(data=LARGE, shape=[160, 160, 3], data_type=DATA_TYPE_UINT8)),
    defences=[DefenceStep(name="blur", parameters={"sigma": 2.0})],
)  # fmt: skip
SMALL = ScoreDefendedRequest(image=Image(encoded=b"small"), metric="lite")
EMPTY = ScoreDefendedRequest()
GROUP = b"\xa3\x06\x08\x01\xa4\x06"
"""An unknown field 100, a group that holds a number in a field 1."""
UNKNOWN = b"\xa0\x06\x05" + b"\xaa\x06\x03abc" + b"\xa1\x06" + bytes(8) + b"\xa5\x06" + bytes(4)
"""Unknown fields of every other kind."""


def whole(request: Received[Any]) -> Any:
    """The message with its image in it."""
    message: Any = type(request.head)()
    message.CopyFrom(request.head)
    if request.cut is not None:
        if message.image.WhichOneof("payload") == "tensor":
            message.image.tensor.data = bytes(request.cut)
        else:
            message.image.encoded = bytes(request.cut)
    return message


def bytes_of(*messages: Message | bytes) -> bytes:
    """Messages one after the other, which protobuf reads as one."""
    return b"".join(m if isinstance(m, bytes) else m.SerializeToString() for m in messages)


USUAL = {
    "file": bytes_of(ENCODED),
    "array": bytes_of(TENSOR),
    "unknown fields": bytes_of(UNKNOWN, TENSOR, UNKNOWN),
    "long number": bytes_of(TENSOR, b"\x20" + b"\xff" * 9 + b"\x01"),
}
UNUSUAL = {
    "small": bytes_of(SMALL),
    "empty": b"",
    "no image": bytes_of(ScoreDefendedRequest(request_id="x" * len(LARGE))),
    "two files": bytes_of(ENCODED, ENCODED),
    "two arrays, whose shapes add up": bytes_of(TENSOR, TENSOR),
    "a file, then an array": bytes_of(ENCODED, TENSOR),
    "an array, then a file": bytes_of(TENSOR, ENCODED),
    "an array, then another shape": bytes_of(TENSOR, ScoreDefendedRequest(image=Image(tensor=Tensor(shape=[1])))),
    "a file, then an empty array": bytes_of(ENCODED, ScoreDefendedRequest(image=Image(tensor=Tensor()))),
    "a group": bytes_of(TENSOR, GROUP),
    "ten thousand fields": bytes_of(TENSOR, b"\xa0\x06\x05" * 10_000),
}  # fmt: skip


@pytest.mark.parametrize("form", [*USUAL, *UNUSUAL])
def test_a_request_is_read_as_protobuf_reads_it(form: str) -> None:
    """Head and image together are the message; a usual large image is a view of the bytes that came, not a copy."""
    data = {**USUAL, **UNUSUAL}[form]
    request = read_request(data, ScoreDefendedRequest)
    expected = ScoreDefendedRequest.FromString(data)
    assert whole(request) == expected
    assert bytes(request.image) == (expected.image.encoded or expected.image.tensor.data)
    assert request.wire is data
    assert (request.cut is not None and request.cut.obj is data) == (form in USUAL)


PARTS = st.sampled_from([
    bytes_of(ENCODED), bytes_of(TENSOR), bytes_of(SMALL), UNKNOWN, GROUP,
    bytes_of(ScoreDefendedRequest(image=Image())),
    bytes_of(ScoreDefendedRequest(image=Image(tensor=Tensor(shape=[7])))),
    bytes_of(ScoreDefendedRequest(request_id="b", return_purified_image=True)),
    b"\x08\x05",  # field 1 as a number, which is not the image
    b"\x0a\x02\x08\x05",  # an image whose field 1 is a number
])  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(PARTS, max_size=5), cut=st.integers(0, 3))
def test_any_sequence_of_fields_is_read_as_protobuf_reads_it(parts: list[bytes], cut: int) -> None:
    """Merged where protobuf merges, refused where it refuses: with bytes missing at the end, too."""
    data = b"".join(parts)
    data = data[: len(data) - cut]
    try:
        expected = ScoreDefendedRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            read_request(data, ScoreDefendedRequest)
    else:
        assert whole(read_request(data, ScoreDefendedRequest)) == expected


@pytest.mark.parametrize(
    "data",
    [
        bytes_of(TENSOR)[:-1],
        bytes_of(TENSOR, b"\x0a\xff\xff\xff\xff\x0f"),
        bytes_of(TENSOR, b"\x07"),
        bytes_of(TENSOR, b"\x12\x02\xff\xff"),
        bytes_of(TENSOR, b"\x00\x00"),
        bytes_of(TENSOR, b"\xff" * 11),
    ],
    ids=["cut short", "too long a field", "no such kind", "no text", "no such field", "endless number"],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    """Alone, in a batch, in a stream and in a worker call, small or large."""
    for wrong in (data, data[len(bytes_of(TENSOR)) :] or data):
        with pytest.raises(DecodeError):
            ScoreDefendedRequest.FromString(wrong)
        with pytest.raises(DecodeError):
            read_request(wrong, ScoreDefendedRequest)
        nested = b"\x0a" + len_of(wrong) + wrong
        for read in (read_batch, read_stream_message):
            with pytest.raises(DecodeError):
                read(nested)
            with pytest.raises(DecodeError):
                read(nested[:-1])
        with pytest.raises(DecodeError):
            read_call(b"\x0a" + len_of(nested) + nested)


def len_of(data: bytes) -> bytes:
    """A length as protobuf writes it."""
    return bytes_of(ScoreDefendedRequest(seed=len(data)))[1:]


BATCHES = {
    "items": bytes_of(ScoreDefendedBatchRequest(requests=[TENSOR, SMALL, EMPTY, ENCODED])),
    "none": b"",
    "unknown fields": bytes_of(ScoreDefendedBatchRequest(requests=[TENSOR]), UNKNOWN),
    "a group": bytes_of(GROUP, ScoreDefendedBatchRequest(requests=[TENSOR, SMALL])),
    "very many": bytes_of(ScoreDefendedBatchRequest(requests=[SMALL] * 5000)),
}


@pytest.mark.parametrize("form", BATCHES)
def test_a_batch_is_read_as_protobuf_reads_it(form: str) -> None:
    """Item by item; each item's own message is what it would be alone."""
    batch, expected = read_batch(BATCHES[form]), ScoreDefendedBatchRequest.FromString(BATCHES[form]).requests
    assert [whole(request) for request in batch.requests] == list(expected)
    assert [ScoreDefendedRequest.FromString(bytes(request.wire)) for request in batch.requests] == list(expected)
    assert batch.size == len(BATCHES[form])


STREAMED = {
    "item": bytes_of(ScoreDefendedStreamRequest(request=TENSOR)),
    "none": b"",
    "unknown fields": bytes_of(UNKNOWN, ScoreDefendedStreamRequest(request=ENCODED)),
    "twice": bytes_of(ScoreDefendedStreamRequest(request=TENSOR), ScoreDefendedStreamRequest(request=ENCODED)),
    "a group": bytes_of(ScoreDefendedStreamRequest(request=TENSOR), GROUP),
}


@pytest.mark.parametrize("form", STREAMED)
def test_a_streamed_item_is_read_as_protobuf_reads_it(form: str) -> None:
    """Two requests in one message are one, as protobuf has it."""
    request, expected = read_stream_message(STREAMED[form]), ScoreDefendedStreamRequest.FromString(STREAMED[form])
    assert whole(request) == ScoreDefendedRequest.FromString(bytes(request.wire)) == expected.request


CALLS = {
    "one": [WorkItem(score=TENSOR, id=2**62, deadline_unix_seconds=1.5e9)],
    "of every kind": [
        WorkItem(score=SMALL, id=1),
        WorkItem(purify=PurifyRequest(image=TENSOR.image), id=2),
        WorkItem(gradient=ScoreGradientRequest(image=ENCODED.image), deadline_unix_seconds=7),
        WorkItem(id=4),
    ],
    "none": [],
}


@pytest.mark.parametrize("form", CALLS)
def test_a_worker_call_is_written_as_protobuf_writes_it(form: str) -> None:
    """The parts together are a `WorkerRequest`, and are read back as what was written."""
    expected = WorkerRequest(items=CALLS[form])
    written = b"".join(write_call([Piece.of(item) for item in CALLS[form]]))
    assert WorkerRequest.FromString(written) == expected
    for given_as in (written, bytearray(written), memoryview(written)):
        pieces = read_call(given_as)
        assert [(piece.id, piece.deadline_unix_seconds) for piece in pieces] == [
            (item.id, item.deadline_unix_seconds) for item in expected.items
        ]
        for piece, item in zip(pieces, expected.items, strict=True):
            kind = item.WhichOneof("work")
            assert (piece.request and whole(piece.request)) == (kind and getattr(item, kind))


@pytest.mark.parametrize("tail", [GROUP, UNKNOWN, bytes_of(WorkerRequest(items=[WorkItem(score=SMALL)]))])
def test_a_worker_call_of_another_writer_is_read_as_protobuf_reads_it(tail: bytes) -> None:
    """Plain TorchServe takes calls from anybody."""
    data = bytes_of(WorkerRequest(items=[WorkItem(score=TENSOR)]), tail)
    expected = [item.score for item in WorkerRequest.FromString(data).items]
    assert [whole(piece.request) for piece in read_call(data) if piece.request] == expected


ANSWERS = [
    ScoreDefendedResponse(score=1.5, purified_image=Image(encoded=LARGE)),
    status_pb2.Status(code=3, message="no"),
    ScoreDefendedResponse(),
]


def test_answers_are_written_as_protobuf_writes_them() -> None:
    """Byte for byte, for a batch and for each message of a stream."""
    results = [
        ScoreDefendedResult(response=a) if isinstance(a, ScoreDefendedResponse) else ScoreDefendedResult(status=a)
        for a in ANSWERS
    ]
    assert write_batch(ANSWERS) == ScoreDefendedBatchResponse(results=results).SerializeToString()
    assert write_batch([]) == b""
    for outcome, result in zip(ANSWERS, results, strict=True):
        assert write_stream_message(outcome) == ScoreDefendedStreamResponse(result=result).SerializeToString()


def test_torchserves_request_is_written_as_protobuf_writes_it() -> None:
    """The gateway frames a payload without a copy in a message."""
    fields = {"data": LARGE, "spool": b""}
    expected = TorchServePredictionsRequest(model_name="lite", input=fields)
    assert TorchServePredictionsRequest.FromString(_prediction("lite", fields)) == expected
