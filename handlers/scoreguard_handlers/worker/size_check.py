"""Size checks of a chain's stages as request errors, which name the stage and the request field to change."""

from __future__ import annotations

from collections.abc import Sequence

from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.size_limits import check_fits, check_readable
from scoreguard.v1.errors import ParameterError, TooSmallError
from scoreguard.v1.manifest_pb2 import MetricFacts
from scoreguard_handlers.errors import InvalidRequestError

METRIC_STAGE = "metric"


def check_step(step: ResolvedStep, size: Sequence[int], index: int) -> None:
    """Refuse what a step cannot purify; `size` is height and width there, `index` the step's in its chain, from 0.

    Raises:
        InvalidRequestError: the image is too small, or a length among the parameters is too large for it.
    """
    metadata = {"stage": str(step.step)}
    try:
        check_fits(step, size, index)
    except ParameterError as error:
        field = f"defences[{index}].parameters.{error.parameter}"
        raise InvalidRequestError(str(error), field=field, metadata=metadata) from error
    except TooSmallError as error:
        raise InvalidRequestError(str(error), field="image", metadata=metadata) from error


def check_metric(metric: MetricFacts, size: Sequence[int]) -> None:
    """Refuse what a metric cannot score; `size` is height and width at that point.

    Raises:
        InvalidRequestError: the image is too small.
    """
    try:
        check_readable(metric, size)
    except TooSmallError as error:
        raise InvalidRequestError(str(error), field="image", metadata={"stage": METRIC_STAGE}) from error
