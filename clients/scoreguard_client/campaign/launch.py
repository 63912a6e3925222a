"""Run or resume a campaign from its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from scoreguard_client._client import ScoringClient
from scoreguard_client.campaign.extension import Base
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.helpers import helped
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.options import CampaignOptions, RunnerKind
from scoreguard_client.campaign.planning import Prepared, prepare
from scoreguard_client.campaign.pools import check_pool, pool_for
from scoreguard_client.campaign.runner import Runner, Summary
from scoreguard_client.progress import Progress
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.people import KEY


def base_of(options: CampaignOptions) -> Base | None:
    """Return the run that options extend; None if they extend none.

    Raises:
        RunError: there is no run to extend, or it cannot be read.
    """
    if not options.extend:
        return None
    with Ledger.open(options.out) as ledger:
        return Base(run=options.out, plan=ledger.plan, facts=ledger.facts)


def opened(prepared: Prepared) -> Ledger:
    """Open the run of a plan, creating or extending it.

    Raises:
        PlanMismatchError: the run belongs to another plan.
        PlanError: it has other scores by people.
        RunError: it cannot be written.
    """
    out = prepared.options.out
    if prepared.base is not None:
        with Ledger.open(out) as ledger:
            ledger.extend(prepared.base.plan, prepared.plan, prepared.facts)
    ledger = Ledger.create(out, prepared.plan, prepared.facts)
    said = prepared.facts.get(KEY)
    if said is not None and ledger.facts.get(KEY) != said:
        ledger.close()
        raise PlanError(
            f"{out} has other scores by people, or none: give --extend to add some, or choose another --out"
        )
    return ledger


def launch(
    options: CampaignOptions,
    client: ScoringClient,
    progress_for: Callable[[Runner], Progress],
    others: Sequence[ScoringClient] = (),
) -> Summary:
    """Run or resume a campaign.

    Args:
        options: what to do.
        client: the connection to the target.
        progress_for: called once the plan is fixed; returns the progress callback.
        others: connections to further servers with the same archives, for Ray.

    Raises:
        PlanError: the options do not fit together, or do not fit the deployment.
        PlanMismatchError: the run directory belongs to another plan.
        ServerError: the server is unreachable, or refuses this caller; finished work is kept.
        ContractError: a chain cannot be read, or the surrogate or the device cannot be used.
    """
    prepared = prepare(options, client, base_of(options))
    check_pool(prepared, others)
    with opened(prepared) as ledger:
        gallery = Gallery(options.out, ledger.facts["shown"], options.keep_all, options.keep_attacked)
        with pool_for(prepared, gallery, others) as pool, helped(partial(_join, options, client), _helpers(options)):
            runner = Runner(
                plan=prepared.plan,
                ledger=ledger,
                gallery=gallery,
                pool=pool,
                computation=prepared.computation,
                left_out=prepared.left_out,
            )
            return runner.run(progress_for(runner))


def _helpers(options: CampaignOptions) -> int:
    return (options.workers or 1) - 1 if options.runner is RunnerKind.LOCAL else 0


def _join(options: CampaignOptions, client: ScoringClient, progress: Progress) -> None:
    """Take part in a campaign that another process of this machine has begun."""
    launch(replace(options, workers=None), client, lambda runner: progress)
