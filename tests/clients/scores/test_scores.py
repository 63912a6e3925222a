"""Robustness scores against scipy, scikit-image, hand-computed values and published ones."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
from data_folder import DATA
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from scoreguard_client import scores
from scoreguard_client.scores import fidelity
from scoreguard_client.scores.fidelity import IDENTICAL_PSNR, like
from scoreguard_client.scores.scaling import Values

UNIT = scores.ScoreRange(low=0, high=1)
VALUES = hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(-2, 2, width=32))


def published(attack: str) -> tuple[Values, Values]:
    """Clean and attacked MANIQA scores of the NIPS 2017 images, as published."""
    path = DATA / "benchmark" / "maniqa" / f"{attack}_maniqa_test.csv.gz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    with gzip.open(path, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["test_dataset"].startswith("NIPS")]
    return np.array([float(row["clear"]) for row in rows]), np.array([float(row["attacked"]) for row in rows])


@pytest.mark.parametrize(
    ("attack", "rows", "wanted"),
    [
        ("std-fgsm", 1000, (0.300, 0.203, 0.379, 0.300, 0.537)),
        ("uap", 6000, (-0.199, -0.129, 0.599, -0.199, -0.362)),
    ],
)
def test_the_benchmarks_published_scores_are_recomputed(attack: str, rows: int, wanted: tuple[float, ...]) -> None:
    """Absolute gain, relative gain, R, W, E of MANIQA on NIPS 2017, without the domain transform, to three digits."""
    clean, attacked = published(attack)
    u, v = scores.scale_pair(clean, attacked, UNIT, scores.Scaling.CLEAN_SELECTION)
    got = (
        scores.absolute_gain(u, v),
        scores.relative_gain(u, v),
        scores.r_score(u, v, mode=scores.RMode.BENCHMARK),
        scores.wasserstein_score(u, v),
        scores.energy_score(u, v),
    )
    assert len(clean) == rows
    np.testing.assert_allclose(got, wanted, atol=0.0006)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), clean=VALUES)
def test_gains_follow_their_formulas(data: st.DataObject, clean: Values) -> None:
    """Means over images of v - u and of (v - u) / (u + 1)."""
    clean = np.abs(clean)
    attacked = data.draw(hnp.arrays(np.float64, clean.shape, elements=st.floats(-2, 2)))
    pairs = list(zip(clean.tolist(), attacked.tolist(), strict=True))
    assert scores.absolute_gain(clean, attacked) == pytest.approx(sum(v - u for u, v in pairs) / len(pairs), abs=1e-12)
    wanted = sum((v - u) / (u + 1) for u, v in pairs) / len(pairs)
    assert scores.relative_gain(clean, attacked) == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(clean=VALUES, attacked=VALUES)
def test_distances_are_scipys_with_the_sign_of_the_mean_change(clean: Values, attacked: Values) -> None:
    """The magnitude is the integral of the distribution functions' difference; the sign tells rise from fall."""
    sign = np.sign(attacked.mean() - clean.mean())
    grid = np.sort(np.concatenate([clean, attacked]))
    steps = np.diff(grid)
    first, second = (np.searchsorted(np.sort(side), grid[:-1], side="right") / side.size for side in (clean, attacked))
    difference = first - second
    assert scores.wasserstein_score(clean, attacked) == pytest.approx(
        sign * np.sum(np.abs(difference) * steps), abs=1e-9
    )
    wanted = sign * np.sqrt(2 * np.sum(difference**2 * steps))
    assert scores.energy_score(clean, attacked) == pytest.approx(wanted, abs=1e-7)
    assert abs(scores.wasserstein_score(clean, attacked)) == pytest.approx(stats.wasserstein_distance(clean, attacked))


def test_the_two_r_scores_differ_in_the_first_term_of_the_maximum() -> None:
    """Paper: max(1 - v, u); benchmark: max(1 - u, u)."""
    clean, attacked = np.array([0.2]), np.array([0.9])
    paper = scores.r_score(clean, attacked)
    benchmark = scores.r_score(clean, attacked, mode=scores.RMode.BENCHMARK)
    assert paper == pytest.approx(np.log10(0.2 / 0.7), abs=1e-5)
    assert benchmark == pytest.approx(np.log10(0.8 / 0.7), abs=1e-5)


def test_an_r_score_ends_at_six_and_minus_six_inside_the_range() -> None:
    """Where nothing changed, and where the attack took all that there was to take."""
    assert scores.r_score(np.array([1.0]), np.array([1.0])) == pytest.approx(6, abs=1e-6)
    assert scores.r_score(np.array([0.0]), np.array([1.0])) == pytest.approx(-6, abs=1e-5)


