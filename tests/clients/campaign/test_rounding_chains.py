"""Which chains of a run have gradients that are not exact: the report warns of them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.clients.campaign.conftest import Launch

from scoreguard.v1 import manifest_pb2, scoring_pb2
from scoreguard_client._responses import to_catalogue
from scoreguard_client.campaign import CampaignOptions, Ledger
from scoreguard_client.campaign.facts import rounds


@pytest.mark.parametrize(
    ("chain", "rounding"),
    [("none", False), ("blur", False), ("jpeg", True), ("blur+jpeg", True), ("odd+blur", False), ("model", True)],
)
def test_a_chain_rounds_where_one_of_its_steps_does(chain: str, rounding: bool) -> None:
    """Straight-through and BPDA steps do; a step of which the server says nothing is not accused."""
    kinds = {
        "blur": manifest_pb2.DIFFERENTIABILITY_EXACT,
        "jpeg": manifest_pb2.DIFFERENTIABILITY_STRAIGHT_THROUGH,
        "model": manifest_pb2.DIFFERENTIABILITY_BPDA_IDENTITY,
        "odd": manifest_pb2.DIFFERENTIABILITY_UNSPECIFIED,
    }
    defences = [manifest_pb2.DefenceFacts(name=name, differentiability=kind) for name, kind in kinds.items()]
    metric = scoring_pb2.DeployedMetric(facts=manifest_pb2.MetricFacts(name="bright"), defences=defences)
    (described,) = to_catalogue(scoring_pb2.ListMetricsResponse(metrics=[metric])).metrics
    assert rounds(chain, described) == rounding


def test_a_run_keeps_which_of_its_chains_round(run_campaign: Launch, options: CampaignOptions, running: Any) -> None:
    """None of the chains of this server does."""
    run_campaign(attacks="fgsm", limit=1)
    with Ledger.open(options.out) as ledger:
        assert ledger.facts["metrics"]["bright"]["rounding"] == []
