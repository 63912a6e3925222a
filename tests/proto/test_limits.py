"""The fixed limits: one place, documented."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from scoreguard.v1.limits import LIMITS, RequestLimits

PAGE = Path(__file__).resolve().parents[2] / "docs/limits.md"


def test_the_page_lists_every_limit_of_a_request_with_its_value() -> None:
    """A limit that is added or changed must be changed in docs/limits.md as well."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", PAGE.read_text(), re.MULTILINE))
    expected = {field.name: f"{getattr(LIMITS, field.name):,}" for field in fields(RequestLimits)}
    assert {name: rows.get(name) for name in expected} == expected
