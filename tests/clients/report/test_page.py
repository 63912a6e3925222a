"""The page as a file: whole, of one piece, every cell at its address, and in the order in which people read."""

from __future__ import annotations

import base64
import io
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.clients.report.conftest import DIM, FGSM, METRIC, NAMES, PLAN, MakeRun, failed, sound_records

from scoreguard_client.report import Report, TableOptions, read_reports, tables_of
from scoreguard_client.report.figures import figures
from scoreguard_client.report.page import write_page
from scoreguard_client.report.page.assemble import page_of
from scoreguard_client.report.page.images import LONGEST, embed
from scoreguard_client.report.tables import Cell, Heading, Line, Table
from scoreguard_client.scores import Estimate

QUICK = TableOptions(resamples=20)
VOID = frozenset({"meta", "img", "br", "link", "input", "wbr"})
SHOWN = ("value", "interval", "mark")


class Page(HTMLParser):
    """What a page has: addresses of other files, cells, headings; its tags must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.cells: dict[tuple[str, str, str], dict[str, str]] = {}
        self.headings: list[tuple[int, str]] = []
        self.ids: list[str] = []
        self._table = self._line = self._part = ""
        self._cell: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what the tag says."""
        told = {name: value or "" for name, value in attrs}
        self.sources += [told[name] for name in ("src", "href") if name in told]
        self.ids += [told["id"]] if "id" in told else []
        self._table, self._line = told.get("data-table", self._table), told.get("data-line", self._line)
        if "data-heading" in told:
            self._cell = self.cells.setdefault((self._table, self._line, told["data-heading"]), {})
        if told.get("class") in SHOWN:
            self._part = told["class"]
            self._cell[self._part] = ""
        if re.fullmatch(r"h\d", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost open tag is closed."""
        assert self.open.pop() == tag
        self._part = "" if tag in {"span", "small"} else self._part

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if self.open and self.open[-1] not in {"script", "style"}:
            self.words.append(data)
        if self.open and self.headings and re.fullmatch(r"h\d", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)
        if self._part:
            self._cell[self._part] += data


@pytest.fixture
def reports(make_run: MakeRun) -> tuple[Report, ...]:
    """The results of a small run."""
    return read_reports(make_run(), QUICK)


def test_the_page_is_whole_and_refers_to_nothing_outside(reports: tuple[Report, ...]) -> None:
    """Well-formed, names escaped, ids unique, every image inside; and the page forbids itself everything else."""
    text = page_of(reports, tables_of(reports), figures(reports))
    page = Page(text)
    assert page.open == []
    assert all(source.startswith(("data:image/webp;base64,", "#")) for source in page.sources)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in text
    assert len(page.ids) == len(set(page.ids))
    words = " ".join(page.words)
    for said in ("Mean <brightness>", "adaptive", "dim", "FGSM", "Square"):
        assert said in words


def test_every_cell_is_at_its_address_with_value_interval_and_an_empty_mark(reports: tuple[Report, ...]) -> None:
    """As the tables say; text has no mark, a plain number no interval."""
    tables = tables_of(reports)
    page = Page(page_of(reports, tables, figures(reports)))
    wanted = {}
    for table in tables:
        for line in table.lines:
            for cell, heading in zip(line.cells, table.headings, strict=True):
                parts = {"value": cell.value(heading.digits)}
                if cell.estimate is not None:
                    parts["interval"] = cell.interval(heading.digits)
                if cell.estimate is not None or cell.plain is not None:
                    parts["mark"] = ""
                wanted[table.key, line.key, heading.key] = parts
    assert page.cells == wanted


def test_the_page_is_read_from_the_answer_to_the_details(reports: tuple[Report, ...]) -> None:
    """Parts in the order in which a reader needs them, none of which skips a level."""
    page = Page(page_of(reports, tables_of(reports), figures(reports)))
    assert [text for level, text in page.headings if level == 2] == [
        "The answer",
        "Before you trust the numbers",
        "Leaderboard",
        "Details",
        "What the columns mean",
        "Provenance",
        "How to cite",
    ]
    levels = [level for level, _ in page.headings]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_several_metrics_are_on_one_page_each_in_a_panel(make_run: MakeRun) -> None:
    """The leaderboards and the metrics side by side come before what is about one metric."""
    plan = replace(PLAN, metrics=(METRIC, replace(METRIC, name="red")))
    records = [replace(one, metric=name) for name in plan.names for one in sound_records()]
    reports = read_reports(make_run(records, plan=plan), QUICK)
    text = page_of(reports, tables_of(reports), figures(reports))
    keys = re.findall(r'data-table="([^"]*)"', text)
    assert keys[:3] == ["leaderboard:bright", "leaderboard:red", "metrics"]
    for name in plan.names:
        assert text.index(f'id="of-{name}"') < text.index(f'data-table="robustness:{name}"')
    assert text.index('data-table="metrics"') < text.index('role="tab"') < text.index('id="of-bright"')
    assert Page(text).open == []


def test_the_same_results_give_the_same_page(reports: tuple[Report, ...], tmp_path: Path) -> None:
    """No time, no folder, no random number is in it."""
    tables = tables_of(reports)
    for name in ("one.html", "two.html"):
        write_page(reports, tables, figures(reports), tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert str(tmp_path) not in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_names_that_look_like_markup_stay_text(reports: tuple[Report, ...]) -> None:
    """Whatever an image, a chain or an attack is called."""
    evil = '"><script>alert(1)</script>'
    table = Table(
        key="robustness:bright",
        title=evil,
        about=evil,
        leading=("attack", "defence"),
        headings=(Heading(key="n", label=evil, meaning=evil), Heading(key="t", label="t", meaning="t")),
        lines=(
            Line(
                key=f"{FGSM}|{evil}",
                names=(evil, evil),
                cells=(Cell(estimate=Estimate(value=float("nan"), note=evil)), Cell(text=evil)),
                tags=(evil,),
                title=evil,
            ),
        ),
    )
    text = page_of(reports, [table], figures(reports))
    page = Page(text)
    assert "alert(1)</script>" not in text
    assert page.cells["robustness:bright", f"{FGSM}|{evil}", "t"] == {"value": evil}


def test_a_failed_run_still_has_a_page(make_run: MakeRun) -> None:
    """It has no numbers, and says so instead of a conclusion."""
    reports = read_reports(make_run([failed(one) for one in sound_records()]), QUICK)
    page = Page(page_of(reports, tables_of(reports), figures(reports)))
    assert "No attack behind any chain has a number yet." in page.words


def test_an_image_of_the_page_is_the_image_bit_for_bit() -> None:
    """Lossless, and at its own size up to a limit."""
    levels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert np.array_equal(pixels(embed(levels)), levels)
    wide = np.zeros((10, 2 * LONGEST, 3), dtype=np.uint8)
    assert pixels(embed(wide)).shape == (5, LONGEST, 3)


def pixels(address: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The image inside an address."""
    with PIL.Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_attacked_images_say_what_they_are(reports: tuple[Report, ...]) -> None:
    """Whoever verifies a page scores them again."""
    text = page_of(reports, tables_of(reports), figures(reports))
    tags = re.findall(r'<img [^>]*data-kind="attacked"[^>]*>', text)
    assert len(tags) == 6
    for tag in tags:
        told = dict(re.findall(r'data-(\w+)="([^"]*)"', tag))
        assert told["metric"] == "bright"
        assert told["image"] in NAMES[:3]
        assert told["chain"] in {"none", DIM}
        assert told["native"] == "1"


def test_the_command_that_repeats_the_run_is_on_the_page(reports: tuple[Report, ...]) -> None:
    """With every parameter, quoted for a shell."""
    words = " ".join(Page(page_of(reports, tables_of(reports), figures(reports))).words)
    assert "scoreguard attack --metric bright --attacks fgsm:eps=0.1,square:" in words
    assert "--chains none,dim --images IMAGES --out RUN --adaptive --seed 0 --draws 1" in words
    assert "scoreguard report RUN --scaling declared_range" in words
    assert PLAN.digest in words
