"""The page on paper: everything is there, and inside the sheet."""

from __future__ import annotations

import re
from pathlib import Path

import pypdfium2
import pytest
from tests.browser.conftest import Open

from scoreguard_client.report import Report, tables_of

MILLIMETRES = 25.4 / 72


@pytest.fixture(scope="module")
def sheets(page_file: Path, open_page: Open) -> list[str]:
    """The text inside each sheet, without blanks."""
    with open_page(page_file) as page:
        # What was chosen on the screen stays there.
        page.locator("#table-robustness-bright [type=search]").fill("square")
        pdf = pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True))
    texts = []
    for sheet in pdf:
        width, height = sheet.get_size()
        assert (width * MILLIMETRES, height * MILLIMETRES) == pytest.approx((297, 210), abs=1)
        texts.append(squeezed(sheet.get_textpage().get_text_bounded(0, 0, width, height)))
    return texts


def squeezed(text: str) -> str:
    """The text without blanks and hyphens, which depend on where lines break."""
    return re.sub(r"[\s\u00ad\u2010\ufffe-]+", "", text)


def test_no_sheet_is_blank(sheets: list[str]) -> None:
    """A sheet of images alone has their scores."""
    assert len(sheets) >= 3
    assert min(map(len, sheets)) > 20


def test_every_line_and_column_of_every_table_is_on_paper(sheets: list[str], reports: tuple[Report, ...]) -> None:
    """Of both metrics, whatever the screen shows: the first and the last columns, the first and the last lines."""
    paper = "".join(sheets)
    for table in tables_of(reports):
        assert squeezed(table.title) in paper
        heads = squeezed("".join(heading.label for heading in table.headings))
        assert heads in paper, table.key
        for line in table.lines:
            for cell, heading in zip(line.cells, table.headings, strict=True):
                assert squeezed(cell.value(heading.digits)) in paper
            assert squeezed(line.names[-1]) in paper


def test_what_is_folded_on_the_screen_is_open_on_paper(sheets: list[str], page_file: Path) -> None:
    """The citations; and what only a screen can use is not there."""
    paper = "".join(sheets)
    assert "@misc{" in paper or "@article{" in paper
    assert "Skiptotheanswer" not in paper
    assert "cleanagainst" not in paper
    assert page_file.stat().st_size < 5_000_000