def test_an_r_score_is_undefined_where_the_greatest_possible_change_is_negative() -> None:
    """Clean below and attacked above the range: the logarithm has no argument, and one such image is enough."""
    assert np.isnan(scores.r_score(np.array([-0.5]), np.array([1.5])))
    assert np.isnan(scores.r_score(np.array([-0.5, 0.5]), np.array([1.5, 0.6])))
    assert np.isfinite(scores.r_score(np.array([-0.5]), np.array([1.5]), mode=scores.RMode.BENCHMARK))


def test_a_relative_gain_is_undefined_for_a_clean_score_worse_than_the_range() -> None:
    """NIQE of 65 in a range that ends at 30: the formula would give -1.08 for an attack that raises the quality."""
    niqe = scores.ScoreRange(low=0, high=30, higher_is_better=False)
    u, v = scores.scale_pair(np.array([65.0]), np.array([60.0]), niqe)
    assert scores.absolute_gain(u, v) > 0
    assert np.isnan(scores.relative_gain(u, v))


@settings(max_examples=200, deadline=None)
@given(
    clean=st.floats(-300, 300),
    attacked=st.floats(-300, 300),
    end=st.sampled_from([1.0, 30.0, 100.0]),
    higher=st.booleans(),
)
def test_no_score_of_one_image_tells_another_direction_than_its_absolute_gain(
    clean: float, attacked: float, end: float, higher: bool
) -> None:
    """Relative gain, W and E have the sign of the absolute gain or are undefined; nothing is infinite."""
    declared = scores.ScoreRange(low=0, high=end, higher_is_better=higher)
    u, v = scores.scale_pair(np.array([clean]), np.array([attacked]), declared)
    gain = scores.absolute_gain(u, v)
    signed = (scores.relative_gain(u, v), scores.wasserstein_score(u, v), scores.energy_score(u, v))
    for score in signed:
        assert np.isnan(score) or np.sign(score) == np.sign(gain) or abs(score - gain) < 1e-12
    assert np.isnan(signed[0]) == (u[0] < -1e-9)
    others = (scores.r_score(u, v), scores.purification_gain(np.array([clean]), np.array([attacked])))
    assert all(np.isnan(score) or np.isfinite(score) for score in others)
    assert np.isnan(others[1]) == (clean <= 1e-9)
    assert np.isnan(others[0]) == (max(1 - v[0], u[0]) < -1e-9)


@pytest.mark.parametrize("scaling", list(scores.Scaling))
def test_lower_is_better_turns_a_falling_score_into_a_gain(scaling: scores.Scaling) -> None:
    """An attack that lowers DMOS by a quarter of the range gains as much as one that raises MOS by it."""
    clean, attacked = np.array([0.0, 50.0, 100.0]), np.array([-25.0, 25.0, 75.0])
    dmos = scores.ScoreRange(low=0, high=100, higher_is_better=False)
    mos = scores.ScoreRange(low=0, high=100)
    fallen = scores.absolute_gain(*scores.scale_pair(clean, attacked, dmos, scaling))
    risen = scores.absolute_gain(*scores.scale_pair(clean, clean + 25, mos, scaling))
    assert fallen == pytest.approx(0.25)
    assert risen == pytest.approx(0.25)


def test_the_selections_scale_depends_on_the_selection_and_the_declared_one_does_not() -> None:
    """Leaving an image out changes benchmark gains, not ours."""
    clean, attacked = np.array([10.0, 20.0, 90.0]), np.array([20.0, 30.0, 100.0])
    declared = scores.ScoreRange(low=0, high=100)

    def gain(count: int, scaling: scores.Scaling) -> float:
        return scores.absolute_gain(*scores.scale_pair(clean[:count], attacked[:count], declared, scaling))

    assert gain(3, scores.Scaling.DECLARED_RANGE) == pytest.approx(gain(2, scores.Scaling.DECLARED_RANGE))
    assert gain(3, scores.Scaling.CLEAN_SELECTION) == pytest.approx(10 / 80)
    assert gain(2, scores.Scaling.CLEAN_SELECTION) == pytest.approx(1)


def test_a_selection_of_equal_clean_scores_has_no_scale() -> None:
    """Every score on it is undefined, and says so instead of dividing by zero."""
    u, v = scores.scale_pair(np.array([5.0, 5.0]), np.array([6.0, 7.0]), UNIT, scores.Scaling.CLEAN_SELECTION)
    for score in (scores.absolute_gain, scores.r_score, scores.wasserstein_score, scores.energy_score):
        assert np.isnan(score(u, v))


def test_gain_and_quality_score_of_a_purification_follow_their_equations() -> None:
    """Gain is eq. 5; the table's quality score divides PSNR by 160, the printed one by 100."""
    assert scores.purification_gain(np.array([50.0, 80.0]), np.array([55.0, 72.0])) == pytest.approx(0.1)
    assert np.isnan(scores.purification_gain(np.array([0.0]), np.array([5.0])))
    assert np.isnan(scores.purification_gain(np.array([-4.0, 50.0]), np.array([5.0, 50.0])))
    ssim, psnr = np.array([0.8]), np.array([32.0])
    assert scores.quality_score(ssim, psnr) == pytest.approx(0.6)
    assert scores.quality_score_printed(ssim, psnr) == pytest.approx(0.72)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), first=VALUES)
def test_correlations_are_scipys(data: st.DataObject, first: Values) -> None:
    """With ties too; both are undefined for a constant side and for one value."""
    second = data.draw(hnp.arrays(np.float64, first.shape, elements=st.floats(-2, 2, width=16)))
    if np.ptp(first) < 1e-3 or np.ptp(second) < 1e-3:
        first, second = np.append(first, [9.0, 11.0]), np.append(second, [8.0, 12.0])
    assert scores.plcc(first, second) == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-6)
    assert scores.srocc(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-6)
    assert scores.krocc(first, second) == pytest.approx(stats.kendalltau(first, second).statistic, abs=1e-6)
    assert np.isnan(scores.srocc(first, np.ones_like(first)))
    assert np.isnan(scores.krocc(first, np.ones_like(first)))
    assert np.isnan(scores.plcc(first[:1], second[:1]))


@pytest.mark.parametrize(("height", "rows"), [(7, 1), (8, 3), (40, 7), (41, 7), (41, 13), (41, 41), (41, 100)])
def test_a_large_image_is_compared_a_few_rows_at_a_time(
    height: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are those of the whole image, whatever the bands."""
    rng = np.random.default_rng(1)
    clean = rng.random((height, 20, 3)).astype(np.float32)
    other = np.clip(clean + rng.normal(0, 0.05, clean.shape), 0, 1).astype(np.float32)
    other[-1] = 1 - other[-1]  # what the last row adds must not be lost
    whole = [score(clean, other) for score in (scores.psnr, scores.ssim, scores.l_infinity)]
    monkeypatch.setattr(fidelity, "_BAND_PIXELS", rows * 20)
    banded = [score(clean, other) for score in (scores.psnr, scores.ssim, scores.l_infinity)]
    assert banded == pytest.approx(whole, rel=1e-12)
    assert banded[1] == pytest.approx(
        structural_similarity(  # type: ignore[no-untyped-call]
            clean.astype(np.float64), other.astype(np.float64), channel_axis=2, data_range=1
        ),
        rel=1e-12,
    )


def test_fidelity_is_scikit_images() -> None:
    """PSNR and SSIM of float images; identical images have a finite PSNR."""
    rng = np.random.default_rng(0)
    clean = rng.random((31, 22, 3))
    noisy = np.clip(clean + rng.normal(0, 0.05, clean.shape), 0, 1)
    theirs = peak_signal_noise_ratio(clean, noisy, data_range=1)  # type: ignore[no-untyped-call]
    assert scores.psnr(clean, noisy) == pytest.approx(theirs)
    channels = [
        structural_similarity(clean[..., c], noisy[..., c], data_range=1)  # type: ignore[no-untyped-call]
        for c in range(3)
    ]
    assert scores.ssim(clean, noisy) == pytest.approx(np.mean(channels))
    assert scores.psnr(clean, clean) == IDENTICAL_PSNR
    assert scores.ssim(clean[:4, :9], clean[:4, :9]) == pytest.approx(1)
    assert scores.l_infinity(np.zeros((2, 2, 3)), np.full((2, 2, 3), 0.25)) == 0.25


def test_in_an_image_of_two_rows_single_pixels_are_compared() -> None:
    """No odd window but one of a pixel fits: it has a brightness and no variance."""
    rng = np.random.default_rng(0)
    clean, other = rng.random((2, 2, 9, 3))
    wanted = (2 * clean * other + 0.01**2) / (clean**2 + other**2 + 0.01**2)
    assert scores.ssim(clean, other) == pytest.approx(wanted.mean())
    assert scores.ssim(clean[:1, :1], clean[:1, :1]) == 1


def test_a_smaller_purified_image_is_brought_to_the_clean_ones_size() -> None:
    """Sizes that agree are left alone, and a constant image stays constant."""
    clean = np.full((20, 30, 3), 0.5)
    assert like(clean, clean) is clean
    np.testing.assert_allclose(like(clean, np.full((10, 15, 3), 0.5)), clean)
