"""A caller that speaks HTTP/2 by hand, to send what no gRPC client sends: half a message, and then nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import h2.connection
import h2.events
import h2.exceptions

SCORE = "/scoreguard.v1.ScoringService/ScoreDefended"
STREAM = "/scoreguard.v1.ScoringService/ScoreDefendedStream"


class RawCaller:
    """One connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()
        self._flush()
        self.ended: dict[int, str] = {}
        """Streams that the server ended, each with its grpc-status."""
        self.sent_bytes = 0
        """Bytes of messages that the server took."""
        self.is_closed = False
        """Whether the server closed the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def call(self, method: str = SCORE) -> int:
        """Start a call; returns its stream."""
        stream = self._h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", method),
                   ("te", "trailers"), ("content-type", "application/grpc")]  # fmt: skip
        self._h2.send_headers(stream, headers)
        self._flush()
        return stream

    def send_half(self, stream: int, size: int, seconds: float = 5) -> int:
        """Announce a message of `size` bytes and send all but its last byte, as far as the server lets us.

        Returns:
            Bytes that were sent.
        """
        data = b"\0" + size.to_bytes(4, "big") + bytes(size - 1)
        sent, until = 0, time.monotonic() + seconds
        while sent < len(data) and time.monotonic() < until and stream not in self.ended and not self.is_closed:
            window = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if window > 0:
                self._h2.send_data(stream, data[sent : sent + window])
                sent += min(window, len(data) - sent)
                self.sent_bytes += min(window, len(data))
                self._flush()
            else:
                self.listen(0.02)
        return sent

    def send_whole(self, stream: int, data: bytes) -> None:
        """Send a complete small message, and end our side of the call."""
        self._h2.send_data(stream, b"\0" + len(data).to_bytes(4, "big") + data, end_stream=True)
        self._flush()

    def listen(self, seconds: float) -> None:
        """Take in what the server says, until it has been silent for this long."""
        try:
            while data := self._receive(seconds):
                for event in self._h2.receive_data(data):
                    self._take(event)
                self._flush()
            self.is_closed = True
        except TimeoutError:
            pass
        except (ConnectionError, h2.exceptions.ProtocolError):
            self.is_closed = True

    def listen_until_ended(self, stream: int, seconds: float) -> str | None:
        """The grpc-status of a stream; None where the server leaves it open for this long."""
        until = time.monotonic() + seconds
        while stream not in self.ended and not self.is_closed and time.monotonic() < until:
            self.listen(0.1)
        return self.ended.get(stream)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
            headers = {_text(name): _text(value) for name, value in event.headers or ()}
            if "grpc-status" in headers:
                self.ended[event.stream_id] = headers["grpc-status"]
        elif isinstance(event, h2.events.StreamReset):
            self.ended.setdefault(event.stream_id, "reset")

    def _receive(self, seconds: float) -> bytes:
        self._socket.settimeout(max(seconds, 0.001))
        return self._socket.recv(1 << 16)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.settimeout(10)
            self._socket.sendall(data)


@contextmanager
def raw_callers(address: str, count: int) -> Iterator[list[RawCaller]]:
    """Several connections."""
    callers = [RawCaller(address) for _ in range(count)]
    try:
        yield callers
    finally:
        for caller in callers:
            caller.__exit__(None, None, None)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
