"""The figures as the page shows them: SVG inside the page, which takes its colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from scoreguard_client.report.build import Report
from scoreguard_client.report.figures import figures


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure."""

    key: str
    """Unique on the page, and the name of its files."""
    title: str
    """For people."""
    svg: Markup
    """One SVG element, which says in words what it shows."""


def drawings(report: Report, *, alone: bool) -> tuple[Drawing, ...]:
    """Return the figures of a metric.

    Args:
        report: its results.
        alone: whether the page is about this metric only; else each key begins with the metric.
    """
    found = figures([report])
    if not alone:
        found = tuple(replace(figure, key=f"{report.metric.name}-{figure.key}") for figure in found)
    # The text in it was escaped when it was written as XML.
    return tuple(Drawing(key=figure.key, title=figure.title, svg=Markup(figure.svg())) for figure in found)
