"""How long work says how far it is: one kind of function for campaigns, trainings and showcases."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, str], None]
"""Called with the number of steps that were done since the last call, and with what is being done next; an empty text
leaves what was said before."""
