"""Convert a caller's arguments to request messages: pure functions, shared by both clients.

A request always carries a seed: if the caller gives none, the client draws one, and a retry repeats the draw of the
first attempt. The answer's provenance reports the seed that was used.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from scoreguard.chain.rounding import Rounding
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.errors import SmoothingError, SpecError
from scoreguard.v1.scoring_pb2 import (
    DefenceStep,
    PurifyRequest,
    ScoreDefendedRequest,
    ScoreGradientRequest,
)
from scoreguard.v1.spec import Step, Value, parse_chain, step_of
from scoreguard_client._exceptions import InvalidRequestError
from scoreguard_client._images import ImageLike, to_image

__all__ = ["DefencesLike", "PreparedScore", "ScoreRequest"]

DefencesLike: TypeAlias = str | Step | Mapping[str, Mapping[str, float]] | Iterable[str | Step]
"""A chain: text (`blur:kernel=3+jpeg:quality=50`), a step, `{"jpeg": {"quality": 50}}`, or several texts and steps."""

PurifiedFormat: TypeAlias = Literal["float32", "png"]
"""Format in which a purified image is returned."""

_FORMATS: Final = {
    "float32": scoring_pb2.PURIFIED_FORMAT_FLOAT32,
    "png": scoring_pb2.PURIFIED_FORMAT_PNG,
}
# Whole numbers up to this one survive JSON readers that know only doubles, and fit SQLite's integers.
_SEED_BITS: Final = 53
_SEED_LIMIT: Final = 2**64


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """One item of a batch or stream, with its own options."""

    image: ImageLike
    """The image."""
    metric: str
    """Name of a deployed metric."""
    defences: DefencesLike = ""
    """The defences, in order; empty = undefended."""
    seed: int | None = None
    """Seed of random defences, 0 to 2**64 - 1; None = drawn by the client."""
    return_undefended: bool = False
    """Whether to score the image without the defences as well."""
    return_purified: bool = False
    """Whether to return the purified image."""
    purified_format: PurifiedFormat = "float32"
    """Its format: `float32` is exactly what the metric scored, `png` is rounded to 8 bits and smaller."""
    smoothing: Smoothing | None = None
    """Score noisy copies, and return the median with its certificate; None = the chain runs once."""
    request_id: str = ""
    """Your name for the request."""

    def to_message(self) -> ScoreDefendedRequest:
        """The wire form.

        Raises:
            ImageError: the image cannot be sent.
            InvalidRequestError: the defences or the seed cannot be read, or the smoothing cannot give a certificate.
        """
        return ScoreDefendedRequest(
            image=to_image(self.image),
            metric=metric_name(self.metric),
            defences=to_steps(self.defences),
            seed=to_seed(self.seed),
            return_undefended_score=self.return_undefended,
            return_purified_image=self.return_purified,
            purified_format=_FORMATS[self.purified_format],
            smoothing=to_smoothing(self.smoothing),
            request_id=self.request_id,
        )


@dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """The options that the bare images of a batch or stream have in common."""

    metric: str
    """Name of a deployed metric."""
    defences: DefencesLike
    """The defences, in order."""
    seed: int | None
    """The same for every image; None = a separate seed for each."""
    return_undefended: bool
    """Whether to score the images without the defences as well."""
    return_purified: bool
    """Whether to return the purified images."""
    smoothing: Smoothing | None
    """Smoothing of the scores."""

    def request_of(self, item: ImageLike | ScoreRequest) -> ScoreRequest:
        """Give a bare image these options; a request keeps its own."""
        if isinstance(item, ScoreRequest):
            return item
        return ScoreRequest(
            image=item,
            metric=self.metric,
            defences=self.defences,
            seed=self.seed,
            return_undefended=self.return_undefended,
            return_purified=self.return_purified,
            smoothing=self.smoothing,
        )


@dataclass(frozen=True)
class PreparedScore:
    """A request that is checked and encoded once, to be sent many times with the same seed."""

    payload: bytes
    """The encoded message."""

    @staticmethod
    def of(request: ScoreRequest) -> PreparedScore:
        """Check and encode a request.

        Raises:
            ImageError: the image cannot be sent.
            InvalidRequestError: the defences or the seed cannot be read, or the smoothing cannot give a certificate.
        """
        return PreparedScore(request.to_message().SerializeToString())


def purify_request(
    image: ImageLike,
    defences: DefencesLike,
    *,
    metric: str,
    seed: int | None,
    purified_format: PurifiedFormat,
    request_id: str,
) -> PurifyRequest:
    """Build the message of `purify`; raises as `ScoreRequest.to_message`, and if there is no defence."""
    steps = to_steps(defences)
    if not steps:
        raise InvalidRequestError("name at least one defence to purify with, for example 'jpeg'", field="defences")
    return PurifyRequest(
        image=to_image(image),
        defences=steps,
        metric=metric,
        seed=to_seed(seed),
        purified_format=_FORMATS[purified_format],
        request_id=request_id,
    )


def gradient_request(
    image: ImageLike,
    metric: str,
    *,
    defences: DefencesLike,
    seed: int | None,
    request_id: str,
    rounding: Rounding = Rounding.STRAIGHT_THROUGH,
) -> ScoreGradientRequest:
    """Build the message of `gradient`; raises as `ScoreRequest.to_message`."""
    return ScoreGradientRequest(
        image=to_image(image),
        metric=metric_name(metric),
        defences=to_steps(defences),
        seed=to_seed(seed),
        request_id=request_id,
        rounding=rounding.to_message(),
    )


def to_steps(defences: DefencesLike) -> list[DefenceStep]:
    """Convert a chain to messages.

    Raises:
        InvalidRequestError: it cannot be read, or a parameter is not a finite number.
    """
    steps = [step.to_message() for step in _chain(defences)]
    for step in steps:
        for name, value in step.parameters.items():
            if not math.isfinite(value):
                raise InvalidRequestError(f"{step.name}:{name} must be a finite number, not {value}", field="defences")
    return steps


def to_seed(seed: int | None) -> int:
    """The seed to send.

    Raises:
        InvalidRequestError: it does not fit 64 bits.
    """
    if seed is None:
        return secrets.randbits(_SEED_BITS)
    if not 0 <= seed < _SEED_LIMIT:
        raise InvalidRequestError(f"a seed is a whole number from 0 to 2**64 - 1, not {seed}", field="seed")
    return int(seed)


def to_smoothing(smoothing: Smoothing | None) -> scoring_pb2.Smoothing | None:
    """The smoothing to send.

    Raises:
        InvalidRequestError: it cannot give a certificate.
    """
    if smoothing is None:
        return None
    try:
        smoothing.check()
    except SmoothingError as error:
        raise InvalidRequestError(str(error), field=f"smoothing.{error.option}") from error
    return smoothing.to_message()


def metric_name(name: str) -> str:
    """The metric to name.

    Raises:
        InvalidRequestError: it is empty.
    """
    if not name:
        raise InvalidRequestError("name the metric, for example metric='lite'", field="metric")
    return name


def _chain(defences: DefencesLike) -> list[Step]:
    try:
        if isinstance(defences, (str, Step)):
            return _part(defences)
        if isinstance(defences, Mapping):
            return [_step(name, parameters) for name, parameters in defences.items()]  # pyright: ignore[reportArgumentType]
        return [step for part in defences for step in _part(part)]
    except SpecError as error:
        raise InvalidRequestError(str(error), field="defences") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidRequestError(
            f"cannot read defences {defences!r}: {error}; write 'jpeg:quality=50' or {{'jpeg': {{'quality': 50}}}}",
            field="defences",
        ) from error


def _part(part: str | Step) -> list[Step]:
    return [part] if isinstance(part, Step) else list(parse_chain(part))


def _step(name: str, parameters: Mapping[str, Value]) -> Step:
    return step_of(name, {key: _value(value) for key, value in parameters.items()})


def _value(value: Value) -> Value:
    """Return a number, even if written as text, or else the name of a choice."""
    try:
        return float(value)
    except ValueError:
        return value
