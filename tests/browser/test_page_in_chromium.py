"""The page in a browser: what a mouse and a keyboard do, on a desk and on a phone, in light and dark."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.browser.conftest import MANY, Open

TABLE = 'table[data-table="robustness:bright"]'
PHONE = {"viewport": {"width": 400, "height": 800}}


def shown(page: Page, heading: str) -> list[float]:
    """The numbers of a column, in the order of the visible lines."""
    cells = page.locator(f'{TABLE} tbody tr:visible td[data-heading="{heading}"] .value')
    return [float(text) for text in cells.all_inner_texts()]


def names(page: Page) -> list[str]:
    """The attacks of the visible lines."""
    return page.locator(f"{TABLE} tbody tr:visible th span.name").all_inner_texts()


def test_a_heading_sorts_by_mouse_and_by_keyboard(page_file: Path, open_page: Open) -> None:
    """Largest first, smallest first, then the table's own order; screen readers are told."""
    with open_page(page_file) as page:
        before = shown(page, "absolute_gain")
        button = page.locator(f'{TABLE} [data-key="absolute_gain"]')
        head = button.locator("xpath=..")
        button.click()
        assert shown(page, "absolute_gain") == sorted(before, reverse=True) != before
        expect(head).to_have_attribute("aria-sort", "descending")
        button.focus()
        page.keyboard.press("Enter")
        assert shown(page, "absolute_gain") == sorted(before)
        expect(head).to_have_attribute("aria-sort", "ascending")
        page.keyboard.press("Space")
        assert shown(page, "absolute_gain") == before
        assert head.get_attribute("aria-sort") is None


def test_names_are_sorted_as_words_and_only_one_heading_sorts(page_file: Path, open_page: Open) -> None:
    """Attacks from A to Z, whatever was sorted before."""
    with open_page(page_file) as page:
        page.locator(f'{TABLE} [data-key="srocc"]').click()
        page.locator(f'{TABLE} [data-name="0"]').click()
        assert names(page) == sorted(names(page))
        assert page.locator(f"{TABLE} [aria-sort]").count() == 1


def test_words_and_boxes_choose_lines(page_file: Path, open_page: Open) -> None:
    """A word of the attack, the chain or its parameters; the attacker; the family; and how many are left is said."""
    with open_page(page_file) as page:
        board = page.locator("#table-robustness-bright")
        field, said = board.locator("[type=search]"), board.locator("output")
        expect(said).to_have_text("8 lines")
        field.fill("fgsm dim")
        assert names(page) == ["FGSM", "FGSM"]
        expect(said).to_have_text("2 of 8 lines")
        board.get_by_label("unaware").uncheck()
        assert names(page) == ["FGSM"]
        expect(page.locator(f"{TABLE} tbody tr:visible .tag")).to_have_text("adaptive")
        field.fill("factor=0.5")
        assert names(page) == ["FGSM", "Square"]
        field.fill("")
        board.get_by_label("unaware").check()
        board.get_by_label("gradient").uncheck()
        board.get_by_label("queries").uncheck()
        assert names(page) == ["Sharpen", "Sharpen"]


def test_a_metric_is_chosen_by_its_tab(page_file: Path, open_page: Open) -> None:
    """By mouse, and by the arrow keys, which go round; one panel is there at a time."""
    with open_page(page_file) as page:
        panels = page.locator("[role=tabpanel]:visible")
        expect(panels).to_have_id("of-bright")
        page.get_by_role("tab", name="Red").click()
        expect(panels).to_have_id("of-red")
        page.keyboard.press("ArrowRight")
        expect(panels).to_have_id("of-bright")
        expect(page.get_by_role("tab", name="Bright")).to_be_focused()
        expect(page.get_by_role("tab", name="Red")).to_have_attribute("aria-selected", "false")


def test_the_slider_uncovers_the_other_image_by_keyboard(page_file: Path, open_page: Open) -> None:
    """A step of the range is a step of the edge; another image can be chosen."""
    with open_page(page_file) as page:
        compare = page.locator("#of-bright .compare").first
        slider, above = compare.locator("[type=range]"), compare.locator(".above")
        slider.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        assert above.evaluate("image => getComputedStyle(image).clipPath") == "inset(0px 45% 0px 0px)"
        expect(slider).to_have_attribute("aria-valuetext", "55 % attacked")
        compare.locator("select").select_option("difference ×5")
        tile = page.locator('#of-bright .exhibit [data-kind="difference"]').first
        assert above.get_attribute("src") == tile.get_attribute("src")


def test_an_image_is_enlarged_to_its_own_pixels_by_keyboard(page_file: Path, open_page: Open) -> None:
    """Enter opens it, arrows go on, a button doubles the pixels, Escape closes, and the focus is back."""
    with open_page(page_file) as page:
        button = page.locator("#of-bright .enlarge").first
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.locator("dialog")
        image, caption = dialog.locator("img"), dialog.locator("p")
        expect(caption).to_contain_text("clean")
        assert width_of(image) == 32
        page.keyboard.press("ArrowRight")
        expect(caption).to_contain_text("attacked")
        dialog.get_by_text("1×").click()
        assert width_of(image) == 64
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(button).to_be_focused()


def width_of(image: Locator) -> float:
    """Its width on the screen."""
    return float(image.evaluate("image => image.getBoundingClientRect().width"))


