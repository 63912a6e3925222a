"""The map onto a reference metric against scipy's distances and assignments, and as properties."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.optimize import linear_sum_assignment

from scoreguard_client.scores import DomainTransform, Sample, ScoreRange
from scoreguard_client.scores.domain_transform import sample_sha256
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.transport import monotone_coupling, transport_map

FINITE = st.floats(-1e3, 1e3, width=32)
SAMPLES = hnp.arrays(np.float64, st.integers(2, 30), elements=FINITE).filter(lambda values: np.ptp(values) > 0)
DISTINCT = hnp.arrays(np.float64, st.integers(2, 30), elements=FINITE, unique=True)
ANYWHERE = hnp.arrays(np.float64, 60, elements=st.floats(-5e3, 5e3))
DIRECTIONS = st.booleans()


def side(metric: str, *, higher_is_better: bool = True) -> Sample:
    """A metric of this direction."""
    return Sample(metric=metric, higher_is_better=higher_is_better, images=5, sha256="0" * 64)


def fitted(
    scores: Values, reference: Values, *, higher: bool = True, reference_higher: bool = True, slope: float | None = None
) -> DomainTransform:
    """The map of one sample onto another."""
    return DomainTransform.fit(
        scores,
        reference,
        source=side("mine", higher_is_better=higher),
        reference=side("theirs", higher_is_better=reference_higher),
        slope=slope,
    )


@settings(max_examples=40, deadline=None)
@given(scores=DISTINCT, data=st.data())
def test_the_mapped_sample_is_the_reference_where_sizes_agree(scores: Values, data: st.DataObject) -> None:
    """Their Wasserstein distance is 0, to the last bit, for either direction of either metric."""
    elements = hnp.arrays(np.float64, len(scores), elements=FINITE).filter(lambda values: np.ptp(values) > 0)
    reference = data.draw(elements)
    higher, reference_higher = data.draw(DIRECTIONS), data.draw(DIRECTIONS)
    mapped = fitted(scores, reference, higher=higher, reference_higher=reference_higher).apply(scores)
    assert stats.wasserstein_distance(mapped, reference) == 0
    # The best of one metric goes to the best of the other, the second to the second, and so on.
    order = np.argsort(scores) if higher else np.argsort(-scores)
    best_last = np.sort(reference) if reference_higher else -np.sort(-reference)
    np.testing.assert_array_equal(mapped[order], best_last)


@settings(max_examples=50, deadline=None)
@given(first=st.integers(1, 7), second=st.integers(1, 7), data=st.data())
def test_the_coupling_costs_what_the_best_assignment_costs(first: int, second: int, data: st.DataObject) -> None:
    """Every value split into parts of one mass, and scipy's solver of the assignment problem on the parts."""
    ours = np.sort(data.draw(hnp.arrays(np.float64, first, elements=FINITE)))
    theirs = np.sort(data.draw(hnp.arrays(np.float64, second, elements=FINITE)))
    left, right, mass = monotone_coupling(first, second)
    assert mass.sum() == first * second
    np.testing.assert_array_equal(np.bincount(left, weights=mass), np.full(first, second))
    np.testing.assert_array_equal(np.bincount(right, weights=mass), np.full(second, first))
    costs = (np.repeat(ours, second)[:, None] - np.repeat(theirs, first)[None, :]) ** 2
    rows, columns = linear_sum_assignment(costs)
    paid = float((mass * (ours[left] - theirs[right]) ** 2).sum())
    assert paid == pytest.approx(costs[rows, columns].sum(), rel=1e-9, abs=1e-9)


