"""A small real server for the client's tests: real gRPC, and a metric that can be worked out by hand.

`bright` is 100 times the mean of the image. `dim` multiplies an image by `factor`; `shift` adds a tenth of a
uniform number drawn from the seed.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from scoreguard.v1 import codec, manifest_pb2, scoring_pb2, scoring_pb2_grpc
from scoreguard.video import frames_of

DIM_DEFAULT = 0.5
READINESS = "scoreguard.v1.ScoringService"
"""The name whose health means `can score`; the empty name, which stays SERVING, means `alive`."""
Floats = npt.NDArray[np.float32]


class RefusalError(Exception):
    """A status that one item gets."""

    def __init__(self, code: int, message: str) -> None:
        self.status = status_pb2.Status(code=code, message=message)
        super().__init__(message)


def decode(image: scoring_pb2.Image) -> Floats:
    """The image's values in [0, 1]."""
    if image.WhichOneof("payload") == "tensor":
        values = codec.from_tensor(image.tensor)
        return values.astype(np.float32) / (np.float32(255) if values.dtype == np.uint8 else np.float32(1))
    try:
        with PIL.Image.open(io.BytesIO(image.encoded)) as opened:
            return np.asarray(opened.convert("RGB"), np.float32) / np.float32(255)
    except OSError:
        raise RefusalError(code_pb2.INVALID_ARGUMENT, "the image is not an image") from None


def purify(image: Floats, steps: Iterable[scoring_pb2.DefenceStep], seed: int) -> Floats:
    """Apply the chain."""
    for step in steps:
        if step.name == "dim":
            image = image * np.float32(step.parameters.get("factor", DIM_DEFAULT))
        elif step.name == "shift":
            image = image + np.float32(0.1 * np.random.default_rng(seed).random())
        else:
            raise RefusalError(code_pb2.NOT_FOUND, f"unknown defence {step.name!r}: deployed: dim, shift")
    return image


def provenance(request: Any, image: Floats) -> scoring_pb2.Provenance:
    """What a real server would report."""
    is_float = request.image.tensor.data_type == scoring_pb2.DATA_TYPE_FLOAT32
    return scoring_pb2.Provenance(
        metric_sha256="ab" * 32,
        steps=[scoring_pb2.StepProvenance(step=step, sha256="cd" * 32) for step in request.defences],
        engine="arithmetic 1.0",
        threads=1,
        seed=request.seed,
        precision=scoring_pb2.PRECISION_FLOAT32 if is_float else scoring_pb2.PRECISION_UINT8,
        decoder="" if request.image.WhichOneof("payload") == "tensor" else "Pillow",
        height=image.shape[0],
        width=image.shape[1],
    )


def score(request: scoring_pb2.ScoreDefendedRequest) -> scoring_pb2.ScoreDefendedResponse:
    """Answer one item."""
    if request.metric != "bright":
        raise RefusalError(code_pb2.NOT_FOUND, f"unknown metric {request.metric!r}: deployed: bright")
    image = decode(request.image)
    purified = purify(image, request.defences, request.seed)
    response = scoring_pb2.ScoreDefendedResponse(
        score=100 * float(purified.mean(dtype=np.float64)),
        timings=[scoring_pb2.StageTiming(stage="metric", milliseconds=0.25)],
        provenance=provenance(request, image),
        request_id=request.request_id,
        higher_is_better=True,
    )
    if request.return_undefended_score:
        response.undefended_score = 100 * float(image.mean(dtype=np.float64))
    if request.return_purified_image:
        response.purified_image.CopyFrom(purified_image(purified, request.purified_format))
    return response


def purified_image(purified: Floats, form: scoring_pb2.PurifiedFormat.ValueType) -> scoring_pb2.Image:
    """In the form that the request asks for."""
    if form != scoring_pb2.PURIFIED_FORMAT_PNG:
        return scoring_pb2.Image(tensor=codec.to_tensor(purified))
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.rint(purified * 255).astype(np.uint8)).save(buffer, "PNG")
    return scoring_pb2.Image(encoded=buffer.getvalue())


def result_of(request: scoring_pb2.ScoreDefendedRequest) -> scoring_pb2.ScoreDefendedResult:
    """Answer one item of many."""
    try:
        return scoring_pb2.ScoreDefendedResult(response=score(request))
    except RefusalError as refusal:
        return scoring_pb2.ScoreDefendedResult(status=refusal.status)


