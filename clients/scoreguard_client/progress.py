"""Progress reports of long work: one callback type for campaigns, training and showcases."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, str], None]
"""Called with the number of steps done since the last call, and with a description of the next; an empty text keeps
the previous one."""
