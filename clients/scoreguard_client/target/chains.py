"""Chains in a plan's form: checked against what is deployed, with every parameter filled in."""

from __future__ import annotations

from collections.abc import Iterable

from scoreguard.v1.errors import ParameterError
from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._chains import complete_step
from scoreguard_client._models import MetricDescription
from scoreguard_client.target.errors import PlanError


def complete_chains(chains: Iterable[tuple[Step, ...]], metric: MetricDescription) -> tuple[str, ...]:
    """Return the chains in text form with every parameter named, without duplicates.

    Raises:
        NotFoundError: a defence is not deployed before this metric.
        PlanError: a parameter is unknown or out of range.
    """
    texts = (format_chain(_complete(*numbered, metric) for numbered in enumerate(chain)) for chain in chains)
    return tuple(dict.fromkeys(texts))


def _complete(index: int, step: Step, metric: MetricDescription) -> Step:
    try:
        return complete_step(step, metric, index)
    except ParameterError as error:
        raise PlanError(str(error)) from error