class Service(scoring_pb2_grpc.ScoringServiceServicer, scoring_pb2_grpc.GradientServiceServicer):
    """The servicer; a test may make it fail, wait, or look at what it was sent."""

    def __init__(self) -> None:
        self.failures: deque[status_pb2.Status] = deque()
        """Statuses that the next calls fail with, first come first served."""
        self.item_failures: deque[status_pb2.Status] = deque()
        """Statuses that the next items of batches and streams get, first come first served."""
        self.refuse: Callable[[Any], status_pb2.Status | None] = lambda request: None
        """A rule that picks requests to fail."""
        self.release = threading.Event()
        """Calls wait for it."""
        self.release.set()
        self.requests: list[Any] = []
        """Every unary request that arrived, failed ones included."""
        self.clips: list[scoring_pb2.ClipHeader] = []
        """The header of every clip."""
        self.metadata: list[dict[str, Any]] = []
        """The metadata of every call."""
        self.drift = 0.0
        """Added to a score for each unary request before it: a server that forgets how to score."""
        self.forget_last_result = False
        """Whether batches lack their last result and streams their last answer."""

    def _enter(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failures:
            context.abort_with_status(rpc_status.to_status(self.failures.popleft()))
        if (status := self.refuse(request)) is not None:
            context.abort_with_status(rpc_status.to_status(status))
        self.release.wait(20)

    def ScoreDefended(self, request: Any, context: Any) -> scoring_pb2.ScoreDefendedResponse:  # noqa: N802
        """One image."""
        self._enter(request, context)
        try:
            response = score(request)
            response.score += self.drift * len(self.requests)
            response.attempts = 1 + int(self.metadata[-1].get("grpc-previous-rpc-attempts", 0))
            return response
        except RefusalError as refusal:
            context.abort_with_status(rpc_status.to_status(refusal.status))
            raise

    def ScoreDefendedBatch(self, request: Any, context: Any) -> scoring_pb2.ScoreDefendedBatchResponse:  # noqa: N802
        """Many images."""
        self._enter(request, context)
        results = [self._result_of(item) for item in request.requests]
        return scoring_pb2.ScoreDefendedBatchResponse(results=results[: -1 if self.forget_last_result else None])

    def ScoreDefendedStream(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> Iterator[scoring_pb2.ScoreDefendedStreamResponse]:
        """A stream of images."""
        self._enter(None, context)
        for index, message in enumerate(request_iterator):
            if not (self.forget_last_result and index):
                yield scoring_pb2.ScoreDefendedStreamResponse(result=self._result_of(message.request))

    def _result_of(self, request: scoring_pb2.ScoreDefendedRequest) -> scoring_pb2.ScoreDefendedResult:
        if self.item_failures:
            return scoring_pb2.ScoreDefendedResult(status=self.item_failures.popleft())
        return result_of(request)

    def ScoreClip(self, request_iterator: Any, context: Any) -> scoring_pb2.ScoreClipResponse:  # noqa: N802
        """The mean of the frames."""
        head = next(request_iterator).header
        self.clips.append(head)
        messages = list(request_iterator)
        video = b"".join(message.video for message in messages)
        try:
            images = [decode(message.frame) for message in messages if message.WhichOneof("part") == "frame"]
            if video:
                decoded = frames_of(io.BytesIO(video), max_pixels=1 << 20)
                images = [np.asarray(frame, np.float32) / np.float32(255) for frame in decoded]
            step = max(head.sampling.every, 1)
            purified = [purify(image, head.defences, head.seed) for image in images[::step]]
        except RefusalError as error:
            context.abort_with_status(rpc_status.to_status(error.status))
        if not images:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the clip has no frame")
        scores = [100 * float(image.mean()) for image in purified]
        height, width = images[0].shape[:2]
        return scoring_pb2.ScoreClipResponse(
            score=float(np.mean(scores)),
            frame_scores=scores,
            frames=range(0, len(images), step),
            pooling=scoring_pb2.POOLING_MEAN,
            provenance=scoring_pb2.Provenance(seed=head.seed, height=height, width=width),
            draw=head.draw,
            request_id=head.request_id,
            higher_is_better=True,
        )

    def Purify(self, request: Any, context: Any) -> scoring_pb2.PurifyResponse:  # noqa: N802
        """The purified image."""
        self._enter(request, context)
        image = decode(request.image)
        purified = purify(image, request.defences, request.seed)
        return scoring_pb2.PurifyResponse(
            purified_image=purified_image(purified, request.purified_format), provenance=provenance(request, image)
        )

    def ListMetrics(self, request: Any, context: Any) -> scoring_pb2.ListMetricsResponse:  # noqa: N802
        """The catalogue."""
        self._enter(request, context)
        return catalogue()

    def ScoreGradient(self, request: Any, context: Any) -> scoring_pb2.ScoreGradientResponse:  # noqa: N802
        """The derivative of 100 times a mean, through `dim`."""
        self._enter(request, context)
        image = decode(request.image)
        slope = purify(np.ones_like(image), request.defences, 0) * np.float32(100 / image.size)
        purified = purify(image, request.defences, request.seed)
        return scoring_pb2.ScoreGradientResponse(
            score=100 * float(purified.mean(dtype=np.float64)),
            gradient=codec.to_tensor(slope),
            provenance=provenance(request, image),
        )


def catalogue() -> scoring_pb2.ListMetricsResponse:
    """What the server says it has."""
    factor = manifest_pb2.ParameterSpec(
        name="factor", description="Multiplier.", default_value=DIM_DEFAULT, minimum=0, maximum=1
    )
    level = manifest_pb2.ParameterSpec(
        name="level",
        description="Rows.",
        default_value=1,
        minimum=1,
        maximum=3,
        integer=True,
        structural_choices=[1, 3],
        at_most_side=True,
    )
    uniform = manifest_pb2.RandomInput(
        name="offset", distribution=manifest_pb2.DISTRIBUTION_UNIFORM, shape=manifest_pb2.RANDOM_SHAPE_ITEM
    )
    facts = manifest_pb2.MetricFacts(
        name="bright",
        title="Mean brightness",
        paper="none",
        year=2024,
        range_high=100,
        higher_is_better=True,
        input_rule="native size",
        minimum_size=1,
        weights_licence="none",
    )
    dim = manifest_pb2.DefenceFacts(
        name="dim",
        title="Dimming",
        parameters=[factor, level],
        differentiability=manifest_pb2.DIFFERENTIABILITY_EXACT,
        size_preserving=True,
        minimum_size=1,
    )
    shift = manifest_pb2.DefenceFacts(name="shift", title="Shift", random_inputs=[uniform], size_preserving=True)
    metric = scoring_pb2.DeployedMetric(
        facts=facts,
        defences=[dim, shift],
        archive_sha256="ef" * 32,
        files=[manifest_pb2.FileEntry(path="bright.onnx", sha256="01" * 32, size_bytes=12)],
    )
    return scoring_pb2.ListMetricsResponse(metrics=[metric], server_version="9.8.7", gradients=True)


class Running:
    """A server on a free port."""

    def __init__(
        self, *, gradients: bool = True, credentials: grpc.ServerCredentials | None = None, port: int = 0
    ) -> None:
        self.service = Service()
        self.health = health.HealthServicer()
        self.set_serving(True)
        self.server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 << 20)])
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server(self.service, self.server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        if gradients:
            scoring_pb2_grpc.add_GradientServiceServicer_to_server(self.service, self.server)
        if credentials is None:
            port = self.server.add_insecure_port(f"localhost:{port}")
        else:
            port = self.server.add_secure_port(f"localhost:{port}", credentials)
        self.target = f"localhost:{port}"
        self.server.start()

    def set_serving(self, serving: bool) -> None:
        """Change the health status."""
        status = health_pb2.HealthCheckResponse
        self.health.set(READINESS, status.SERVING if serving else status.NOT_SERVING)

    def stop(self) -> None:
        """End every call and free the port."""
        self.service.release.set()
        self.server.stop(0).wait()


@pytest.fixture
def running() -> Iterator[Running]:
    """A server that serves everything."""
    server = Running()
    yield server
    server.stop()


@pytest.fixture
def running_without_gradients() -> Iterator[Running]:
    """A server whose operator did not turn gradients on."""
    server = Running(gradients=False)
    yield server
    server.stop()


@pytest.fixture
def start_server() -> Iterator[Any]:
    """A function that starts further servers, for example with TLS."""
    servers: list[Running] = []

    def start(**options: Any) -> Running:
        servers.append(Running(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
