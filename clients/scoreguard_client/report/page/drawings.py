"""The figures as the page shows them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from scoreguard_client.report.build import Report
from scoreguard_client.report.figures import gains_figure
from scoreguard_client.report.page.images import data_url


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure."""

    key: str
    """Unique on the page: what it shows and the metric, such as `gains:lite`."""
    title: str
    """For people."""
    alt: str
    """What a reader who does not see it should know."""
    markup: Markup
    """The figure as HTML."""

    @property
    def metric(self) -> str:
        """Name of the metric that it is about."""
        return self.key.partition(":")[2]


def drawings(reports: Sequence[Report]) -> list[Drawing]:
    """Return the figures of every metric."""
    return [_gains(report) for report in reports]


def _gains(report: Report) -> Drawing:
    buffer, alt = io.BytesIO(), "Absolute gain by attack and defence, with 95 % intervals"
    gains_figure(report).savefig(buffer, dpi=120, format="png")
    image = Markup('<img class="chart" src="{}" alt="{}">').format(data_url("image/png", buffer.getvalue()), alt)
    title = "Gain of each attack behind each defence"
    return Drawing(key=f"gains:{report.metric.name}", title=title, alt=str(escape(alt)), markup=image)
