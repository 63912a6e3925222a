"""Resolve a step against its defence: fill in defaults, check names and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scoreguard.chain.parameters import Parameter, complete, in_chain
from scoreguard.v1.errors import ParameterError
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceFacts, DefenceVariant
from scoreguard.v1.scoring_pb2 import DefenceStep
from scoreguard.v1.spec import Step, Value, step_of

STEP_PARAMETER: Final = "t"
"""Parameter of a diffusion: the step up to which noise is added."""


@dataclass(frozen=True, kw_only=True)
class ResolvedStep:
    """A step that can run: the graph to use and the values to feed."""

    artifact: DefenceArtifact
    variant: DefenceVariant
    """The graphs exported for the structural parameters."""
    values: tuple[tuple[str, float], ...]
    """The graph's scalar inputs, in order."""
    step: Step
    """The step with every parameter filled in."""

    @property
    def facts(self) -> DefenceFacts:
        """The defence's description."""
        return self.artifact.facts


def resolve_step(step: DefenceStep, artifact: DefenceArtifact, index: int | None = None) -> ResolvedStep:
    """Fill in defaults and choose the exported variant.

    Args:
        step: as requested.
        artifact: the defence.
        index: index of the step in its chain, from 0, for error messages; None if there is no chain.

    Raises:
        ParameterError: a parameter that the defence does not have, a value out of its range, or one that was not
            exported.
    """
    facts = artifact.facts
    parameters = [Parameter.of(spec) for spec in facts.parameters]
    filled = complete(facts.name, _given(step, index), parameters, index)
    structural = {each.name: each.number(filled[each.name]) for each in parameters if each.structural}
    variant = _variant(artifact, structural, index)
    complete_step = step_of(facts.name, filled)
    _check_level(facts, variant, complete_step.numbers, index)
    return ResolvedStep(
        artifact=artifact,
        variant=variant,
        values=tuple((each.name, each.number(filled[each.name])) for each in parameters if not each.structural),
        step=complete_step,
    )


def _given(step: DefenceStep, index: int | None) -> dict[str, Value]:
    for name in sorted(step.parameters.keys() & step.choices.keys()):
        raise ParameterError(step.name, name, f"defence {step.name!r}{in_chain(index)}: {name} is given twice")
    return {**step.parameters, **step.choices}


def _check_level(facts: DefenceFacts, variant: DefenceVariant, numbers: dict[str, float], index: int | None) -> None:
    """Limit a diffusion to the steps that the variant's denoiser was trained on."""
    last = len((variant if variant.HasField("diffusion") else facts).diffusion.alpha_bar)
    if last and numbers[STEP_PARAMETER] > last:
        what = step_of(facts.name, {STEP_PARAMETER: numbers[STEP_PARAMETER]})
        problem = f"{what}{in_chain(index)} is out of range: 1 to {last} with this denoiser"
        raise ParameterError(facts.name, STEP_PARAMETER, problem)


def _variant(artifact: DefenceArtifact, structural: dict[str, float], index: int | None) -> DefenceVariant:
    exported = [dict(variant.structural) for variant in artifact.variants]
    if structural in exported:
        return artifact.variants[exported.index(structural)]
    # A variant whose weights were not available when the archive was built.
    wanted, *there = (_named(artifact.facts, chosen) for chosen in (structural, *exported))
    name = _culprit(structural, exported)
    problem = f"{wanted}{in_chain(index)} is not in this archive, which holds {', '.join(map(str, there)) or 'none'}"
    raise ParameterError(artifact.facts.name, name, problem)


def _named(facts: DefenceFacts, structural: dict[str, float]) -> Step:
    """A step with structural values in the form that a request uses."""
    parameters = {each.name: each for each in map(Parameter.of, facts.parameters)}
    return step_of(facts.name, {name: parameters[name].value(number) for name, number in structural.items()})


def _culprit(structural: dict[str, float], exported: list[dict[str, float]]) -> str:
    """The first parameter whose value no variant has, else the first."""
    alien = (name for name, value in structural.items() if all(value != there.get(name) for there in exported))
    return next(alien, next(iter(structural), ""))
