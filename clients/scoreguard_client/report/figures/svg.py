"""Drawings as SVG elements for a page: small, of the page's own colour and font, without links to anything.

matplotlib writes a file for itself: with a prolog, metadata, a style sheet that would apply to the whole page, and ids
that two figures of one page would share. What is left here is the drawing.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any, Final, cast
from xml.etree.ElementTree import Element

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from scoreguard_client.report.figures.saving import PLAIN_TEXT
from scoreguard_client.report.figures.style import INK

_SVG: Final = "http://www.w3.org/2000/svg"
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_FONT: Final = re.compile(r"font: (?:(?P<weight>bold|\d00) )?(?P<size>[\d.]+px)[^;]*")
_FONT_NAME: Final = re.compile(r"font-family: [^;]*;?")
_NO_TURN: Final = re.compile(r"rotate\(-?0 [^)]*\)")
_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_FAMILY: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_SHORTENED: Final = ("d", "x", "y", "width", "height", "transform")
"""Attributes whose numbers are rounded: a hundredth of a point cannot be seen."""


def svg_of(drawing: Drawing, *, key: str, title: str, description: str) -> str:
    """Return a drawing as an SVG element.

    Args:
        drawing: what to write.
        key: what its ids begin with, unique in a page.
        title: its accessible name.
        description: what it shows, in words.
    """
    settings: Any = {**PLAIN_TEXT, "svg.fonttype": "none", "svg.hashsalt": key}
    nothing = cast("dict[str, str]", {"Date": None, "Creator": None, "Format": None, "Type": None})
    buffer = io.BytesIO()
    with mpl.rc_context(settings):
        drawing.savefig(buffer, format="svg", facecolor="none", edgecolor="none", metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    _prune(root)
    _rename(root, key)
    for element in root.iter():
        _tidy(element)
    root.attrib |= {
        "xmlns": _SVG,
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-about",
        "font-family": _FAMILY,
        "stroke-linejoin": "round",
    }
    for place, (tag, text) in enumerate([("title", title), ("desc", description)]):
        told = Element(tag, {"id": f"{key}-{'about' if place else 'title'}"})
        told.text = text
        root.insert(place, told)
    return ElementTree.tostring(root, encoding="unicode")


def _prune(element: Element) -> None:
    """Remove metadata, style sheets, what is invisible, and groups that only bear a name."""
    for child in list(element):
        _prune(child)
        place = list(element).index(child)
        if (
            child.tag in {"metadata", "style"}
            or _is_invisible(child)
            or (child.tag in {"g", "defs"} and not len(child))
        ):
            element.remove(child)
        elif child.tag == "g" and set(child.attrib) <= {"id"}:
            element.remove(child)
            for offset, grandchild in enumerate(child):
                element.insert(place + offset, grandchild)
    element.text = element.text if element.tag in {"text", "tspan"} else None
    element.tail = None


def _is_invisible(element: Element) -> bool:
    if element.tag in {"g", "defs"}:
        return not len(element)
    style = element.get("style", "")
    return element.tag == "path" and "fill: none" in style and "stroke" not in style.replace("stroke-linejoin", "")


def _rename(root: Element, key: str) -> None:
    """Keep the ids that something refers to, each with the figure's key in front."""
    used = set(_references(root))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", f"{key}-{name}")
        if link := element.attrib.pop(_LINK, None):
            element.set("href", f"#{key}-{link.removeprefix('#')}")
        for attribute, value in element.attrib.items():
            element.set(attribute, _REFERENCE.sub(rf"url(#{key}-\1)", value))


def _references(root: Element) -> Iterator[str]:
    for element in root.iter():
        if link := element.get(_LINK):
            yield link.removeprefix("#")
        for value in element.attrib.values():
            yield from _REFERENCE.findall(value)


def _tidy(element: Element) -> None:
    """Take the page's font, its colour for ink, and shorter numbers."""
    for attribute in _SHORTENED:
        if value := element.get(attribute):
            element.set(attribute, " ".join(_NUMBER.sub(_rounded, _NO_TURN.sub("", value)).split()))
    if element.get("transform") == "":
        del element.attrib["transform"]
    if style := element.get("style"):
        style = _FONT.sub(lambda found: f"font-size: {found['size']}; font-weight: {found['weight'] or 400}", style)
        style = _FONT_NAME.sub("", style)
        element.set("style", style.replace(INK, "currentColor").replace("; ", ";").replace(": ", ":").strip("; "))


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
