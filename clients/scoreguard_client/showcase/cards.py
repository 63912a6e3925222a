"""Results of a showcase: a card for each defence, with its numbers and the images to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from scoreguard_client.showcase.details import Window
from scoreguard_client.showcase.images import Shown


class Order(StrEnum):
    """How the cards are sorted; defences that failed come last."""

    SERVER = "server"
    """In the server's order, or as requested."""
    QUALITY = "quality"
    """Best quality of the purified attacked image first."""
    GAIN = "gain"
    """Smallest gain of the attack first."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One image as the metric saw it, clean or attacked."""

    score: float
    """f(g(x)), in the metric's units."""
    psnr: float
    """Of g(x) against the clean original, in dB; 150 if they are identical."""
    ssim: float
    """Of g(x) against the clean original."""
    quality: float
    """SSIM / 2 + PSNR / 160: the quality score of arXiv 2404.06957."""
    height: int
    """Height of g(x), in pixels."""
    width: int
    """Width of g(x), in pixels."""
    milliseconds: float
    """Time of the defence on the server."""
    shown: Shown = field(repr=False)
    """The image, for people."""

    def to_json(self) -> dict[str, Any]:
        """The numbers."""
        names = ("score", "psnr", "ssim", "quality", "height", "width", "milliseconds")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its attacked form, both behind the same defence."""

    clean: View
    """g(x)."""
    attacked: View
    """g(x')."""
    difference: Shown | None = field(repr=False)
    """g(x') - g(x) around middle grey, amplified as everywhere on the page; None if the sizes differ."""
    window: Window
    """Position of the detail in both."""
    higher_is_better: bool = True
    """False if a low score means high quality."""

    @property
    def gain(self) -> float:
        """By how much the attack raised the quality, in the metric's units.

        f(g(x')) - f(g(x)), with its sign flipped if a low score means high quality.
        """
        change = self.attacked.score - self.clean.score
        return change if self.higher_is_better else 0.0 - change

    @property
    def milliseconds(self) -> float:
        """Time of the defence on the server: the faster of the two, since the first run of a graph loads it."""
        return min(self.clean.milliseconds, self.attacked.milliseconds)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One defence."""

    label: str
    """The chain as requested."""
    chain: str
    """The chain with every parameter named."""
    title: str
    """Its name in prose."""
    random: bool
    """Whether the result depends on the seed."""
    size_preserving: bool
    """Whether the purified image has the size of the input."""
    pair: Pair | None = None
    """The result; None if it failed."""
    error: str = ""
    """Why it failed, one line; empty if it did not."""

    def to_json(self) -> dict[str, Any]:
        """The numbers; null if the defence failed."""
        pair = self.pair
        return {
            "defence": self.label,
            "chain": self.chain,
            "title": self.title,
            "random": self.random,
            "size_preserving": self.size_preserving,
            "clean": None if pair is None else pair.clean.to_json(),
            "attacked": None if pair is None else pair.attacked.to_json(),
            "gain": None if pair is None else pair.gain,
            "error": self.error,
        }


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts on the page other than its cards."""

    photo: str
    """Name of the file."""
    sha256: str
    """Digest of the file, hexadecimal."""
    height: int
    """Height of the photo, in pixels."""
    width: int
    """Width of the photo, in pixels."""
    metric: str
    """Name of the metric."""
    metric_title: str
    """Its name in prose."""
    score_range: tuple[float, float]
    """Its lowest and highest score."""
    higher_is_better: bool
    """False if a low score means high quality."""
    archive_sha256: str
    """Digest of the deployed archive, hexadecimal."""
    server_version: str
    """Version of the server software."""
    attack: str
    """The attack with every parameter named."""
    attack_title: str
    """Its name in prose."""
    gradients: str
    """Source of gradients: `live`, `local:` and the digest of the surrogate, or `unused`."""
    l_infinity: float
    """Largest change of any value by the attack, in units of [0, 1]."""
    amplification: float
    """Factor of every difference on the page."""
    seed: int
    """Seed of the attack and of random defences."""


@dataclass(frozen=True, kw_only=True)
class Showcase:
    """One photo through every defence, clean and attacked."""

    facts: Facts
    """The facts of the run."""
    undefended: Pair
    """The photo itself and the attacked photo."""
    cards: tuple[Card, ...]
    """The defences, in the requested order."""

    @property
    def failed(self) -> tuple[Card, ...]:
        """The defences that gave no image."""
        return tuple(card for card in self.cards if card.pair is None)

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        low, high = self.facts.score_range
        facts = {name: value for name, value in vars(self.facts).items() if name != "score_range"}
        undefended = {
            "clean": self.undefended.clean.to_json(),
            "attacked": self.undefended.attacked.to_json(),
            "gain": self.undefended.gain,
        }
        ends = {"range_low": low, "range_high": high}
        return facts | ends | {"undefended": undefended, "cards": [card.to_json() for card in self.cards]}


def in_order(cards: Sequence[Card], order: Order) -> tuple[Card, ...]:
    """Sort the cards; the sort is stable."""
    return tuple(sorted(cards, key=lambda card: _rank(card, order)))


def _rank(card: Card, order: Order) -> tuple[bool, float]:
    if card.pair is None or order is Order.SERVER:
        return order is not Order.SERVER, 0.0
    return False, -card.pair.attacked.quality if order is Order.QUALITY else abs(card.pair.gain)
