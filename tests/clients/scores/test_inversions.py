"""Rank inversions: counted by two loops, with intervals over images that hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.inversions import inversions_by_budget, rank_inversions
from scoreguard_client.scores.scaling import Values


def counted(clean: Values, attacked: Values, images: list[str], quality: Values, gap: float) -> tuple[float, int]:
    """Share and number of pairs by loops over images and rows; images of a pair must have another name."""
    names = list(dict.fromkeys(images))
    rows = {name: [row for row, image in enumerate(images) if image == name] for name in names}
    means = {name: float(np.mean([quality[row] for row in rows[name]])) for name in names}
    won, pairs = 0.0, 0
    for poor in names:
        for better in names:
            if means[better] - means[poor] >= gap:
                contests = [(attacked[a], clean[b]) for a in rows[poor] for b in rows[better]]
                won += float(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in contests]))
                pairs += 1
    return won / pairs if pairs else float("nan"), pairs


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(3, 12),
    most=st.integers(1, 3),
    by_people=st.booleans(),
    gap=st.sampled_from([0.05, 0.3]),
)
def test_the_share_is_what_two_loops_count(seed: int, images: int, most: int, by_people: bool, gap: float) -> None:
    """With ties, images of several rows, and pairs by people's scores or by the clean ones."""
    rng = np.random.default_rng(seed)
    names = [f"image{n}" for n in rng.permutation(np.repeat(np.arange(images), rng.integers(1, most + 1, images)))]
    clean = rng.uniform(0, 1, len(names)).round(1)
    attacked = (clean + rng.uniform(0, 0.4, len(names))).round(1)
    opinions = {name: float(rng.uniform(0, 1)) for name in names}
    people = np.array([opinions[name] for name in names])
    quality = people if by_people else clean
    got = rank_inversions(clean, attacked, names, gap=gap, quality=people if by_people else None)
    share, pairs = counted(clean, attacked, names, quality, gap)
    assert got.pairs == pairs
    assert got.attacked.value == pytest.approx(share, abs=1e-12, nan_ok=True)
    assert got.clean.value == pytest.approx(counted(clean, clean, names, quality, gap)[0], abs=1e-12, nan_ok=True)
    if np.isfinite(got.attacked.low):
        assert got.attacked.low <= got.attacked.value <= got.attacked.high


def test_blocks_of_images_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty images compared seven cells at a time, and at once."""
    rng = np.random.default_rng(2)
    names = [str(number) for number in np.repeat(np.arange(20), 2)]
    clean = rng.uniform(0, 1, 40)
    whole = rank_inversions(clean, clean + 0.2, names, gap=0.1)
    monkeypatch.setattr("scoreguard_client.scores.inversions._CELLS", 500)
    assert rank_inversions(clean, clean + 0.2, names, gap=0.1) == whole


def test_clean_scores_that_define_the_pairs_are_in_order_before_the_attack() -> None:
    """And an attack that raises every score alike inverts all nearer pairs: 0.15 passes 0.1 and not 0.2."""
    clean = np.arange(10) / 10
    names = [str(number) for number in range(10)]
    got = rank_inversions(clean, clean + 0.15, names, gap=0.09)
    assert got.clean.value == 0
    assert got.attacked.value == pytest.approx(9 / 45)
    curve = inversions_by_budget(clean, {8 / 255: clean + 0.35, 2 / 255: clean + 0.15}, names, gap=0.09)
    assert list(curve) == [2 / 255, 8 / 255]
    assert [cell.attacked.value for cell in curve.values()] == pytest.approx([9 / 45, (9 + 8 + 7) / 45])


@pytest.mark.parametrize("images", [6, 30, 100])
@pytest.mark.parametrize("kind", ["usual", "rare", "strong"])
def test_intervals_hold_the_true_share_as_often_as_they_promise(kind: str, images: int) -> None:
    """Over 80 samples, in 93 % less two simulation errors; both images of each pair vary from sample to sample."""
    rng = np.random.default_rng([images, len(kind)])

    def draw(count: int) -> tuple[Values, Values]:
        clean = np.clip(rng.normal(0.6, 0.15, count), 0.05, 1)
        gains = {
            "usual": rng.normal(0.1, 0.08, count),
            "rare": np.where(rng.random(count) < 0.05, 0.3, 0.01),
            "strong": rng.normal(0.4, 0.1, count),
        }
        return clean, clean + gains[kind]

    many = [str(number) for number in range(1500)]
    truth = rank_inversions(*draw(1500), many, gap=0.1).attacked.value
    held = []
    for _ in range(80):
        estimate = rank_inversions(*draw(images), many[:images], gap=0.1).attacked
        if np.isfinite(estimate.low):
            held.append(estimate.low <= truth <= estimate.high)
    assert len(held) > 60
    assert np.mean(held) >= 0.93 - 0.057


def test_without_pairs_or_numbers_there_is_no_share() -> None:
    """Images nearer than the gap, a score that is not finite, two images; and arguments that make no sense."""
    names = ["a", "b", "c"]
    assert rank_inversions(np.array([0.5, 0.51, 0.52]), np.ones(3), names, gap=0.1).attacked.note == "undefined"
    bad = rank_inversions(np.array([0.1, np.nan, 0.9]), np.ones(3), names, gap=0.1).attacked
    assert (bad.note, bad.undefined) == ("undefined", 1)
    assert rank_inversions(np.array([0.1, 0.9]), np.ones(2), ["a", "b"], gap=0.1).attacked.note == "n too small"
    one = rank_inversions(np.array([0.1, 0.1, 0.9]), np.zeros(3), names, gap=0.5).attacked
    assert (one.value, one.note) == (0, "n too small")  # the better image is the same in all pairs
    for gap in (0, -1, float("nan")):
        with pytest.raises(ScoresError, match="above 0"):
            rank_inversions(np.ones(3), np.ones(3), names, gap=gap)
    with pytest.raises(ScoresError, match="not 2 and 3"):
        rank_inversions(np.ones(3), np.ones(2), names, gap=1)
