"""What the public benchmark's maps onto MDTVSFA do: the table of docs/report.md, from the published file.

    python benchmarks/domain_maps.py FOLDER/benchmark/domain_transform_to_mdtvsfa.pt

Scores are scaled as in the benchmark: 0 and 1 are the lowest and highest clean score of the metric. Mapped scores are
means over z at evenly spaced quantiles of its distribution, not over random draws, so that nothing here is chance.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from scoreguard_client.report.transforms import benchmark_maps
from scoreguard_client.scores.benchmark_map import DRAWS, SPREAD, BenchmarkMap
from scoreguard_client.scores.scaling import Values

_GRID: Final = np.linspace(-0.5, 1.5, 41)
"""Scaled scores: half a width of the clean scores beyond each end."""
_ZERO: Final = int(np.abs(_GRID).argmin())
_ONE: Final = int(np.abs(_GRID - 1).argmin())
_Z: Final = SPREAD * stats.norm.ppf((np.arange(DRAWS) + 0.5) / DRAWS)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The map of one metric."""

    metric: str
    at_lowest: float
    """Mapped lowest clean score; the reference's own lowest is 0."""
    at_highest: float
    """Mapped highest clean score; the reference's own highest is 1."""
    fall_below: float
    """Sum of the falls of the mapped score while the score rises from −0.5 to 0."""
    fall_elsewhere: float
    """The same from 0 to 1.5."""
    noise: float
    """Largest standard deviation over z of one mapped score, between −0.5 and 1.5."""


def facts_of(transform: BenchmarkMap) -> Facts:
    """Measure one map."""
    outputs = np.array([transform.network(np.column_stack([np.full(DRAWS, scaled), _Z])) for scaled in _GRID])
    mapped = outputs.mean(axis=1)
    return Facts(
        metric=transform.metric,
        at_lowest=float(mapped[_ZERO]),
        at_highest=float(mapped[_ONE]),
        fall_below=_fall(mapped[: _ZERO + 1]),
        fall_elsewhere=_fall(mapped[_ZERO:]),
        noise=float(outputs.std(axis=1).max()),
    )


def _fall(mapped: Values) -> float:
    return float(-np.minimum(np.diff(mapped), 0).sum())


def table(facts: Sequence[Facts]) -> str:
    """Format the measurements as Markdown."""
    head = (
        "| metric | lowest clean score maps to | highest to | falls below the lowest by | std over z |",
        "|---|---|---|---|---|",
    )
    return "\n".join([*head, *map(_line, facts)])


def _line(facts: Facts) -> str:
    fall = f"{facts.fall_below:.3f}" if facts.fall_below > 0 else "–"
    numbers = (f"{facts.at_lowest:.3f}", f"{facts.at_highest:.3f}", fall, f"{facts.noise:.2f}")
    return f"| `{facts.metric}` | " + " | ".join(numbers) + " |"


def main(arguments: Sequence[str]) -> int:
    """Print the table for the file given."""
    print(table([facts_of(transform) for transform in benchmark_maps(Path(arguments[0])).values()]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
