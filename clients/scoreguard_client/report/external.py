"""What challenges added to a run, as a report counts it: like its own records, if they are within their budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.attacks.external import External
from scoreguard_client.campaign.external import ExternalRecord, external_of
from scoreguard_client.campaign.records import Record


def counted(records: Iterable[ExternalRecord]) -> list[Record]:
    """Return the records within their budget."""
    return [record.plain for record in records if record.within_budget]


def external_attacks(records: Iterable[Record]) -> list[str]:
    """Return the attacks of a run's records that were made elsewhere, in the order of first appearance."""
    attacks = dict.fromkeys(record.attack for record in records)
    return [attack for attack in attacks if kind_of(attack) is External]


def over_budget_cautions(records: Sequence[ExternalRecord], metric: str) -> list[str]:
    """Say which challenges have images outside their budget, one sentence each."""
    images: dict[str, set[str]] = {}
    outside: dict[str, set[str]] = {}
    for record in records:
        if record.metric == metric:
            images.setdefault(record.attack, set()).add(record.image)
            if not record.within_budget:
                outside.setdefault(record.attack, set()).add(record.image)
    return [
        f"{external_of(attack).by} (external): {len(found)} of {len(images[attack])} images are outside the budget, "
        "and in no number."
        for attack, found in outside.items()
    ]
