"""The TorchServe side without TorchServe: wire bytes, forms, and their errors."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2
from PIL import Image as PillowImage

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest, ScoreDefendedResponse
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkerResponse, WorkItem, WorkResult
from scoreguard_handlers.torchserve.entry import DefendedScoreHandler
from scoreguard_handlers.torchserve.fields import mark_repeated_fields
from scoreguard_handlers.torchserve.http_form import REPEATED, write_answer


@dataclass
class Context:
    """What TorchServe passes in, as far as the handler uses it."""

    system_properties: dict[str, Any]
    status: dict[int, tuple[int, str]] = field(default_factory=dict)
    content_type: dict[int, str] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=lambda: {"Host": "localhost", "body": {"content-type": ""}})

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """The headers of every request."""
        return self.headers

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Remember the status."""
        self.status[idx] = (code, phrase)

    def set_response_content_type(self, request_id: int, value: str) -> None:
        """Remember the type."""
        self.content_type[request_id] = value


@pytest.fixture
def context(tiny_archive: Archive, tmp_path: Path) -> Context:
    """A context for the archive, unpacked as TorchServe does it."""
    with zipfile.ZipFile(tiny_archive.path) as zipped:
        zipped.extractall(tmp_path)
    return Context({"model_dir": str(tmp_path)})


@pytest.fixture
def handler(context: Context) -> DefendedScoreHandler:
    """An initialized handler."""
    handler = DefendedScoreHandler()
    handler.initialize(context)
    return handler


