"""Run a plan: score the clean images, then for each unit craft, score behind every chain, and record.

A unit's records are written in one transaction. Recorded work is never repeated; a killed run resumes when it is
started again. Failed records carry their cause and are retried on the next start.

If the server becomes unreachable, the run waits, and repeats the interrupted work once it is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client._models import MetricDescription
from scoreguard_client.campaign.clean_scores import CleanScorer
from scoreguard_client.campaign.endpoint import Endpoint, Patience
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.perceptual import PerceptualDistance
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey
from scoreguard_client.campaign.scoring import CleanTable, Scorer
from scoreguard_client.campaign.store import Store
from scoreguard_client.campaign.unit_runner import UnitRunner
from scoreguard_client.oracles.live import is_random
from scoreguard_client.progress import Progress
from scoreguard_client.target.crafting import Crafter
from scoreguard_client.target.images import LeftOut

PATIENCE_SECONDS: Final = 120.0
"""How long to wait for an unreachable server."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Outcome of a run."""

    records: int
    """Records that exist and did not fail."""
    failed: int
    """Records that failed."""
    first_error: str
    """Cause of the first failed record; empty if none failed."""
    retryable: int = 0
    """Failed records that may succeed when the command is rerun."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that could not be planned."""


def draws_by_chain(plan: Plan, metric: MetricDescription) -> dict[str, int]:
    """Return the draws of each chain of a plan: one for deterministic chains; `none` is always included."""
    chains = dict.fromkeys([UNDEFENDED, *plan.chains])
    return {chain: plan.draws if is_random(metric, parse_chain(chain)) else 1 for chain in chains}


def expected_records(plan: Plan, draws: Mapping[str, int]) -> int:
    """Count the records of a finished run."""
    per_image = {unit: sum(draws[chain] for chain in plan.scored_behind(unit)) for unit in plan.units()}
    return sum(len(unit.images) * count for unit, count in per_image.items())


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs one plan into one store."""

    plan: Plan
    """The plan to run."""
    store: Store
    """Destination of the records."""
    gallery: Gallery
    """Destination of the images."""
    endpoint: Endpoint
    """The endpoint that scores."""
    crafter: Crafter
    """Runs the attacks."""
    folder: Path
    """Folder of the clean images."""
    draws: Mapping[str, int]
    """Draws by chain, including `none`."""
    patience: float = PATIENCE_SECONDS
    """Seconds to wait for an unreachable server."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that could not be planned."""
    distance: PerceptualDistance | None = None
    """The perceptual distance to measure."""

    @property
    def steps(self) -> int:
        """Count the steps of the whole plan, for a progress bar: clean scores and records."""
        return len(self.plan.images) * sum(self.draws.values()) + expected_records(self.plan, self.draws)

    def run(self, progress: Progress) -> Summary:
        """Do all remaining work.

        Raises:
            ServerGoneError: the server stayed unreachable, or came back with another archive; finished work is kept.
            ServerError: the server refuses this caller.
        """
        patience = Patience(endpoint=self.endpoint, seconds=self.patience, archive_sha256=self.plan.archive_sha256)
        scorer = Scorer(
            plan=self.plan,
            endpoint=self.endpoint,
            gallery=self.gallery,
            draws=self.draws,
            clean=self._clean_scores(patience, progress),
            distance=self.distance,
        )
        units = UnitRunner(
            store=self.store,
            gallery=self.gallery,
            crafter=self.crafter,
            scorer=scorer,
            patience=patience,
            folder=self.folder,
            done=self.store.done(),
            progress=progress,
        )
        for unit in self.plan.units():
            units.run(unit)
            self.store.note_unrepeatable(self.crafter.unrepeatable)
        return self._summary()

    def _clean_scores(self, patience: Patience, progress: Progress) -> CleanTable:
        scorer = CleanScorer(
            plan=self.plan, endpoint=self.endpoint, patience=patience, gallery=self.gallery, folder=self.folder
        )
        known = {score.key: score for score in self.store.clean() if not score.error}
        progress(len(known), "clean images")
        for image in self.plan.images:
            keys = (CleanKey(image.name, chain, draw) for chain, count in self.draws.items() for draw in range(count))
            missing = [key for key in keys if key not in known]
            if missing:
                scores = scorer.scores(image, missing)
                self.store.add_clean(scores)
                known |= {score.key: score for score in scores}
                progress(len(missing), f"clean {image.name}")
        return known

    def _summary(self) -> Summary:
        failed = [record for record in self.store.records() if record.error]
        return Summary(
            records=len(self.store.done()),
            failed=len(failed),
            first_error=failed[0].error if failed else "",
            retryable=sum(record.retryable for record in failed),
            left_out=self.left_out,
        )
