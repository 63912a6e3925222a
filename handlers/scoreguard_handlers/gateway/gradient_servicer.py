"""GradientService: white-box access, registered only where the operator turned it on."""

from __future__ import annotations

from scoreguard.v1.scoring_pb2 import ScoreGradientRequest, ScoreGradientResponse
from scoreguard_handlers.gateway.calls import Caller, Context, answer
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.servicer import succeeded
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.received import Received


class GradientServicer:
    """Answers the calls of one server."""

    def __init__(self, router: RequestRouter, telemetry: Telemetry) -> None:
        self._router, self._telemetry = router, telemetry

    async def ScoreGradient(  # noqa: N802
        self, request: Received[ScoreGradientRequest], context: Context
    ) -> ScoreGradientResponse:
        """The score and its derivative with respect to the picture."""
        caller = Caller.of(context)
        work = self._gradient(request, caller)
        return await answer(self._telemetry, "ScoreGradient", context, caller, request.head, work)

    async def _gradient(self, request: Received[ScoreGradientRequest], caller: Caller) -> ScoreGradientResponse:
        seconds, name, attempts = caller.seconds_left, caller.name, caller.attempts
        return succeeded(await self._router.route(request, seconds, caller=name, attempts=attempts)).gradient
