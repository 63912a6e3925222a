"""Drawings as files whose bytes depend on what is drawn alone: no dates, no versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

DPI: Final = 120
"""Resolution of PNG files."""
PLAIN_TEXT: Final[Any] = {"text.parse_math": False, "font.family": "DejaVu Sans"}
"""Names are text as it stands, and sizes are those of a font that comes with matplotlib: it is a wide one, so texts
that do not touch in it touch in no other one that a browser takes."""


def drawn(draw: Callable[[], Drawing]) -> Drawing:
    """Draw once for all forms: where things are is computed here, and stays as it is."""
    with mpl.rc_context(PLAIN_TEXT):
        drawing = draw()
        if drawing.get_layout_engine() is not None:
            drawing.draw_without_rendering()
            drawing.set_layout_engine("none")
    return drawing


def write_drawing(drawing: Drawing, path: Path, *, title: str) -> None:
    """Write a PDF or PNG file.

    Args:
        drawing: what to write.
        path: the file; its suffix says the form.
        title: what it shows, for the file's properties.
    """
    nothing = {"CreationDate": None, "Producer": None, "Creator": None} if path.suffix == ".pdf" else {"Software": None}
    with mpl.rc_context(PLAIN_TEXT):
        drawing.savefig(path, dpi=DPI, metadata=cast("dict[str, str]", {**nothing, "Title": title}))
