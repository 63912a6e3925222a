"""The bounds that a report scales scores by, and where they are from."""

from __future__ import annotations

from typing import Final

from scoreguard.calibration import Bounds, Calibration, studied, study_bounds
from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.errors import RunError
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.transforms import Transform
from scoreguard_client.scores.scaling import Scaling

_SELECTION: Final = "clean scores of the selection"


def bounds_for(
    metric: str,
    declared: ScoreRange,
    options: TableOptions,
    deployed: Bounds | None = None,
    transform: Transform | None = None,
) -> Bounds:
    """Return the bounds of a table; for CLEAN_SELECTION, whose bounds differ by row, the declared ones.

    CALIBRATED takes the first that there is of the file, the deployed archive's, and the study's.

    Args:
        metric: Name of the metric.
        declared: Its declared range.
        options: Which bounds are asked for.
        deployed: Those of the calibration in the deployed archive; None if it has none.
        transform: A map that is applied to the scores first; its range takes the place of the declared one.

    Raises:
        RunError: the study has none for the metric, or the calibration is unreadable or another metric's, or there is
            neither one nor a study's, or a transform leaves no use for them.
    """
    if transform is not None:
        if options.scaling not in (Scaling.DECLARED_RANGE, Scaling.CLEAN_SELECTION) or options.calibration is not None:
            raise RunError(
                "a domain transform brings the bounds of its reference: scale by 'declared_range' or 'clean_selection'"
            )
        own = f"range of {transform.reference_name}"
        source = own if options.scaling is Scaling.DECLARED_RANGE else _SELECTION
        return Bounds(low=transform.range.low, high=transform.range.high, source=source)
    if options.scaling is Scaling.CALIBRATED:
        return _calibrated(metric, options, deployed)
    if options.calibration is not None:
        raise RunError("a calibration needs the scaling 'calibrated'")
    if options.scaling is Scaling.STUDY_BOUNDS:
        bounds = study_bounds(metric)
        if bounds is None:
            raise RunError(f"the study has no bounds of {metric}, only of {', '.join(studied())}: calibrate it")
        return bounds
    source = "declared" if options.scaling is Scaling.DECLARED_RANGE else _SELECTION
    return Bounds(low=declared.low, high=declared.high, source=source)


def _calibrated(metric: str, options: TableOptions, deployed: Bounds | None) -> Bounds:
    if options.calibration is None:
        if (found := deployed or study_bounds(metric)) is not None:
            return found
        raise RunError(
            "the scaling 'calibrated' needs --calibration FILE, which scoreguard-export calibrate writes, or an "
            f"archive that was built with it; no study has bounds of {metric} to fall back on"
        )
    try:
        calibration = Calibration.read(options.calibration)
    except ValueError as error:
        raise RunError(str(error)) from error
    if calibration.metric != metric:
        raise RunError(f"{options.calibration} is a calibration of {calibration.metric}, not of {metric}")
    return calibration.bounds
