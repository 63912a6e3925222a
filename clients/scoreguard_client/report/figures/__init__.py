"""The figures of a report: values that draw themselves, as SVG for a page, and as SVG, PDF and PNG files."""

from __future__ import annotations

from scoreguard_client.report.figures.every import FIGURES, figures, write_figures
from scoreguard_client.report.figures.gains import draw_gains, gains_figure
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.strips import draw_exhibit

__all__ = ["FIGURES", "Figure", "draw_exhibit", "draw_gains", "figures", "gains_figure", "write_figures"]
