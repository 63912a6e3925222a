"""The tables of `defences.py`, in Markdown that also reads well on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

_GIGA = 1e9
GOAL = 1.0
LIMIT = 4.0
"""Memory goal, in GB."""


STUDY_FPS: Final = {"resize": 63.3, "flip": 36.7, "jpeg": 15.76, "diffpure": 3.08}
"""Table 1 of arXiv 2404.06957: images of 299 × 299 per second on an A100, as far as published."""
DEVICE_ENGINE: Final = "device"
"""Engine of the rows that were measured on another device than the CPU."""


class Row(Protocol):
    """What was measured, and on what."""

    @property
    def defence(self) -> str: ...  # noqa: D102

    @property
    def size(self) -> str: ...  # noqa: D102

    @property
    def engine(self) -> str: ...  # noqa: D102


class SpeedRow(Row, Protocol):
    """What a line of the speed table needs."""

    @property
    def per_second(self) -> float: ...  # noqa: D102

    @property
    def reference(self) -> str: ...  # noqa: D102

    @property
    def form(self) -> str: ...  # noqa: D102

    @property
    def ratio(self) -> float: ...  # noqa: D102

    @property
    def lowest(self) -> float: ...  # noqa: D102

    @property
    def highest(self) -> float: ...  # noqa: D102

    @property
    def converted(self) -> float: ...  # noqa: D102

    @property
    def difference(self) -> float: ...  # noqa: D102

    @property
    def rounds(self) -> int: ...  # noqa: D102


class MemoryRow(Row, Protocol):
    """What a cell of the memory table needs."""

    @property
    def peak(self) -> int: ...  # noqa: D102


def speed_table(rows: Sequence[SpeedRow]) -> str:
    """One line for each defence, size and reference, with both engines next to each other."""
    rows = [row for row in rows if row.engine != DEVICE_ENGINE]
    if not rows:
        return ""
    head = (
        "defence",
        "size",
        "ONNX Runtime /s",
        "TorchScript /s",
        "reference",
        "its form",
        "ONNX: ratio (spread)",
        "ONNX: with conversion",
        "TorchScript: ratio (spread)",
        "TorchScript: with conversion",
        "difference",
        "rounds",
    )
    lines = []
    for graph, script in zip(rows[0::2], rows[1::2], strict=True):
        lines.append(
            (
                f"`{graph.defence}`",
                graph.size,
                _speed(graph),
                _speed(script),
                graph.reference,
                graph.form,
                _ratio(graph),
                _number(graph.converted),
                _ratio(script),
                _number(script.converted),
                f"{graph.difference:.2f}",
                str(graph.rounds),
            )
        )
    return _table(head, lines)


def study_table(rows: Sequence[SpeedRow], study: Mapping[str, float]) -> str:
    """Images per second on another device next to the study's; empty if there was only the CPU."""
    rows = [row for row in rows if row.engine == DEVICE_ENGINE]
    if not rows:
        return ""
    head = ("defence", "size", "TorchScript on the device /s", "over eager torch", "the study's /s, 299×299, A100")
    lines = [
        (
            f"`{row.defence}`",
            row.size,
            _speed(row),
            _ratio(row),
            f"{study[row.defence]:g}" if row.defence in study else "–",
        )
        for row in rows
    ]
    return _table(head, lines)


def memory_table(rows: Sequence[MemoryRow]) -> str:
    """One line for each defence, in GB."""
    if not rows:
        return ""
    columns = list(dict.fromkeys((row.size, row.engine) for row in rows))
    cells = {(row.defence, row.size, row.engine): row.peak / _GIGA for row in rows}
    names = {"onnx": "ONNX Runtime", "torchscript": "TorchScript"}
    head = ("defence", *(f"{size}, {names[engine]}" for size, engine in columns))
    lines = []
    for name in dict.fromkeys(row.defence for row in rows):
        peaks = (cells[name, size, engine] for size, engine in columns)
        lines.append((f"`{name}`", *(f"**{peak:.2f}**" if peak > LIMIT else f"{peak:.2f}" for peak in peaks)))
    return "Peak memory in GB:\n\n" + _table(head, lines)


def _speed(row: SpeedRow) -> str:
    return f"{row.per_second:.0f}" if row.per_second >= 100 else f"{row.per_second:.3g}"


def _ratio(row: SpeedRow) -> str:
    return f"{_number(row.ratio)} ({row.lowest:.2g}–{row.highest:.2g})"


def _number(ratio: float) -> str:
    """Format a ratio, bold if it misses the goal."""
    return f"{ratio:.2f}" if ratio >= GOAL else f"**{ratio:.2f}**"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    rows = [head, rule, *lines]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )
