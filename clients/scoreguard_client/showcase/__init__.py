"""One photo through every defence, clean and attacked: a page of images with quality and score under each."""

from __future__ import annotations

from scoreguard_client.showcase.cards import Card, Facts, Order, Pair, Showcase, View, in_order
from scoreguard_client.showcase.errors import ShowcaseError
from scoreguard_client.showcase.launch import ShowcaseOptions, make_showcase

__all__ = [
    "Card",
    "Facts",
    "Order",
    "Pair",
    "Showcase",
    "ShowcaseError",
    "ShowcaseOptions",
    "View",
    "in_order",
    "make_showcase",
]
