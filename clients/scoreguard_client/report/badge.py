"""A badge for a README: the worst gain behind the best chain, in the form that shields.io's endpoint reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from scoreguard_client.report.tables.leaderboard import LEADERBOARD
from scoreguard_client.report.tables.model import Table

FILE: Final = "badge.json"
_COLOURS: Final = ((0.05, "brightgreen"), (0.1, "green"), (0.2, "yellow"), (0.4, "orange"))
"""The highest worst gain of each colour, as a share of the metric's scale."""
_WORSE: Final = "red"
_UNKNOWN: Final = "lightgrey"


def badge(tables: Sequence[Table]) -> dict[str, Any]:
    """Return the badge of a run; with several metrics, the best chain of each, coloured by the worst of them.

    Args:
        tables: those of the run, with a leaderboard for each metric.
    """
    boards = [table for table in tables if table.key.startswith(LEADERBOARD)]
    messages, worst = [], -math.inf
    for board in boards:
        best = board.lines[0]
        estimate = best.cells[0].estimate
        value = math.nan if estimate is None else estimate.value
        metric = f"{board.key.partition(':')[2]} " if len(boards) > 1 else ""
        told = f"{value:.2f}" if math.isfinite(value) else "unknown"
        messages.append(f"{metric}{told} behind {best.names[0]}")
        worst = math.nan if math.isnan(value + worst) else max(worst, value)
    return {"schemaVersion": 1, "label": "worst gain", "message": ", ".join(messages), "color": _colour(worst)}


def _colour(gain: float) -> str:
    if not math.isfinite(gain):
        return _UNKNOWN
    return next((colour for highest, colour in _COLOURS if gain <= highest), _WORSE)
