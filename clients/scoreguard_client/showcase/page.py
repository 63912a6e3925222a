"""The showcase as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any, Final

import jinja2
import PIL.Image

from scoreguard_client.showcase import captions
from scoreguard_client.showcase.cards import Pair, Showcase, View
from scoreguard_client.showcase.images import LONGEST, Levels, Shown

_QUALITY: Final = 88
"""WebP quality of whole images; details are lossless."""


def page_of(showcase: Showcase) -> str:
    """Render the page as text."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= _filters(showcase)
    source = resources.files("scoreguard_client.showcase").joinpath("templates/showcase.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        showcase=showcase,
        facts=showcase.facts,
        undefended=showcase.undefended,
        attack_line=captions.attack_line(showcase.facts),
        longest=LONGEST,
        random=any(card.random for card in showcase.cards),
        resized=any(not card.size_preserving for card in showcase.cards),
    )


def _filters(showcase: Showcase) -> dict[str, Callable[..., Any]]:
    facts = showcase.facts
    return {
        "whole": _whole,
        "detail": _detail,
        "score": partial(captions.score, facts=facts),
        "gain": partial(captions.gain, facts=facts),
        "kept": partial(captions.kept, undefended=showcase.undefended, facts=facts),
        "is_high": partial(captions.is_high, undefended=showcase.undefended, facts=facts),
        "fidelity": captions.fidelity,
        "quality": captions.quality,
        "size": captions.size,
        "duration": captions.duration,
        "parameters": captions.parameters,
        "frame": _frame,
        "share": partial(_share, showcase=showcase),
    }


def _share(view: View, showcase: Showcase) -> str:
    """Return an image's width as a share of the photo's, so that small ones look small; at most the full width."""
    return f"{min(100 * view.width / showcase.facts.width, 100):.2f}%"


def _frame(pair: Pair) -> str:
    """Return the position of the detail, as CSS."""
    window, view = pair.window, pair.clean
    left, width = 100 * window.left / view.width, 100 * window.width / view.width
    top, height = 100 * window.top / view.height, 100 * window.height / view.height
    return f"left:{left:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%"


def _whole(shown: Shown) -> str:
    return _data_url(shown.whole, quality=_QUALITY)


def _detail(shown: Shown) -> str:
    return _data_url(shown.detail, lossless=True)


def _data_url(image: Levels, **form: Any) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "WEBP", method=4, **form)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
