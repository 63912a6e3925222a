"""GradientService: white-box access, registered only where the operator turned it on."""

from __future__ import annotations

from scoreguard.v1.scoring_pb2 import ScoreGradientRequest, ScoreGradientResponse
from scoreguard.v1.scoring_pb2_grpc import GradientServiceServicer
from scoreguard_handlers.gateway.calls import Caller, Context, answer
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.servicer import succeeded
from scoreguard_handlers.gateway.telemetry import Telemetry


class GradientServicer(GradientServiceServicer):
    """Answers the calls of one server."""

    def __init__(self, router: RequestRouter, telemetry: Telemetry) -> None:
        self._router, self._telemetry = router, telemetry

    async def ScoreGradient(self, request: ScoreGradientRequest, context: Context) -> ScoreGradientResponse:  # noqa: N802
        """The score and its derivative with respect to the picture."""
        caller = Caller.of(context)
        work = self._gradient(request, caller)
        return await answer(self._telemetry, "ScoreGradient", context, caller, request, work)

    async def _gradient(self, request: ScoreGradientRequest, caller: Caller) -> ScoreGradientResponse:
        result = await self._router.submit(request, caller.seconds_left, caller=caller.name)
        response = succeeded(result).gradient
        response.attempts = caller.attempts
        return response
