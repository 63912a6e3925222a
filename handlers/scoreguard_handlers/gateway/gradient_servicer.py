"""GradientService: white-box access, registered only where the operator turned it on."""

from __future__ import annotations

from scoreguard.v1.scoring_pb2 import ScoreGradientRequest, ScoreGradientResponse
from scoreguard.v1.scoring_pb2_grpc import GradientServiceServicer
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.gateway.answers import Answers
from scoreguard_handlers.gateway.calls import Caller, Context, answer
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry


class GradientServicer(GradientServiceServicer):
    """Answers the calls of one server."""

    def __init__(self, router: RequestRouter, telemetry: Telemetry, config: ServeConfig) -> None:
        self._telemetry, self._answers = telemetry, Answers(router, config)

    async def ScoreGradient(self, request: ScoreGradientRequest, context: Context) -> ScoreGradientResponse:  # noqa: N802
        """The score and its derivative with respect to the picture."""
        caller = Caller.of(context)
        work = self._answers.gradient(request, caller)
        return await answer(self._telemetry, "ScoreGradient", context, caller, request, work)
