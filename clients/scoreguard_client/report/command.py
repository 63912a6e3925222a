"""The command that makes a run again, from its plan."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from scoreguard_client.report.build import Report

_FOLDER: Final = "IMAGES"
"""Stands for the folder of images, which a plan does not hold."""
_RUN: Final = "RUN"
"""Stands for the run directory."""
_WEIGHTS: Final = "WEIGHTS"
"""Stands for the weights of a perceptual distance, of which a plan holds the digest."""


def attack_command(reports: Sequence[Report]) -> str:
    """Return the command that attacks the same metrics, chains and images in the same way.

    Args:
        reports: of each metric of one run.
    """
    plan = reports[0].plan
    chains = dict.fromkeys(report.label(chain) for report in reports for chain in report.metric.chains)
    words = ["scoreguard", "attack", "--metric", ",".join(plan.names), "--attacks", ",".join(plan.attacks)]
    words += ["--chains", ",".join(chains), "--images", _FOLDER, "--out", _RUN]
    words += ["--adaptive"] if plan.adaptive else []
    words += ["--seed", str(plan.seed), "--draws", str(plan.draws), "--batch", str(plan.batch)]
    words += ["--crafting-draws", str(plan.crafting_draws or "auto")]
    words += ["--distance", f"{plan.distance.partition(':')[0]}={_WEIGHTS}"] if plan.distance else []
    return shlex.join(words)
