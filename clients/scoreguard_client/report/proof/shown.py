"""What a page shows, read from its HTML: the records that it embeds, the text of every cell, and its images."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from scoreguard_client.report.proof.errors import PageError
from scoreguard_client.report.tables.model import Address

RECORDS: Final = "records"
"""`id` of the element that holds the records."""
NAMES: Final = "names"
"""Stands for the heading in the address of a line's names."""
_PARTS: Final = ("value", "interval")
_NAME: Final = "name"
_VOID: Final = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "path", "wbr"})
_CLOSED: Final = frozenset({"html", "body", "script", "style", "table"})
"""Elements that a whole page has closed at its end; others may be left open."""
_LOSSLESS: Final = re.compile(r"data:image/(?:png|webp);base64,")
_JOINED: Final = ", "


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a cell shows."""

    value: str
    """The number, or a text."""
    interval: str = ""
    """The interval, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class PageImage:
    """An image of the page, lossless and of its own size."""

    metric: str
    """The metric that it is an exhibit of."""
    image: str
    """Name of the image."""
    attack: str
    """The attack in its text form; empty if it is clean."""
    chain: str
    """The chain that the attack worked through; `none` = the metric alone."""
    kind: str
    """`clean`, `attacked` or `purified`."""
    png: bytes = field(repr=False)
    """The file."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A page."""

    records: str
    """The text that it embeds."""
    cells: Mapping[Address, Text]
    """Every cell; the names of a line have the heading `names`."""
    twice: tuple[Address, ...]
    """Cells that are there more than once."""
    images: tuple[PageImage, ...]
    """Its images that can be scored again."""


def read_page(path: Path) -> Shown:
    """Read a page.

    Raises:
        PageError: it cannot be read, or embeds no records.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PageError(f"{path} cannot be read: {error}") from error
    reader = _Reader()
    reader.feed(text)
    reader.close()
    if not reader.has_records:
        raise PageError(f"{path} is no page of scoreguard report with records in it, or was cut before them")
    if reader.unfinished:
        raise PageError(f"{path} ends inside its <{reader.unfinished}>: the page was cut")
    return Shown(records=reader.records, cells=reader.cells, twice=tuple(reader.twice), images=tuple(reader.images))


class _Reader(HTMLParser):
    """Follows the open elements; a cell's text is that of its parts, whatever stands around it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.records, self.has_records = "", False
        self.cells: dict[Address, Text] = {}
        self.twice: list[Address] = []
        self.images: list[PageImage] = []
        self._open: list[tuple[str, str]] = []
        self._table = self._line = ""
        self._heading: str | None = None
        self._parts: dict[str, str] = {}
        self._names: list[str] = []

    @property
    def unfinished(self) -> str:
        """The element inside which the page ends; empty if it is whole."""
        return next((tag for tag, _ in reversed(self._open) if tag in _CLOSED), "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element begins."""
        told = {key: value or "" for key, value in attrs}
        role = ""
        if tag == "script" and told.get("id") == RECORDS:
            role, self.has_records = RECORDS, True
        elif tag == "table":
            self._table = told.get("data-table", "")
        elif tag == "tr":
            self._line, self._names = told.get("data-line", ""), []
        elif tag == "td" and "data-heading" in told:
            self._heading, self._parts = told["data-heading"], {}
        elif tag == "img":
            self._keep(told)
        else:
            classes = told.get("class", "").split()
            role = next((part for part in (*_PARTS, _NAME) if part in classes), "")
            if role == _NAME and self._line:
                self._names.append("")
        if tag not in _VOID:
            self._open.append((tag, role))

    def handle_endtag(self, tag: str) -> None:
        """Close the element, and what was left open inside it; a cell that ends is whole."""
        if tag not in (name for name, _ in self._open):
            return
        while self._open.pop()[0] != tag:
            pass
        if tag == "td" and self._heading is not None:
            parts = (" ".join(self._parts.get(part, "").split()) for part in _PARTS)
            self._add(self._heading, *parts)
            self._heading = None
        elif tag == "tr" and self._line and self._names:
            self._add(NAMES, _JOINED.join(" ".join(name.split()) for name in self._names))
        elif tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        """Add the text to what it belongs to."""
        role = next((role for _, role in reversed(self._open) if role), "")
        if role == RECORDS:
            self.records += data
        elif role in _PARTS:
            self._parts[role] = self._parts.get(role, "") + data
        elif role == _NAME and self._names:
            self._names[-1] += data

    def _add(self, heading: str, value: str, interval: str = "") -> None:
        if not self._table or not self._line:
            return
        address = Address(self._table, self._line, heading)
        if address in self.cells:
            self.twice.append(address)
        self.cells[address] = Text(value=value, interval=interval)

    def _keep(self, told: Mapping[str, str]) -> None:
        source = told.get("src", "")
        if told.get("data-native") != "1" or not (kind := _LOSSLESS.match(source)):
            return
        try:
            png = base64.b64decode(source[kind.end() :], validate=True)
        except binascii.Error as error:
            raise PageError(f"an image of {told.get('data-image', 'no name')} in the page was cut") from error
        names = {name: told.get(f"data-{name}", "") for name in ("metric", "image", "attack", "chain", "kind")}
        self.images.append(PageImage(**names, png=png))
