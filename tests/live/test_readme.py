"""The code blocks of the README and of docs, run as a reader would run them, against the real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


def blocks(*pages: Path) -> list[Block]:
    """The blocks that claim to be runnable, in order."""
    found = [block for page in pages for block in blocks_of(page)]
    return [block for block in found if block.language in RUNNABLE and not block.mark.startswith(NOT_RUN)]


README = blocks(ROOT / "README.md")
DOCS = blocks(*sorted(ROOT.glob("docs/*.md")))


def reader(path: Path) -> Path:
    """A reader's working folder: a photograph and a folder of them, and nothing that the page itself should give."""
    (path / "photos").mkdir()
    for name in ("astronaut", "coffee"):
        photo = Image.fromarray(getattr(skimage.data, name)()).resize((160, 128))
        photo.save(path / "photos" / f"{name}.png")
    photo.save(path / "photo.png")
    return path


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The commands on PATH, as `activate` puts them there."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(block: Block, folder: Path, environment: dict[str, str], target: str) -> None:
    """Run a block as a reader would; the address of the service is the one of this test."""
    code = block.code.replace("localhost:50051", target)
    words = ["bash", "-euo", "pipefail", "-c", code] if block.language == "bash" else [sys.executable, "-c", code]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**environment, "SCOREGUARD_TARGET": target},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


@contextmanager
def service(block: Block, folder: Path, environment: dict[str, str], port: int) -> Iterator[str]:
    """The service, started by the page's own command on a free port."""
    words = [*block.code.split(), "--port", str(port)]
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("ready:")
        try:
            yield f"localhost:{port}"
        finally:
            server.terminate()
            server.wait(60)


@pytest.mark.live
@pytest.mark.timeout(900)  # it builds a model store, as the reader does
def test_the_readme_runs_from_top_to_bottom_in_an_empty_folder(
    tmp_path: Path, environment: dict[str, str], free_port: int
) -> None:
    """Build, serve, score and attack in the page's own order: what one block needs, an earlier one made."""
    folder, target = reader(tmp_path), f"localhost:{free_port}"
    with ExitStack() as services:
        for block in README:
            if block.mark == BACKGROUND:
                services.enter_context(service(block, folder, environment, free_port))
            else:
                run(block, folder, environment, target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lite_store: Path) -> Path:
    """The working folder of who reads on in docs: the service there has every defence."""
    path = reader(tmp_path_factory.mktemp("docs"))
    (path / "model_store").symlink_to(lite_store)
    return path


@pytest.fixture(scope="module")
def target(environment: dict[str, str], folder: Path, free_port: int) -> Iterator[str]:
    """The service, started by the README's own command."""
    (start,) = [block for block in README if block.mark == BACKGROUND]
    with service(start, folder, environment, free_port) as address:
        yield address


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("block", DOCS, ids=str)
def test_a_block_of_the_documentation_runs(
    block: Block, folder: Path, environment: dict[str, str], target: str
) -> None:
    """It ends without an error; what it prints is not compared, since numbers differ by machine."""
    run(block, folder, environment, target)


def test_what_is_not_run_says_why() -> None:
    """A mark `not run` carries its reason."""
    pages = (ROOT / "README.md", *ROOT.glob("docs/*.md"))
    marks = [match["mark"] for page in pages for match in BLOCK.finditer(page.read_text()) if match["mark"]]
    assert all(mark == BACKGROUND or re.match(rf"{NOT_RUN}: \w+", mark) for mark in marks)
