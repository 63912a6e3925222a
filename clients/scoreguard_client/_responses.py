"""Convert response messages to the values that callers get: pure functions, shared by both clients."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Final, Literal, TypeAlias

import numpy as np
import PIL.Image

from scoreguard.calibration import bounds_of
from scoreguard.chain.randomness import is_random
from scoreguard.v1 import codec, manifest_pb2, scoring_pb2
from scoreguard.v1.errors import PayloadError
from scoreguard.v1.spec import Step
from scoreguard_client._exceptions import InternalError, ScoreguardError
from scoreguard_client._models import (
    Catalogue,
    Certificate,
    Computation,
    DefenceDescription,
    FileDigest,
    FloatImage,
    Gradient,
    MetricDescription,
    ParameterDescription,
    Provenance,
    Purified,
    Score,
    StageTiming,
    StepProvenance,
)
from scoreguard_client._status import from_status

__all__ = ["Outcome"]

Outcome: TypeAlias = Score | ScoreguardError
"""Result of one item of a batch or stream: its score, or the error (returned, not raised)."""

_PRECISIONS: Final[dict[int, Literal["uint8", "float32"]]] = {
    scoring_pb2.PRECISION_UINT8: "uint8",
    scoring_pb2.PRECISION_FLOAT32: "float32",
}
_COMMERCIAL_USES: Final[dict[int, str]] = {
    manifest_pb2.COMMERCIAL_USE_YES: "yes",
    manifest_pb2.COMMERCIAL_USE_NO: "no",
    manifest_pb2.COMMERCIAL_USE_NOT_STATED: "not stated",
}
_DIFFERENTIABILITIES: Final[dict[int, Literal["exact", "straight_through", "bpda_identity"]]] = {
    manifest_pb2.DIFFERENTIABILITY_EXACT: "exact",
    manifest_pb2.DIFFERENTIABILITY_STRAIGHT_THROUGH: "straight_through",
    manifest_pb2.DIFFERENTIABILITY_BPDA_IDENTITY: "bpda_identity",
}


def to_score(response: scoring_pb2.ScoreDefendedResponse) -> Score:
    """Read the answer of a score.

    Raises:
        InternalError: a score in it is not a finite number, or the purified image in it cannot be read.
    """
    return Score(
        score=finite(response.score, "score"),
        undefended_score=finite(response.undefended_score, "undefended score")
        if response.HasField("undefended_score")
        else None,
        purified=_image(response.purified_image) if response.HasField("purified_image") else None,
        timings=to_timings(response.timings),
        provenance=to_provenance(response.provenance),
        request_id=response.request_id,
        # A server of an earlier version does not say.
        attempts=max(response.attempts, 1),
        certificate=_certificate(response.certificate) if response.HasField("certificate") else None,
        higher_is_better=response.higher_is_better if response.HasField("higher_is_better") else None,
    )


def to_outcome(result: scoring_pb2.ScoreDefendedResult) -> Outcome:
    """Read one item of a batch or stream; an error is returned, not raised."""
    if result.WhichOneof("result") != "response":
        return from_status(result.status)
    try:
        return to_score(result.response)
    except InternalError as error:
        return error


def to_purified(response: scoring_pb2.PurifyResponse) -> Purified:
    """Read the answer of a purification.

    Raises:
        InternalError: the image in it cannot be read.
    """
    return Purified(
        image=_image(response.purified_image),
        timings=to_timings(response.timings),
        provenance=to_provenance(response.provenance),
        request_id=response.request_id,
    )


def to_gradient(response: scoring_pb2.ScoreGradientResponse) -> Gradient:
    """Read the answer of a gradient.

    Raises:
        InternalError: the score in it is not a finite number, or the gradient in it cannot be read.
    """
    return Gradient(
        score=finite(response.score, "score"),
        gradient=_floats(response.gradient),
        timings=to_timings(response.timings),
        provenance=to_provenance(response.provenance),
        request_id=response.request_id,
        # A server of an earlier version does not say.
        attempts=max(response.attempts, 1),
    )


def to_catalogue(response: scoring_pb2.ListMetricsResponse) -> Catalogue:
    """Read what is deployed."""
    return Catalogue(
        metrics=tuple(_metric(metric) for metric in response.metrics),
        server_version=response.server_version,
        gradients=response.gradients,
        max_message_bytes=response.max_message_bytes,
        max_pixels=response.max_pixels,
    )


def finite(value: float, what: str) -> float:
    """Return a number of an answer.

    Raises:
        InternalError: it is not finite.
    """
    if not math.isfinite(value):
        raise InternalError(f"the server's {what} is {value}, not a finite number", reason="NOT_FINITE")
    return value


def _image(image: scoring_pb2.Image) -> FloatImage:
    if image.WhichOneof("payload") == "tensor":
        return _floats(image.tensor)
    try:
        with PIL.Image.open(io.BytesIO(image.encoded)) as decoded:
            return np.asarray(decoded.convert("RGB"), np.float32) / np.float32(255)
    except OSError as error:
        raise InternalError(f"the server's purified image cannot be read: {error}") from error


def _floats(tensor: scoring_pb2.Tensor) -> FloatImage:
    try:
        values = codec.from_tensor(tensor)
    except PayloadError as error:
        raise InternalError(f"the server's array cannot be read: {error}") from error
    # A copy, because the view of the message is read-only.
    return values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values.astype(np.float32)


def to_timings(timings: Iterable[scoring_pb2.StageTiming]) -> tuple[StageTiming, ...]:
    """Read the times of the stages."""
    return tuple(StageTiming(stage=timing.stage, milliseconds=timing.milliseconds) for timing in timings)


def to_provenance(message: scoring_pb2.Provenance) -> Provenance:
    """Read what produced an answer."""
    return Provenance(
        metric_sha256=message.metric_sha256,
        steps=tuple(StepProvenance(step=Step.from_message(s.step), sha256=s.sha256) for s in message.steps),
        engine=message.engine,
        threads=message.threads,
        seed=message.seed,
        precision=_PRECISIONS.get(message.precision, ""),
        decoder=message.decoder,
        height=message.height,
        width=message.width,
        computation=_computation(message.computation) if message.HasField("computation") else None,
    )


def _computation(message: scoring_pb2.Computation) -> Computation:
    return Computation(**{field.name: getattr(message, field.name) for field in fields(Computation)})


def _certificate(message: scoring_pb2.Certificate) -> Certificate:
    return Certificate(**{field.name: getattr(message, field.name) for field in fields(Certificate)})


def _metric(metric: scoring_pb2.DeployedMetric) -> MetricDescription:
    facts = metric.facts
    return MetricDescription(
        name=facts.name,
        title=facts.title,
        paper=facts.paper,
        year=facts.year,
        score_range=(facts.range_low, facts.range_high),
        higher_is_better=facts.higher_is_better,
        input_rule=facts.input_rule,
        minimum_size=facts.minimum_size,
        weights_licence=facts.weights_licence,
        commercial_use=_COMMERCIAL_USES.get(facts.commercial_use, ""),
        calibration=bounds_of(facts),
        defences=tuple(_defence(defence) for defence in metric.defences),
        archive_sha256=metric.archive_sha256,
        files=tuple(FileDigest(path=f.path, sha256=f.sha256, size_bytes=f.size_bytes) for f in metric.files),
    )


def _defence(facts: manifest_pb2.DefenceFacts) -> DefenceDescription:
    return DefenceDescription(
        name=facts.name,
        title=facts.title,
        paper=facts.paper,
        year=facts.year,
        parameters=tuple(ParameterDescription.of(spec) for spec in facts.parameters),
        random=is_random(facts),
        differentiability=_DIFFERENTIABILITIES.get(facts.differentiability, ""),
        size_preserving=facts.size_preserving,
        minimum_size=facts.minimum_size,
    )
