"""Windows has no signals, process groups and file locks: the server says so there, in one line."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import scoreguard_handlers
from scoreguard_handlers.cli import main
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.gateway.service import serve

# What the standard library of Windows lacks is taken away before the modules of the server are imported.
IMPORTS = """
import asyncio, importlib, os, pkgutil, signal, subprocess, sys
import click, grpc, numpy, onnxruntime, prometheus_client, psutil, PIL.Image
import google.protobuf.json_format, grpc_health.v1.health, grpc_reflection.v1alpha.reflection, urllib.request
for name in ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGCHLD"):
    delattr(signal, name)
for name in ("killpg", "getuid", "geteuid", "setsid", "fork", "sched_getaffinity"):
    delattr(os, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
sys.platform = "win32"
import scoreguard_handlers
modules = pkgutil.walk_packages(scoreguard_handlers.__path__, "scoreguard_handlers.")
for module in modules:
    # torch asks the real platform
    if not module.name.endswith((".sitecustomize", ".torch_chain", "_runner", ".device_engine", ".torch_threads")):
        importlib.import_module(module.name)
sys.exit(scoreguard_handlers.cli.main(["--model-store", "."]))
"""


def test_the_command_says_that_it_does_not_run_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit status 2."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["--model-store", "."]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: scoreguard-serve does not run on Windows: use WSL") and error.count("\n") == 1


def test_the_service_says_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs it from Python gets the same line as an error."""

    async def start() -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        async with serve(ServeConfig(model_store=tmp_path)):
            pass

    with pytest.raises(StartupError, match="does not run on Windows"):
        asyncio.run(start())


def test_every_module_of_the_server_can_be_imported_there() -> None:
    """Nothing at the top of a module needs what only Unix has; the command then says that it does not run."""
    roots = [str(Path(scoreguard_handlers.__file__).parents[1])]
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, cwd=roots[0])
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: scoreguard-serve does not run on Windows")
