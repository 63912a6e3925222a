"""Run or resume a campaign from its options."""

from __future__ import annotations

from collections.abc import Callable

from scoreguard_client._client import ScoringClient
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.options import CampaignOptions
from scoreguard_client.campaign.planning import prepare
from scoreguard_client.campaign.runner import Runner, Summary
from scoreguard_client.progress import Progress


def launch(options: CampaignOptions, client: ScoringClient, progress_for: Callable[[Runner], Progress]) -> Summary:
    """Run or resume a campaign.

    Args:
        options: what to do.
        client: the connection to the target.
        progress_for: called once the plan is fixed; returns the progress callback.

    Raises:
        PlanError: the options do not fit together, or do not fit the deployment.
        PlanMismatchError: the run directory belongs to another plan.
        ServerError: the server is unreachable, or refuses this caller; finished work is kept.
        ContractError: a chain cannot be read, or the surrogate or the device cannot be used.
    """
    prepared = prepare(options, client)
    with Ledger.create(options.out, prepared.plan, prepared.facts) as ledger:
        gallery = Gallery(options.out, prepared.facts["shown"], options.keep_all)
        runner = Runner(
            plan=prepared.plan,
            ledger=ledger,
            gallery=gallery,
            services=prepared.services(gallery),
            computation=prepared.computation,
            left_out=prepared.left_out,
        )
        return runner.run(progress_for(runner))
