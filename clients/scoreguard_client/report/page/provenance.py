"""Where the numbers of a page are from: facts of the run, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from scoreguard.support.digests import sha256_of
from scoreguard_client.report.build import Report
from scoreguard_client.report.command import attack_command
from scoreguard_client.scores.estimates import LEAST_APART
from scoreguard_client.scores.r_score import RMode
from scoreguard_client.scores.scaling import Scaling

Facts = list[tuple[str, str]]
"""Names of facts with what they are, for people."""

_GRADIENTS = {"live": "live endpoint", "unused": "not needed"}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers of a run are from."""

    facts: Facts
    """What all metrics share."""
    metrics: list[tuple[str, str]]
    """Name and archive digest of each metric."""
    command: str
    """The command that repeats the run; the places of images and run are left to the reader."""
    report: str
    """The command that makes the page from it."""


def facts_of(report: Report) -> Facts:
    """Return what a reader should know of the results of a metric."""
    declared, gradients = report.declared, report.metric.gradients
    local = "other local archive (transfer)" if report.transfer else "local archive of the same metric"
    draws = f", {report.plan.draws} draws" if report.plan.draws > 1 else ""
    better = "higher" if declared.higher_is_better else "lower"
    facts = [
        ("Metric", report.metric.name),
        ("Range", f"{declared.low:g} to {declared.high:g}, {better} is better"),
        ("Images", str(len(report.plan.images))),
        ("Records", str(len(report.records))),
        ("Gradients", _GRADIENTS.get(gradients, local)),
        ("Scores", report.domain),
        ("Device", report.device),
        ("Seed", f"{report.plan.seed}{draws}"),
    ]
    return [(name, value) for name, value in facts if value]


def small_print(reports: Sequence[Report]) -> str:
    """Return how numbers and intervals were computed."""
    options, domain = reports[0].options, reports[0].domain
    mapped = f' Scores were first {domain}, except in the columns "raw" and below the images.' if domain else ""
    r_mode = "in its paper" if options.r_mode is RMode.PAPER else "the public benchmark's code"
    return (
        "95 % intervals over images: Student's t joined with the studentised bootstrap "
        f"({options.resamples} resamples), for W and E of jackknife values, for SROCC Fisher's z. Below the number of "
        f"images at which they were measured to hold, and where fewer than {LEAST_APART} images differ from the rest, "
        f'none is given ("n too small").{mapped} Scores are scaled by the {_scale(reports)}; R as {r_mode}.'
    )


def _scale(reports: Sequence[Report]) -> str:
    if reports[0].options.scaling is Scaling.CLEAN_SELECTION:
        return "clean scores of the selection (benchmark)"
    if reports[0].options.scaling is Scaling.DECLARED_RANGE and not reports[0].domain:
        return "declared range"
    bounds = [(report.metric.name, report.bounds) for report in reports]
    ends = [f"{name}: " * (len(bounds) > 1) + f"{of.low:g} to {of.high:g} ({of.source})" for name, of in bounds]
    return f"bounds {'; '.join(ends)}"


def provenance(reports: Sequence[Report]) -> Provenance:
    """Return where the numbers of a run are from."""
    plan = reports[0].plan
    images = "\n".join(f"{image.name} {image.sha256}" for image in plan.images)
    devices = sorted({report.device for report in reports} - {""})
    facts = [
        ("Plan", plan.digest),
        ("Images", f"{len(plan.images)}, list {sha256_of(images.encode())}"),
        ("Server", reports[0].server_version),
        ("Seed", str(plan.seed)),
        ("Draws", f"{plan.draws} to score, {plan.crafting_draws or 'as many as needed'} to craft"),
        ("Perceptual distance", plan.distance),
        ("Computation of gradients", "; ".join(devices)),
    ]
    return Provenance(
        facts=[(name, value) for name, value in facts if value],
        metrics=[(report.metric.name, report.metric.archive_sha256) for report in reports],
        command=attack_command(reports),
        report=_report(reports[0]),
    )


def _report(report: Report) -> str:
    options = report.options
    words = [
        "--scaling",
        options.scaling.value,
        "--r-mode",
        options.r_mode.value,
        "--resamples",
        str(options.resamples),
    ]
    words += ["--calibration", str(options.calibration)] if options.calibration else []
    words += ["--domain-transform", options.domain_transform] if options.domain_transform else []
    return f"scoreguard report RUN {shlex.join(words)}"
