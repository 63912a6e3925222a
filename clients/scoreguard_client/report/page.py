"""The report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2
import PIL.Image

from scoreguard_client.report.build import Report
from scoreguard_client.report.columns import COLUMNS
from scoreguard_client.report.exhibits import Exhibit, Levels
from scoreguard_client.report.table import Row
from scoreguard_client.report.text import interval, number

_WIDEST: Final = 256


def write_page(report: Report, shown: Sequence[Exhibit], chart: Path, path: Path) -> None:
    """Write the page.

    Args:
        report: the table.
        shown: the attacks to show.
        chart: the picture of the gains.
        path: where the page goes.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"tile": _tile, "number": number, "interval": interval, "short": report.attack_name}
    source = resources.files("scoreguard_client.report").joinpath("templates/report.html.j2").read_text("utf-8")
    page = environment.from_string(source).render(
        report=report,
        groups=_groups(report.rows),
        columns=COLUMNS,
        exhibits=shown,
        chart=_data_url(chart.read_bytes()),
        strongest=max((abs(row.scores["absolute_gain"].value) for row in report.rows if row.scores), default=0) or 1,
    )
    path.write_text(page, encoding="utf-8")


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.attack, []).append(row)
    return list(groups.items())


def _tile(picture: Levels) -> str:
    image = PIL.Image.fromarray(picture)
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, round(image.height * _WIDEST / image.width)), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _data_url(buffer.getvalue())


def _data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
