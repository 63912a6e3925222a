"""A defence step against the facts of the defence: defaults filled in, names and ranges checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scoreguard.chain.parameters import Allowed, complete, in_chain
from scoreguard.v1.errors import ParameterError
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceFacts, DefenceVariant, ParameterSpec
from scoreguard.v1.scoring_pb2 import DefenceStep
from scoreguard.v1.spec import Step

STEP_PARAMETER: Final = "t"
"""Parameter of a diffusion: the step that a picture is noised to."""


@dataclass(frozen=True, kw_only=True)
class ResolvedStep:
    """A step that can run: the graph to take and the values to feed."""

    artifact: DefenceArtifact
    variant: DefenceVariant
    """The graphs exported for the structural parameters."""
    values: tuple[tuple[str, float], ...]
    """The graph's scalar inputs, in order."""
    step: Step
    """The step with every parameter filled in."""

    @property
    def facts(self) -> DefenceFacts:
        """Facts of the defence."""
        return self.artifact.facts


def resolve_step(step: DefenceStep, artifact: DefenceArtifact, place: int | None = None) -> ResolvedStep:
    """Fill in defaults and choose the exported variant.

    Args:
        step: as it was asked for.
        artifact: the defence.
        place: of the step in its chain, from 0, for the message of an error; None where there is no chain.

    Raises:
        ParameterError: a parameter that the defence does not have, a value out of its range, or one that was not
            exported.
    """
    facts = artifact.facts
    filled = complete(facts.name, step.parameters, map(_allowed, facts.parameters), place)
    structural = {spec.name: filled[spec.name] for spec in facts.parameters if spec.structural_choices}
    variant = _variant(artifact, structural, place)
    _check_level(facts, variant, filled, place)
    return ResolvedStep(
        artifact=artifact,
        variant=variant,
        values=tuple((name, value) for name, value in filled.items() if name not in structural),
        step=Step(name=facts.name, parameters=tuple(sorted(filled.items()))),
    )


def _check_level(facts: DefenceFacts, variant: DefenceVariant, filled: dict[str, float], place: int | None) -> None:
    """A diffusion goes as far as the denoiser of the variant was trained."""
    last = len((variant if variant.HasField("diffusion") else facts).diffusion.alpha_bar)
    if last and filled[STEP_PARAMETER] > last:
        what = Step(name=facts.name, parameters=((STEP_PARAMETER, filled[STEP_PARAMETER]),))
        problem = f"{what}{in_chain(place)} is out of range: 1 to {last} with this denoiser"
        raise ParameterError(facts.name, STEP_PARAMETER, problem)


def _allowed(spec: ParameterSpec) -> Allowed:
    return Allowed(
        name=spec.name,
        default=spec.default_value,
        minimum=spec.minimum,
        maximum=spec.maximum,
        integer=spec.integer,
        choices=tuple(spec.structural_choices),
    )


def _variant(artifact: DefenceArtifact, structural: dict[str, float], place: int | None) -> DefenceVariant:
    exported = [dict(variant.structural) for variant in artifact.variants]
    if structural in exported:
        return artifact.variants[exported.index(structural)]
    # A variant whose weights were not at hand when the archive was built.
    values = (tuple(sorted(chosen.items())) for chosen in (structural, *exported))
    wanted, *there = (Step(name=artifact.facts.name, parameters=chosen) for chosen in values)
    name = _culprit(structural, exported)
    problem = f"{wanted}{in_chain(place)} is not in this archive, which holds {', '.join(map(str, there)) or 'none'}"
    raise ParameterError(artifact.facts.name, name, problem)


def _culprit(structural: dict[str, float], exported: list[dict[str, float]]) -> str:
    """The first parameter whose value no variant has, else the first."""
    alien = (name for name, value in structural.items() if all(value != there.get(name) for there in exported))
    return next(alien, next(iter(structural), ""))
