"""The figures as the page shows them: SVG inside the page, which takes its colours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from scoreguard_client.report.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure."""

    key: str
    """Unique on the page, and the name of its files."""
    title: str
    """For people."""
    svg: Markup
    """One SVG element, which says in words what it shows."""


def drawings(found: Iterable[Figure], metric: str) -> tuple[Drawing, ...]:
    """Return the figures of a metric.

    Args:
        found: those of the run.
        metric: name of the metric.
    """
    # The text in it was escaped when it was written as XML.
    return tuple(
        Drawing(key=figure.key, title=figure.title, svg=Markup(figure.svg()))
        for figure in found
        if figure.metric == metric
    )
