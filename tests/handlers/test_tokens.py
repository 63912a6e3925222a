"""Who may call: tokens that can be revoked, however clumsily, and what a network may be offered."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateways import Line, connected, metrics_of, request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tiny_archives import write_tiny_archive

from scoreguard.v1.scoring_pb2 import ScoreDefendedStreamRequest
from scoreguard_handlers.config import SecurityConfig
from scoreguard_handlers.errors import StartupError

OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one metric."""
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


def write_tokens(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a tokens file that the server accepts, unless told otherwise."""
    path.write_text(text)
    path.chmod(mode)
    return path


async def code_of(line: Line, *metadata: tuple[str, str]) -> grpc.StatusCode:
    """What a caller with this metadata gets."""
    code: grpc.StatusCode = await line.stub.ScoreDefended(request(), metadata=metadata).code()
    return code


async def test_only_callers_with_a_token_may_score(store: Path, tmp_path: Path) -> None:
    """A wrong or missing token is UNAUTHENTICATED, health stays open, and a changed file counts at once."""
    tokens = write_tokens(tmp_path / "tokens", "# production\nfirst\n\nsecond\n")
    async with connected(store, security=SecurityConfig(tokens_file=tokens)) as line:
        assert await code_of(line) is UNAUTHENTICATED
        assert await code_of(line, ("authorization", "Bearer third")) is UNAUTHENTICATED
        assert await code_of(line, ("authorization", "first")) is UNAUTHENTICATED
        assert await code_of(line, ("authorization", "Bearer first")) is OK
        assert await code_of(line, ("authorization", "bearer second")) is OK
        stub = health_pb2_grpc.HealthStub(line.channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        write_tokens(tokens, "third\n")
        assert await code_of(line, ("authorization", "Bearer first")) is UNAUTHENTICATED
        assert await code_of(line, ("authorization", "Bearer third")) is OK


async def test_several_or_endless_tokens_are_refused(store: Path, tmp_path: Path) -> None:
    """Two values say nothing about who calls; gRPC's limit of the metadata bounds the length of one."""
    tokens = write_tokens(tmp_path / "tokens", "first\n")
    async with connected(store, security=SecurityConfig(tokens_file=tokens)) as line:
        both = [("authorization", "Bearer wrong"), ("authorization", "Bearer first")]
        assert await code_of(line, *both) is UNAUTHENTICATED
        assert await code_of(line, ("authorization", f"Bearer {'x' * 7000}")) is UNAUTHENTICATED
        assert await code_of(line, ("authorization", f"Bearer {'x' * 50_000}")) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_revoked_token_ends_its_open_streams(store: Path, tmp_path: Path) -> None:
    """The next message is refused, and so is the stream: one that is kept open would be a token for ever."""
    tokens = write_tokens(tmp_path / "tokens", "first\nsecond\n")
    message = ScoreDefendedStreamRequest(request=request())
    async with connected(store, security=SecurityConfig(tokens_file=tokens)) as line:
        stream = line.stub.ScoreDefendedStream(metadata=[("authorization", "Bearer first")])
        other = line.stub.ScoreDefendedStream(metadata=[("authorization", "Bearer second")])
        for call in (stream, other):
            await call.write(message)
            assert (await call.read()).result.response.score == pytest.approx(20, abs=1e-3)
        write_tokens(tokens, "second\n")
        await stream.write(message)
        assert await stream.code() is UNAUTHENTICATED
        await other.write(message)
        assert (await other.read()).result.response.score == pytest.approx(20, abs=1e-3)
        await other.done_writing()
        assert await other.code() is OK


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _link_in_an_open_folder(path: Path) -> None:
    folder = path.with_name("open")
    folder.mkdir()
    folder.chmod(0o777)
    write_tokens(path.with_name("other"), "s3cret\n")
    (folder / "tokens").symlink_to(path.with_name("other"))
    path.unlink()
    path.symlink_to(folder / "tokens")


SPOILED: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: write_tokens(path, ""),
    "only comments": lambda path: write_tokens(path, "# first\n"),
    "deleted": Path.unlink,
    "damaged": lambda path: path.write_bytes(b"\xff\xfe\x00first"),
    "filled with zeros": lambda path: path.write_bytes(bytes(7)),
    "a comment behind a token": lambda path: write_tokens(path, "s3cret # Alice\n"),
    "endless": lambda path: write_tokens(path, "s3cret\n" * 200_000),
    "a folder": _folder_instead,
    "a pipe": _pipe_instead,
    "a link to another file of ours in a folder that everybody may write": _link_in_an_open_folder,
    "writable by the group": lambda path: write_tokens(path, "first\n", 0o620),
    "writable by everybody": lambda path: path.chmod(0o602),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_a_spoiled_tokens_file_refuses_everybody(
    store: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Closed by default, with one line in the log that has no token in it; a good file opens the door again."""
    tokens = write_tokens(tmp_path / "tokens", "s3cret\n")
    bearer = ("authorization", "Bearer s3cret")
    async with connected(store, security=SecurityConfig(tokens_file=tokens), metrics_port=0) as line:
        assert await code_of(line, bearer) is OK
        SPOILED[how](tokens)
        for _ in range(3):
            assert await code_of(line, bearer) is UNAUTHENTICATED
        assert 'scoreguard_rejected_callers_total{reason="closed"} 3.0' in await metrics_of(line)
        if tokens.is_dir():
            tokens.rmdir()
        elif tokens.is_symlink() or tokens.is_fifo():
            tokens.unlink()
        write_tokens(tokens, "s3cret\n")
        assert await code_of(line, bearer) is OK
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    closed, rejected = (record.getMessage() for record in warnings)  # three rejections, one line
    assert closed.startswith("nobody is accepted: ") and str(tokens) in closed
    assert rejected == "rejected caller"
    assert not any("s3cret" in str(record.__dict__) for record in caplog.records)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
async def test_a_tokens_file_of_another_user_is_refused(store: Path, tmp_path: Path) -> None:
    """Whoever owns the file may let himself in."""
    tokens = write_tokens(tmp_path / "tokens", "first\n")
    os.chown(tokens, 12345, -1)
    with pytest.raises(StartupError, match="belongs to user 12345"):
        async with connected(store, security=SecurityConfig(tokens_file=tokens)):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a link to another user")
async def test_a_link_of_another_user_is_refused(store: Path, tmp_path: Path) -> None:
    """Whoever owns the link chooses the file, such as one of root's that anybody can read."""
    write_tokens(tmp_path / "real", "first\n")
    link = tmp_path / "tokens"
    link.symlink_to(tmp_path / "real")
    os.chown(link, 12345, -1, follow_symlinks=False)
    with pytest.raises(StartupError, match="is a link of user 12345"):
        async with connected(store, security=SecurityConfig(tokens_file=link)):
            pass


async def test_links_and_marks_of_ones_own_do_no_harm(store: Path, tmp_path: Path) -> None:
    """A link of ours, as Kubernetes mounts secrets, and the mark that editors on Windows begin a file with."""
    write_tokens(tmp_path / "real", "\ufefffirst\r\nsecond\r\n")
    link = tmp_path / "tokens"
    link.symlink_to("real")
    async with connected(store, security=SecurityConfig(tokens_file=link)) as line:
        assert await code_of(line, ("authorization", "Bearer first")) is OK
        assert await code_of(line, ("authorization", "Bearer second")) is OK


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
async def test_a_tokens_file_that_others_may_write_stops_the_start(store: Path, tmp_path: Path, mode: int) -> None:
    """One line says what to change."""
    tokens = write_tokens(tmp_path / "tokens", "first\n", mode)
    with pytest.raises(StartupError, match="may be written by others: chmod go-w"):
        async with connected(store, security=SecurityConfig(tokens_file=tokens)):
            pass


async def test_a_folder_in_which_everybody_may_replace_the_file_stops_the_start(store: Path, tmp_path: Path) -> None:
    """The folder's permissions are part of the file's."""
    tokens = write_tokens(tmp_path / "tokens", "first\n")
    tmp_path.chmod(0o777)
    with pytest.raises(StartupError, match=r"on the way to the tokens file .*, may be written by everybody"):
        async with connected(store, security=SecurityConfig(tokens_file=tokens)):
            pass


EXPOSED: dict[str, tuple[dict[str, Any], str]] = {
    "tokens in the clear": ({"tokens": True}, "--insecure-tokens"),
    "gradients for everybody": ({"gradients": True}, "--gradients on 0.0.0.0 would be open to everybody"),
    "tokens behind a proxy": ({"tokens": True, "insecure_tokens": True, "gradients": True}, ""),
    "gradients on loopback": ({"gradients": True, "host": "127.0.0.1"}, ""),
    "tokens on loopback": ({"tokens": True, "host": "localhost"}, ""),
}


@pytest.mark.parametrize("case", EXPOSED)
async def test_what_would_be_open_to_a_network_by_mistake_is_refused(store: Path, tmp_path: Path, case: str) -> None:
    """Off loopback, tokens need TLS and gradients need tokens; the message names the option."""
    given, problem = EXPOSED[case]
    changes = {"host": "0.0.0.0", **given}
    tokens = write_tokens(tmp_path / "tokens", "first\n")
    security = SecurityConfig(
        tokens_file=tokens if changes.pop("tokens", False) else None,
        insecure_tokens=changes.pop("insecure_tokens", False),
    )
    with pytest.raises(StartupError, match=problem) if problem else nullcontext():
        async with connected(store, security=security, **changes):
            pass


async def test_scoring_for_a_whole_network_is_said_in_the_log(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without tokens, off loopback: served, with one warning."""
    async with connected(store, host="0.0.0.0"):
        pass
    assert len([record for record in caplog.records if "0.0.0.0 may score" in record.getMessage()]) == 1
