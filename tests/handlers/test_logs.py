"""The log of a service: a line for each thing that an operator wants to know, and none that a caller wrote."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateways import connected, failure_of, request, slow_request
from serve_command import command, environment
from tiny_archives import write_tiny_archive

from scoreguard.v1.scoring_pb2 import ScoreDefendedBatchRequest, ScoreDefendedRequest
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard_handlers.config import LogConfig
from scoreguard_handlers.logs import FIELDS, JsonLines, TextLines, logging_to_stderr
from scoreguard_handlers.rate_limit import RateLimit

FORGED = "mine\n2026-01-01T00:00:00.000Z WARNING all is well\r\x1b[2J" + "x" * 200


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one metric."""
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


def lines_of(store: Path, tmp_path: Path, *options: str) -> list[str]:
    """The log of a service that got a good, a slow, a forged and an unreadable request, and new tokens."""
    tokens, settings = tmp_path / "tokens", tmp_path / "service.yaml"
    tokens.write_text("first\n")
    tokens.chmod(0o600)
    settings.write_text("security:\n  tokens_file: tokens\nlog:\n  slow_call_seconds: 1\n")
    arguments = command(store, "--config", str(settings), *options)
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as server:
        assert server.stdout is not None
        with grpc.insecure_channel(server.stdout.readline().split()[3]) as channel:
            stub = ScoringServiceStub(channel)
            calls: list[tuple[Any, str]] = [
                (request(request_id="good", chain="gain:factor=0.5"), "first"),
                (slow_request(60, size=512), "first"),
                (request(metric=FORGED[:100], request_id=FORGED), "first"),
                (request(), "guessed"),
                (ScoreDefendedRequest(metric="bright"), "first"),
            ]
            for message, token in calls:
                call = stub.ScoreDefended.future(message, metadata=(("authorization", f"Bearer {token}"),), timeout=60)
                call.exception()
            tokens.write_text("second\nthird\n")
            stub.ScoreDefended(request(), metadata=(("authorization", "Bearer third"),), timeout=60)
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=30)
    assert server.returncode == 0
    return errors.splitlines()


def test_json_lines_tell_the_life_of_a_request(store: Path, tmp_path: Path) -> None:
    """With --verbose: the start, each call with its facts, slow ones, refusals and the reload, one object each."""
    entries = [json.loads(line) for line in lines_of(store, tmp_path, "--verbose", "--log-format", "json")]
    events = [entry["event"] for entry in entries]
    expected = ["start", "call", "slow call", "refused", "rejected caller", "refused", None, "call"]
    assert [event for event, wanted in zip(events, expected, strict=True) if wanted not in {None, event}] == []
    good = entries[1]
    assert (good["request_id"], good["method"], good["metric"]) == ("good", "ScoreDefended", "bright")
    assert (good["chain"], good["code"], good["level"]) == ("gain:factor=0.5", "OK", "INFO")
    assert good["ms"] > 0 and good["peer"].rpartition(":")[0] in {"127.0.0.1", "[::1]"}
    assert entries[2]["ms"] >= 1000 and len(entries[2]["request_id"]) == 16  # the server's own name for it
    forged = entries[3]
    assert forged["code"] == "NOT_FOUND" and len(forged["request_id"]) == 80 and "\n" not in forged["request_id"]
    assert (entries[4]["reason"], entries[4]["method"]) == ("wrong", "ScoreDefended")
    assert "reloaded: 2 accepted" in events[6]
    assert not any("guessed" in line for line in map(str, entries))


def test_text_lines_are_one_line_each(store: Path, tmp_path: Path) -> None:
    """The same in text: time, level, event, facts; what a caller sends cannot look like a line of its own."""
    lines = lines_of(store, tmp_path, "--verbose")
    assert len(lines) == 8
    for line in lines:
        moment, level = line.split()[:2]
        assert moment.startswith("20") and moment.endswith("Z") and level in {"INFO", "WARNING"}
        assert line.isprintable()
    assert " INFO call request_id=good method=ScoreDefended peer=" in lines[1]
    assert ' chain="gain:factor=0.5" code=OK ms=' in lines[1]


def test_without_verbose_only_warnings_are_logged(store: Path, tmp_path: Path) -> None:
    """The rejected caller is a warning; what is the caller's own affair is not."""
    lines = lines_of(store, tmp_path)
    assert len(lines) == 1 and "WARNING rejected caller reason=wrong" in lines[0]


async def test_every_failed_item_of_a_batch_is_logged(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The call has its line with the number of items, and each refused item one with its own name."""
    caplog.set_level(logging.INFO, "scoreguard_handlers")
    items = [request(request_id="a"), request(metric="brigth", request_id="b"), request(request_id="c")]
    async with connected(store) as line:
        await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=items))
    facts = [getattr(record, FIELDS) for record in caplog.records if record.name.endswith("call_log")]
    assert [(fact["method"], fact["code"]) for fact in facts] == [("item", "NOT_FOUND"), ("ScoreDefendedBatch", "OK")]
    assert facts[0]["request_id"] == "b" and facts[1]["items"] == 3


async def test_a_request_without_a_name_learns_the_one_in_the_log(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The trailing metadata of an answer or an error has the name, to quote it to the operator."""
    caplog.set_level(logging.INFO, "scoreguard_handlers")
    async with connected(store) as line:
        error = await failure_of(line.stub.ScoreDefended(request(metric="nothing")))
        named = dict(error.trailing_metadata() or ())["scoreguard-request-id"]
        call = line.stub.ScoreDefended(request())
        await call
        other = dict(await call.trailing_metadata())["scoreguard-request-id"]
    facts = [getattr(record, FIELDS) for record in caplog.records if record.name.endswith("call_log")]
    assert [fact["request_id"] for fact in facts] == [named, other]


def test_an_answer_to_nobody_is_not_logged_as_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer whose caller was gone is an exception to gRPC, and left out; its other exceptions are logged."""
    lost, bug = (type(name, (Exception,), {}) for name in ("ExecuteBatchError", "OtherError"))
    with logging_to_stderr(LogConfig(format="json")):
        for kind in (lost, bug):
            logging.getLogger("grpc._cython.cygrpc").error("raised", exc_info=kind("no caller"))
    entries = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert len(entries) == 1 and "OtherError" in entries[0]["traceback"]


def record(message: str, **facts: object) -> logging.LogRecord:
    """A record as our loggers make it."""
    made = logging.LogRecord("scoreguard_handlers.x", logging.WARNING, "x.py", 1, message, None, None)
    setattr(made, FIELDS, facts)
    return made


@pytest.mark.parametrize("value", ["two words", 'a "quote"', "a=b", "", "line\nbreak", "\x1b[31m"])
def test_a_value_of_a_text_line_is_one_word(value: str) -> None:
    """Whatever is in a value, the next fact begins after it."""
    line = TextLines().format(record("refused", request_id=value, code="OK"))
    assert line.endswith(" code=OK") and line.isprintable()
    assert json.loads(JsonLines().format(record("refused", request_id=value)))["request_id"] == value


def test_events_of_a_kind_are_counted_instead_of_repeated() -> None:
    """One passes in a period; the next that passes says how many were held back; kinds do not share."""
    limit = RateLimit(period_seconds=1000)
    assert [limit.take("a") for _ in range(3)] == [0, None, None]
    assert limit.take("b") == 0
    now = RateLimit(period_seconds=0)
    assert [now.take("a") for _ in range(3)] == [0, 0, 0]
    limit._period = 0
    assert [limit.take("a"), limit.take("a")] == [2, 0]
