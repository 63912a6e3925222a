"""Order violations: counted by hand, with intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest
from photographs import crop
from scipy import stats

from scoreguard_client.degradations import DEGRADATIONS, degraded_copies
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate
from scoreguard_client.scores.ordering import order_table, order_violations
from scoreguard_client.scores.shares import share_estimate


def missing(estimate: Estimate) -> str:
    """Why there is no number."""
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    return estimate.note


def test_violations_and_ties_are_counted_apart_by_degradation_and_strength() -> None:
    """Three images, two degradations: each share is what is counted by hand."""
    rows = [
        # image, score, copy's score, degradation, strength
        ("a", 5.0, 4.0, "blur", 1),
        ("a", 5.0, 6.0, "blur", 2),
        ("a", 5.0, 5.0, "noise", 1),
        ("b", 3.0, 3.5, "blur", 1),
        ("b", 3.0, 3.0, "blur", 2),
        ("b", 3.0, 1.0, "noise", 1),
        ("c", 7.0, 2.0, "blur", 1),
        ("c", 7.0, 8.0, "blur", 2),
        ("c", 7.0, 7.5, "noise", 1),
    ]
    images, originals, copies, degradations, strengths = zip(*rows, strict=True)
    table = order_table(np.array(originals), np.array(copies), images, degradations, strengths)
    assert (table.overall.violations.value, table.overall.ties.value) == pytest.approx((4 / 9, 2 / 9))
    assert (table.overall.pairs, table.overall.images) == (9, 3)
    assert {name: cell.violations.value for name, cell in table.by_degradation.items()} == {
        "blur": pytest.approx(3 / 6),
        "noise": pytest.approx(1 / 3),
    }
    assert list(table.by_strength) == [("blur", 1), ("blur", 2), ("noise", 1)]
    shares = [(cell.violations.value, cell.ties.value) for cell in table.by_strength.values()]
    np.testing.assert_allclose(shares, [(1 / 3, 0), (2 / 3, 1 / 3), (1 / 3, 1 / 3)])


def test_a_score_that_sees_sharpness_alone_prefers_noise_but_never_blur() -> None:
    """Real copies of real photographs: the mean gradient rises with noise and falls with blur, so the table tells."""
    names, originals, copies, degradations, strengths = [], [], [], [], []
    for number in range(6):
        image = crop(number, 40 * number, 60 * number, 96, 96)
        for copy in degraded_copies(image, ["blur", "noise"], seed=number):
            names.append(f"image{number}")
            originals.append(sharpness(image))
            copies.append(sharpness(copy.image))
            degradations.append(copy.degradation)
            strengths.append(copy.strength)
    table = order_table(np.array(originals), np.array(copies), names, degradations, strengths)
    assert table.by_degradation["blur"].violations.value == 0
    assert table.by_degradation["noise"].violations.value > 0.9
    assert len(table.by_strength) == len(DEGRADATIONS["blur"].strengths) + len(DEGRADATIONS["noise"].strengths)


def sharpness(image: np.ndarray) -> float:
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(image.astype(np.float64), axis=1)).mean())


def test_the_interval_of_one_pair_for_each_image_is_clopper_and_pearsons() -> None:
    """The exact binomial interval of scipy, also where no copy is preferred and where all are."""
    for hits in (0, 1, 7, 29, 30):
        copies = np.where(np.arange(30) < hits, 2.0, 0.0)
        cell = order_violations(np.ones(30), copies, [str(number) for number in range(30)])
        wanted = stats.binomtest(hits, 30).proportion_ci(0.95, method="exact")
        got = (cell.violations.low, cell.violations.high)
        assert got == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_pairs_of_one_image_do_not_make_an_interval_narrower() -> None:
    """Thirty copies of each of 30 images that agree with each other count as 30."""
    hits = np.arange(30) < 10
    once = share_estimate(hits, Clusters([str(n) for n in range(30)]))
    often = share_estimate(np.repeat(hits, 30), Clusters([str(n) for n in np.repeat(np.arange(30), 30)]))
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


@pytest.mark.parametrize("images", [6, 30, 100])
@pytest.mark.parametrize("spread", ["alike", "some images more", "one image in twenty"])
def test_intervals_hold_the_true_share_as_often_as_they_promise(spread: str, images: int) -> None:
    """Over 300 samples of images with five copies each, in 95 % less two simulation errors."""
    rng, held = np.random.default_rng(images), 0
    clusters = Clusters([str(number) for number in np.repeat(np.arange(images), 5)])
    truth = {"alike": 0.1, "some images more": 0.2 / 2.2, "one image in twenty": 0.05 * 0.9 + 0.95 * 0.01}[spread]
    for _ in range(300):
        chances = {
            "alike": np.full(images, 0.1),
            "some images more": rng.beta(0.2, 2, images),
            "one image in twenty": np.where(rng.random(images) < 0.05, 0.9, 0.01),
        }[spread]
        estimate = share_estimate(rng.random(5 * images) < np.repeat(chances, 5), clusters)
        held += estimate.low <= truth <= estimate.high
    assert held / 300 >= 0.95 - 0.025


def test_without_numbers_there_is_no_share() -> None:
    """A score that is not finite makes the cell undefined; fewer than three images are missing; none is an error."""
    nan = order_violations(np.array([1.0, np.nan, 1.0, 1.0]), np.zeros(4), ["a", "a", "b", "c"])
    assert missing(nan.violations) == missing(nan.ties) == "undefined"
    assert nan.violations.undefined == 1
    two = order_violations(np.ones(4), np.zeros(4), ["a", "a", "b", "b"])
    assert missing(two.violations) == "n too small"
    with pytest.raises(ScoresError, match="at least one pair"):
        order_violations(np.ones(0), np.ones(0), [])
    with pytest.raises(ScoresError, match="not 2 and 3"):
        order_table(np.ones(3), np.ones(3), ["a", "b", "c"], ["blur"] * 2, [1] * 3)
