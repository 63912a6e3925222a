"""Reports from what a page embeds: the records of a run, and all else that its tables depend on."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scoreguard.calibration import Bounds
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.report.build import Report, rows_of
from scoreguard_client.report.external import external_attacks
from scoreguard_client.report.naming import attack_names
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.proof.encoding import decoded
from scoreguard_client.report.proof.errors import PageError
from scoreguard_client.report.proof.maps import read_map
from scoreguard_client.report.proof.payload import LAYOUT, digest
from scoreguard_client.scores.r_score import RMode
from scoreguard_client.scores.scaling import Scaling
from scoreguard_client.target.people import people_scores

_AGAIN: Final = "make the page again by scoreguard report RUN"


def unpacked(text: str) -> dict[str, Any]:
    """Return the content of an embedded text.

    Raises:
        PageError: it was cut or changed, or is of another version, in one line.
    """
    try:
        data = gzip.decompress(base64.b64decode("".join(text.split()), validate=True)).decode()
        head, _, content = data.partition("\n")
        facts = json.loads(head)
        layout, sha256 = facts["layout"], facts["sha256"]
    except (ValueError, TypeError, KeyError, EOFError, OSError, zlib.error, binascii.Error, RecursionError) as error:
        raise PageError(f"the records in the page were cut or changed ({error!s:.80}): {_AGAIN}") from error
    if layout != LAYOUT:
        raise PageError(f"the page has layout {layout!r:.20}, and this version reads {LAYOUT}: {_AGAIN}")
    if sha256 != digest(content):
        raise PageError(f"the records in the page do not have the digest that it states: {_AGAIN}")
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PageError(f"the records in the page are no JSON ({error!s:.80}): {_AGAIN}") from error
    if not isinstance(read, dict):
        raise PageError(f"the records in the page are no object of JSON: {_AGAIN}")
    return read


def restored(content: Mapping[str, Any]) -> tuple[Report, ...]:
    """Return the reports that a content describes, one for each metric; they state no cautions.

    Raises:
        PageError: something is missing in it, or no attack of this installation has the name of one of its.
    """
    try:
        plan = Plan.from_json(json.dumps(content["plan"]))
        options = TableOptions(
            scaling=Scaling(content["options"]["scaling"]),
            r_mode=RMode(content["options"]["r_mode"]),
            resamples=int(content["options"]["resamples"]),
        )
        reports = tuple(_report(content, plan, told, options) for told in content["metrics"])
    except AttackSpecError as error:
        raise PageError(f"an attack of the page is not installed here: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PageError(f"the page has other records than this version writes ({error!r:.80}): {_AGAIN}") from error
    if not reports:
        raise PageError(f"the page has records of no metric: {_AGAIN}")
    return reports


def _report(content: Mapping[str, Any], plan: Plan, told: Mapping[str, Any], options: TableOptions) -> Report:
    metric, bounds, transform = plan.metric(told["name"]), Bounds(**told["bounds"]), read_map(told["transform"])
    records = tuple(decoded(told["records"], metric.name))
    return Report(
        run=Path("page"),
        plan=plan,
        metric=metric,
        metric_title=str(told["title"]),
        declared=metric.declared,
        bounds=bounds,
        transform=transform,
        transfer=bool(told["transfer"]),
        server_version=str(content["server_version"]),
        computation=content["computation"],
        shown=tuple(content["shown"]),
        options=options,
        records=records,
        rows=rows_of(plan, metric, records, bounds, options, transform),
        cautions=(),
        labels={chain: str(label) for chain, label in told["labels"].items()},
        names=attack_names([*plan.attacks, *external_attacks(records)]),
        people=people_scores(content),
    )
