"""Fill in every parameter of a chain's step from what is deployed."""

from __future__ import annotations

from scoreguard.chain.parameters import complete
from scoreguard.v1.spec import Step, step_of
from scoreguard_client._models import MetricDescription


def complete_step(step: Step, metric: MetricDescription, index: int | None = None) -> Step:
    """The step with every parameter of its defence named.

    Args:
        step: as requested.
        metric: the deployed metric.
        index: of the step in its chain, from 0, for error messages; None if there is no chain.

    Raises:
        NotFoundError: the defence is not deployed before this metric.
        ParameterError: a parameter is unknown or out of range.
    """
    parameters = metric.defence(step.name).parameters
    return step_of(step.name, complete(step.name, dict(step.parameters), parameters, index))
