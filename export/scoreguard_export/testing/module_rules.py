"""Rules about a module's output for images: shape, range, batches, randomness, gradients; nothing is exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scoreguard.chain.resolve import STEP_PARAMETER
from scoreguard.support.rules import Rule
from scoreguard_export.archive.parity import (
    EAGER,
    case_inputs,
    eager,
    gradient,
    gradient_cases,
    not_finite,
    parity_cases,
    settings,
)
from scoreguard_export.archive.score_findings import (
    BATCH_ADVICE,
    FINITE_ADVICE,
    FINITE_GRADIENT_ADVICE,
    RANGE_ADVICE,
    SHAPE_ADVICE,
    SMALLEST_ADVICE,
    SOME_GRADIENT_ADVICE,
    form_finding,
    range_finding,
)
from scoreguard_export.defences.base import Defence
from scoreguard_export.exporters.signature import Case, Content, make_inputs
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric
from scoreguard_export.testing.subject import Outcome, Subject, of_part, outcome_of

_SEED = 3
ENDS = ("black", "white", "noise", "two-valued noise")
"""Images at the ends of the range and everywhere inside it, by their name in findings."""


def _ends(height: int, width: int) -> Tensor:
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2))
    return torch.cat([torch.zeros_like(noise), torch.ones_like(noise), noise, noise.round()])


def _is_diffusion(module: GraphModule) -> bool:
    return isinstance(module, Defence) and bool(module.schedule(module.structural))


def _allowed(module: GraphModule, values: Mapping[str, float]) -> dict[str, float]:
    """Limit the steps of a diffusion to those that its denoiser was trained on; its parameter's range may be wider."""
    last = float(len(module.schedule(module.structural))) if isinstance(module, Defence) else 0.0
    return {name: min(value, last) if last and name == STEP_PARAMETER else value for name, value in values.items()}


def outcomes(module: GraphModule) -> Iterator[Outcome]:
    """Run a module at every setting: at both ends of the range, and on the images that the build compares graphs on.

    A diffusion, which calls its denoiser repeatedly, runs only on the smallest images.
    """
    least = module.facts.minimum_size
    images = _ends(least, least)
    with torch.no_grad():
        for setting in ({}, *settings(module)):
            case = Case(batch=len(ENDS), height=least, width=least, parameters=_allowed(module, setting))
            output = module(*make_inputs(module, case, images, _SEED))
            yield outcome_of(f"{case} ({', '.join(ENDS)})", images, output)
        for case in [] if _is_diffusion(module) else parity_cases(module):
            inputs = case_inputs(module, case, _SEED)
            output = module(*inputs)
            yield outcome_of(str(case), inputs[0], output)


def _smallest(subject: Subject[Any]) -> Iterator[str]:
    for module in subject.modules:
        least = module.facts.minimum_size
        for height, width in ((least, least), (least, least + 1), (least + 2, least), (least, 2 * least + 5)):
            case = Case(batch=2, height=height, width=width)
            images = _ends(height, width)[2:]
            try:
                with torch.no_grad():
                    module(*make_inputs(module, case, images, _SEED))
            except Exception as error:
                yield f"it fails{of_part(subject, module)} at {case}: {type(error).__name__}: {error}"


def _shape(subject: Subject[Any]) -> Iterator[str]:
    for module, outcome in subject.outcomes(outcomes):
        of = of_part(subject, module)
        if not isinstance(module, Defence):
            if found := form_finding(outcome.dtype, outcome.shape, outcome.images[0], of):
                yield f"{found} at {outcome.where}"
        elif outcome.dtype != str(torch.float32):
            yield f"the output{of} is {outcome.dtype}, not torch.float32, at {outcome.where}"
        elif not _fits(module, outcome):
            yield f"the output{of} has the shape {outcome.shape} at {outcome.where}"


def _fits(module: Defence, outcome: Outcome) -> bool:
    if len(outcome.shape) != 4 or outcome.shape[:2] != outcome.images[:2] or 0 in outcome.shape:
        return False
    return outcome.shape == outcome.images or not module.facts.size_preserving


def _purified_range(subject: Subject[Defence]) -> Iterator[str]:
    for module, outcome in subject.outcomes(outcomes):
        if not outcome.finite:
            yield f"the purified image{of_part(subject, module)} is not finite at {outcome.where}"
        elif not 0.0 <= outcome.low <= outcome.high <= 1.0:
            reached = f"{outcome.low:.4g} to {outcome.high:.4g}"
            yield f"the purified image{of_part(subject, module)} reaches {reached} at {outcome.where}"


def _finite_scores(subject: Subject[Metric]) -> Iterator[str]:
    for module, outcome in subject.outcomes(outcomes):
        if not outcome.finite:
            with torch.no_grad():
                for case in parity_cases(module):
                    if image := not_finite(module(*case_inputs(module, case, _SEED)), case):
                        yield f"the score is not finite at {case} on {image}"
            yield f"the score is not finite at {outcome.where}"


def _score_range(subject: Subject[Metric]) -> Iterator[str]:
    for module in subject.modules:
        for case in parity_cases(module):
            if case.content is Content.PHOTOGRAPHS:
                with torch.no_grad():
                    scores = module(*case_inputs(module, case, _SEED))
                if found := range_finding(float(scores.min()), float(scores.max()), module.facts):
                    yield f"{found} at {case}"


