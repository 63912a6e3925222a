"""A JSON body as the fields of a form: `{"image": "<base64>", "defence": "jpeg:quality=50", "seed": 1}`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Final

from scoreguard_handlers.errors import InvalidRequestError

_SEND: Final = 'send {"image": "<base64>", "defence": "jpeg:quality=50"}, one image a request'


def looks_like_json(body: object) -> bool:
    """Whether a body begins like a JSON object or list; no image file does."""
    return isinstance(body, bytes | bytearray) and bytes(body[:64]).lstrip()[:1] in (b"{", b"[")


def fields_of_json(body: bytes, names: Sequence[str]) -> dict[str, bytes | str]:
    """Return the fields of a JSON object, with the image decoded.

    Args:
        body: the body of the request.
        names: the known fields.

    Raises:
        InvalidRequestError: it is not a JSON object, a field is unknown, repeated or of the wrong type, or the image is
            not base64.
    """
    try:
        content = json.loads(body, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are both ValueErrors
        raise InvalidRequestError(f"the body is not JSON that can be read ({type(error).__name__}): {_SEND}") from error
    if not isinstance(content, dict) or not set(content) <= set(names):
        raise InvalidRequestError(f"this JSON is not read here: {_SEND}", field="body")
    return {name: _field(name, value) for name, value in content.items()}


def _field(name: str, value: Any) -> bytes | str:
    if name == "image":
        return _decoded(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str | int):
        return str(value)
    raise InvalidRequestError(f"{name} must be a text or a whole number: {_SEND}", field=name)


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidRequestError(f"the image is not base64: {_SEND}", field="image") from error


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise InvalidRequestError(f"a field is given twice: {_SEND}", field="body")
    return content