def photo(level: int = 51) -> bytes:
    """A flat PNG."""
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((4, 4, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_wire_bytes_get_wire_bytes(handler: DefendedScoreHandler, context: Context) -> None:
    """One WorkerRequest in, one WorkerResponse out, per TorchServe request; gRPC brings no headers of its own."""
    context.headers = {"data": {"content-type": ""}}
    item = WorkItem(score=ScoreDefendedRequest(image=Image(encoded=photo()), metric="brightness"))
    payload = bytearray(WorkerRequest(items=[item, WorkItem()]).SerializeToString())
    answers = handler.handle([{"data": payload}, {"data": payload}], context)
    assert len(answers) == 2
    results = WorkerResponse.FromString(answers[1]).results
    assert results[0].score.score == pytest.approx(20)
    assert results[1].status.code == code_pb2.INVALID_ARGUMENT


def test_bytes_that_are_no_request_get_a_status(handler: DefendedScoreHandler, context: Context) -> None:
    """The handler does not raise: that would fail the whole batch."""
    context.headers = {"data": {"content-type": ""}}
    (answer,) = handler.handle([{"data": b"\xff\xff\xff"}], context)
    assert WorkerResponse.FromString(answer).results[0].status.code == code_pb2.INVALID_ARGUMENT


def test_a_form_gets_json(handler: DefendedScoreHandler, context: Context) -> None:
    """`curl -F image=@photo.png -F defence=gain:factor=0.1 -F undefended=1`."""
    form = {"image": bytearray(photo()), "defence": b"gain:factor=0.1", "undefended": b"1", "seed": b"5"}
    (answer,) = handler.handle([form], context)
    content = json.loads(answer)
    assert content["score"] == pytest.approx(2)
    assert content["undefended_score"] == pytest.approx(20)
    assert content["provenance"]["seed"] == "5"
    assert context.content_type[0] == "application/json"
    assert context.status[0] == (200, "OK")


def test_a_bare_body_is_an_undefended_request(handler: DefendedScoreHandler, context: Context) -> None:
    """`curl -T photo.png`."""
    (answer,) = handler.handle([{"body": bytearray(photo(255))}], context)
    assert json.loads(answer)["score"] == pytest.approx(100)


def in_json(image: bytes | str | None = None, **fields: Any) -> bytearray:
    """A JSON body."""
    encoded = base64.b64encode(image).decode() if isinstance(image, bytes) else image
    return bytearray(json.dumps({**({} if encoded is None else {"image": encoded}), **fields}).encode())


BAD_FORMS: dict[str, tuple[dict[str, Any], int, str]] = {
    "empty": ({}, 400, "send image=@photo.png"),
    "no bytes": ({"image": bytearray()}, 400, "send image=@photo.png"),
    "empty body": ({"body": bytearray()}, 400, "send image=@photo.png"),
    "decoded text": ({"image": "text"}, 400, "no image"),
    "a file name without @": ({"image": bytearray(b"photo.png")}, 400, "'photo.png', not a file"),
    "not an image": ({"image": b"\x89junk"}, 400, "not a"),
    "TorchServe's own form": ({"data": bytearray(photo())}, 400, "send image=@photo.png"),
    "misspelt field": ({"image": photo(), "defense": b"gain"}, 400, "unknown field 'defense'"),
    "endless field": ({"image": photo(), "x" * 5000: b""}, 400, "known are image, defence, seed, undefended"),
    "misspelt defence": ({"image": photo(), "defence": b"gian"}, 404, "did you mean gain"),
    "value out of range": ({"image": photo(), "defence": b"gain:factor=9"}, 400, "out of range"),
    "no value": ({"image": photo(), "defence": b"gain:factor"}, 400, "key=value"),
    "negative seed": ({"image": photo(), "seed": b"-1"}, 400, "seed"),
    "endless seed": ({"image": photo(), "seed": b"9" * 5000}, 400, "seed"),
    "flag": ({"image": photo(), "undefended": b"yes please"}, 400, "use 1 or 0"),
    "two images": ({"image": photo(), "body": photo()}, 400, "two images"),
    "repeated": ({"image": photo(), REPEATED: "defence, image"}, 400, "given twice: 'defence, image'"),
    "another metric": ({"image": photo(), "model_name": b"darkness"}, 404, "brightness"),
    "JSON of KServe": ({"body": bytearray(b'{"instances": [{"data": "aGk="}]}')}, 400, 'send {"image": "<base64>"'),
    "JSON list": ({"body": bytearray(b"[1, 2]")}, 400, 'send {"image": "<base64>"'),
    "broken JSON": ({"body": bytearray(b'{"image": ')}, 400, "not JSON"),
    "deep JSON": ({"body": bytearray(b"[" * 100_000)}, 400, "not JSON"),
    "JSON that is no UTF-8": ({"body": bytearray(b'{"image": "\xff"}')}, 400, "not JSON"),
    "JSON without image": ({"body": in_json(defence="gain")}, 400, "no image"),
    "JSON without base64": ({"body": in_json("not base64!")}, 400, "not base64"),
    "JSON with a number for the image": ({"body": bytearray(b'{"image": 5}')}, 400, "not base64"),
    "JSON with a field twice": ({"body": bytearray(b'{"image": "", "image": ""}')}, 400, "twice"),
    "JSON and address": ({"body": in_json(photo(), defence="gain"), "defence": b"gain"}, 400, "given twice: defence"),
    "JSON with a list": ({"body": in_json(photo(), defence=["gain"])}, 400, "defence must be"),
    "JSON with a fraction": ({"body": in_json(photo(), seed=0.5)}, 400, "seed must be"),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_a_bad_form_has_its_own_status_in_the_batch(handler: DefendedScoreHandler, context: Context, case: str) -> None:
    """JSON with one short line that says what to send; a good neighbour is answered."""
    form, status, problem = BAD_FORMS[case]
    bad, good = handler.handle([form, {"image": photo()}], context)
    assert (context.status[0][0], context.status[1][0]) == (status, 200)
    message = json.loads(bad)["error"]["message"]
    assert problem in message and len(message) < 300
    assert context.content_type[0] == "application/json"
    assert json.loads(good)["score"] == pytest.approx(20)


@pytest.mark.parametrize(
    ("fields", "chain"),
    [
        ({}, "none"),
        ({"defence": b"none"}, "none"),
        ({"defence": b"gain"}, "gain:factor=0.5"),
        ({"defence": b"halve+gain:factor=0.25"}, "halve+gain:factor=0.25"),
        ({"model_name": b"brightness", "defence": b"gain"}, "gain:factor=0.5"),
    ],
)
def test_every_score_names_its_chain(
    handler: DefendedScoreHandler, context: Context, fields: dict[str, bytes], chain: str
) -> None:
    """An undefended score says so: a caller whose `defence` did not arrive can see it."""
    (answer,) = handler.handle([{"image": photo(), **fields}], context)
    assert json.loads(answer)["chain"] == chain


def test_a_json_body_is_read_like_a_form(handler: DefendedScoreHandler, context: Context) -> None:
    """The same fields, the image in base64."""
    body = in_json(photo(), defence="gain:factor=0.1", seed=7, undefended=True)
    (answer,) = handler.handle([{"body": body}], context)
    content = json.loads(answer)
    assert (content["score"], content["undefended_score"]) == (pytest.approx(2), pytest.approx(20))
    assert (content["chain"], content["provenance"]["seed"]) == ("gain:factor=0.1", "7")


def test_an_unforeseen_error_is_json_too(
    handler: DefendedScoreHandler, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is answered with 500 and JSON; raised, TorchServe would fail the batch."""

    def broken(request: WorkerRequest) -> WorkerResponse:
        raise LookupError(request)

    monkeypatch.setattr(handler, "run", broken)
    (answer,) = handler.handle([{"image": photo()}], context)
    assert context.status[0][0] == 500
    assert "LookupError" in json.loads(answer)["error"]["message"]


def test_a_score_that_is_not_finite_is_an_error() -> None:
    """JSON has no NaN, and a caller would take it for a score."""
    answer = write_answer(WorkResult(score=ScoreDefendedResponse(score=math.nan)))
    assert answer.status == 500
    assert "not a finite number" in json.loads(answer.body)["error"]["message"]


def parameter(name: str, value: bytes) -> dict[str, Any]:
    """A field as TorchServe's worker reads it from the socket."""
    return {"name": name, "value": bytearray(value), "contentType": ""}


def test_torchserves_own_reader_shows_repeated_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real reader keeps the last of two values; with the mark, the handler sees the names that came twice."""
    service = pytest.importorskip("ts.service").Service
    monkeypatch.setattr(service, "retrieve_data_for_inference", staticmethod(service.retrieve_data_for_inference))
    assert mark_repeated_fields() and mark_repeated_fields()
    fields = [[parameter("image", b"a"), parameter("image", b"b"), parameter("seed", b"1")], [parameter("body", b"c")]]
    batch = [{"requestId": b"1", "parameters": group, "headers": []} for group in fields]
    _, (twice, once), _ = service.retrieve_data_for_inference(batch)
    assert twice[REPEATED] == "image"
    assert once == {"body": bytearray(b"c")}


def test_a_changed_file_refuses_to_load(context: Context) -> None:
    """TorchServe then reports the worker as failed; nothing is ever scored with it."""
    graph = Path(context.system_properties["model_dir"]) / "gain.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"gain\.onnx was changed"):
        DefendedScoreHandler().initialize(context)
