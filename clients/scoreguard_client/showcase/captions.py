"""The words and numbers under the images: one line each, the same on the page, on the sheet and in the terminal."""

from __future__ import annotations

from typing import Final

from scoreguard.v1.codec import TOP
from scoreguard.v1.spec import parse_chain, shown_value
from scoreguard_client.attacks.base import Direction
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.report.digits import decimals_of_range
from scoreguard_client.report.text import number
from scoreguard_client.scores.fidelity import IDENTICAL_PSNR
from scoreguard_client.showcase.cards import Card, Facts, Pair, View

_SECOND: Final = 1000
_TEN: Final = 10
_HALF: Final = 0.5


def decimals(facts: Facts) -> int:
    """Return the digits after the point of a score: as many as its range needs."""
    low, high = facts.score_range
    return decimals_of_range(high - low)


def score(view: View, facts: Facts) -> str:
    """The score alone."""
    return number(view.score, decimals(facts))


def gain(pair: Pair, facts: Facts) -> str:
    """The gain with its sign."""
    text = number(pair.gain, decimals(facts))
    return text if text.startswith("-") else f"+{text}"


def fidelity(view: View) -> str:
    """PSNR and SSIM."""
    if view.psnr >= IDENTICAL_PSNR:
        return "identical"
    return f"{view.psnr:.1f} dB · {view.ssim:.3f}"


def quality(view: View) -> str:
    """The study's quality score."""
    return number(view.quality, 3)


def size(view: View) -> str:
    """Width and height."""
    return f"{view.width} × {view.height}"


def duration(pair: Pair) -> str:
    """Time of the defence, in a suitable unit."""
    milliseconds = pair.milliseconds
    if milliseconds >= _SECOND:
        return f"{milliseconds / _SECOND:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= _TEN else f"{milliseconds:.1f} ms"


def kept(pair: Pair, undefended: Pair, facts: Facts) -> float | None:
    """Share of the undefended gain left behind the defence; None if the attack gained nothing undefended."""
    aim = -1 if parse_attack(facts.attack).direction is Direction.DOWN else 1
    return pair.gain / undefended.gain if aim * undefended.gain > 0 else None


def is_high(pair: Pair, undefended: Pair, facts: Facts) -> bool:
    """Whether more than half of the attack's gain is left behind the defence."""
    share = kept(pair, undefended, facts)
    return share is not None and share > _HALF


def attack_line(facts: Facts) -> str:
    """The attack, the budget that it spent, and the seed."""
    return f"{facts.attack_title}, L∞ {facts.l_infinity * TOP:.1f}/255, seed {facts.seed}"


def parameters(card: Card) -> str:
    """The parameters that ran: `quality 50, subsampling 4:2:0`; for a chain its text form."""
    steps = parse_chain(card.chain)
    if len(steps) > 1:
        return card.chain
    return ", ".join(f"{name} {shown_value(value)}" for step in steps for name, value in step.parameters)
