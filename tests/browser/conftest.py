"""A headless Chromium for the tests of each file here, and the page of a small run; skipped without Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from playwright.sync_api import Browser, Page, sync_playwright
from tests.browser.runs import write_run
from tests.clients.report.conftest import FGSM

from scoreguard_client.report import Report, TableOptions, read_reports, tables_of
from scoreguard_client.report.figures import figures
from scoreguard_client.report.page import write_page
from scoreguard_client.report.tables import Cell, Heading, Line, Table
from scoreguard_client.scores import Estimate

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
MANY = 10_000
Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, with a profile of its own that is deleted with it.

    Not for longer than a module: while it is open its event loop runs, and no test of another module can start one.
    """
    program = chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, ...]:
    """The results of a run of two metrics."""
    run = write_run(tmp_path_factory.mktemp("page") / "run")
    return read_reports(run, TableOptions(resamples=20))


@pytest.fixture(scope="session")
def page_file(reports: tuple[Report, ...]) -> Path:
    """Its page."""
    path = reports[0].run / "index.html"
    write_page(reports, tables_of(reports), figures(reports), path)
    return path


@pytest.fixture(scope="session")
def long_file(reports: tuple[Report, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a table of 10,000 lines."""
    path = tmp_path_factory.mktemp("long") / "index.html"
    write_page([replace(reports[0], shown=())], [long_table()], (), path)
    return path


def long_table() -> Table:
    """Return 10,000 lines of six numbers; the first are 0 to 9,999 in no order."""
    headings = tuple(Heading(key=f"n{i}", label=f"number {i}", meaning=f"Number {i}.") for i in range(6))
    lines = []
    for index in range(MANY):
        first = Cell(estimate=Estimate(value=index * 7919 % MANY, low=0.0, high=1.0))
        others = (Cell(estimate=Estimate(value=index / (3 + i), low=0.0, high=1.0)) for i in range(5))
        names = (f"attack {index}", f"chain {index % 16}")
        lines.append(Line(key=f"{FGSM}|chain {index}|unaware", names=names, cells=(first, *others)))
    leading = ("attack", "defence")
    return Table(
        key="robustness:bright", title="Long", about="Many.", leading=leading, headings=headings, lines=tuple(lines)
    )


@pytest.fixture(scope="module")
def open_page(browser: Browser) -> Open:
    """Open a page; when it is closed, it must have logged no error and asked for nothing but itself."""

    @contextmanager
    def opened(path: Path, **settings: Any) -> Iterator[Page]:
        with browser.new_context(**settings) as context:
            page, told, asked = context.new_page(), list[str](), list[str]()
            page.on("console", lambda message: told.append(message.text))
            page.on("pageerror", lambda error: told.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(path.as_uri())
            yield page
            assert told == []
            assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]

    return opened
