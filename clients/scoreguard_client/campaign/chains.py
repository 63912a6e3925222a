"""Chains as a plan names them: checked against what is deployed, with every parameter filled in."""

from __future__ import annotations

from collections.abc import Iterable

from scoreguard.v1.errors import ParameterError
from scoreguard.v1.parameters import Allowed, complete
from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._models import MetricDescription, ParameterDescription
from scoreguard_client.campaign.errors import PlanError


def complete_chains(chains: Iterable[tuple[Step, ...]], metric: MetricDescription) -> tuple[str, ...]:
    """The chains in text form with every parameter named; equal ones occur once.

    Raises:
        NotFoundError: a defence is not deployed before this metric.
        PlanError: a parameter is unknown or out of range.
    """
    texts = (format_chain(_complete(*numbered, metric) for numbered in enumerate(chain)) for chain in chains)
    return tuple(dict.fromkeys(texts))


def _complete(place: int, step: Step, metric: MetricDescription) -> Step:
    try:
        values = complete(step.name, dict(step.parameters), map(_allowed, metric.defence(step.name).parameters), place)
    except ParameterError as error:
        raise PlanError(str(error)) from error
    return Step(name=step.name, parameters=tuple(sorted(values.items())))


def _allowed(parameter: ParameterDescription) -> Allowed:
    return Allowed(
        name=parameter.name,
        default=parameter.default,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        integer=parameter.integer,
        choices=parameter.choices,
    )
