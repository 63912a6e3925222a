"""Size checks of an image at a stage: the image may be too small for it, or a parameter too large for the image.

The size at a step is the output size of the steps before it, so it is known only while a chain runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from scoreguard.chain.parameters import in_chain
from scoreguard.chain.resolve import ResolvedStep
from scoreguard.v1.errors import ParameterError, TooSmallError
from scoreguard.v1.manifest_pb2 import MetricFacts, ParameterSpec
from scoreguard.v1.spec import Step


def check_fits(step: ResolvedStep, size: Sequence[int], index: int) -> None:
    """Refuse an image that a step cannot purify with its parameters.

    Args:
        step: the step, with every parameter filled in.
        size: height and width of the image at that step, in pixels.
        index: index of the step in its chain, from 0.

    Raises:
        TooSmallError: the image is smaller than the defence accepts.
        ParameterError: a length among the parameters is larger than the image.
    """
    facts, values, side = step.facts, step.step.numbers, min(size)
    _check_minimum(f"defence {facts.name!r}{in_chain(index)}", facts.minimum_size, size)
    for spec in facts.parameters:
        if spec.at_most_side and values.get(spec.name, 0) > side:
            what = Step(name=facts.name, parameters=((spec.name, values[spec.name]),))
            image = f"the image, {size[1]} x {size[0]} there"
            problem = f"{what}{in_chain(index)} is larger than {image}: {_advice(spec, side)}"
            raise ParameterError(facts.name, spec.name, problem)


def check_readable(metric: MetricFacts, size: Sequence[int]) -> None:
    """Refuse an image that a metric cannot score; `size` is its height and width in pixels.

    Raises:
        TooSmallError: the image is smaller than the metric accepts.
    """
    _check_minimum(f"metric {metric.name!r}", metric.minimum_size, size)


def _check_minimum(who: str, minimum: int, size: Sequence[int]) -> None:
    if min(size) < minimum:
        raise TooSmallError(who, minimum, *size)


def _advice(spec: ParameterSpec, side: int) -> str:
    fitting = [f"{choice:g}" for choice in sorted(spec.structural_choices) if choice <= side]
    if fitting:
        return f"use {' or '.join(fitting)}"
    least = min(spec.structural_choices, default=spec.minimum)
    if least <= side:
        return f"use at most {side}"
    return f"send an image of at least {least:g} x {least:g} pixels"
