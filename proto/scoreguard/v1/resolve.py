"""A defence step against the facts of the defence: defaults filled in, names and ranges checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scoreguard.v1.errors import ParameterError
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceFacts, DefenceVariant, ParameterSpec
from scoreguard.v1.scoring_pb2 import DefenceStep
from scoreguard.v1.spec import Step


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


def resolve_step(step: DefenceStep, artifact: DefenceArtifact) -> ResolvedStep:
    """Fill in defaults and choose the exported variant.

    Raises:
        ParameterError: a parameter that the defence does not have, or a value out of its range.
    """
    facts = artifact.facts
    _refuse_unknown(step, facts)
    filled = {spec.name: _value(spec, step.parameters, facts.name) for spec in facts.parameters}
    structural = {spec.name: filled[spec.name] for spec in facts.parameters if spec.structural_choices}
    return ResolvedStep(
        artifact=artifact,
        variant=_variant(artifact.variants, structural),
        values=tuple((name, value) for name, value in filled.items() if name not in structural),
        step=Step(name=facts.name, parameters=tuple(sorted(filled.items()))),
    )


def _refuse_unknown(step: DefenceStep, facts: DefenceFacts) -> None:
    known = [spec.name for spec in facts.parameters]
    for name in step.parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            hint = f"it takes {', '.join(near)}" if near else "it takes none"
            raise ParameterError(facts.name, name, f"defence {facts.name!r} has no parameter {name!r}: {hint}")


def _value(spec: ParameterSpec, given: Mapping[str, float], defence: str) -> float:
    value = given.get(spec.name, spec.default_value)
    problem = _problem(spec, value)
    if problem:
        raise ParameterError(defence, spec.name, f"{defence}:{spec.name}={value:g} is out of range: {problem}")
    return value


def _problem(spec: ParameterSpec, value: float) -> str:
    if spec.structural_choices and value not in spec.structural_choices:
        return f"one of {', '.join(f'{choice:g}' for choice in spec.structural_choices)}"
    if not math.isfinite(value) or not spec.minimum <= value <= spec.maximum:
        return f"{spec.minimum:g} to {spec.maximum:g}"
    if spec.integer and value != int(value):
        return f"a whole number, {spec.minimum:g} to {spec.maximum:g}"
    return ""


def _variant(variants: Sequence[DefenceVariant], structural: dict[str, float]) -> DefenceVariant:
    return next(variant for variant in variants if dict(variant.structural) == structural)
