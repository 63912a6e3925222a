"""The report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2
import PIL.Image

from scoreguard_client.report.build import Report
from scoreguard_client.report.exhibits import Exhibit, Levels
from scoreguard_client.report.table import Row
from scoreguard_client.report.text import interval, value
from scoreguard_client.scores.estimates import LEAST_APART, Estimate

_WIDEST: Final = 256
_DEEPEST: Final = 0.38


def write_page(report: Report, shown: Sequence[Exhibit], chart: Path, path: Path) -> None:
    """Write the page.

    Args:
        report: the table.
        shown: the attacks to show.
        chart: the image of the gains.
        path: file to write.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"tile": _tile, "value": value, "interval": interval, "short": report.attack_name}
    environment.filters |= {"decimals": report.decimals, "shade": partial(_shade, strongest=_strongest(report.rows))}
    source = resources.files("scoreguard_client.report").joinpath("templates/report.html.j2").read_text("utf-8")
    page = environment.from_string(source).render(
        report=report,
        groups=_groups(report.rows),
        columns=report.columns,
        exhibits=shown,
        chart=_data_url(chart.read_bytes()),
        least_apart=LEAST_APART,
    )
    path.write_text(page, encoding="utf-8")


def write_contents(reports: Sequence[Report], path: Path) -> None:
    """Write the page that leads to the pages of several metrics, which lie in folders beside it."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = resources.files("scoreguard_client.report").joinpath("templates/contents.html.j2").read_text("utf-8")
    path.write_text(environment.from_string(source).render(reports=reports), encoding="utf-8")


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.attack, []).append(row)
    return list(groups.items())


def _strongest(rows: Sequence[Row]) -> float:
    gains = (abs(row.scores["absolute_gain"].value) for row in rows if row.scores)
    return max((gain for gain in gains if math.isfinite(gain)), default=0.0) or 1.0


def _shade(gain: Estimate, strongest: float) -> str:
    """Return the background of a gain: red if the attack raised the quality, blue if it lowered it."""
    if not math.isfinite(gain.value):
        return ""
    colour = "200,85,61" if gain.value > 0 else "47,109,181"
    return f"background: rgba({colour}, {_DEEPEST * abs(gain.value) / strongest:.2f})"


def _tile(levels: Levels) -> str:
    image = PIL.Image.fromarray(levels)
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, round(image.height * _WIDEST / image.width)), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _data_url(buffer.getvalue())


def _data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
