"""Score the images of a page on a live server again, and compare with what its records say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client._client import ScoringClient
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.proof.errors import PageError
from scoreguard_client.report.proof.shown import PageImage

TOLERANCE: Final = 0.002
"""Share of the declared range by which scores may differ between processors: as much as an export allows for it."""
_ATTACKED: Final = "attacked"


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """One image behind one chain."""

    metric: str
    """The metric."""
    image: str
    """Name of the image."""
    attack: str
    """The attack in its text form."""
    chain: str
    """The chain before the metric."""
    recorded: float
    """What the page's record says of the image in 8 bits."""
    live: float
    """What the server says now."""
    tolerance: float
    """By how much the two may differ."""

    @property
    def agrees(self) -> bool:
        """Whether they are equal up to the tolerance."""
        return abs(self.live - self.recorded) <= self.tolerance

    def __str__(self) -> str:
        """Return one line."""
        where = f"{self.metric}, {self.image}, {self.attack} behind {self.chain}"
        return f"{where}: recorded {self.recorded:.6g}, scored {self.live:.6g}, tolerance {self.tolerance:.2g}"


def rescored(
    images: Sequence[PageImage], reports: Sequence[Report], client: ScoringClient, limit: int
) -> Iterator[Rescored]:
    """Score attacked images again, behind every chain that their records are of.

    Args:
        images: those of the page.
        reports: what its records give.
        client: of the server.
        limit: most images to score.

    Raises:
        PageError: the page has no attacked image of its own size, or none that a record is of.
        ScoreguardError: the server does not answer, or has no such metric or chain.
    """
    attacked = [image for image in images if image.kind == _ATTACKED]
    if not attacked:
        raise PageError("the page has no attacked image that can be scored again: none is lossless and of its own size")
    by_metric = {report.metric.name: report for report in reports}
    for image in attacked[:limit]:
        report = by_metric.get(image.metric)
        records = _records(image, report) if report else []
        if report is None or not records:
            raise PageError(f"the page has no record of {image.attack} on {image.image} under {image.metric}")
        for record in records:
            yield _again(image, record, report, client)


def _records(image: PageImage, report: Report) -> list[Record]:
    wanted = (image.image, image.attack, image.chain or UNDEFENDED)
    return [
        record
        for record in report.records
        if not record.error and (record.image, record.attack, record.attacked_through) == wanted
    ]


def _again(image: PageImage, record: Record, report: Report, client: ScoringClient) -> Rescored:
    answer = client.score(
        image.png,
        metric=record.metric,
        defences="" if record.chain == UNDEFENDED else record.chain,
        seed=report.plan.seed_of(record.key),
    )
    recorded = record.attacked_defended_8bit
    return Rescored(
        metric=record.metric,
        image=record.image,
        attack=record.attack,
        chain=record.chain,
        recorded=math.nan if recorded is None else recorded,
        live=answer.score,
        tolerance=TOLERANCE * report.declared.width,
    )
