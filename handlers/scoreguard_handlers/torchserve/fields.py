"""Facts that TorchServe leaves out of a request's dictionary: repeated fields, and whether it came over HTTP.

TorchServe's worker puts the fields of a request into a dictionary, so of two `image=` the last one would silently be
scored. `mark_repeated_fields` lets the handler detect this.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from scoreguard_handlers.torchserve.http_form import REPEATED

_SERVICE: Final = "ts.service"
_RETRIEVE: Final = "retrieve_data_for_inference"
Retrieved = tuple[Any, list[dict[str, Any]], Any]


def mark_repeated_fields() -> bool:
    """Make TorchServe's reader store the field names that a request repeats under `REPEATED`.

    Returns:
        Whether TorchServe is loaded, in the expected form.
    """
    # Looked up, not imported: the chain must work without TorchServe.
    service: Any = getattr(sys.modules.get(_SERVICE), "Service", None)
    original: Callable[[Any], Retrieved] | None = getattr(service, _RETRIEVE, None)
    if original is None:
        return False
    if not getattr(original, "marks_repeated_fields", False):
        setattr(service, _RETRIEVE, staticmethod(_marking(original)))
    return True


def came_over_http(headers: Mapping[str, Any]) -> bool:
    """Whether these are headers of an HTTP request: text under each name; gRPC brings only those of the fields."""
    return any(isinstance(value, str) for value in headers.values())


def _marking(original: Callable[[Any], Retrieved]) -> Callable[[Sequence[Mapping[str, Any]]], Retrieved]:
    def retrieve(batch: Sequence[Mapping[str, Any]]) -> Retrieved:
        headers, requests, ids = original(batch)
        for raw, fields in zip(batch, requests, strict=True):
            counts = Counter(parameter["name"] for parameter in raw["parameters"])
            if repeated := sorted(name for name, count in counts.items() if count > 1):
                fields[REPEATED] = ", ".join(repeated)
        return headers, requests, ids

    retrieve.marks_repeated_fields = True  # type: ignore[attr-defined]
    return retrieve
