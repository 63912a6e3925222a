"""Bearer tokens: constant-time comparison, rotation by changing the file."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc

from scoreguard_handlers.errors import StartupError

_PREFIX: Final = "Bearer "
_OPEN: Final = ("/grpc.health.", "/grpc.reflection.")
"""Probes and tools carry no metadata."""


class TokenFile:
    """The accepted tokens, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp, self._tokens = _stamp(path), _read(path)

    def accepts(self, token: str) -> bool:
        """Whether the token is one of the file's; the time says nothing about how much of it is right."""
        offered = token.encode()
        matches = [hmac.compare_digest(offered, known) for known in self._current()]
        return any(matches)

    def _current(self) -> tuple[bytes, ...]:
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._tokens, self._stamp = _read(self._path), stamp
        except StartupError:
            # A file that is being replaced must not lock everybody out.
            return self._tokens
        return self._tokens


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls that carry no accepted token with UNAUTHENTICATED."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Pass the call on, or answer it here."""
        if handler_call_details.method.startswith(_OPEN) or self._authorised(handler_call_details):
            return await continuation(handler_call_details)
        # This kind of handler answers before the caller's first message.
        return grpc.stream_unary_rpc_method_handler(_refuse)

    def _authorised(self, details: Any) -> bool:
        values = [value for key, value in details.invocation_metadata or () if key == "authorization"]
        return any(
            isinstance(value, str) and value.startswith(_PREFIX) and self._tokens.accepts(value.removeprefix(_PREFIX))
            for value in values
        )


async def _refuse(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "send the metadata 'authorization: Bearer TOKEN'")
    raise RuntimeError("abort returned")  # it never does


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise StartupError(f"cannot read the tokens file {path}: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read the tokens file {path}: {error}") from error
    tokens = tuple(line.encode() for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise StartupError(f"the tokens file {path} holds no token; write one a line")
    return tokens
