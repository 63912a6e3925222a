"""Write one log line per finished call: the caller, the request, the outcome, and the time it took."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from scoreguard.support.shown import shown
from scoreguard.v1.spec import format_chain
from scoreguard_handlers.logs import FIELDS, warn
from scoreguard_handlers.rate_limit import RateLimit
from scoreguard_handlers.worker.received import ReceivedBatch

logger = logging.getLogger(__name__)
_MESSAGE_CHARACTERS: Final = 200
_OURS: Final = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
"""Codes that an operator should see; the others concern only the caller."""


def new_request_id() -> str:
    """Return an id for a request whose caller gave none."""
    return secrets.token_hex(8)


@dataclass(kw_only=True)
class CallFacts:
    """The facts about one call."""

    method: str
    peer: str
    request: Any = None
    """The message, or the messages of a batch, if the call has one."""
    request_id: str = ""
    """The caller's id for the request; a new one if it gave none."""
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    """The message that the caller got."""
    milliseconds: float = 0.0
    unreadable: bool = False
    """Whether the caller sent bytes that are not a valid message."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further facts, for example the number of items."""

    def __post_init__(self) -> None:
        """Fill in the request id."""
        self.request_id = self.request_id or getattr(self.request, "request_id", "") or new_request_id()


class CallLog:
    """Writes the lines; refusals that are the service's fault as warnings, at most one of a kind per second."""

    def __init__(self, slow_seconds: float = 5.0) -> None:
        self._slow_ms = slow_seconds * 1000
        self._limit = RateLimit()

    def ended(self, call: CallFacts) -> None:
        """Log a call: `call`, `slow call` or `refused`."""
        if call.code in _OURS or call.unreadable:
            warn(logger, self._limit, "refused", (call.method, call.code, call.unreadable), _facts(call))
        elif call.code is not grpc.StatusCode.OK:
            _info("refused", lambda: _facts(call))
        elif call.milliseconds >= self._slow_ms:
            _info("slow call", lambda: _facts(call))
        else:
            _info("call", lambda: _facts(call))

    def rejected(self, *, method: str, peer: str, reason: str) -> None:
        """Log an unauthorised caller, but never the token that it sent."""
        facts = {"reason": reason, "peer": peer_of(peer), "method": shown(method.rpartition("/")[2])}
        warn(logger, self._limit, "rejected caller", ("rejected", reason), facts)


def peer_of(peer: str) -> str:
    """Format `ipv4:127.0.0.1:5000` and `ipv6:%5B::1%5D:5000` as people write them."""
    scheme, _, rest = peer.partition(":")
    text = rest if scheme in {"ipv4", "ipv6"} else peer
    return shown(text.replace("%5B", "[").replace("%5D", "]"))


def _facts(call: CallFacts) -> dict[str, Any]:
    request = call.request
    facts: dict[str, Any] = {
        "request_id": shown(call.request_id),
        "method": call.method,
        "peer": peer_of(call.peer),
        "metric": shown(getattr(request, "metric", "")),
        "chain": shown(format_chain(request.defences)) if hasattr(request, "defences") else "",
        "items": len(request.requests) if isinstance(request, ReceivedBatch) else "",
        "code": call.code.name,
        "ms": round(call.milliseconds, 1),
        "message": shown(call.message, _MESSAGE_CHARACTERS),
        **call.extra,
    }
    return {name: value for name, value in facts.items() if value != ""}


def _info(event: str, facts: Callable[[], dict[str, Any]]) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info(event, extra={FIELDS: facts()})
