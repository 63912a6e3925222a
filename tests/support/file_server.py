"""A real HTTP server on a free port that serves one file well, or badly in one of several ways."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIPS = 6
PAUSE = 0.1
"""Seconds between two parts of a file that drips."""


class FileServer(ThreadingHTTPServer):
    """Serves `content` under /BEHAVIOUR/ANY-NAME."""

    daemon_threads = False  # closing waits for every answer, and leaves no open socket behind
    content = b""
    leads_to = ""
    """Where /leading sends a caller."""

    def __init__(self, secured: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.secured = secured
        """Its certificate; None: not encrypted."""
        self.ranges: list[str | None] = []
        """The Range header of each request, in order."""
        self.cut = 0
        """After how many bytes /broken closes the connection."""
        self.closing = threading.Event()

    def url(self, behaviour: str, name: str = "net.pth") -> str:
        """The address of a behaviour."""
        return f"http{'s' if self.secured else ''}://127.0.0.1:{self.server_address[1]}/{behaviour}/{name}"

    def get_request(self) -> tuple[socket.socket, object]:
        """A connection, encrypted where there is a certificate."""
        connection, caller = super().get_request()
        return self.secured.wrap_socket(connection, server_side=True) if self.secured else connection, caller

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is part of the tests."""


class _Answers(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        behaviour = self.path.split("/")[1]
        getattr(self, f"_{behaviour}")()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _head(self, status: int, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _part(self) -> bytes:
        """Answer with the head of the part that was asked for, and return that part."""
        content = self.server.content
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        asked = self.headers.get("Range", "")
        if not asked or self.headers.get("If-Range") != tag:
            self._head(200, len(content), ETag=tag)
            return content
        begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        if begin >= len(content):
            self._head(416, 0)
            return b""
        part = content[begin:]
        self._head(206, len(part), ETag=tag, Content_Range=f"bytes {begin}-{len(content) - 1}/{len(content)}")
        return part

    def _file(self) -> None:
        self.wfile.write(self._part())

    def _broken(self) -> None:
        self.wfile.write(self._part()[: self.server.cut])

    def _drip(self) -> None:
        part = self._part()
        step = max(1, len(part) // DRIPS)
        for begin in range(0, len(part), step):
            self.wfile.write(part[begin : begin + step])
            self.server.closing.wait(PAUSE)

    def _stalled(self) -> None:
        self.wfile.write(self._part()[: self.server.cut])
        self.server.closing.wait(30)

    def _plain(self) -> None:
        """No ranges, no mark of the version."""
        self._head(200, len(self.server.content))
        self.wfile.write(self.server.content[: self.server.cut or None])

    def _unmeasured(self) -> None:
        self._head(200)
        self.wfile.write(self.server.content)

    def _elsewhere(self) -> None:
        self._head(302, 0, Location=self.server.url("file"))

    def _leading(self) -> None:
        self._head(302, 0, Location=self.server.leads_to)

    def _circle(self) -> None:
        self._head(302, 0, Location=self.server.url("circle"))

    def _silent(self) -> None:
        self.server.closing.wait(30)

    def _missing(self) -> None:
        self._head(404, 0)

    def _failing(self) -> None:
        self._head(503, 0)

    def _huge(self) -> None:
        self._head(200, 10**18)


@contextmanager
def file_server(secured: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """Serve in a thread, with a certificate or without."""
    with FileServer(secured) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