def test_the_worst_attack_stands_first(page_file: Path, open_page: Open) -> None:
    """Whatever image it is of."""
    with open_page(page_file) as page:
        said = page.locator("#of-bright .gain").all_inner_texts()
        gains = [float(re.findall(r"-?[\d.]+", text)[0]) for text in said]
        assert len(gains) > 2
        assert gains == sorted(gains, reverse=True)


def test_the_page_recomputes_itself(page_file: Path, open_page: Open) -> None:
    """Every number is marked, and the sum is said."""
    with open_page(page_file) as page:
        expect(page.locator("#proof.right")).to_contain_text("all equal", timeout=20_000)
        assert page.locator(".mark:not(.right)").count() == 0
        assert page.locator(".mark.right").count() > 100


def test_a_phone_shows_the_page_without_scrolling_sideways(page_file: Path, open_page: Open) -> None:
    """Only tables and figures scroll, inside; beside the name of a line, a number is seen whole."""
    with open_page(page_file, **PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        for board in page.locator(".board:visible").all():
            cell = board.locator("tbody td .value").first
            box = cell.bounding_box()
            assert box is not None
            assert 0 < box["x"] < box["x"] + box["width"] <= 400
            size = cell.evaluate("cell => parseFloat(getComputedStyle(cell).fontSize)")
            assert size >= 12


def test_names_and_headings_stay_while_a_table_scrolls(long_file: Path, open_page: Open) -> None:
    """The first column and the head keep their places in the frame of the table."""
    with open_page(long_file, **PHONE) as page:
        places = """() => {
          const frame = document.querySelector(".scroll").getBoundingClientRect();
          return [...document.querySelectorAll("thead th:first-child, thead th:nth-child(2)")].map((head) => {
            const place = head.getBoundingClientRect();
            return [place.x - frame.x, place.y - frame.y];
          });
        }"""
        (corner, second) = page.evaluate(places)
        page.evaluate("document.querySelector('.scroll').scrollTo(200, 2000)")
        (corner_after, second_after) = page.evaluate(places)
        assert corner_after == pytest.approx(corner, abs=1)
        assert second_after[1] == pytest.approx(second[1], abs=1)
        assert second_after[0] < second[0] - 100


def test_ten_thousand_lines_sort_and_scroll(long_file: Path, open_page: Open) -> None:
    """A part is laid out at first, sorting reaches all lines, and scrolling brings more without a stutter."""
    with open_page(long_file) as page:
        assert len(page.evaluate(LAID_OUT)) <= 400
        started = time.monotonic()
        for order in (range(MANY - 1, -1, -1), range(MANY)):
            page.locator(f'{TABLE} [data-key="n0"]').click()
            assert page.evaluate(LAID_OUT)[:200] == list(order[:200])
        assert time.monotonic() - started < 20
        frames = page.evaluate(SCROLLED)
        assert page.evaluate(LAID_OUT) == list(range(len(page.evaluate(LAID_OUT))))
        assert len(page.evaluate(LAID_OUT)) > 800
        assert sorted(frames)[len(frames) // 2] < 150
        page.locator("[type=search]").fill("7777")
        assert page.evaluate(LAID_OUT) == [7777 * 7919 % MANY]


LAID_OUT = """() => [...document.querySelectorAll("tbody tr")].filter((row) => row.offsetParent).map(
    (row) => +row.querySelector(".value").textContent)"""
"""The first number of each line that is laid out."""
SCROLLED = """async () => {
  const scroll = document.querySelector(".scroll");
  const frames = [];
  let before = await new Promise(requestAnimationFrame);
  for (let step = 0; step < 40; step += 1) {
    scroll.scrollBy(0, 1200);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
  }
  return frames;
}"""
"""Scroll by forty screens; milliseconds of each frame."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_what_is_behind_it(scheme: str, page_file: Path, open_page: Open) -> None:
    """A contrast of 4.5, as WCAG's level AA asks, also on shaded cells; the button takes the other scheme."""
    with open_page(page_file, color_scheme=scheme) as page:
        assert page.evaluate(CONTRASTS) == []
        button = page.locator("#theme")
        expect(button).to_have_text({"light": "Dark", "dark": "Light"}[scheme])
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        button.click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert page.evaluate(CONTRASTS) == []


CONTRASTS = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = new Set();
  for (const element of document.querySelectorAll("body *:not(svg *, script, option)")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!words || !element.checkVisibility()) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      const shade = /(?:color|rgba?)\\([^)]*\\)/.exec(style.backgroundImage);
      if (shade) behind.unshift(shade[0]);
      behind.unshift(style.backgroundColor);
    }
    const colour = getComputedStyle(element).color;
    const [one, two] = [light(over(behind)), light(over([...behind, colour]))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (two + 0.05);
    if (contrast < 4.5) poor.add(`${element.tagName}.${element.className} ${colour}: ${contrast.toFixed(2)}`);
  }
  return [...poor];
}"""
"""The elements whose own words have less contrast than 4.5, with what lies behind them composed."""


def test_every_image_has_words_and_headings_go_down_by_one(page_file: Path, open_page: Open) -> None:
    """For readers who hear the page."""
    with open_page(page_file) as page:
        assert page.locator('img:not([alt]), img[alt=""]:not(dialog img)').count() == 0
        for figure in page.locator("svg").all():
            assert figure.get_attribute("role") == "img"
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => +h.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#answer")).to_be_focused()
