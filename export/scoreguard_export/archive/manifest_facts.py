"""The facts of a manifest: compared with the catalogue's if it has the name, else accepted within bounds.

An edited range, direction, default or tiling changes what is served, and no digest reveals it. Texts are not compared,
because they change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from google.protobuf.message import Message

from scoreguard.chain.execution import COUNT_PARAMETER
from scoreguard.chain.resolve import STEP_PARAMETER
from scoreguard.v1 import manifest_pb2 as pb
from scoreguard_export.archive.defence_export import keep_choices, note_exceptions
from scoreguard_export.archive.facts import DIFFERENTIABILITY, DISTRIBUTION, SHAPE, exported_facts, metric_message
from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    Parameter,
    RandomInput,
    RandomShape,
)
from scoreguard_export.errors import ArchiveError
from scoreguard_export.metrics.base import MetricFacts, ScoreRange

Named = TypeVar("Named")
_LARGEST_METRIC_TOLERANCE: Final = 1e-3
"""Largest difference between two graphs of a metric that is not in the catalogue, as a share of the range."""
_LARGEST_FEATURE_TOLERANCE: Final = 1e-3
"""The same for features of frames, in their own units, which are of the order of 1."""
_LARGEST_DEFENCE_TOLERANCE: Final = 1e-3
"""The same for a defence, in pixel units of [0, 1]: a quarter of an 8-bit level."""
_TEXTS: Final = frozenset({"title", "paper", "year", "input_rule", "weights_licence", "commercial_use", "description"})
_SIGMA: Final = Parameter(name="sigma", description="Of the noise to remove.", default=10.0, minimum=0.0, maximum=70.0)
"""Parameter of the denoiser of a diffusion, within the range that every denoiser is trained on."""


def compare_metric(found: pb.MetricFacts, known: MetricFacts, path: Path) -> None:
    """Reject facts of a metric that differ from the catalogue's.

    Raises:
        ArchiveError: one differs; the message says which.
    """
    own = pb.MetricFacts()
    own.CopyFrom(found)
    own.ClearField("calibration")  # measured, not a fact of the code
    _compare(f"{path}: metric {known.name!r}", own, metric_message(known))


def compare_defence(found: pb.DefenceArtifact, known: type[Defence], path: Path) -> None:
    """Reject facts and variants of a defence that differ from the catalogue's; variants may be missing.

    Raises:
        ArchiveError: one differs; the message says which.
        ParameterError: a variant has a structural value that the catalogue does not have.
    """
    who, expected = f"{path}: defence {known.facts.name!r}", exported_facts(known)
    for ours, theirs in zip(expected.parameters, found.facts.parameters, strict=False):
        if theirs.structural_choices and set(theirs.structural_choices) <= set(ours.structural_choices):
            keep_choices(ours, theirs.structural_choices)
    _compare(who, found.facts, expected)
    for variant in found.variants:
        known.check(dict(variant.structural))
        own = pb.DefenceVariant()
        note_exceptions(own, known, dict(variant.structural))
        same = (variant.tiling, variant.diffusion) == (own.tiling, own.diffusion)
        if not same or variant.HasField("finish") != (known.finish() is not None):
            raise ArchiveError(f"{who}: a variant runs otherwise than the catalogue says; build the archive again")


def _compare(who: str, found: Message, expected: Message) -> None:
    for field in expected.DESCRIPTOR.fields:
        if field.name in _TEXTS:
            continue
        theirs, ours = getattr(found, field.name), getattr(expected, field.name)
        if field.message_type is not None and field.is_repeated:
            if len(theirs) != len(ours):
                raise ArchiveError(f"{who} has {len(theirs)} {field.name}, the catalogue {len(ours)}; build it again")
            for one, other in zip(theirs, ours, strict=True):
                _compare(who, one, other)
        elif theirs != ours or (field.has_presence and found.HasField(field.name) != expected.HasField(field.name)):
            raise ArchiveError(
                f"{who}: {field.name} is not what the catalogue says{_values(theirs, ours)}; build again"
            )


def _values(theirs: object, ours: object) -> str:
    values = "" if isinstance(ours, Message) else f" ({theirs!s:.40}, not {ours!s:.40})"
    return f"{values}; build the archive again"


def metric_facts(artifact: pb.MetricArtifact, path: Path) -> MetricFacts:
    """Return the facts of a metric from its manifest alone.

    Raises:
        ArchiveError: the manifest records no parity, hence no tolerance.
    """
    facts = artifact.facts
    span = ScoreRange.of(facts)
    return MetricFacts(
        name=facts.name,
        title=facts.title,
        paper=facts.paper,
        year=facts.year,
        score_range=span,
        input_rule=facts.input_rule,
        variant=facts.variant,
        minimum_size=facts.minimum_size,
        parity_tolerance=_tolerance(artifact.parity, _LARGEST_METRIC_TOLERANCE * span.width, f"{path}: {facts.name}"),
    )


def clip_facts(artifact: pb.MetricArtifact, path: Path) -> tuple[MetricFacts, MetricFacts]:
    """Return the facts of a video metric's graphs of frames and of clips, from its manifest alone.

    Raises:
        ArchiveError: the manifest records no parity of one of them.
    """
    facts = metric_facts(artifact, path)
    frame, pool, who = f"{facts.name} (frame)", f"{facts.name} (pool)", f"{path}: {facts.name}"
    largest = _LARGEST_METRIC_TOLERANCE * facts.score_range.width
    return (
        replace(facts, name=frame, parity_tolerance=_tolerance(artifact.frame_parity, _LARGEST_FEATURE_TOLERANCE, who)),
        replace(facts, name=pool, parity_tolerance=_tolerance(artifact.pool_parity, largest, who)),
    )


def defence_facts(artifact: pb.DefenceArtifact, variant: pb.DefenceVariant, path: Path) -> DefenceFacts:
    """Return the facts of one graph of a defence from its manifest alone; a diffusion's graph is a denoiser.

    Raises:
        ArchiveError: the manifest records no parity, hence no tolerance.
    """
    facts = artifact.facts
    denoiser = facts.HasField("diffusion")
    return DefenceFacts(
        name=facts.name,
        title=facts.title,
        paper=facts.paper,
        year=facts.year,
        parameters=(_SIGMA,) if denoiser else tuple(Parameter.of(spec) for spec in facts.parameters),
        random_inputs=() if denoiser else tuple(_random(given) for given in facts.random_inputs),
        differentiability=_named(DIFFERENTIABILITY, facts.differentiability, Differentiability.EXACT),
        size_preserving=facts.size_preserving,
        minimum_size=facts.minimum_size,
        parity_tolerance=_tolerance(variant.parity, _LARGEST_DEFENCE_TOLERANCE, f"{path}: {facts.name}"),
    )


def finish_facts(artifact: pb.DefenceArtifact, variant: pb.DefenceVariant, path: Path) -> DefenceFacts:
    """Return the facts of a diffusion's finish, from the manifest alone; it reads the image and the sample.

    Raises:
        ArchiveError: the manifest records no parity, hence no tolerance.
    """
    of_sampler = (STEP_PARAMETER, COUNT_PARAMETER)
    parameters = [spec for spec in artifact.facts.parameters if spec.name not in of_sampler]
    sampled = RandomInput(name="sampled", distribution=Distribution.UNIFORM, shape=RandomShape.IMAGE)
    return replace(
        defence_facts(artifact, variant, path),
        parameters=tuple(Parameter.of(spec) for spec in parameters),
        random_inputs=(sampled,),
    )


def _tolerance(cases: Iterable[pb.ParityCase], largest: float, who: str) -> float:
    """Return the tolerance that the exporter allowed, capped at `largest`."""
    tolerances = [case.tolerance for case in cases]
    if not tolerances:
        raise ArchiveError(f"{who}: no parity is recorded; build the archive again")
    return min(largest, max(tolerances))


def _random(given: pb.RandomInput) -> RandomInput:
    return RandomInput(
        name=given.name,
        distribution=_named(DISTRIBUTION, given.distribution, Distribution.UNIFORM),
        shape=_named(SHAPE, given.shape, RandomShape.IMAGE),
    )


def _named(names: Mapping[Named, int], number: int, otherwise: Named) -> Named:
    return next((name for name, known in names.items() if known == number), otherwise)
