"""`make wheel`: build the wheel, install it alone into an empty environment, and use it there.

The base installation is the client: no torch, no server. Everything runs in a folder without the checkout, so what is
missing from the wheel, or from its dependencies, is missing here too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
MARK: Final = "pytest.mark.base"
"""The marker of a test module that needs only the base installation."""
FOR_TESTS: Final = ("pytest", "pytest-timeout", "pytest-asyncio", "hypothesis", "grpcio-health-checking")
"""Requirements of the tests themselves; the last is for the small server that they call."""
COMMANDS: Final = ("scoreguard", "scoreguard-export", "scoreguard-serve")
HELP_SECONDS: Final = 2.0
"""Time limit for `--help`: half a second on an idle machine."""
TRIES: Final = 5
WHERE: Final = """
import importlib.util, sys
from pathlib import Path
import scoreguard.v1.codec, scoreguard_client
for module in (scoreguard.v1.codec, scoreguard_client):
    if not Path(module.__file__).is_relative_to(sys.prefix):
        sys.exit(f"error: {module.__name__} was imported from {module.__file__}, not from the wheel")
heavy = [name for name in ("torch", "onnxruntime", "ts", "scipy") if importlib.util.find_spec(name)]
if heavy:
    sys.exit(f"error: the base installation brought {heavy}")
"""


def main() -> None:
    """Build, install and use the wheel; the exit code is that of the first step that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lowest", action="store_true", help="install the lowest version that each dependency allows")
    lowest: bool = parser.parse_args().lowest
    wheel = build()
    with tempfile.TemporaryDirectory(prefix="scoreguard-wheel-") as place:
        folder = Path(place)
        python = installed(wheel, folder / "environment", floors() if lowest else ["--constraint", "constraints.txt"])
        work = folder / "work"
        write_tests(work)
        run(python, "-c", WHERE, cwd=work)
        for command in COMMANDS:
            say_help(python.parent / command, work)
        run(python, "-m", "pytest", "-q", "--strict-markers", "-m", "not slow", "tests", cwd=work)


def build() -> Path:
    """Build the wheel into `dist` with the build backend that is installed here."""
    shutil.rmtree(DIST, ignore_errors=True)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(DIST)]
    run(Path(sys.executable), "-m", "pip", "wheel", *options, str(ROOT))
    (wheel,) = DIST.glob("*.whl")
    return wheel


def installed(wheel: Path, environment: Path, versions: list[str]) -> Path:
    """Install the wheel and the tests' requirements into a new environment; return its interpreter."""
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", *versions, str(wheel), *FOR_TESTS)
    return python


def floors() -> list[str]:
    """Return the base dependencies, each at the lowest allowed version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.sub(r">=([\d.]+).*", r"==\1", requirement) for requirement in project["dependencies"]]


def write_tests(work: Path) -> None:
    """Copy the marked tests and the helpers next to them into a folder that holds nothing else of the project."""
    for path in marked():
        for needed in (path, *(path.parent / name for name in ("conftest.py", "files.py"))):
            if needed.is_file():
                copy = work / needed.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(needed, copy)
    lines = [
        "[pytest]",
        "addopts = --import-mode=importlib",
        "timeout = 300",
        "asyncio_mode = auto",
        "asyncio_default_fixture_loop_scope = function",
    ]
    (work / "pytest.ini").write_text("\n".join([*lines, "markers =", "    base", "    slow", ""]))


def marked() -> Iterator[Path]:
    """Return the test modules that need only the base installation."""
    return (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8"))


def say_help(command: Path, work: Path) -> None:
    """Time a command's `--help`; the best try counts, since the first compiles and the machine may be busy."""
    seconds = min(_seconds(command, work) for _ in range(TRIES))
    print(f"{command.name} --help: {seconds:.2f} s", flush=True)
    if seconds > HELP_SECONDS:
        sys.exit(f"error: {command.name} --help took {seconds:.1f} s, more than {HELP_SECONDS:.0f} s")


def _seconds(command: Path, work: Path) -> float:
    started = time.monotonic()
    run(command, "--help", cwd=work, quiet=True)
    return time.monotonic() - started


def run(program: Path, *words: str, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a program to its end; if it fails, exit with its exit code."""
    done = subprocess.run([program, *words], cwd=cwd, stdout=subprocess.DEVNULL if quiet else None, check=False)
    if done.returncode:
        sys.exit(f"error: {program.name} {words[0]} ended with exit code {done.returncode}")


if __name__ == "__main__":
    main()
