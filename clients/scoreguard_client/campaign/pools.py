"""The pool that a campaign's options ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from scoreguard_client._client import ScoringClient
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.options import RunnerKind
from scoreguard_client.campaign.planning import Prepared
from scoreguard_client.campaign.ray_pool import RayPool, check_ray, connected
from scoreguard_client.campaign.services import NoCache
from scoreguard_client.campaign.tasks import Pool, ThisProcess
from scoreguard_client.target.errors import PlanError


def check_pool(prepared: Prepared, others: Sequence[ScoringClient]) -> None:
    """Check that a plan can run where its options say.

    Raises:
        PlanError: options of Ray were given without it, or local gradients on another device with it, or another
            server has other archives, or nothing answers at the address of Ray.
        MissingExtraError: Ray is asked for and not installed.
        ServerError: another server is unreachable.
    """
    options = prepared.options
    if options.runner is not RunnerKind.RAY:
        if options.address or others:
            raise PlanError("--address and --also are for --runner ray")
        return
    if not prepared.computation.device.is_cpu:
        raise PlanError("--runner ray computes local gradients on processors only: leave out --device, or --runner ray")
    check_ray(options.address)
    for client in others:
        catalogue = client.list_metrics()
        for metric in prepared.plan.metrics:
            if catalogue.metric(metric.name).archive_sha256 != metric.archive_sha256:
                raise PlanError(f"--also {client.target} serves another archive of {metric.name} than the first server")


@contextmanager
def pool_for(prepared: Prepared, gallery: Gallery, others: Sequence[ScoringClient]) -> Iterator[Pool]:
    """Return what executes a plan while the block runs.

    Args:
        prepared: the plan, and what its options say.
        gallery: the images of the run.
        others: further servers with the same archives.

    Raises:
        PlanError: Ray cannot be started, or there is none at the address.
    """
    options = prepared.options
    if options.runner is not RunnerKind.RAY:
        yield ThisProcess(prepared.services(gallery))
        return
    with connected(options.address, options.workers):
        servers = (prepared, *(replace(prepared, client=client) for client in others))
        yield RayPool(
            services=[server.services(NoCache()) for server in servers],
            workers=options.workers,
            keep=gallery.save if gallery.keep_all else None,
        )
