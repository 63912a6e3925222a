"""What a page embeds so that it can be recomputed: the records of a run and all else that its tables depend on.

    base64(gzip(two lines))     {"layout": ..., "sha256": of the second line}     {"plan": ..., "metrics": [...], ...}

Equal reports give equal text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.report.build import Report, is_degradation
from scoreguard_client.report.proof.constants import CONSTANTS, WORDS
from scoreguard_client.report.proof.encoding import encoded
from scoreguard_client.report.proof.maps import written_map
from scoreguard_client.report.tables import Table, tables_of
from scoreguard_client.target.images import unit_of

LAYOUT: Final = 1
"""Version of what is embedded."""


def payload(reports: Sequence[Report], tables: Sequence[Table] | None = None) -> str:
    """Return the text to embed.

    Args:
        reports: those of a run's metrics, at least one.
        tables: their tables, if they are known already.
    """
    content = json.dumps(_content(reports, tables or tables_of(reports)), separators=(",", ":"), allow_nan=False)
    return packed(content)


def packed(content: str, *, sha256: str = "", layout: int = LAYOUT) -> str:
    """Return the text to embed for a content; the digest is its own unless another is given."""
    head = {"layout": layout, "sha256": sha256 or digest(content)}
    # Without a time, so that the same records give the same bytes.
    data = gzip.compress(f"{json.dumps(head)}\n{content}".encode(), compresslevel=9, mtime=0)
    return base64.b64encode(data).decode("ascii")


def digest(content: str) -> str:
    """Return the SHA-256 of a content, hexadecimal."""
    return hashlib.sha256(content.encode()).hexdigest()


def _content(reports: Sequence[Report], tables: Sequence[Table]) -> dict[str, Any]:
    first = reports[0]
    return {
        "constants": CONSTANTS,
        "words": WORDS,
        "plan": asdict(first.plan),
        "server_version": first.server_version,
        "computation": dict(first.computation),
        "shown": list(first.shown),
        # The video of each frame: intervals count videos.
        "units": {name: unit for name in _images(first) if (unit := unit_of(name)) != name},
        "people": first.people.facts() if first.people else None,
        "options": {
            "scaling": first.options.scaling.value,
            "r_mode": first.options.r_mode.value,
            "resamples": first.options.resamples,
        },
        "attacks": {attack: _attack(reports, attack) for attack in _attacks(reports)},
        # How an address is shown; the numbers themselves follow from the records.
        "tables": {table.key: {heading.key: heading.digits for heading in table.headings} for table in tables},
        "metrics": [_metric(report) for report in reports],
    }


def _images(report: Report) -> list[str]:
    return [image.name for image in report.plan.images]


def _attacks(reports: Sequence[Report]) -> list[str]:
    there = [record.attack for report in reports for record in report.records]
    return list(dict.fromkeys([*reports[0].plan.attacks, *there]))


def _attack(reports: Sequence[Report], attack: str) -> dict[str, Any]:
    name = next((report.names[attack] for report in reports if attack in report.names), attack)
    return {"name": name, "kind": kind_of(attack).name, "is_degradation": is_degradation(attack)}


def _metric(report: Report) -> dict[str, Any]:
    return {
        "name": report.metric.name,
        "title": report.metric_title,
        "transfer": report.transfer,
        "labels": report.labels,
        "declared": asdict(report.declared),
        "bounds": asdict(report.bounds),
        "transform": written_map(report.transform, report.records),
        "records": encoded(report.records),
    }
