"""The table of pyiqa's no-reference metrics, for people and for programs; pyiqa itself need not be installed."""

from __future__ import annotations

import json
from typing import Any, Final

import click
from rich.table import Table

from scoreguard.support.console import output
from scoreguard_export.metrics.pyiqa.sources import LICENCE
from scoreguard_export.metrics.pyiqa.table import PREFIX, REPEAT, Entry, Status, survey

_COMMAND: Final = f"python {REPEAT}"


def show_pyiqa(*, as_json: bool) -> None:
    """Print the table."""
    found = survey()
    if as_json:
        head = {"licence": LICENCE, "versions": found.versions, "repeat": _COMMAND}
        click.echo(json.dumps({**head, "metrics": [_row(entry) for entry in found.entries.values()]}, indent=2))
        return
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    table = Table("metric", "can", "range", "better", "from", "parameters", "why, or what to know", title=_title())
    table.caption = f"on random weights, with {versions}; repeat: {_COMMAND}; licence: {LICENCE}"
    for entry in found.entries.values():
        table.add_row(
            PREFIX + entry.name,
            entry.status,
            entry.score_range,
            "lower" if entry.lower_better else "higher",
            f"{entry.minimum_size} px" if entry.minimum_size else "–",
            _millions(entry.parameters),
            _notes(entry),
        )
    output().print(table)


def _title() -> str:
    statuses = [entry.status for entry in survey().entries.values()]
    return "pyiqa: " + ", ".join(f"{statuses.count(status)} {status}" for status in Status)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "name": PREFIX + entry.name,
        "served_as": entry.served_name,
        "network": entry.network,
        "status": entry.status,
        "reason": entry.reason,
        "range": entry.score_range,
        "higher_is_better": not entry.lower_better,
        "minimum_size": entry.minimum_size,
        "parameters": entry.parameters,
        "batch_error": entry.batch_error,
        "parity_error": entry.parity_error,
        "files": list(entry.files),
    }


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count else "–"


def _notes(entry: Entry) -> str:
    batch = f"moves by {entry.batch_error:.0e} deviations with the batch" if entry.batch_error else ""
    return "; ".join(filter(None, [entry.reason, batch]))
