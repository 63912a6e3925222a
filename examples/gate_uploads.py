"""Accept or reject uploads by their defended score: `python gate_uploads.py --metric lite --least 60 upload.jpg …`.

A gate gives people a motive to raise the score without raising the quality. So it uses the score *behind* the chain,
and it never treats a failure as a pass.
"""

from __future__ import annotations

import argparse
import json
import sys
from enum import StrEnum

from scoreguard_client import (
    ImageError,
    InvalidRequestError,
    MetricDescription,
    Outcome,
    ScoreguardError,
    ScoringClient,
)


class Verdict(StrEnum):
    """Decision on an upload."""

    PASS = "pass"
    """Good enough."""
    REJECT = "reject"
    """Scored and not good enough, or a file that is not an image."""
    HOLD = "hold"
    """Not scored, through no fault of the uploader: try again, or have a person look."""


def verdict_of(outcome: Outcome, least: float, metric: MetricDescription) -> Verdict:
    """Judge one upload; `least` is in the metric's units, and for some metrics lower is better."""
    if isinstance(outcome, (ImageError, InvalidRequestError)):
        return Verdict.REJECT
    if isinstance(outcome, ScoreguardError):
        return Verdict.HOLD
    good = outcome.score >= least if metric.higher_is_better else outcome.score <= least
    return Verdict.PASS if good else Verdict.REJECT


def main() -> int:
    """Print one JSON object for each upload; return 0 if all pass, 1 if not, 2 if the service could not be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uploads", nargs="+", help="image files")
    parser.add_argument("--target", default="localhost:50051", help="host:port of the service")
    parser.add_argument("--metric", required=True, help="name of a deployed metric")
    parser.add_argument("--chain", default="blur:sigma=1.5+jpeg:quality=75", help="what purifies an upload")
    parser.add_argument("--least", type=float, required=True, help="worst score that passes, in the metric's units")
    options = parser.parse_args()
    verdicts = []
    try:
        with ScoringClient(options.target) as client:
            metric = client.list_metrics().metric(options.metric)
            # No seed is given: the client draws a fresh one for each call, which an uploader cannot foresee.
            outcomes = client.score_batch(options.uploads, metric=metric.name, defences=options.chain)
    except ScoreguardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for upload, outcome in zip(options.uploads, outcomes, strict=True):
        verdicts.append(verdict_of(outcome, options.least, metric))
        said = {"error": str(outcome)} if isinstance(outcome, ScoreguardError) else {"score": outcome.score}
        print(json.dumps({"upload": upload, "verdict": verdicts[-1], **said}))
    return 0 if all(verdict is Verdict.PASS for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
