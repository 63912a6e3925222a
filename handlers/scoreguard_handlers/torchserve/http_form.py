"""Plain HTTP: convert a form with an image to a piece of work, and its outcome to JSON.

Fields: `image` (the file), `defence` (chain text), `seed`, `undefended` (1 to score f(x) as well). A body that is a
file and nothing else is an undefended request; a body that is a JSON object has the same fields, the image in base64.
Every answer names its chain, so an undefended score cannot be mistaken for a defended one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format
from google.rpc import code_pb2

from scoreguard.v1.errors import SpecError
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.spec import format_chain, parse_chain
from scoreguard.v1.worker_pb2 import WorkItem, WorkResult
from scoreguard_handlers.errors import ChainFailedError, InvalidRequestError, UnknownNameError
from scoreguard_handlers.torchserve.http_json import fields_of_json, looks_like_json
from scoreguard_handlers.worker.status import to_status

FILE_FIELD: Final = "image"
BODY_FIELD: Final = "body"
"""The name that TorchServe gives to a body that is not a form."""
REPEATED: Final = "fields given twice"
"""Key of the names that a request repeats; TorchServe's dictionary keeps the last value of each."""
_ROUTE_FIELD: Final = "model_name"
"""Field in which `/invocations` names the archive; it arrives with the form."""
_NAMED: Final = ("image", "defence", "seed", "undefended")
_YES, _NO = frozenset({"1", "true"}), frozenset({"", "0", "false"})
_ECHO: Final = 80
"""Most characters of a caller's text that a message repeats."""
_FILE_NAME: Final = re.compile(rb"[ -~]{0,250}\.[A-Za-z]{3,4}\Z")
_SEND: Final = "send image=@photo.png"
_HTTP: Final[Mapping[int, tuple[int, str]]] = {
    code_pb2.INVALID_ARGUMENT: (400, "Bad Request"),
    code_pb2.NOT_FOUND: (404, "Not Found"),
    code_pb2.FAILED_PRECONDITION: (409, "Conflict"),
    code_pb2.RESOURCE_EXHAUSTED: (413, "Payload Too Large"),
    code_pb2.DEADLINE_EXCEEDED: (504, "Gateway Timeout"),
    code_pb2.UNAVAILABLE: (503, "Service Unavailable"),
}


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """The response to an HTTP caller."""

    status: int
    phrase: str
    body: bytes


def read_form(form: Mapping[str, Any], metric: str) -> WorkItem:
    """Return the piece of work that a form describes.

    Args:
        form: the fields as TorchServe passes them; the file under `image`, or the whole body under `body`.
        metric: the name of the requested archive.

    Raises:
        InvalidRequestError: an unknown or repeated field, no image, or a value that cannot be read.
        UnknownNameError: the form names another metric.
    """
    if REPEATED in form:
        raise InvalidRequestError(f"given twice: {_shown(str(form[REPEATED]))}; send each field once")
    fields = dict(form)
    if _ROUTE_FIELD in fields and (named := _text(fields, _ROUTE_FIELD)) != metric:
        raise UnknownNameError("metric", named[:_ECHO], [metric], field=_ROUTE_FIELD)
    fields.pop(_ROUTE_FIELD, None)
    if looks_like_json(fields.get(BODY_FIELD)):
        fields = _merged(fields, fields_of_json(bytes(fields.pop(BODY_FIELD)), _NAMED))
    for name in fields:
        if name not in (*_NAMED, BODY_FIELD):
            raise InvalidRequestError(
                f"unknown field {_shown(name)}: known are {', '.join(_NAMED)}; for the image, {_SEND}", field=FILE_FIELD
            )
    request = ScoreDefendedRequest(
        image=Image(encoded=_image(fields)), return_undefended_score=_flag(fields, "undefended")
    )
    try:
        request.defences.extend(step.to_message() for step in parse_chain(_text(fields, "defence")))
    except SpecError as error:
        raise InvalidRequestError(str(error), field="defence") from error
    if seed := _text(fields, "seed"):
        request.seed = _seed(seed)
    return WorkItem(score=request)


def write_answer(result: WorkResult) -> HttpAnswer:
    """Return the outcome as JSON; an error has the HTTP status that matches its code."""
    if result.WhichOneof("result") == "score" and not math.isfinite(result.score.score):
        result = WorkResult(status=to_status(ChainFailedError("the score is not a finite number")))
    if result.WhichOneof("result") == "status":
        status, phrase = _HTTP.get(result.status.code, (500, "Internal Server Error"))
        error = {"code": code_pb2.Code.Name(result.status.code), "message": result.status.message}
        return HttpAnswer(status=status, phrase=phrase, body=_json({"error": error}))
    chain = format_chain(step.step for step in result.score.provenance.steps)
    content = json_format.MessageToDict(result.score, preserving_proto_field_name=True)
    return HttpAnswer(status=200, phrase="OK", body=_json({"score": result.score.score, "chain": chain, **content}))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"


def _merged(form: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the fields of the URL with those of the JSON body."""
    if both := sorted(set(form) & set(content)):
        raise InvalidRequestError(f"given twice: {', '.join(both)}; send each field once", field=both[0])
    return {**form, **content}


def _image(fields: Mapping[str, Any]) -> bytes:
    given = [name for name in (FILE_FIELD, BODY_FIELD) if name in fields]
    if len(given) > 1:
        raise InvalidRequestError(f"two images, under {' and '.join(given)}: send one", field=FILE_FIELD)
    image = fields[given[0]] if given else b""
    if not isinstance(image, bytes | bytearray) or not image:
        raise InvalidRequestError(f"the request has no image: {_SEND}", field=FILE_FIELD)
    if given == [FILE_FIELD] and _FILE_NAME.match(image):
        name = _shown(image.decode("ascii"))
        raise InvalidRequestError(f"the image is the text {name}, not a file: {_SEND}, with the @", field=FILE_FIELD)
    return bytes(image)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes | bytearray) else str(value).strip()


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    text = _text(fields, name).lower()
    if text not in _YES | _NO:
        raise InvalidRequestError(f"{name} is {_shown(text)}: use 1 or 0", field=name)
    return text in _YES


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > _ECHO or int(text) >= 1 << 64:
        raise InvalidRequestError(f"seed {_shown(text)} is not a whole number below 2^64", field="seed")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _ECHO else text[: _ECHO - 1] + "…")
