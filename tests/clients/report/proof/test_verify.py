"""Change one digit in a page: Python and the browser both say which cell; a page that was cut is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.clients.report.proof.conftest import Made, Runs
from tests.clients.report.proof.headless import document
from tests.clients.report.proof.pages import changed_records, page

from scoreguard_client.cli import main
from scoreguard_client.report.proof import PageError
from scoreguard_client.report.proof.verify import verify_page

LINE = "none"
TABLE = "leaderboard:bright"


def other_digit(text: str) -> str:
    """The number with another last digit."""
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), text, count=1)


def cell(html: str, heading: str, part: str) -> re.Match[str]:
    """Part of a cell of the leaderboard, where it stands in the page."""
    start = html.index(f'<tr data-line="{LINE}">', html.index(f'data-table="{TABLE}"'))
    place = html.index(f'class="{part}">', html.index(f'data-heading="{heading}"', start)) + len(f'class="{part}">')
    found = re.compile(r"[^<]*").match(html, place)
    assert found is not None
    return found


def with_part(html: str, heading: str, part: str, change: Callable[[str], str]) -> str:
    """The page with part of a cell changed."""
    found = cell(html, heading, part)
    assert change(found[0]) != found[0]
    return html[: found.start()] + change(found[0]) + html[found.end() :]


def without_line(html: str) -> str:
    """The page without a line of its first table."""
    return re.sub(rf'<tr data-line="{LINE}">.*?</tr>', "", html, count=1, flags=re.DOTALL)


def one_value(made: Made) -> tuple[str, str]:
    """A number of another last digit."""
    return with_part(page(made), "worst_gain", "value", other_digit), f"{TABLE}, {LINE}, worst_gain: shown "


def one_end(made: Made) -> tuple[str, str]:
    """The upper end of an interval."""
    return with_part(page(made), "worst_gain", "interval", other_digit), f"{TABLE}, {LINE}, worst_gain: shown ["


def one_word(made: Made) -> tuple[str, str]:
    """The strongest attack."""
    html = with_part(page(made), "strongest", "value", lambda text: text + "!")
    return html, f"{TABLE}, {LINE}, strongest: shown "


def one_name(made: Made) -> tuple[str, str]:
    """The name of a defence in front of its numbers."""
    return page(made).replace('class="name">dim<', 'class="name">dam<', 1), f"{TABLE}, dim:factor=0.5, names: shown dam"


def one_record(made: Made) -> tuple[str, str]:
    """A score in the embedded records, with the digest that then belongs to them: the sums no longer fit."""

    def change(content: dict[str, Any]) -> None:
        column = content["metrics"][0]["records"]["scoring_seconds"]
        column["values"] = [value + 1 for value in column["values"]]

    return page(made, changed_records(made, change)), f"{TABLE}, {LINE}, milliseconds: shown "


CHANGES = [one_value, one_end, one_word, one_name, one_record]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes a page."""

    def write(html: str) -> Path:
        path = tmp_path / "index.html"
        path.write_text(html, encoding="utf-8")
        return path

    return write


