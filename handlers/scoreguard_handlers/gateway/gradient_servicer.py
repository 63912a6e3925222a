"""GradientService: white-box access, registered only if the operator enabled it."""

from __future__ import annotations

from scoreguard.v1.scoring_pb2 import ScoreGradientRequest, ScoreGradientResponse
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.gateway.answers import Answers
from scoreguard_handlers.gateway.calls import Caller, Context, answer
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.received import Received


class GradientServicer:
    """Answers the calls of one server."""

    def __init__(self, router: RequestRouter, telemetry: Telemetry, config: ServeConfig) -> None:
        self._telemetry, self._answers = telemetry, Answers(router, config)

    async def ScoreGradient(  # noqa: N802
        self, request: Received[ScoreGradientRequest], context: Context
    ) -> ScoreGradientResponse:
        """Return the score and its derivative with respect to the image."""
        caller = Caller.of(context)
        work = self._answers.gradient(request, caller)
        return await answer(self._telemetry, "ScoreGradient", context, caller, request.head, work)
