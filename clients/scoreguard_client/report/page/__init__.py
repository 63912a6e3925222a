"""The report of a run as one HTML page that needs no other file and no network."""

from __future__ import annotations

from scoreguard_client.report.page.assemble import write_page

__all__ = ["write_page"]
