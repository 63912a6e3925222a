"""Chains as a plan names them: checked against what is deployed, with every parameter filled in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._models import DefenceDescription, MetricDescription, ParameterDescription
from scoreguard_client.campaign.errors import PlanError


def complete_chains(chains: Iterable[tuple[Step, ...]], metric: MetricDescription) -> tuple[str, ...]:
    """The chains in text form with every parameter named; equal ones occur once.

    Raises:
        NotFoundError: a defence is not deployed before this metric.
        PlanError: a parameter is unknown or out of range.
    """
    texts = (format_chain(_complete(step, metric.defence(step.name)) for step in chain) for chain in chains)
    return tuple(dict.fromkeys(texts))


def _complete(step: Step, defence: DefenceDescription) -> Step:
    given, known = dict(step.parameters), [parameter.name for parameter in defence.parameters]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4) or known or ["none"]
            raise PlanError(f"defence {step.name!r} has no parameter {name!r}; it takes {', '.join(near)}")
    values = ((parameter.name, _checked(parameter, given, step.name)) for parameter in defence.parameters)
    return Step(name=step.name, parameters=tuple(sorted(values)))


def _checked(parameter: ParameterDescription, given: dict[str, float], defence: str) -> float:
    value = given.get(parameter.name, parameter.default)
    allowed = _allowed(parameter)
    fits = value in parameter.choices if parameter.choices else parameter.minimum <= value <= parameter.maximum
    if not fits or (parameter.integer and value != int(value)):
        raise PlanError(f"{defence}:{parameter.name}={value:g} is out of range: {allowed}")
    return value


def _allowed(parameter: ParameterDescription) -> str:
    if parameter.choices:
        return f"one of {', '.join(f'{choice:g}' for choice in parameter.choices)}"
    kind = "a whole number, " if parameter.integer else ""
    return f"{kind}{parameter.minimum:g} to {parameter.maximum:g}"
