"""The browser that tests run pages in; without one they are skipped, or fail where one must be."""

from __future__ import annotations

import os
import shutil

import pytest

NEEDED = "SCOREGUARD_TEST_BROWSER"
"""Environment variable that turns a missing Chromium into a failure: continuous integration sets it."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Return the program's path."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        if os.environ.get(NEEDED):
            pytest.fail(f"there is no Chromium, and {NEEDED} says that there must be one")
        pytest.skip("there is no Chromium: apt-get install chromium")
    return program
