"""A service that answers from plain functions, fails on request, and records its calls.

Everything above it is the real client: requests are checked and encoded, refusals retried, batches and streams put in
order, answers read. So code that passes its tests with it meets the same types and errors on a server.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from scoreguard.v1 import codec
from scoreguard.v1 import scoring_pb2 as pb
from scoreguard.v1.errors import ImageError
from scoreguard.v1.spec import Step, format_chain
from scoreguard_client._async_client import AsyncScoringClient
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import DEFAULT_CONFIG, ConnectionConfig
from scoreguard_client._exceptions import (
    ConfigurationError,
    InvalidRequestError,
    ServerError,
    UnsupportedError,
)
from scoreguard_client._status import code_of, to_status, unsupported
from scoreguard_client.testing.messages import ENGINE, Floats, deployed, finite, named, provenance_of, values_of
from scoreguard_client.testing.transports import AsyncFakeTransport, FakeTransport

ScoreFunction: TypeAlias = Callable[[Floats], float]
"""A score of one purified image, (height, width, 3) in [0, 1]."""
ArrayFunction: TypeAlias = Callable[[Floats], npt.NDArray[Any]]
"""An image to an image, or to a gradient of its shape."""
_SCALE: Final = 100.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FakeCall:
    """One query about an image, or one request for the catalogue."""

    kind: str
    """`score`, `purify`, `gradient` or `list_metrics`."""
    metric: str = ""
    """The metric that was named."""
    chain: str = ""
    """The defences in their text form; empty = undefended."""
    seed: int = 0
    """The seed, drawn by the client if the caller gave none."""
    image: Floats | None = None
    """(height, width, 3) in [0, 1]; None if there was none, or it could not be read."""
    request_id: str = ""
    """The caller's name for the request."""


def brightness(image: Floats) -> float:
    """Compute 100 times the mean of all values: the default score, from 0 to 100, larger is better."""
    return _SCALE * float(image.mean(dtype=np.float64))


def brightness_gradient(image: Floats) -> Floats:
    """Compute the derivative of `brightness`."""
    return np.full(image.shape, _SCALE / image.size, np.float32)