def test_python_finds_every_cell_of_a_page_equal(
    runs: Runs, written: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the counts, and exit code 0."""
    for name in ("lacking", "several", "network"):
        made = runs[name]
        assert main(["report", "verify", str(written(page(made)))]) == 0
        cells = sum(len(line.cells) + 1 for table in made.tables for line in table.lines)
        records = sum(len(report.records) for report in made.reports)
        assert capsys.readouterr().out == f"{cells:,} of {cells:,} cells are what {records:,} records give\n"


@pytest.mark.parametrize("change", CHANGES)
def test_python_says_which_cell_was_changed(
    change: Callable[[Made], tuple[str, str]],
    runs: Runs,
    written: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What it shows, what it should show, and exit code 1; as JSON too."""
    html, where = change(runs["several"])
    path = written(html)
    assert main(["report", "verify", str(path)]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith(where) and ", computed " in line for line in lines)
    assert "cells are what" in last
    if change is not one_record:  # which is part of many cells
        assert len(lines) == 1
    assert main(["report", "verify", str(path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [", ".join([d["table"], d["line"], d["heading"]]) for d in told["differences"]] == [
        line.partition(": shown")[0] for line in lines
    ]


def opened(html: str, folder: Path) -> tuple[str, str, list[str]]:
    """What a browser says of a page: its summary, whether it is right or wrong, and its marks."""
    shown = document(html, folder)
    found = re.search(r'<p id="proof" class="(\w*)">(.*?)</p>', shown)
    assert found is not None
    return unescape(found[2]), found[1], re.findall(r'<span class="mark[^"]*"[^>]*>([✓✗])', shown)


def test_the_browser_marks_every_cell_of_a_page_right(runs: Runs, tmp_path: Path) -> None:
    """And counts them, the names of the lines too."""
    made = runs["lacking"]
    text, kind, marks = opened(page(made), tmp_path)
    numbers = sum(len(line.cells) for table in made.tables for line in table.lines)
    cells = numbers + sum(len(table.lines) for table in made.tables)
    records = len(made.reports[0].records)
    assert (text, kind) == (f"{cells:,} of {cells:,} cells recomputed from {records:,} records: all equal", "right")
    assert marks == ["✓"] * numbers


def test_the_browser_says_which_cells_were_changed(runs: Runs, tmp_path: Path) -> None:
    """A value, an end of an interval, a word and a name at once: four marks, and the summary names all four."""
    made = runs["several"]
    html = page(made)
    for heading, part in (("worst_gain", "value"), ("quality_score", "interval")):
        html = with_part(html, heading, part, other_digit)
    html = with_part(html, "strongest", "value", lambda text: text + "!").replace('"name">dim<', '"name">dam<', 1)
    text, kind, marks = opened(html, tmp_path)
    assert kind == "wrong"
    for where in (f"{LINE}, worst_gain", f"{LINE}, quality_score", f"{LINE}, strongest", "dim:factor=0.5, names"):
        assert f"{TABLE}, {where}: shown " in text
    assert marks.count("✗") == 4


def test_the_browser_says_which_cells_a_changed_record_is_part_of(runs: Runs, tmp_path: Path) -> None:
    """The records have another digest too."""
    made = runs["few"]
    html, where = one_record(made)
    text, kind, marks = opened(html, tmp_path)
    assert kind == "wrong"
    assert where in text
    assert 0 < marks.count("✗") < marks.count("✓")


def test_the_browser_says_that_records_were_cut(runs: Runs, tmp_path: Path) -> None:
    """And marks nothing."""
    html = re.sub(r'(id="records">.{300}).*?</script>', r"\1</script>", page(runs["few"]), count=1, flags=re.DOTALL)
    text, kind, marks = opened(html, tmp_path)
    assert (kind, marks) == ("wrong", [])
    assert text.startswith("The records in the page cannot be read, it was cut or changed")


def test_the_browser_says_which_lines_are_missing_or_too_many(runs: Runs, tmp_path: Path) -> None:
    """A line that was cut out, and one that no record is of; a number with fewer digits is no number of the page."""
    html = without_line(page(runs["few"]))
    html = html.replace("</table>", '<tr data-line="mine"><td data-heading="worst_gain"></td></tr></table>', 1)
    text, kind, _ = opened(html, tmp_path)
    assert kind == "wrong"
    assert f"The page lacks: {TABLE}, {LINE}." in text
    assert f"It has no records for: {TABLE}, mine." in text


@pytest.mark.parametrize(
    ("cut", "why"),
    [
        (lambda html: "", "is no page of scoreguard report"),
        (lambda html: html[: -len("</html>\n") - 20], "ends inside its <script>"),
        (lambda html: html[: html.index('id="records">') + 400], "ends inside its <script>"),
        (lambda html: html[: html.index("</tr>")], "is no page of scoreguard report"),
        (lambda html: html.replace('id="records"', 'id="other"'), "is no page of scoreguard report"),
        (lambda html: re.sub(r'id="records">.{40}', 'id="records">', html), "cut or changed"),
        (lambda html: without_line(html), "lacks the cell"),
        (lambda html: html.replace('data-line="none"', 'data-line="nothing"', 1), "lacks the cell"),
        (
            lambda html: html.replace("</tr>", '<td data-heading="own"><span class="value">1</span></td></tr>', 1),
            "has no records for the cell leaderboard:bright, none, own: it was",
        ),
        (lambda html: re.sub(r"(<tr data.*?</tr>)", r"\1\1", html, count=1, flags=re.DOTALL), "shows twice the cell"),
    ],
)
def test_a_page_that_was_cut_is_refused_in_one_line(
    cut: Callable[[str], str],
    why: str,
    runs: Runs,
    written: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the exit code of bad input."""
    path = written(cut(page(runs["few"])))
    with pytest.raises(PageError, match=why):
        verify_page(path)
    assert main(["report", "verify", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_page_that_is_not_there_or_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    binary = tmp_path / "image.html"
    binary.write_bytes(bytes(range(256)))
    for path in (tmp_path / "none.html", binary):
        assert main(["report", "verify", str(path)]) == 2
        assert re.fullmatch(r"error: .* cannot be read: .*\n", capsys.readouterr().err)


def test_a_page_without_names_in_front_of_its_lines_is_compared_without_them(
    runs: Runs, written: Callable[[str], Path]
) -> None:
    """A page of another make may show them another way."""
    made = runs["few"]
    verdict = verify_page(written(page(made).replace('class="name"', "")))
    assert verdict.cells == sum(len(line.cells) for table in made.tables for line in table.lines)
    assert not verdict.differences
