"""Tampering: the ROC of gaps against scipy, DeLong's formula and counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.detection import alarm_threshold, least_clean_images, roc, tampering
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.scaling import Values


def numbered(count: int, kind: str = "image") -> list[str]:
    """Names of images."""
    return [f"{kind}{number}" for number in range(count)]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), clean=st.integers(3, 40), attacked=st.integers(3, 40))
def test_the_area_is_mann_and_whitneys_and_that_under_the_curve(seed: int, clean: int, attacked: int) -> None:
    """With ties: scipy's U over the number of pairs, and the trapezoids under the points of the ROC."""
    rng = np.random.default_rng(seed)
    gaps, others = rng.normal(0, 1, clean).round(1), rng.normal(0.8, 1, attacked).round(1)
    got = tampering(gaps, others, numbered(clean), numbered(attacked)).area
    wanted = stats.mannwhitneyu(others, gaps, alternative="greater").statistic / (clean * attacked)
    assert got.value == pytest.approx(wanted, abs=1e-12)
    curve = roc(gaps, others)
    assert np.trapezoid(curve.detections, curve.false_alarms) == pytest.approx(wanted, abs=1e-12)
    for threshold, false, true in zip(curve.thresholds, curve.false_alarms, curve.detections, strict=True):
        assert (false, true) == pytest.approx(((gaps > threshold).mean(), (others > threshold).mean()))
    assert got.low <= got.value <= got.high


def test_the_variance_of_different_images_is_delongs() -> None:
    """Written out from the paper's kernel for 60 clean and 80 attacked images: the interval has its width."""
    rng = np.random.default_rng(1)
    clean, attacked = rng.normal(0, 1, 60), rng.normal(1.2, 1, 80)
    kernel = (attacked[:, None] > clean) + 0.5 * (attacked[:, None] == clean)
    variance = kernel.mean(axis=1).var(ddof=1) / 80 + kernel.mean(axis=0).var(ddof=1) / 60
    got = tampering(clean, attacked, numbered(60, "a"), numbered(80, "b")).area
    trials = min(60, got.value * (1 - got.value) / variance)
    low = stats.beta.ppf(0.025, got.value * trials, trials - got.value * trials + 1)
    high = stats.beta.ppf(0.975, got.value * trials + 1, trials - got.value * trials)
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.003)


def test_an_image_that_is_clean_here_and_attacked_there_counts_once() -> None:
    """Repeating the rows of each image moves nothing, and pairs that move together are worth less than they seem."""
    rng = np.random.default_rng(2)
    clean = rng.normal(0, 1, 50)
    attacked = clean + 0.5
    once = tampering(clean, attacked, numbered(50), numbered(50)).area
    copies = [name for name in numbered(50) for _ in range(4)]
    often = tampering(np.repeat(clean, 4), np.repeat(attacked, 4), copies, copies).area
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 400), share=st.sampled_from([0.01, 0.05, 0.1]))
def test_the_threshold_is_the_least_that_keeps_the_promise(seed: int, images: int, share: float) -> None:
    """Found by trying every gap: with one more clean image, above it, the alarms are within the share."""
    gaps = np.random.default_rng(seed).normal(0, 1, images).round(2)
    keeping = [gap for gap in gaps if ((gaps > gap).sum() + 1) / (images + 1) <= share + 1e-12]
    got = alarm_threshold(gaps, Clusters(numbered(images)), share)
    if images < least_clean_images(share):
        assert not keeping
        assert np.isnan(got)
    else:
        assert got == min(keeping)


@pytest.mark.parametrize("images", [99, 150, 400])
def test_new_clean_images_raise_an_alarm_in_one_case_of_a_hundred_at_most(images: int) -> None:
    """Over 1000 thresholds; the usual reading of the sample's ROC would raise nearly twice as many from 100 images."""
    rng, promised, usual = np.random.default_rng(images), [], []
    clusters = Clusters(numbered(images))
    for _ in range(1000):
        gaps = rng.exponential(1, images)
        promised.append(stats.expon.sf(alarm_threshold(gaps, clusters)))
        usual.append(stats.expon.sf(np.sort(gaps)[::-1][int(0.01 * images + 1e-9)]))
    assert np.mean(promised) <= 0.01 + 2 * np.std(promised) / 1000**0.5
    if images == 150:
        assert np.mean(usual) > 0.012


def test_draws_of_an_image_share_its_weight() -> None:
    """Five equal rows of each of 150 images: the threshold is that of one row each."""
    gaps = np.random.default_rng(4).normal(0, 1, 150)
    names = [name for name in numbered(150) for _ in range(5)]
    assert alarm_threshold(np.repeat(gaps, 5), Clusters(names)) == alarm_threshold(gaps, Clusters(numbered(150)))


def test_the_detected_share_is_counted_above_the_threshold() -> None:
    """From 99 clean images on; below there is a note instead."""
    rng = np.random.default_rng(5)
    clean, attacked = rng.normal(0, 1, 99), rng.normal(2, 1, 50)
    got = tampering(clean, attacked, numbered(99), numbered(50))
    assert got.threshold == clean.max()
    assert got.detection.value == pytest.approx((attacked > clean.max()).mean())
    assert got.detection.low < got.detection.value < got.detection.high
    few = tampering(clean[:98], attacked, numbered(98), numbered(50))
    assert np.isnan(few.threshold)
    assert (np.isnan(few.detection.value), few.detection.note) == (True, "n too small")
    assert few.area.value == pytest.approx((attacked[:, None] > clean[:98]).mean())
    assert [least_clean_images(share) for share in (0.01, 0.05, 0.1, 0.5)] == [99, 19, 9, 1]


@pytest.mark.parametrize("images", [6, 30, 100])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_intervals_of_the_area_hold_the_true_one_as_often_as_they_promise(shift: float, images: int) -> None:
    """Over 200 samples of images whose clean and attacked gaps belong together, in 93 % less two simulation errors."""
    rng, held = np.random.default_rng([images, int(shift)]), 0
    truth = float(stats.norm.cdf(shift / np.sqrt(2)))

    def gaps() -> tuple[Values, Values]:
        common = rng.normal(0, 0.7, images)
        own = rng.normal(0, np.sqrt(1 - 0.49), (2, images))
        return common + own[0], common + own[1] + shift

    for _ in range(200):
        area = tampering(*gaps(), numbered(images), numbered(images)).area
        held += area.low <= truth <= area.high
    assert held / 200 >= 0.93 - 0.036


def test_without_numbers_there_is_no_area_and_what_does_not_fit_is_refused() -> None:
    """A gap that is not finite, two images, no rows, names that are missing, a share that is none."""
    bad = tampering(np.array([0.0, np.nan, 0.0]), np.ones(3), numbered(3), numbered(3))
    assert (bad.area.note, bad.area.undefined, bad.detection.note) == ("undefined", 1, "undefined")
    assert tampering(np.zeros(2), np.ones(2), numbered(2), numbered(2)).area.note == "n too small"
    with pytest.raises(ScoresError, match="gaps of clean and of attacked"):
        tampering(np.zeros(0), np.ones(3), [], numbered(3))
    with pytest.raises(ScoresError, match="name of the image"):
        tampering(np.zeros(3), np.ones(3), numbered(2), numbered(3))
    with pytest.raises(ScoresError, match="must be in"):
        tampering(np.zeros(3), np.ones(3), numbered(3), numbered(3), false_alarms=0)
