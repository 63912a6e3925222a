"""Where a report's tables are from, as far as whoever reads or compares them must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scoreguard_client.report.build import Report
from scoreguard_client.report.command import attack_command


@dataclass(frozen=True, kw_only=True)
class Source:
    """The run behind tables."""

    plan_sha256: str
    """Digest of its plan."""
    metrics: tuple[str, ...]
    """Its metrics."""
    attacks: tuple[str, ...]
    """Its attacks in their text form."""
    chains: tuple[str, ...]
    """Its chains in their text form."""
    images: int
    """How many images it has."""
    command: str
    """The command that makes the run again, but for the folder of images and what stands in the plan's files."""
    options: str
    """How its scores were scaled, and which variants of scores were computed."""


def source_of(reports: Sequence[Report]) -> Source:
    """Return the source of the reports of one run; at least one."""
    plan = reports[0].plan
    return Source(
        plan_sha256=plan.digest,
        metrics=plan.names,
        attacks=plan.attacks,
        chains=tuple(dict.fromkeys(chain for metric in plan.metrics for chain in metric.chains)),
        images=len(plan.images),
        command=attack_command(reports),
        options="; ".join(dict.fromkeys(map(_options, reports))),
    )


def _options(report: Report) -> str:
    chosen = report.options
    domain = report.domain or "no domain transform"
    return f"scaling {chosen.scaling.value} ({report.bounds.source}), R {chosen.r_mode.value}, {domain}"
