"""How a score was computed, as the client shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scoreguard.v1 import scoring_pb2
from scoreguard_client import Computation
from scoreguard_client._responses import to_score

PLAIN = Computation(device="cpu", deterministic=True, tf32=False, precision="fp32", batch=1)


def answer(computation: Computation | None) -> scoring_pb2.ScoreDefendedResponse:
    """An answer of a server, of an earlier version if there is no computation."""
    response = scoring_pb2.ScoreDefendedResponse(score=1, provenance=scoring_pb2.Provenance(engine="e 1"))
    if computation is not None:
        response.provenance.computation.CopyFrom(scoring_pb2.Computation(**vars(computation)))
    return response


@pytest.mark.parametrize(
    ("computation", "text"),
    [
        (None, "e 1"),
        (PLAIN, "e 1"),
        (replace(PLAIN, device="cuda:0", batch=16), "e 1 (cuda:0, deterministic, fp32)"),
        (replace(PLAIN, precision="fp16"), "e 1 (cpu, deterministic, fp16)"),
        (
            replace(PLAIN, device="cuda:1", deterministic=False, tf32=True),
            "e 1 (cuda:1, not deterministic, fp32, TF32)",
        ),
    ],
)
def test_a_record_names_what_changes_the_last_bits(computation: Computation | None, text: str) -> None:
    """The CPU in single precision always gives the same, so it is not named."""
    provenance = to_score(answer(computation)).provenance
    assert provenance.computation == computation
    assert provenance.engine_and_computation == text