def test_a_value_goes_to_the_mean_of_what_it_is_coupled_to() -> None:
    """By hand: of two values the lower takes the lower half of three, 1 and half of 2; equal values are one."""
    values, reached = transport_map(np.array([5.0, 4.0]), np.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose(values, [4, 5])
    np.testing.assert_allclose(reached, [(1 + 2 / 2) / 1.5, (2 / 2 + 6) / 1.5])
    values, reached = transport_map(np.array([4.0, 5.0, 4.0]), np.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose(values, [4, 5])
    np.testing.assert_allclose(reached, [1.5, 6])


@settings(max_examples=40, deadline=None)
@given(scores=SAMPLES, reference=SAMPLES, asked=ANYWHERE, higher=DIRECTIONS, reference_higher=DIRECTIONS)
def test_a_better_score_never_maps_to_a_worse_one(
    scores: Values, reference: Values, asked: Values, higher: bool, reference_higher: bool
) -> None:
    """Inside and outside of the fitted scores, without a tolerance."""
    transform = fitted(scores, reference, higher=higher, reference_higher=reference_higher)
    everywhere = np.concatenate([asked, scores, np.nextafter(scores, np.inf), np.nextafter(scores, -np.inf)])
    worst_first = np.sort(everywhere) if higher else -np.sort(-everywhere)
    steps = np.diff(transform.apply(worst_first))
    assert (steps >= 0).all() if reference_higher else (steps <= 0).all()


@settings(max_examples=40, deadline=None)
@given(scores=SAMPLES, asked=ANYWHERE, higher=DIRECTIONS)
def test_a_metric_is_mapped_to_itself(scores: Values, asked: Values, higher: bool) -> None:
    """Equal samples give the identity: exactly on the sample, and up to rounding everywhere else."""
    transform = fitted(scores, scores, higher=higher, reference_higher=higher)
    np.testing.assert_array_equal(transform.apply(scores), scores)
    np.testing.assert_allclose(transform.apply(asked), asked, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    scores=SAMPLES,
    reference=SAMPLES,
    asked=ANYWHERE,
    factor=st.sampled_from([0.25, 0.5, 2.0, 8.0]),
    shift=st.integers(-64, 64),
)
def test_the_units_of_the_metric_do_not_matter(
    scores: Values, reference: Values, asked: Values, factor: float, shift: int
) -> None:
    """A metric that is rescaled maps to the same scores."""

    def rescaled(values: Values) -> Values:
        return np.asarray(factor * values + shift)

    span = np.ptp(scores)
    # Rounding of the shifted scores neither merges two of them nor counts beside their spread.
    assume(span > 1e-3 and len(np.unique(rescaled(scores))) == len(np.unique(scores)))
    plain, other = fitted(scores, reference), fitted(rescaled(scores), reference)
    assert other.slope == pytest.approx(plain.slope / factor)
    near = asked[np.abs(asked - scores.mean()) < 10 * span]
    np.testing.assert_allclose(other.apply(rescaled(near)), plain.apply(near), rtol=1e-6, atol=1e-6 * np.ptp(reference))


@pytest.mark.parametrize(("slope", "wanted"), [(None, (-40.0, 170.0)), (0.0, (10.0, 70.0)), (1.0, (5.0, 80.0))])
def test_outside_the_fitted_scores_the_map_goes_on_with_its_slope(
    slope: float | None, wanted: tuple[float, float]
) -> None:
    """By hand: the line from the worst to the best pair rises by 10 a point, whatever the pairs between."""
    transform = fitted(np.array([2.0, 3.0, 8.0]), np.array([10.0, 69.0, 70.0]), slope=slope)
    np.testing.assert_allclose(transform.apply(np.array([-3.0, 18.0])), wanted)


def test_the_rank_order_of_images_is_kept() -> None:
    """Spearman's correlation of scores with what they map to is 1, by scipy, for unequal sizes too."""
    rng = np.random.default_rng(0)
    scores, reference = rng.gamma(2, size=300), rng.beta(2, 5, size=200)
    mapped = fitted(scores, reference).apply(scores)
    assert stats.spearmanr(scores, mapped).statistic == pytest.approx(1)
    # Quantiles go to quantiles: no share of the images lies elsewhere than the reference's by more than one image.
    assert stats.ks_2samp(mapped, reference).statistic <= 1 / 200
    assert stats.ks_2samp(scores, reference).statistic > 0.5


def test_nan_stays_nan() -> None:
    """A missing score has no place on the reference."""
    mapped = fitted(np.array([0.0, 1.0]), np.array([5.0, 7.0])).apply(np.array([math.nan, 0.5]))
    np.testing.assert_array_equal(mapped, [math.nan, 6])


def test_a_file_reads_back_as_the_same_map(tmp_path: Path) -> None:
    """With names, directions, range and digests."""
    rng = np.random.default_rng(1)
    transform = replace(
        fitted(rng.normal(size=20), rng.normal(size=30), higher=False),
        range=ScoreRange(low=-4, high=4),
    )
    path = tmp_path / "map.json"
    path.write_text(transform.to_json(), encoding="utf-8")
    assert DomainTransform.read(path) == transform


def broken(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The content with one value replaced; a place within another is written with a dot."""
    outer, _, inner = place.partition(".")
    return content | {outer: (content[outer] | {inner: value}) if inner else value}


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        ("kind", "something", "another kind of file"),
        ("slope", -1.0, "its slope -1 is negative"),
        ("slope", "steep", "'steep' is not a number"),
        ("slope", math.nan, "a number in it is not finite"),
        ("scores", [0.0, 1.0], "not pairs"),
        ("scores", [0.0, 2.0, 1.0], "do not go from the worst to the best"),
        ("scores", [0.0, 0.0, 1.0], "do not go from the worst to the best"),
        ("scores", [0.0, True, 2.0], "True is not a number"),
        ("mapped", [5.0, 4.0, 6.0], "do not go from the worst to the best"),
        ("mapped", 3, "not iterable"),
        ("range.low", 9.0, "is empty"),
        ("range.higher_is_better", False, "differ in direction"),
        ("source.sha256", "12", "the digest of mine is none"),
        ("source.higher_is_better", "yes", "direction or number"),
        ("reference", None, "must be a mapping"),
        ("reference", {}, "missing"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused_in_one_line(tmp_path: Path, place: str, value: Any, why: str) -> None:
    """It names the file, what is wrong, and the command that writes one."""
    path = tmp_path / "map.json"
    good = json.loads(fitted(np.array([0.0, 1.0, 2.0]), np.array([4.0, 5.0, 6.0])).to_json())
    path.write_text(json.dumps(broken(good, place, value)), encoding="utf-8")
    with pytest.raises(ValueError, match=why) as raised:
        DomainTransform.read(path)
    assert str(raised.value).startswith(f"{path} is no domain transform (")
    assert "scoreguard domain fit" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"kind": "scoreguard domain transform"}', "\xff"])
def test_a_file_that_is_no_transform_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    """Empty, cut, of another kind, or not text."""
    path = tmp_path / "map.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="is no domain transform"):
        DomainTransform.read(path)


@pytest.mark.parametrize(
    ("scores", "reference", "why"),
    [
        ([1.0, math.nan], [1.0, 2.0], "a score of mine is not finite"),
        ([1.0, 2.0], [math.inf, 2.0], "a score of theirs is not finite"),
        ([1.0, 1.0], [1.0, 2.0], "mine needs two different scores"),
        ([1.0, 2.0], [], "theirs needs two different scores"),
    ],
)
def test_samples_that_fit_no_map_are_refused(scores: list[float], reference: list[float], why: str) -> None:
    """The metric at fault is named."""
    with pytest.raises(ValueError, match=why):
        fitted(np.array(scores), np.array(reference))


def test_the_digest_of_a_sample_depends_on_images_and_scores_and_on_no_order() -> None:
    """One more digit or another name is another sample."""
    digest = sample_sha256(["a", "b"], np.array([1.0, 2.0]))
    assert digest == sample_sha256(["b", "a"], np.array([2.0, 1.0]))
    assert digest != sample_sha256(["b", "a"], np.array([1.0, 2.0]))
    assert digest != sample_sha256(["a", "b"], np.array([1.0, 2.0000001]))
