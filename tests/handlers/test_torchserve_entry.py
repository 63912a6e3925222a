"""The TorchServe side without TorchServe: wire bytes, forms, and their errors."""

from __future__ import annotations

import io
import json
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
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkerResponse, WorkItem
from scoreguard_handlers.torchserve_entry import DefendedScoreHandler


@dataclass
class Context:
    """What TorchServe passes in, as far as the handler uses it."""

    system_properties: dict[str, Any]
    status: dict[int, tuple[int, str]] = field(default_factory=dict)
    content_type: dict[int, str] = field(default_factory=dict)

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
    """One WorkerRequest in, one WorkerResponse out, per TorchServe request."""
    item = WorkItem(score=ScoreDefendedRequest(image=Image(encoded=photo()), metric="brightness"))
    payload = bytearray(WorkerRequest(items=[item, WorkItem()]).SerializeToString())
    answers = handler.handle([{"data": payload}, {"data": payload}], context)
    assert len(answers) == 2
    results = WorkerResponse.FromString(answers[1]).results
    assert results[0].score.score == pytest.approx(20)
    assert results[1].status.code == code_pb2.INVALID_ARGUMENT


def test_bytes_that_are_no_request_get_a_status(handler: DefendedScoreHandler, context: Context) -> None:
    """The handler does not raise: that would fail the whole batch."""
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


@pytest.mark.parametrize(
    ("form", "status", "problem"),
    [
        ({}, 400, "no picture"),
        ({"image": "text"}, 400, "no picture"),
        ({"image": b"junk"}, 400, "not an image"),
        ({"image": photo(), "defense": b"gain"}, 400, "unknown form field 'defense'"),
        ({"image": photo(), "defence": b"gian"}, 404, "did you mean gain"),
        ({"image": photo(), "defence": b"gain:factor=9"}, 400, "out of range"),
        ({"image": photo(), "defence": b"gain:factor"}, 400, "key=value"),
        ({"image": photo(), "seed": b"-1"}, 400, "seed"),
    ],
)
def test_a_bad_form_has_its_own_status_in_the_batch(
    handler: DefendedScoreHandler, context: Context, form: dict[str, Any], status: int, problem: str
) -> None:
    """A good neighbour is answered."""
    bad, good = handler.handle([form, {"image": photo()}], context)
    assert (context.status[0][0], context.status[1][0]) == (status, 200)
    assert problem in json.loads(bad)["error"]["message"]
    assert json.loads(good)["score"] == pytest.approx(20)


def test_a_changed_file_refuses_to_load(context: Context) -> None:
    """TorchServe then reports the worker as failed; nothing is ever scored with it."""
    graph = Path(context.system_properties["model_dir"]) / "gain.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"gain\.onnx was changed"):
        DefendedScoreHandler().initialize(context)
