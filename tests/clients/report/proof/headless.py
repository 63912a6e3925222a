"""Pages in a headless browser, without a driver: what the page's document is once its scripts have run."""

from __future__ import annotations

import json
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

from chromium import chromium

PATIENCE = 120
"""Seconds of the page's own clock, which runs ahead where nothing happens."""


def document(page: str, folder: Path) -> str:
    """Open a page and return its document after its scripts; skip where no browser is."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder / 'profile'}"]
    command = [chromium(), *flags, f"--virtual-time-budget={1000 * PATIENCE}", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def evaluated(script: str, body: str, folder: Path) -> Any:
    """Run a script whose function `answer` may wait, on a page with this body, and return what that gives, by JSON."""
    waiting = """answer().then(
      (given) => JSON.stringify(given, (_, value) =>
        typeof value === "number" && !Number.isFinite(value) ? String(value) : value),
      (error) => JSON.stringify({ failed: String(error.stack) })
    ).then((text) => { document.getElementById("answer").textContent = text; });"""
    page = f'<!doctype html><meta charset="utf-8">{body}<pre id="answer"></pre><script>{script}\n{waiting}</script>'
    shown = document(page, folder)
    given = json.loads(unescape(shown.rpartition('<pre id="answer">')[2].partition("</pre>")[0]))
    assert "failed" not in given, given["failed"]
    return given
