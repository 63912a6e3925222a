"""The help of `scoreguard-export` works on the base installation, and imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUARD = """
import importlib.abc, sys
HEAVY = {"torch", "onnx", "onnxscript", "onnx_ir", "onnxruntime", "scipy", "skimage", "safetensors", "platformdirs",
         "torchvision", "scoreguard_handlers", "scoreguard_client"}
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"{name} is not part of the base installation", name=name)
sys.meta_path.insert(0, Guard())
"""


def base_installation(*words: str) -> subprocess.CompletedProcess[str]:
    """Run scoreguard-export in a fresh interpreter that has nothing heavy."""
    roots = [str(ROOT / "proto"), str(ROOT / "export")]
    setup = f"import sys\nsys.path[:0] = {roots!r}\n"
    run = f"from scoreguard_export.cli import main\nmain({list(words)!r})"
    return subprocess.run(
        [sys.executable, "-c", setup + GUARD + run], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", [[], ["build"], ["verify"], ["fit"], ["fit", "niqe"], ["evaluate"]])
def test_help_needs_no_extra(words: list[str]) -> None:
    """It lists every command, or every option, without torch."""
    done = base_installation(*words, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example: scoreguard-export" in done.stdout
    if not words:
        assert all(name in done.stdout for name in ("build", "verify", "catalogue", "weights", "train", "evaluate"))


@pytest.mark.parametrize(
    ("words", "extra"), [(["build"], "export"), (["verify", "--model-store", "."], "export"), (["train"], "train")]
)
def test_a_command_without_its_extra_says_what_to_install(words: list[str], extra: str) -> None:
    """One line, exit code 2."""
    done = base_installation(*words)
    assert done.returncode == 2
    assert f"scoreguard-export {words[0]} needs pip install 'scoreguard[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_version_is_the_installed_one() -> None:
    """`scoreguard-export --version` names the program and its version, without torch."""
    done = base_installation("--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"scoreguard-export {version('scoreguard')}\n"
