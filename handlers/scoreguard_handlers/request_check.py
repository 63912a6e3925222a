"""A piece of work against the manifest of the archive that would do it: everything that needs no pixels."""

from __future__ import annotations

from collections.abc import Iterable

from scoreguard.v1.errors import ParameterError
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.resolve import ResolvedStep, resolve_step
from scoreguard.v1.scoring_pb2 import (
    DefenceStep,
    PurifyRequest,
    ScoreDefendedRequest,
    ScoreGradientRequest,
)
from scoreguard.v1.worker_pb2 import WorkItem
from scoreguard_handlers.errors import InvalidRequestError, UnknownNameError

Request = ScoreDefendedRequest | PurifyRequest | ScoreGradientRequest
MAX_STEPS = 256
"""Longest chain; a request is work for a shared machine."""


def request_of(item: WorkItem) -> Request:
    """The request inside a piece of work.

    Raises:
        InvalidRequestError: there is none.
    """
    kind = item.WhichOneof("work")
    if kind is None:
        raise InvalidRequestError("the piece of work is empty: set score, purify or gradient")
    request: Request = getattr(item, kind)
    return request


def check_request(item: WorkItem, manifest: ArchiveManifest) -> tuple[ResolvedStep, ...]:
    """Check a piece of work and resolve its chain.

    Raises:
        InvalidRequestError: no picture, no defence to purify with, or a parameter that is wrong.
        UnknownNameError: a metric or defence that the archive does not hold.
    """
    request = request_of(item)
    metric = manifest.metric.facts.name
    if request.metric not in {"", metric}:
        raise UnknownNameError("metric", request.metric, [metric], field="metric")
    if request.image.WhichOneof("payload") is None:
        raise InvalidRequestError("the request has no picture: set image.encoded or image.tensor", field="image")
    if isinstance(request, PurifyRequest) and not request.defences:
        raise InvalidRequestError("purify needs at least one defence", field="defences")
    return resolve_chain(request.defences, manifest)


def resolve_chain(steps: Iterable[DefenceStep], manifest: ArchiveManifest) -> tuple[ResolvedStep, ...]:
    """Find and fill in every step of a chain.

    Raises:
        InvalidRequestError: a parameter that is wrong, or too many steps.
        UnknownNameError: a defence that the archive does not hold.
    """
    resolved = tuple(_resolve(step, index, manifest) for index, step in enumerate(steps))
    if len(resolved) > MAX_STEPS:
        raise InvalidRequestError(f"a chain of {len(resolved)} steps: the limit is {MAX_STEPS}", field="defences")
    return resolved


def _resolve(step: DefenceStep, index: int, manifest: ArchiveManifest) -> ResolvedStep:
    known = {artifact.facts.name: artifact for artifact in manifest.defences}
    if step.name not in known:
        raise UnknownNameError("defence", step.name, known, field=f"defences[{index}].name")
    try:
        return resolve_step(step, known[step.name])
    except ParameterError as error:
        raise InvalidRequestError(str(error), field=f"defences[{index}].parameters.{error.parameter}") from error
