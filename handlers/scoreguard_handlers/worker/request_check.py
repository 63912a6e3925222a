"""Check a piece of work against the manifest of its archive: everything that needs no pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.rounding import Rounding
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.errors import ParameterError, SmoothingError
from scoreguard.v1.limits import LIMITS
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.scoring_pb2 import (
    DefenceStep,
    PurifyRequest,
    ScoreDefendedRequest,
    ScoreGradientRequest,
)
from scoreguard.v1.spec import Step
from scoreguard.v1.worker_pb2 import PoolRequest
from scoreguard_handlers.errors import InvalidRequestError, UnknownNameError

Request = ScoreDefendedRequest | PurifyRequest | ScoreGradientRequest
"""What is asked about an image."""
Work = Request | PoolRequest
"""What a worker can be asked."""
_KINDS: Final[Mapping[type[Work], str]] = {
    ScoreDefendedRequest: "score",
    PurifyRequest: "purify",
    ScoreGradientRequest: "gradient",
    PoolRequest: "pool",
}
_KEPT_CHAINS: Final = 256


def kind_of(request: Work) -> str:
    """Name of the field of a `WorkItem` that holds such a request."""
    return _KINDS[type(request)]


def smoothing_of(request: Request) -> Smoothing | None:
    """Return the smoothing with its defaults filled in; None if the chain runs once.

    Raises:
        InvalidRequestError: it cannot give a certificate.
    """
    if not (isinstance(request, ScoreDefendedRequest) and request.HasField("smoothing")):
        return None
    smoothing = Smoothing.from_message(request.smoothing)
    try:
        smoothing.check()
    except SmoothingError as error:
        raise InvalidRequestError(str(error), field=f"smoothing.{error.option}") from error
    return smoothing


def rounding_of(request: Request) -> Rounding:
    """Return the derivative to use for rounding in a gradient; straight-through by default.

    Raises:
        InvalidRequestError: this version does not know the number.
    """
    if not isinstance(request, ScoreGradientRequest):
        return Rounding.STRAIGHT_THROUGH
    try:
        return Rounding.from_message(request.rounding)
    except ValueError as error:
        raise InvalidRequestError(str(error), field="rounding") from error


def check_counts(request: Request) -> None:
    """Refuse fields that are too long or too many, before the contents are examined.

    Raises:
        InvalidRequestError: a limit is exceeded; the message has both numbers.
    """
    _at_most(len(request.request_id), LIMITS.request_id_characters, "the request_id", "characters", "request_id")
    _at_most(len(request.metric), LIMITS.name_characters, "the metric's name", "characters", "metric")
    _at_most(len(request.image.tensor.shape), LIMITS.tensor_dimensions, "the shape", "dimensions", "image.tensor.shape")
    _at_most(len(request.defences), LIMITS.steps, "the chain", "steps", "defences")
    for index, step in enumerate(request.defences):
        field = f"defences[{index}]"
        _at_most(len(step.name), LIMITS.name_characters, "a defence's name", "characters", f"{field}.name")
        count = len(step.parameters) + len(step.choices)
        _at_most(count, LIMITS.parameters, f"step {index + 1}", "parameters", f"{field}.parameters")
        names = (*step.parameters, *step.choices)
        longest = max(map(len, (*names, *step.choices.values())), default=0)
        _at_most(longest, LIMITS.name_characters, "a parameter's name", "characters", f"{field}.parameters")


def check_batch(items: int) -> None:
    """Refuse a batch of too many items.

    Raises:
        InvalidRequestError: there are more than the limit.
    """
    _at_most(items, LIMITS.batch_items, "the batch", "items", "requests")


class RequestChecker:
    """Checks requests against one archive. Chains recur, so resolved chains are cached."""

    def __init__(self, manifest: ArchiveManifest) -> None:
        self._metric = manifest.metric.facts.name
        self._defences = {artifact.facts.name: artifact for artifact in manifest.defences}
        self._resolve_kept = lru_cache(_KEPT_CHAINS)(self._resolve)

    def check(self, request: Request) -> tuple[ResolvedStep, ...]:
        """Check a request and resolve its chain.

        Raises:
            InvalidRequestError: no image, no defence to purify with, or an invalid parameter or smoothing.
            UnknownNameError: a metric or defence that the archive does not hold.
        """
        check_counts(request)
        if request.metric not in {"", self._metric}:
            raise UnknownNameError("metric", request.metric, [self._metric], field="metric")
        if request.image.WhichOneof("payload") is None:
            raise InvalidRequestError("the request has no image: set image.encoded or image.tensor", field="image")
        if isinstance(request, PurifyRequest) and not request.defences:
            raise InvalidRequestError("purify needs at least one defence", field="defences")
        smoothing_of(request)
        rounding_of(request)
        return self.resolve(request.defences)

    def resolve(self, steps: Sequence[DefenceStep]) -> tuple[ResolvedStep, ...]:
        """Look up every step of a chain and fill in its parameters.

        Raises:
            InvalidRequestError: a parameter is invalid.
            UnknownNameError: a defence that the archive does not hold.
        """
        return self._resolve_kept(tuple(Step.from_message(step) for step in steps))

    def _resolve(self, steps: tuple[Step, ...]) -> tuple[ResolvedStep, ...]:
        return tuple(self._resolve_step(step, index) for index, step in enumerate(steps))

    def _resolve_step(self, step: Step, index: int) -> ResolvedStep:
        if step.name not in self._defences:
            raise UnknownNameError("defence", step.name, self._defences, field=f"defences[{index}].name")
        try:
            return resolve_step(step.to_message(), self._defences[step.name], index)
        except ParameterError as error:
            raise InvalidRequestError(str(error), field=f"defences[{index}].parameters.{error.parameter}") from error


def _at_most(count: int, limit: int, what: str, unit: str, field: str) -> None:
    if count > limit:
        raise InvalidRequestError(
            f"{what} has {count} {unit}: the limit is {limit}",
            field=field,
            metadata={"count": str(count), "limit": str(limit)},
        )
