"""The base installation is enough for the client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUARD = """
import importlib.abc, sys
HEAVY = {"torch", "onnxruntime", "ts", "scipy", "skimage", "matplotlib", "jinja2", "grpc_health", "grpc_reflection",
         "scoreguard_export", "scoreguard_handlers"}
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"{name} is not part of the base installation", name=name)
sys.meta_path.insert(0, Guard())
"""
HELP = "import sys\nfrom scoreguard_client.cli import main\nsys.exit(main({arguments!r}))"


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that has nothing heavy."""
    roots = [str(ROOT / "proto"), str(ROOT / "clients")]
    setup = f"import sys\nsys.path[:0] = {roots!r}\n"
    return subprocess.run(
        [sys.executable, "-c", setup + GUARD + code], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_guard_guards() -> None:
    """Without this, the other tests could not fail."""
    assert "not part of the base installation" in python("import scipy").stderr


@pytest.mark.parametrize(
    "code",
    [
        "import scoreguard_client",
        "from scoreguard_client import ScoringClient; ScoringClient('localhost:1').close()",
        "import scoreguard_client.bench",
        "from scoreguard_client.testing import fake_client; fake_client().list_metrics()",
        HELP.format(arguments=["--help"]),
        HELP.format(arguments=["score", "--help"]),
        HELP.format(arguments=["catalogue", "--help"]),
        HELP.format(arguments=["bench", "--help"]),
    ],
)
def test_the_client_works_without_anything_heavy(code: str) -> None:
    """No torch, no engine, no server, no plotting: import and help succeed."""
    finished = python(code)
    assert finished.returncode == 0, finished.stderr


def test_a_campaign_without_its_extra_says_what_to_install() -> None:
    """One line, exit code 2, no traceback."""
    finished = python(HELP.format(arguments=["attack", "--help"]))
    assert finished.returncode == 2
    assert "needs pip install 'scoreguard[attacks]'" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_store_in_this_process_without_the_servers_part_says_what_to_install() -> None:
    """Import and construction succeed; the first call is one line, exit code 2, no traceback."""
    finished = python(HELP.format(arguments=["catalogue", "--target", "local:model_store"]))
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "error: local:model_store needs pip install 'scoreguard[serve]' (no module named "
    )
    assert len(finished.stderr.splitlines()) == 1
