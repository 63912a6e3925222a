"""A worker of TorchServe finds the files that archives share, by its environment or by TorchServe's command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scoreguard_handlers.torchserve.shared_files import VARIABLE, blob_folder

WORKER = """
import sys
from scoreguard_handlers.torchserve.shared_files import blob_folder
print(blob_folder({}))
"""
JAVA = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""


def found(folder: Path, *words: str) -> str:
    """What a worker finds whose parent has those words on its command line, after Java's."""
    done = subprocess.run(
        [sys.executable, "-c", JAVA, WORKER, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("option", ["-s", "--model-store"])
def test_the_model_store_of_torchserves_command_line_is_used(tmp_path: Path, option: str) -> None:
    """As TorchServe's launcher passes it to Java, whose child the worker is; a relative path is TorchServe's."""
    words = ("-cp", "x", "org.pytorch.serve.ModelServer", "--python", "python", option)
    assert found(tmp_path, *words, "/a/store", "-m", "all") == "/a/store/.blobs"
    assert found(tmp_path, *words, "store") == str(tmp_path / "store" / ".blobs")


def test_without_torchserve_nothing_is_found(tmp_path: Path) -> None:
    """Another program's `-s` is none of ours, and a TorchServe without the option has none."""
    assert found(tmp_path, "-s", "/a/store") == "None"
    assert found(tmp_path, "org.pytorch.serve.ModelServer", "-m", "all") == "None"


def test_the_environment_comes_first() -> None:
    """scoreguard-serve sets it; so may who registers archives from another place."""
    assert blob_folder({VARIABLE: "/b"}, psutil.Process()) == Path("/b")
