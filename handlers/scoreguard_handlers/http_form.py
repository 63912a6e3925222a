"""Plain HTTP: a form with a picture to a piece of work, and its outcome to JSON.

Fields: `image` (the file), `defence` (chain text), `seed`, `undefended` (1 to score f(x) as well). A body that is a
file and nothing else is an undefended request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format
from google.rpc import code_pb2

from scoreguard.v1.errors import SpecError
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkItem, WorkResult
from scoreguard_handlers.errors import InvalidRequestError

_PICTURE_FIELDS: Final = ("image", "body")
_FIELDS: Final = (*_PICTURE_FIELDS, "defence", "seed", "undefended")
_HTTP: Final = {
    code_pb2.INVALID_ARGUMENT: (400, "Bad Request"),
    code_pb2.NOT_FOUND: (404, "Not Found"),
    code_pb2.FAILED_PRECONDITION: (409, "Conflict"),
    code_pb2.RESOURCE_EXHAUSTED: (413, "Payload Too Large"),
    code_pb2.DEADLINE_EXCEEDED: (504, "Gateway Timeout"),
    code_pb2.UNAVAILABLE: (503, "Service Unavailable"),
}


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """What an HTTP caller gets."""

    status: int
    phrase: str
    body: bytes


def read_form(form: Mapping[str, Any]) -> WorkItem:
    """The piece of work that a form asks for.

    Raises:
        InvalidRequestError: an unknown field, no picture, or a value that cannot be read.
    """
    for name in form:
        if name not in _FIELDS:
            raise InvalidRequestError(f"unknown form field {name!r}: known are {', '.join(_FIELDS)}", field=name)
    picture = next((form[name] for name in _PICTURE_FIELDS if name in form), None)
    if not isinstance(picture, bytes | bytearray):
        raise InvalidRequestError("the form has no picture: send image=@photo.png", field="image")
    request = ScoreDefendedRequest(
        image=Image(encoded=bytes(picture)), return_undefended_score=_text(form, "undefended") in {"1", "true"}
    )
    try:
        request.defences.extend(step.to_message() for step in parse_chain(_text(form, "defence")))
    except SpecError as error:
        raise InvalidRequestError(str(error), field="defence") from error
    if seed := _text(form, "seed"):
        request.seed = _seed(seed)
    return WorkItem(score=request)


def write_answer(result: WorkResult) -> HttpAnswer:
    """The outcome as JSON; an error has the HTTP status that fits its code."""
    if result.WhichOneof("result") == "status":
        status, phrase = _HTTP.get(result.status.code, (500, "Internal Server Error"))
        error = {"code": code_pb2.Code.Name(result.status.code), "message": result.status.message}
        return HttpAnswer(status=status, phrase=phrase, body=_json({"error": error}))
    content = json_format.MessageToDict(result.score, preserving_proto_field_name=True)
    content["score"] = result.score.score
    return HttpAnswer(status=200, phrase="OK", body=_json(content))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"


def _text(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name, "")
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes | bytearray) else str(value).strip()


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise InvalidRequestError(f"seed {text!r} is not a whole number below 2^64", field="seed")
    return int(text)
