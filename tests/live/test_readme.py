"""The code blocks of the README and of docs, run as a reader would run them, against the real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
NOT_RUN = "not run"
BACKGROUND = "background"
RUNNABLE = ("bash", "python")


@dataclass(frozen=True)
class Block:
    """One fenced block of the README or of a page of the documentation."""

    page: str
    line: int
    language: str
    code: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page} line {self.line}"


def blocks_of(path: Path) -> Iterator[Block]:
    """Every block of a page."""
    text = path.read_text()
    for match in BLOCK.finditer(text):
        line = text[: match.start("code")].count("\n") + 1
        yield Block(path.name, line, match["language"], match["code"], match["mark"] or "")


def blocks() -> list[Block]:
    """The blocks that claim to be runnable, in order."""
    found = [block for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))) for block in blocks_of(path)]
    return [block for block in found if block.language in RUNNABLE and not block.mark.startswith(NOT_RUN)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's working folder: a photograph and a folder of them."""
    path = tmp_path_factory.mktemp("readme")
    (path / "photos").mkdir()
    for name in ("astronaut", "coffee"):
        photo = Image.fromarray(getattr(skimage.data, name)()).resize((160, 128))
        photo.save(path / "photos" / f"{name}.png")
    photo.save(path / "photo.png")
    return path


@pytest.fixture(scope="module")
def environment(lite_store: Path, folder: Path) -> dict[str, str]:
    """The commands on PATH, and the built model store at hand."""
    (folder / "model_store").symlink_to(lite_store)
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def target(environment: dict[str, str], folder: Path, free_port: int) -> Iterator[str]:
    """The service, started by the README's own command on a free port."""
    (start,) = [block for block in blocks() if block.mark == BACKGROUND]
    words = [*start.code.split(), "--port", str(free_port)]
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("ready:")
        yield f"localhost:{free_port}"
        server.terminate()
        server.wait(60)


@pytest.mark.live
@pytest.mark.parametrize("block", [block for block in blocks() if block.mark != BACKGROUND], ids=str)
def test_a_block_of_the_readme_runs(block: Block, folder: Path, environment: dict[str, str], target: str) -> None:
    """It ends without an error; what it prints is not compared, since numbers differ by machine."""
    code = block.code.replace("localhost:50051", target)
    words = ["bash", "-euo", "pipefail", "-c", code] if block.language == "bash" else [sys.executable, "-c", code]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**environment, "SCOREGUARD_TARGET": target},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


def test_what_is_not_run_says_why() -> None:
    """A mark `not run` carries its reason."""
    marks = [match["mark"] for match in BLOCK.finditer((ROOT / "README.md").read_text()) if match["mark"]]
    assert all(mark == BACKGROUND or re.match(rf"{NOT_RUN}: \w+", mark) for mark in marks)
