"""How the client reaches a server: time limits, retries, sizes, TLS and tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from scoreguard_client._exceptions import ConfigurationError
from scoreguard_client._targets import is_loopback

__all__ = ["ConnectionConfig", "RetryConfig", "TLSConfig"]

MIB: Final = 1024 * 1024
_STREAM_ATTEMPTS: Final = 5
"""gRPC's own ceiling on the attempts of its retry policy."""
_MASK: Final = "***"


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """How often a call is retried: after UNAVAILABLE, and after RESOURCE_EXHAUSTED that says when to come back."""

    attempts: int | None = None
    """Attempts in all; None = as many as fit before the deadline, 1 = no retries."""
    unreachable_seconds: float = 2.0
    """Seconds of retries while nothing answers at the address; a server that answers is retried until the deadline."""
    initial_backoff_seconds: float = 0.1
    """Mean wait before the second attempt, give or take 20 %; longer if the server asks for it."""
    max_backoff_seconds: float = 2.0
    """Longest wait between two attempts."""
    backoff_multiplier: float = 2.0
    """Factor from one wait to the next."""

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ConfigurationError(f"retry attempts must be at least 1, not {self.attempts}")
        if not self.unreachable_seconds >= 0:
            raise ConfigurationError(f"unreachable_seconds must be at least 0, not {self.unreachable_seconds}")
        if not 0 < self.initial_backoff_seconds <= self.max_backoff_seconds:
            raise ConfigurationError("retry backoff must satisfy 0 < initial_backoff_seconds <= max_backoff_seconds")
        if self.backoff_multiplier <= 0:
            raise ConfigurationError(f"backoff_multiplier must be positive, not {self.backoff_multiplier}")

    @property
    def once(self) -> bool:
        """Whether nothing is retried."""
        return self.attempts == 1

    def service_config(self) -> str:
        """The gRPC service config (JSON) that applies this policy to the opening of streams.

        The client retries unary calls itself, because it knows the deadline.
        """
        policy = {
            "maxAttempts": min(self.attempts or _STREAM_ATTEMPTS, _STREAM_ATTEMPTS),
            "initialBackoff": f"{self.initial_backoff_seconds:.9f}s",
            "maxBackoff": f"{self.max_backoff_seconds:.9f}s",
            "backoffMultiplier": self.backoff_multiplier,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        names = ("ScoreDefendedStream", "ScoreClip")
        streams = [{"service": "scoreguard.v1.ScoringService", "method": name} for name in names]
        return json.dumps({"methodConfig": [] if self.once else [{"name": streams, "retryPolicy": policy}]})


@dataclass(frozen=True, kw_only=True)
class TLSConfig:
    """TLS, and mutual TLS if the client has its own certificate."""

    root_certificates: bytes | None = None
    """PEM certificates of the authorities to trust; None = the system's."""
    private_key: bytes | None = field(default=None, repr=False)
    """PEM key of the client, for mutual TLS; never shown."""
    certificate_chain: bytes | None = None
    """PEM certificate of the client, for mutual TLS."""
    server_name: str = ""
    """Name to expect in the server's certificate if it differs from the target's host."""

    def __post_init__(self) -> None:
        if (self.private_key is None) != (self.certificate_chain is None):
            raise ConfigurationError("mutual TLS needs both private_key and certificate_chain")

    def __repr__(self) -> str:
        roots = "system" if self.root_certificates is None else "given"
        key = None if self.private_key is None else _MASK
        return f"TLSConfig(root_certificates={roots}, private_key={key}, server_name={self.server_name!r})"


@dataclass(frozen=True, kw_only=True)
class ConnectionConfig:
    """Everything about the connection except its address."""

    timeout_seconds: float = 30.0
    """Deadline of a call, retries included."""
    stream_timeout_seconds: float = 3600.0
    """Deadline of a whole stream."""
    max_message_bytes: int = 64 * MIB
    """Largest request and response; a larger batch is split over several calls."""
    keepalive_seconds: float = 300.0
    """Seconds of silence in a call after which the connection is probed. Unless configured otherwise, servers close
    the connection after more than one probe in 300 s."""
    retry: RetryConfig = field(default_factory=RetryConfig)
    """What is retried."""
    tls: TLSConfig | None = None
    """TLS; None = plain text, for a server on this machine or behind a proxy that does TLS."""
    token: str = ""
    """Bearer token; empty = none. Without TLS it travels in the clear."""

    def __post_init__(self) -> None:
        for name in ("timeout_seconds", "stream_timeout_seconds", "max_message_bytes", "keepalive_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be positive, not {getattr(self, name)}")
        if not self.token.isascii() or any(character.isspace() for character in self.token):
            raise ConfigurationError("a token is ASCII without spaces")

    def __repr__(self) -> str:
        return (
            f"ConnectionConfig(timeout_seconds={self.timeout_seconds}, max_message_bytes={self.max_message_bytes}, "
            f"retry={self.retry}, tls={self.tls}, token={_MASK if self.token else ''!r})"
        )

    def channel_options(self, target: str) -> list[tuple[str, Any]]:
        """The gRPC channel arguments for a target."""
        return [
            # A proxy in the environment is for other machines; gRPC would use it for localhost as well.
            ("grpc.enable_http_proxy", int(not is_loopback(target))),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            # Beyond this buffer (256 KiB by default, less than a photograph) gRPC silently stops retrying.
            ("grpc.per_rpc_retry_buffer_size", self.max_message_bytes),
            ("grpc.service_config", self.retry.service_config()),
            ("grpc.enable_retries", int(not self.retry.once)),
            ("grpc.keepalive_time_ms", int(self.keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", 20_000),
            # The defaults wait up to two minutes before the next try to connect: too long while a server starts.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            *([("grpc.ssl_target_name_override", self.tls.server_name)] if self.tls and self.tls.server_name else []),
        ]

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


DEFAULT_CONFIG: Final = ConnectionConfig()
