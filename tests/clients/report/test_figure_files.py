"""Figures as files and as parts of a page: the same bytes each time, and nothing that leads elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import PIL.Image
import pytest
from tests.clients.report.made_runs import FEW_ATTACKS, made_reports

from scoreguard_client.report import Report
from scoreguard_client.report.figures import Figure, figures, write_figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, ...]:
    """Two metrics, three chains, two attacks; a chain of markup."""
    folder = tmp_path_factory.mktemp("made")
    chains = ["none", *(f"blur:sigma={sigma}" for sigma in (1, 2, 3))]
    return made_reports(folder / "run", chains, FEW_ATTACKS[1:3], metrics=("bright", "red"))


@pytest.fixture(scope="module")
def found(reports: tuple[Report, ...]) -> list[tuple[Figure, str]]:
    """Their figures as SVG; of the second metric the heat maps alone."""
    every = [figure for figure in figures(reports) if figure.metric == "bright" or "heatmap" in figure.key]
    return [(figure, figure.svg()) for figure in every]


def test_an_svg_is_one_element_with_a_name_and_a_description(found: list[tuple[Figure, str]]) -> None:
    """Well-formed, without a prolog; both are what a screen reader says."""
    for figure, text in found:
        assert text.startswith("<svg ")
        root = ElementTree.fromstring(text)
        assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
        by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
        title, about = (by_id[name] for name in (root.get("aria-labelledby") or "").split())
        assert (title.tag, title.text) == (f"{SVG}title", figure.title)
        assert (about.tag, about.text) == (f"{SVG}desc", figure.alt)


def test_an_svg_refers_to_nothing_but_its_own_parts(found: list[tuple[Figure, str]]) -> None:
    """No link, script, style sheet, font or image; and no id that two figures of one page share."""
    seen: set[str] = set()
    for _, text in found:
        root = ElementTree.fromstring(text)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "title", "desc", "g", "defs", "path", "use", "text", "tspan", "clipPath", "rect"),
        }
        ids = [element.get("id", "") for element in root.iter() if element.get("id")]
        links = [element.get("href", "") for element in root.iter() if element.get("href")]
        links += [f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", text)]
        named = (root.get("aria-labelledby") or "").split()
        assert sorted({link.removeprefix("#") for link in links} | set(named)) == sorted(ids)
        assert all(link.startswith("#") for link in links)
        assert re.findall(r"[a-z]+://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
        assert seen.isdisjoint(ids)
        seen |= set(ids)


def test_an_svg_takes_the_text_colour_and_font_of_its_page(found: list[tuple[Figure, str]]) -> None:
    """So that it can be read on a dark one; there is no background."""
    for _, text in found:
        assert "#222222" not in text
        assert "currentColor" in text
        assert text.count("font-family") == 1
        assert not re.search(r"fill:#ffffff[^>]*><path|<path[^>]*fill:#ffffff", text.split("<text", 1)[0])


def test_names_stand_in_an_svg_as_they_are(found: list[tuple[Figure, str]]) -> None:
    """Text stays text that can be selected, and markup in a name is no markup."""
    ((figure, text),) = [(figure, text) for figure, text in found if figure.key == "red-heatmap-gain"]
    words = {element.text for element in ElementTree.fromstring(text).iter(f"{SVG}text")}
    assert {"none", "blur:sigma=2", "clean", "I-FGSM (eps 2/255)"} <= words
    assert figure.title == "Mean <brightness>: Gain by attack and chain"


def test_every_figure_is_written_in_three_forms(tmp_path: Path) -> None:
    """In place of what an earlier report left."""
    reports = made_reports(tmp_path / "run", ["none", "flip"], FEW_ATTACKS[:1], adaptive=False)
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "old.svg").write_text("")
    write_figures(figures(reports), folder)
    expected = [f"{figure.key}.{form}" for figure in figures(reports) for form in ("svg", "pdf", "png")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
    for path in folder.glob("*.pdf"):
        assert path.read_bytes().startswith(b"%PDF-")
        assert b"/CreationDate" not in path.read_bytes()
    for path in folder.glob("*.png"):
        with PIL.Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 3


@pytest.mark.parametrize("key", ["gains", "heatmap-srocc", "quality-gain", "detection"])
def test_a_figure_has_the_same_bytes_each_time(key: str, reports: tuple[Report, ...], tmp_path: Path) -> None:
    """Whenever it is drawn."""
    written = []
    for number in range(2):
        (figure,) = [figure for figure in figures(reports[:1]) if figure.key == key]
        folder = tmp_path / str(number)
        folder.mkdir()
        figure.write(folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 3