def _repeatable(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        inputs = case_inputs(part, parity_cases(part)[1], _SEED)
        before = [value.clone() for value in inputs]
        with torch.no_grad():
            first, again = part(*inputs).clone(), part(*(value.clone() for value in before))
        if not torch.equal(first, again):
            difference = float((first - again).abs().max())
            yield f"two runs{of_part(subject, part)} on the same inputs differ by {difference:.3g}"


def _input_kept(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        inputs = case_inputs(part, parity_cases(part)[1], _SEED)
        before = [value.clone() for value in inputs]
        with torch.no_grad():
            part(*inputs)
        if not all(map(torch.equal, before, inputs)):
            yield f"a run{of_part(subject, part)} changes its inputs in place"


def _batch(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        allowed = part.facts.parity_tolerance
        for case in (case for case in parity_cases(part) if case.batch > 1 and case.content is Content.PHOTOGRAPHS):
            inputs = case_inputs(part, case, _SEED)
            with torch.no_grad():
                together = part(*inputs)
                for index in (0, case.batch - 1):
                    # Parameters are shared by all images; random inputs differ per image.
                    alone = part(*(value[index : index + 1] if value.dim() else value for value in inputs))
                    difference = float((together[index : index + 1] - alone).abs().max())
                    if not difference <= allowed:
                        which = f"image {index}{of_part(subject, part)} alone differs by {difference:.3g}"
                        yield f"{which} from itself in a batch at {case}, allowed {allowed:.3g}"


def _own_draws(subject: Subject[Defence]) -> Iterator[str]:
    for module in subject.modules:
        if not module.facts.random_inputs:
            continue
        plain = parity_cases(module)[3]
        case = replace(plain, parameters=_lengths_inside(module, min(plain.height, plain.width)))
        image, *others = case_inputs(module, case, _SEED)
        with torch.no_grad():
            purified = module(image[:1].expand_as(image).contiguous(), *others)
        if torch.equal(purified[0], purified[1]):
            yield f"two equal images with draws of their own are purified alike{of_part(subject, module)} at {case}"


def _lengths_inside(module: Defence, side: int) -> dict[str, float]:
    """Return half the side for every length whose default is larger: a crop as large as the image leaves no choice."""
    return {p.name: float(side // 2) for p in module.facts.graph_parameters if p.at_most_side and p.default > side}


def _finite_gradient(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        for case in gradient_cases(part):
            if image := not_finite(gradient(eager(part), part, EAGER, case, _SEED), case):
                yield f"the gradient{of_part(subject, part)} is not finite at {case} on {image}"


def _some_gradient(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        for case in (case for case in gradient_cases(part) if case.content is Content.PHOTOGRAPHS):
            slopes = gradient(eager(part), part, EAGER, case, _SEED)
            if not bool((slopes != 0).any(dim=1).all()):
                yield f"the gradient{of_part(subject, part)} is 0 everywhere at {case} on a photographic image"


SMALLEST_IMAGE = Rule[Subject[Any]](
    name="smallest-image",
    statement="Images of the declared minimum size, square or not, can be read",
    advice=SMALLEST_ADVICE,
    findings=_smallest,
)
SCORE_SHAPE = Rule[Subject[Metric]](
    name="output-shape",
    statement="Images (N, 3, H, W) give float32 scores (N,)",
    advice=SHAPE_ADVICE,
    findings=_shape,
)
PURIFIED_SHAPE = Rule[Subject[Defence]](
    name="output-shape",
    statement="Images (N, 3, H, W) give float32 images, of the same size where the facts promise it",
    advice="return (N, 3, H', W'), or say size_preserving=False in the facts",
    findings=_shape,
)
PURIFIED_RANGE = Rule[Subject[Defence]](
    name="output-range",
    statement="Purified images are finite and lie in [0, 1] at every setting of the parameters",
    advice="end forward with clamp(0.0, 1.0), and guard divisions",
    findings=_purified_range,
)
FINITE_SCORE = Rule[Subject[Metric]](
    name="finite-score",
    statement="Every image has a finite score, flat ones too",
    advice=FINITE_ADVICE,
    findings=_finite_scores,
)
SCORE_RANGE = Rule[Subject[Metric]](
    name="score-range",
    statement="Ordinary images score inside the declared range",
    advice=RANGE_ADVICE,
    findings=_score_range,
)
REPEATABLE = Rule[Subject[Any]](
    name="repeatable",
    statement="The same inputs give the same bits: all randomness is an input",
    advice="declare what is drawn in random_inputs, and leave dropout and the like to training mode",
    findings=_repeatable,
)
INPUT_KEPT = Rule[Subject[Any]](
    name="input-kept",
    statement="A run leaves its inputs as they are",
    advice="replace operations in place, such as add_ or clamp_, by add or clamp",
    findings=_input_kept,
)
BATCH_INDEPENDENCE = Rule[Subject[Any]](
    name="batch-independence",
    statement="What an image gives does not depend on the images beside it",
    advice=BATCH_ADVICE,
    findings=_batch,
)
OWN_DRAWS = Rule[Subject[Defence]](
    name="own-draws",
    statement="Each image is purified with its own draw, and another draw gives another image",
    advice="use entry i of every random input for image i, and every input that is declared",
    findings=_own_draws,
)
FINITE_GRADIENT = Rule[Subject[Any]](
    name="finite-gradient",
    statement="The gradient is finite at every setting, on ordinary images, at 0, at 1 and on flat ones",
    advice=FINITE_GRADIENT_ADVICE,
    findings=_finite_gradient,
)
SOME_GRADIENT = Rule[Subject[Any]](
    name="some-gradient",
    statement="An ordinary image has a gradient that is not 0 everywhere, or the facts say that there is none",
    advice=SOME_GRADIENT_ADVICE,
    findings=_some_gradient,
)
