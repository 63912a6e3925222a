"""`scoreguard-serve` as a user meets it: one line when it can score, one line when it cannot."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
import torch
from gateways import request, slow_request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serve_command import command, environment
from tampering import with_entry, with_rewritten_graph
from tiny_archives import replace_entry, write_tiny_archive

from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard_handlers.cli import config_from, main


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store with two metrics."""
    for metric in ("bright", "dark"):
        write_tiny_archive(tmp_path / "store", metric)
    return tmp_path / "store"


def test_help_ends_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """The last thing that help shows is a command to try."""
    assert main(["--help"]) == 0
    lines = " ".join(capsys.readouterr().out.split("\n\n")[-1].split())
    assert lines.startswith("Example: scoreguard-serve --model-store model_store")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_can_score_and_stops_on_a_signal(store: Path, number: int, as_json: bool) -> None:
    """One line on stdout, then it scores; a signal ends it with status 0, silently."""
    extra = ("--json",) if as_json else ()
    with subprocess.Popen(
        command(store, *extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as server:
        assert server.stdout is not None
        address = address_in(server.stdout.readline(), as_json)
        with grpc.insecure_channel(address) as channel:
            assert ScoringServiceStub(channel).ScoreDefended(request()).score == pytest.approx(20, abs=1e-3)
        server.send_signal(number)
        output, errors = server.communicate(timeout=20)
    assert (server.returncode, output, errors) == (0, "", "")


def test_a_second_signal_ends_the_drain(store: Path) -> None:
    """The first one turns readiness off and serves on for the delay; the second one ends the delay, silently."""
    with subprocess.Popen(
        command(store, "--drain-delay", "100"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as server:
        assert server.stdout is not None
        with grpc.insecure_channel(address_in(server.stdout.readline(), as_json=False)) as channel:
            server.send_signal(signal.SIGTERM)
            states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
            assert any(state.status == health_pb2.HealthCheckResponse.NOT_SERVING for state in states)
            assert ScoringServiceStub(channel).ScoreDefended(request()).score == pytest.approx(20, abs=1e-3)
            server.send_signal(signal.SIGTERM)
            _, errors = server.communicate(timeout=20)
    assert (server.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--metrics-port", "TAKEN"], "--metrics-port"),
        (["--tokens-file", "EMPTY"], "holds no token"),
        (["--tls-key", "EMPTY", "--tls-cert", "EMPTY"], "is not a PEM file"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--host", "0.0.0.0", "--gradients"], "--tokens-file"),
        (["--backend", "torchserve", "--torchserve-log-dir", "EMPTY/logs"], "Not a directory"),
    ],
)
def test_what_cannot_be_used_at_the_start_is_one_line(
    store: Path, tmp_path: Path, options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to change; never a traceback."""
    (tmp_path / "empty").touch(0o600)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = {"TAKEN": str(taken.getsockname()[1]), "EMPTY": str(tmp_path / "empty")}
        words = [re.sub("TAKEN|EMPTY", lambda found: places[found[0]], option) for option in options]
        base = ["--model-store", str(store), "--backend", "local", "--host", "127.0.0.1", "--port", "0"]
        assert named in failure([*base, *words], capsys)


def test_work_under_way_does_not_keep_the_process(store: Path) -> None:
    """When the grace is over the command ends, although a graph of the local backend still runs."""
    with subprocess.Popen(
        command(store, "--grace", "0.2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as server:
        assert server.stdout is not None
        with grpc.insecure_channel(address_in(server.stdout.readline(), as_json=False)) as channel:
            stub = ScoringServiceStub(channel)
            call = stub.ScoreDefended.future(slow_request(200), timeout=60)
            stub.ScoreDefended(request())  # the slow one was sent before
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=15)
            assert call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert server.returncode == 0


def address_in(line: str, as_json: bool) -> str:
    """The address in the ready line, whose form is checked on the way."""
    if as_json:
        ready = json.loads(line)
        assert (ready["backend"], ready["metrics"]) == ("local", ["bright", "dark"])
        return str(ready["address"])
    found = re.fullmatch(r"ready: ScoreDefended on (\S+) \(backend local, metrics: bright, dark\)\n", line)
    assert found, line
    return found[1]


def failure(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failing command writes."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def test_a_taken_port_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = failure(["--model-store", str(store), "--backend", "local", "--port", port], capsys)
    assert port in line and "--port" in line


def test_a_changed_archive_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the file's name."""
    replace_entry(store / "dark.mar", "metric.onnx", b"changed")
    line = failure(["--model-store", str(store), "--backend", "local", "--port", "0"], capsys)
    assert "dark.mar" in line and "metric.onnx" in line


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    """`scoreguard-serve --version` names the program and its version, and serves nothing."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"scoreguard-serve {version('scoreguard')}\n"


GARBAGE = b"garbage" * 100
NO_MODEL = b"\x08\x0a\x3a\x03abc\x42\x00"
"""The outermost fields of an ONNX model, and no graph inside."""


@pytest.mark.parametrize(
    ("entry", "data"), [("metric.onnx", GARBAGE), ("defences/gain.onnx", GARBAGE), ("metric.onnx", NO_MODEL)]
)
@pytest.mark.parametrize("backend", ["local", "torchserve"])
def test_a_garbage_graph_is_one_line(
    entry: str, data: bytes, backend: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the file's name, where the digest is right and the content no graph."""
    with_rewritten_graph(store / "bright.mar", entry, data)
    line = failure(["--model-store", str(store), "--backend", backend, "--port", "0"], capsys)
    assert entry in line and "bright" in line and ("is no graph" in line or "cannot be loaded" in line)


@pytest.mark.parametrize("backend", ["local", "torchserve"])
def test_a_pickled_module_is_refused_with_the_way_to_convert_it(
    backend: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 before anything of it is read as a graph, where the digest is right."""
    content = io.BytesIO()
    torch.save(torch.nn.Linear(2, 1), content)
    with_rewritten_graph(store / "bright.mar", "metric.onnx", content.getvalue())
    line = failure(["--model-store", str(store), "--backend", backend, "--port", "0"], capsys)
    assert "metric.onnx is a pickled module, whose code is never run" in line
    assert "`scoreguard-export weights convert`" in line


def test_an_edited_handler_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TorchServe is not even started with code that this version did not write: exit code 2, and the file's name."""
    with_entry(store / "bright.mar", "defended_score.py", b"print('mine now')")
    for backend in ("local", "torchserve"):
        line = failure(["--model-store", str(store), "--backend", backend, "--port", "0"], capsys)
        assert "bright.mar: defended_score.py" in line


def test_a_store_without_archives_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the export command."""
    assert "scoreguard-export build" in failure(["--model-store", str(tmp_path), "--port", "0"], capsys)


def test_a_missing_java_is_one_line(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and what to do about it."""
    monkeypatch.setenv("JAVA_HOME", str(store))
    assert "JAVA_HOME" in failure(["--model-store", str(store), "--port", "0"], capsys)


@pytest.mark.parametrize(
    "arguments", [["--model-store", "nowhere"], ["--port", "70000"], ["--backend", "triton"], ["--workers", "0"], []]
)
def test_bad_options_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 without a traceback."""
    failure(arguments, capsys)


def test_half_a_tls_configuration_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key without a certificate is refused."""
    key = store / "key.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    line = failure(["--model-store", str(store), "--port", "0", "--tls-key", str(key)], capsys)
    assert "--tls-cert" in line


def test_every_option_reaches_the_configuration(store: Path) -> None:
    """What the command line says is what runs."""
    from scoreguard_handlers.cli import command as click_command

    context = click_command.make_context(
        "serve",
        ["--model-store", str(store), "--queue", "7", "--max-batch", "2", "--deadline", "3", "--max-deadline", "9",
         "--max-message-mib", "2", "--gradients", "--no-reflection", "--workers", "5", "--grace", "1"],
    )  # fmt: skip
    config = config_from(context)
    admission = config.admission
    assert (admission.queue_limit, admission.max_batch) == (7, 2)
    assert (admission.default_deadline_seconds, admission.max_deadline_seconds) == (3, 9)
    assert (config.max_message_bytes, config.workers, config.grace_seconds) == (2 << 20, 5, 1)
    assert config.gradients and not config.reflection


def test_a_light_installation_says_what_to_install(tmp_path: Path) -> None:
    """Without the server's libraries the command is one line, not a traceback."""
    code = (
        "import sys; sys.modules['grpc_health'] = None; from scoreguard_handlers.cli import main; "
        f"sys.exit(main(['--model-store', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs pip install 'scoreguard[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
