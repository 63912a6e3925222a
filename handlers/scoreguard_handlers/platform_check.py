"""Platform check: the server needs signals, process groups and file locks, which Windows lacks."""

from __future__ import annotations

import sys

from scoreguard_handlers.errors import StartupError


def check_platform() -> None:
    """Confirm that the server can run here.

    Raises:
        StartupError: this is Windows.
    """
    if sys.platform == "win32":
        raise StartupError(
            "scoreguard-serve does not run on Windows: use WSL or a container; the client, scoreguard, runs here"
        )
