"""What a GPU of the H100's class should reach here; the aims of single defences are in `study_speeds`."""

from __future__ import annotations

from typing import Final

ATTACKS: Final = 0.9
"""Of bare forward and backward passes, at batch 16."""
SERVICE: Final = 0.8
"""Of the worker in one process, at `SERVICE_CALLERS`."""
SERVICE_CALLERS: Final = 16
