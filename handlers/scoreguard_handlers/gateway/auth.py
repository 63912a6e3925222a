"""Who may call: a call without an accepted bearer token is refused before its message is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc

from scoreguard_handlers.gateway.calls import Context
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.gateway.tokens import TokenFile

_SCHEME: Final = "bearer"
_OPEN: Final = ("/grpc.health.", "/grpc.reflection.")
"""Services that need no token: probes and tools send no metadata."""
_ADVICE: Final = "send the metadata 'authorization: Bearer TOKEN'"


def is_open_to_all(method: str) -> bool:
    """Whether a method, by its full name, needs no token."""
    return method.startswith(_OPEN)


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without an accepted token with UNAUTHENTICATED."""

    def __init__(self, tokens: TokenFile, telemetry: Telemetry) -> None:
        self._tokens, self._telemetry = tokens, telemetry

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Pass the call on, or answer it here."""
        method = handler_call_details.method
        if is_open_to_all(method):
            return await continuation(handler_call_details)
        reason = self.reason_against(handler_call_details.invocation_metadata or ())
        if not reason:
            return await continuation(handler_call_details)

        async def refused(_: Any, context: Context) -> NoReturn:
            await self.reject(context, method, context.peer(), reason)

        # This kind of handler can answer before the caller's first message.
        return grpc.stream_unary_rpc_method_handler(refused)

    async def reject(self, context: Context, method: str, peer: str, reason: str) -> NoReturn:
        """End a call and log it."""
        self._telemetry.rejected(method=method, peer=peer, reason=reason)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, _ADVICE)
        raise RuntimeError("abort returned")  # it never returns

    def reason_against(self, metadata: Any) -> str:
        """Return a keyword for why a call is refused; empty if it is not. gRPC bounds the size of the metadata."""
        values = [value for key, value in metadata if key == "authorization"]
        if not values:
            return "missing"
        if len(values) > 1 or not isinstance(values[0], str):
            return "malformed"
        scheme, _, token = values[0].partition(" ")
        if scheme.lower() != _SCHEME or not token:
            return "malformed"
        if self._tokens.accepts(token.strip()):
            return ""
        return "closed" if self._tokens.is_closed else "wrong"