class FakeService:
    """Answers of a server that does not exist; safe to use from several threads.

    Example:
        service = FakeService(metrics={"sharp": lambda image: float(image.std())})
        service.fail(UnavailableError("restarting"), calls=[2])
        with service.client() as client:
            assert client.score(image, metric="sharp").score == image.std()
        assert [call.metric for call in service.calls] == ["sharp"]
    """

    def __init__(
        self,
        *,
        metrics: Mapping[str, ScoreFunction] | None = None,
        defences: Mapping[str, ArrayFunction] | None = None,
        gradients: Mapping[str, ArrayFunction] | None = None,
        score_range: tuple[float, float] = (0.0, _SCALE),
        higher_is_better: bool = True,
    ) -> None:
        """Define what is deployed.

        Args:
            metrics: score functions by name; None = `bright`, which is `brightness`, with its gradient.
            defences: the defences that may run before every metric, by name; none of them takes parameters.
            gradients: derivatives of the metrics by the image, by the metric's name; defences count as the identity.
                A service without any answers like one whose operator has not enabled gradients.
            score_range: lowest and highest score, as the catalogue says.
            higher_is_better: the direction, as the catalogue says.

        Raises:
            ConfigurationError: a gradient is given for a missing metric.
        """
        self._metrics = {"bright": brightness} if metrics is None else dict(metrics)
        self._gradients = dict(gradients or ({"bright": brightness_gradient} if metrics is None else {}))
        if stray := sorted(self._gradients.keys() - self._metrics):
            raise ConfigurationError(f"a gradient is given for {stray[0]!r}, which is no metric of this service")
        self._defences = dict(defences or {})
        self._range, self._higher_is_better = score_range, higher_is_better
        self._lock = threading.Lock()
        self._calls: list[FakeCall] = []
        self._failures: dict[int, ServerError] = {}

    @property
    def calls(self) -> tuple[FakeCall, ...]:
        """The calls, in order: each item of a batch or stream separately, including failed attempts."""
        with self._lock:
            return tuple(self._calls)

    def fail(self, error: ServerError, *, calls: Sequence[int]) -> None:
        """Return an error instead of some answers.

        Args:
            error: the error that the client gets, with its `retry_after`, `field` and `metadata`; its `code` may be
                left out.
            calls: which calls, counted from 1 as `calls` lists them. The client retries UNAVAILABLE, and each attempt
                counts.

        Raises:
            ConfigurationError: a number is below 1.
        """
        if any(number < 1 for number in calls):
            raise ConfigurationError(f"calls are counted from 1, not {min(calls)}")
        error = copy.copy(error)
        error.code = error.code or code_of(error)
        with self._lock:
            self._failures.update(dict.fromkeys(calls, error))

    def client(self, config: ConnectionConfig = DEFAULT_CONFIG) -> ScoringClient:
        """Create a client of this service; any number of clients may share it."""
        return ScoringClient(config=config, transport=FakeTransport(self))

    def async_client(self, config: ConnectionConfig = DEFAULT_CONFIG) -> AsyncScoringClient:
        """Create an asyncio client of this service."""
        return AsyncScoringClient(config=config, transport=AsyncFakeTransport(self))

    def __deepcopy__(self, memo: object) -> FakeService:
        """Return the service itself: a copied client uses the same service, which records its calls."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Pickle functions, failures and calls; the copy records its own calls from then on."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def score(self, request: pb.ScoreDefendedRequest) -> pb.ScoreDefendedResponse:
        """Answer `ScoreDefended`; raises `ServerError`."""
        started, image = time.perf_counter(), self._enter("score", request)
        score = self._metric(request.metric)
        purified = self._purified(image, request.defences)
        response = pb.ScoreDefendedResponse(
            score=finite(score(purified), request.metric),
            provenance=provenance_of(request, image),
            request_id=request.request_id,
            higher_is_better=self._higher_is_better,
            attempts=1,
        )
        if request.HasField("smoothing"):
            raise UnsupportedError("the fake service does not smooth", code="UNIMPLEMENTED")
        if request.return_undefended_score:
            response.undefended_score = finite(score(image), request.metric)
        if request.return_purified_image:
            response.purified_image.tensor.CopyFrom(codec.to_tensor(purified))
        response.timings.add(stage="metric", milliseconds=(time.perf_counter() - started) * 1000)
        return response

    def score_item(self, request: pb.ScoreDefendedRequest) -> pb.ScoreDefendedResult:
        """Answer one item of a batch or stream; its error is part of the answer."""
        try:
            return pb.ScoreDefendedResult(response=self.score(request))
        except ServerError as error:
            return pb.ScoreDefendedResult(status=to_status(error))

    def purify(self, request: pb.PurifyRequest) -> pb.PurifyResponse:
        """Answer `Purify`; raises `ServerError`."""
        image = self._enter("purify", request)
        purified = self._purified(image, request.defences)
        return pb.PurifyResponse(
            purified_image=pb.Image(tensor=codec.to_tensor(purified)),
            provenance=provenance_of(request, image),
            request_id=request.request_id,
        )

    def gradient(self, request: pb.ScoreGradientRequest) -> pb.ScoreGradientResponse:
        """Answer `ScoreGradient`; raises `ServerError`."""
        image = self._enter("gradient", request)
        score = self._metric(request.metric)
        if request.metric not in self._gradients:
            purpose = "give gradients (give FakeService some)"
            raise UnsupportedError(unsupported(FakeTransport.TARGET, purpose), code="UNIMPLEMENTED")
        purified = self._purified(image, request.defences)
        derivative = np.asarray(self._gradients[request.metric](purified), np.float32)
        return pb.ScoreGradientResponse(
            score=finite(score(purified), request.metric),
            gradient=codec.to_tensor(derivative),
            provenance=provenance_of(request, image),
            request_id=request.request_id,
            attempts=1,
        )

    def catalogue(self, request: pb.ListMetricsRequest) -> pb.ListMetricsResponse:
        """Answer `ListMetrics`; raises `ServerError`."""
        self._record(FakeCall(kind="list_metrics"))
        metrics = deployed(self._metrics, self._defences, self._range, higher_is_better=self._higher_is_better)
        return pb.ListMetricsResponse(metrics=metrics, server_version=ENGINE, gradients=bool(self._gradients))

    def _enter(self, kind: str, request: Any) -> Floats:
        """Record the call, fail it if requested, and read its image."""
        try:
            image: Floats | None = values_of(request.image)
            problem = ""
        except ImageError as error:
            image, problem = None, str(error)
        steps = [Step.from_message(step) for step in request.defences]
        self._record(
            FakeCall(
                kind=kind,
                metric=request.metric,
                chain=format_chain(steps) if steps else "",
                seed=request.seed,
                image=image,
                request_id=request.request_id,
            )
        )
        if image is None:
            raise InvalidRequestError(problem, code="INVALID_ARGUMENT", field="image.encoded")
        return image

    def _record(self, call: FakeCall) -> None:
        with self._lock:
            self._calls.append(call)
            error = self._failures.get(len(self._calls))
        if error is not None:
            raise copy.copy(error)

    def _metric(self, name: str) -> ScoreFunction:
        return named("metric", name, self._metrics, "metric")

    def _purified(self, image: Floats, steps: Sequence[pb.DefenceStep]) -> Floats:
        for index, step in enumerate(steps):
            defence = named("defence", step.name, self._defences, f"defences[{index}].name")
            image = np.asarray(defence(image), np.float32)
        return image


def fake_client(
    score: ScoreFunction = brightness, *, config: ConnectionConfig = DEFAULT_CONFIG, metric: str = "bright"
) -> ScoringClient:
    """Create a client of a fake service with one metric, for tests that need only a score.

    Example:
        client = fake_client(lambda image: float(image.std()), metric="contrast")

    Args:
        score: the metric.
        config: as of any client.
        metric: its name.
    """
    return FakeService(metrics={metric: score}).client(config)
