"""What a showcase shows: where the detail is, how images are reduced, how cards are sorted, how the sheet is set."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from scoreguard_client._models import FloatImage
from scoreguard_client.showcase.cards import Card, Facts, Order, Pair, Showcase, View, in_order
from scoreguard_client.showcase.details import Window, busiest, follow
from scoreguard_client.showcase.images import LONGEST, Shown, amplification, show, show_difference
from scoreguard_client.showcase.sheet import sheet_of

WINDOW = Window(left=90, top=70, width=40, height=40)


@pytest.fixture(scope="module")
def photo() -> FloatImage:
    """A part of a photograph, (200, 240, 3)."""
    image = data.astronaut()[:200, 100:340]  # type: ignore[no-untyped-call]
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def test_the_detail_follows_a_flip(photo: FloatImage) -> None:
    """It shows the same content mirrored, pixel by pixel."""
    flipped = photo[::-1, ::-1]
    found = follow(WINDOW, photo, flipped)
    np.testing.assert_array_equal(found.cut(flipped), WINDOW.cut(photo)[::-1, ::-1])


def test_the_detail_follows_a_crop(photo: FloatImage) -> None:
    """It shows the same content at another place."""
    cropped = photo[45:185, 60:200]
    found = follow(WINDOW, photo, cropped)
    np.testing.assert_array_equal(found.cut(cropped), WINDOW.cut(photo))


def test_the_detail_of_a_reduced_image_is_as_much_smaller(photo: FloatImage) -> None:
    """The same share of height and width."""
    assert follow(WINDOW, photo, photo[::2, ::2]) == Window(left=45, top=35, width=20, height=20)


def test_the_detail_stays_where_nothing_resembles_it(photo: FloatImage) -> None:
    """Noise has no place of best agreement."""
    noise = np.random.default_rng(0).random(photo.shape).astype(np.float32)
    assert follow(WINDOW, photo, noise) == WINDOW


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 130), width=st.integers(1, 130))
def test_a_chosen_detail_is_inside_an_image_of_any_size(height: int, width: int) -> None:
    """And follows into an image of another size without leaving it."""
    image = np.random.default_rng(height * width).random((height, width, 3)).astype(np.float32)
    window = busiest(image)
    smaller = image[: max(height // 3, 1), : max(width // 2, 1)]
    assert window.fits(image)
    assert follow(window, image, smaller).cut(smaller).size > 0


def test_the_chosen_detail_is_where_the_structure_is() -> None:
    """A checkerboard in a flat image."""
    image = np.full((200, 300, 3), 0.5, dtype=np.float32)
    image[80:120, 160:200] = (np.indices((40, 40)).sum(axis=0) % 2)[..., None]
    window = busiest(image)
    assert (window.left <= 160, window.top <= 80) == (True, True)
    assert (window.left + window.width >= 200, window.top + window.height >= 120) == (True, True)


def test_a_large_image_is_reduced_and_its_detail_is_not() -> None:
    """So that a page of many defences stays small."""
    levels = np.random.default_rng(1).integers(0, 256, (400, 2000, 3), dtype=np.uint8)
    shown = show(levels.astype(np.float32) / np.float32(255), WINDOW)
    assert shown.whole.shape[1] == LONGEST
    np.testing.assert_array_equal(shown.detail, levels[70:110, 90:130])


def test_a_difference_is_amplified_around_middle_grey() -> None:
    """Attack of 8/255: a factor of 16, at which it spans black to white."""
    clean = np.full((200, 240, 3), 0.5, dtype=np.float32)
    factor = amplification(8 / 255)
    shown = show_difference(clean + np.float32(8 / 255), clean, WINDOW, factor)
    assert factor == 16
    assert shown is not None
    assert shown.detail.min() == 255
    unchanged = show_difference(clean, clean, WINDOW, factor)
    assert unchanged is not None
    assert set(np.unique(unchanged.detail)) <= {127, 128}
    assert show_difference(clean[::2], clean, WINDOW, factor) is None
    assert amplification(0) == 1


def view(score: float, quality: float = 0.5) -> View:
    """An image with these numbers."""
    levels = np.zeros((20, 30, 3), dtype=np.uint8)
    return View(
        score=score,
        psnr=30.0,
        ssim=0.9,
        quality=quality,
        height=20,
        width=30,
        milliseconds=1.0,
        shown=Shown(whole=levels, detail=levels[:10, :10]),
    )


def card(name: str, clean: float = 50.0, attacked: float = 60.0, quality: float = 0.5, *, error: str = "") -> Card:
    """A defence with these numbers, or with an error."""
    pair = Pair(
        clean=view(clean),
        attacked=view(attacked, quality),
        difference=None,
        window=Window(left=0, top=0, width=10, height=10),
    )
    return Card(
        label=name,
        chain=f"{name}:strength=0.123456789:passes=12:softness=1:window=33",
        title=name,
        random=True,
        size_preserving=True,
        pair=None if error else pair,
        error=error,
    )


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order.SERVER, ["failed", "b", "a", "c"]),
        (Order.QUALITY, ["c", "b", "a", "failed"]),
        (Order.GAIN, ["a", "c", "b", "failed"]),
    ],
)
def test_cards_are_sorted_as_asked_with_failed_ones_last(order: Order, names: list[str]) -> None:
    """A gain counts by its size: a defence that turns it round is not the best."""
    cards = [
        card("failed", error="too small"),
        card("b", attacked=70.0, quality=0.6),
        card("a", attacked=49.0, quality=0.1),
        card("c", attacked=45.0, quality=0.9),
    ]
    assert [one.label for one in in_order(cards, order)] == names


@pytest.mark.parametrize("count", [1, 9])
def test_no_two_texts_of_the_sheet_overlap(count: int) -> None:
    """Long names, long parameters and long errors included."""
    long_error = (
        "the image of 30 x 20 pixels is smaller than the window of 256 pixels that crop takes; choose a smaller"
    )
    cards = [card(f"a-defence-with-a-long-name-{number}") for number in range(count)]
    showcase = Showcase(
        facts=Facts(
            photo="photo.png",
            sha256="ab" * 32,
            height=20,
            width=30,
            metric="bright",
            metric_title="Mean brightness",
            score_range=(0.0, 100.0),
            higher_is_better=True,
            archive_sha256="ab" * 32,
            server_version="1",
            attack="fgsm:eps=0.03",
            attack_title="FGSM",
            gradients="live",
            l_infinity=8 / 255,
            amplification=16.0,
            seed=0,
        ),
        undefended=cards[0].pair or pytest.fail("no pair"),
        cards=(*cards, card("failing", error=long_error)),
    )
    figure = sheet_of(showcase)
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    overlapping = [(a, b) for (a, first), (b, second) in combinations(boxes, 2) if first.overlaps(second)]
    assert overlapping == []
    outside = [text for text, box in boxes if not figure.bbox.containsx(box.x0) or not figure.bbox.containsx(box.x1)]
    assert outside == []
    assert len(boxes) > 6 * count
