"""The script of a page: it recomputes every cell from the embedded records, with no library and no network."""

from __future__ import annotations

from importlib import resources
from typing import Final

_SCRIPTS: Final = resources.files("scoreguard_client.report.proof").joinpath("scripts")
_FILES: Final = (
    "numbers",
    "draws",
    "estimates",
    "correlations",
    "shares",
    "payload",
    "columns",
    "tables",
    "attacks",
    "leaderboard",
    "ranks",
    "judged",
    "check",
)
_START: Final = "start"


def script() -> str:
    """Return the JavaScript to put into a page that has the tables and the records."""
    return f'(() => {{\n"use strict";\n{library()}\n{_read(_START)}}})();\n'


def library() -> str:
    """Return its functions alone; nothing runs."""
    return "\n".join(map(_read, _FILES))


def _read(name: str) -> str:
    return _SCRIPTS.joinpath(f"{name}.js").read_text("utf-8")
