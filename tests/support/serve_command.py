"""`scoreguard-serve` as a process of its own, with the packages of this checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import scoreguard
import scoreguard_handlers

ROOTS = [str(Path(scoreguard_handlers.__file__).parents[1]), str(Path(next(iter(scoreguard.__path__))).parent)]


def command(store: Path, *extra: str) -> list[str]:
    """The command line of a small local server."""
    options = ["--model-store", str(store), "--backend", "local", "--workers", "2", "--port", "0", *extra]
    return [sys.executable, "-m", "scoreguard_handlers.cli", *options]


def environment(**changes: str) -> dict[str, str]:
    """This environment with our packages in it."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS), **changes}
