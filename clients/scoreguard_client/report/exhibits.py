"""Attacks on single images, for viewing: clean, attacked, purified and amplified difference, with their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import PIL.Image

from scoreguard.v1.codec import TOP
from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.gallery import image_path
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.digits import decimals_of_range
from scoreguard_client.report.text import number

Levels = npt.NDArray[np.uint8]

_MIDDLE: Final = 127.5
_MOST: Final = 6
"""Most attacks to show of a metric; more would make the page heavy."""
_MOST_CHAINS: Final = 4
"""Most chains to show of an attack."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image of an exhibit."""

    title: str
    """Its caption."""
    kind: str
    """`clean`, `attacked`, `purified` or `difference`."""
    image: Levels
    """(H, W, 3)."""
    score: str = ""
    """The metric's score, for people."""
    note: str = ""
    """A line below."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One attack on one image."""

    image: str
    """Name of the image."""
    attack: str
    """The attack in its text form."""
    through: str
    """The chain that it worked through; `none` = the metric alone."""
    title: str
    """The attack's name in prose."""
    tiles: tuple[Tile, ...]
    """The images, in reading order."""
    gain: float
    """How far it raised the score that it worked on, as a share of the scale."""


def exhibits(report: Report) -> list[Exhibit]:
    """Return each kept image's strongest attack on the bare metric and its strongest adaptive one, worst first."""
    found = []
    for image in report.shown:
        records = [record for record in report.attacked if record.image == image]
        for adaptive in (False, True):
            exhibit = _strongest(report, image, [record for record in records if record.adaptive is adaptive])
            found += [exhibit] if exhibit else []
    return sorted(found, key=lambda exhibit: -exhibit.gain)[:_MOST]


def _strongest(report: Report, image: str, records: list[Record]) -> Exhibit | None:
    if not records:
        return None
    best = max(records, key=lambda record: _gain(report, record))
    chosen = (best.attack, best.attacked_through)
    mine = [record for record in records if (record.attack, record.attacked_through) == chosen]
    first_draws = sorted((r for r in mine if r.draw == 0), key=lambda record: -_served_gain(report, record))
    tiles = _tiles(report, image, first_draws, best)
    knowing = f", knowing {report.label(best.attacked_through)}" if best.adaptive else ""
    title = report.attack_name(best.attack) + knowing
    gain = _gain(report, best)
    if not tiles:
        return None
    through = best.attacked_through
    return Exhibit(image=image, attack=best.attack, through=through, title=title, tiles=tuple(tiles), gain=gain)


def _gain(report: Report, record: Record) -> float:
    """Return the gain on what the attack worked on: the bare metric, or the chain that it knew."""
    if record.adaptive:
        return _served_gain(report, record)
    return _share(report, record.clean_score, record.attacked_score)


def _served_gain(report: Report, record: Record) -> float:
    return _share(report, record.clean_defended, record.attacked_defended)


def _share(report: Report, clean: float | None, attacked: float | None) -> float:
    sign = 1 if report.declared.higher_is_better else -1
    return sign * ((attacked or 0) - (clean or 0)) / (report.declared.high - report.declared.low)


def _tiles(report: Report, image: str, records: list[Record], best: Record) -> list[Tile]:
    clean = _read(report, image)
    whose = {"metric": best.metric, "attack": best.attack, "attacked_through": best.attacked_through}
    attacked = _read(report, image, **whose)
    if clean is None or attacked is None:
        return []
    tiles = [
        Tile(title="clean", kind="clean", image=clean, score=_score(report, best.clean_score)),
        Tile(
            title="attacked",
            kind="attacked",
            image=attacked,
            score=_score(report, best.attacked_score),
            note=_rounded(report, best),
        ),
        amplified_difference(clean, attacked, best.l_inf_8bit or 0),
    ]
    for record in [record for record in records if record.chain != UNDEFENDED][:_MOST_CHAINS]:
        purified = _read(report, image, **whose, chain=record.chain)
        if purified is not None:
            note = f"clean {_score(report, record.clean_defended)}"
            title = f"purified by {report.label(record.chain)}"
            score = _score(report, record.attacked_defended)
            tiles.append(Tile(title=title, kind="purified", image=purified, score=score, note=note))
    return tiles


def amplified_difference(clean: Levels, attacked: Levels, l_inf: float) -> Tile:
    """Return the difference around middle grey, stretched so that its largest value reaches black or white."""
    difference = attacked.astype(np.float64) - clean.astype(np.float64)
    largest = float(np.abs(difference).max())
    factor = _MIDDLE / largest if largest else 1.0
    image = np.rint(np.clip(_MIDDLE + factor * difference, 0, TOP)).astype(np.uint8)
    return Tile(title=f"difference ×{factor:.0f}", kind="difference", image=image, score=f"L∞ {l_inf * TOP:.0f}/255")


def _read(report: Report, image: str, **parts: str) -> Levels | None:
    path = image_path(report.run, image, **parts)
    if not path.is_file():
        return None
    with PIL.Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def _score(report: Report, value: float | None) -> str:
    decimals = decimals_of_range(report.declared.high - report.declared.low)
    return number(float("nan") if value is None else value, decimals)


def _rounded(report: Report, record: Record) -> str:
    return f"8-bit {_score(report, record.attacked_score_8bit)}"
