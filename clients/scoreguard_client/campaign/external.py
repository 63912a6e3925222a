"""Records of images that were made elsewhere: in a table of their own, outside the plan.

The plan and its digest stay what they are, so that a run with such records is resumed, extended and merged like any
other, and a version that does not know the table reads everything else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Final

from scoreguard_client.attacks.base import OUT_OF_RANGE
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.attacks.external import OVER_BUDGET, External
from scoreguard_client.campaign.records import Record, RecordKey
from scoreguard_client.campaign.tables import Table

_UNRELIABLE: Final = frozenset({OUT_OF_RANGE, OVER_BUDGET})


@dataclass(frozen=True, kw_only=True)
class ExternalRecord(Record):
    """An image made elsewhere behind a chain."""

    submitted_sha256: str = ""
    """Digest of the file that was submitted; `image_sha256` is that of the clean image's."""

    @property
    def plain(self) -> Record:
        """The same as a record like any other."""
        return Record(**{field.name: getattr(self, field.name) for field in fields(Record)})

    @property
    def within_budget(self) -> bool:
        """Whether the image is inside the budget."""
        return OVER_BUDGET not in flags_of(self)


EXTERNAL: Final = Table("external", ExternalRecord, RecordKey._fields)


def external_of(attack: str) -> External:
    """Read who made the images, and the budget, from the attack of an external record."""
    found = parse_attack(attack)
    if not isinstance(found, External):
        raise TypeError(f"{attack} is no external attack")
    return found


def is_reliable(record: Record) -> bool:
    """Whether a record counts for the best known attack: sound, within its budget, the score within its range."""
    return not record.error and _UNRELIABLE.isdisjoint(flags_of(record))


def flags_of(record: Record) -> Collection[str]:
    """Return the flags of a record."""
    return record.flags.split(",") if record.flags else ()
