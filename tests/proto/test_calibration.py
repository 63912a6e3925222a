"""Bounds of the studies and of calibrations: what is shipped, what is written and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_folder import DATA, WHY_SKIPPED

from scoreguard.calibration import Calibration, studied, study_bounds

MEASURED = Calibration(
    metric="niqe",
    images=2,
    images_sha256="cd" * 32,
    weights={"niqe": "ef" * 32},
    low=2.5,
    lower_quartile=3.0,
    median=4.0,
    upper_quartile=5.0,
    high=9.0,
)
THEIR_NAMES = {"koncept512": "koncept"}
"""Names of the benchmark that are not ours."""


@pytest.mark.skipif(not (DATA / "benchmark/presets").is_dir(), reason=WHY_SKIPPED)
def test_the_studys_bounds_are_those_that_it_publishes() -> None:
    """To the digits that are shipped; a metric that is better when lower has its bounds in rising order here."""
    published = json.loads((DATA / "benchmark/presets/bounds.json").read_text())
    for name in studied():
        bounds, theirs = study_bounds(name), published[THEIR_NAMES.get(name, name)]
        assert bounds is not None
        assert (bounds.low, bounds.high) == pytest.approx(sorted((theirs["low"], theirs["high"])), abs=0.03), name


def test_the_benchmarks_own_way_has_its_bounds() -> None:
    """`spaq-as-benchmark` has them as `spaq`; our MobileNet, which is another network, has none."""
    assert study_bounds("spaq-as-benchmark") == study_bounds("spaq")
    assert study_bounds("nima") is None
    bounds = study_bounds("wsp")
    assert bounds is not None and bounds.source == "nips2017"


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All of it, and its bounds name the list of images."""
    (tmp_path / "range.json").write_text(MEASURED.to_json())
    found = Calibration.read(tmp_path / "range.json")
    assert found == MEASURED
    assert (found.bounds.low, found.bounds.high) == (2.5, 9.0)
    assert found.bounds.source == f"calibrated sha256:{'cd' * 32}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "scoreguard calibration"}',
        MEASURED.to_json().replace("9.0", "2.5"),
        MEASURED.to_json().replace("cd", ""),
        MEASURED.to_json().replace('"images"', '"pictures"'),
        MEASURED.to_json().replace("2.5", '"low"'),
    ],
)
def test_anything_else_is_refused_with_the_command_that_writes_one(text: str, tmp_path: Path) -> None:
    """One line."""
    (tmp_path / "range.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"range\.json is no calibration .*scoreguard-export calibrate METRIC"
    ) as caught:
        Calibration.read(tmp_path / "range.json")
    assert "\n" not in str(caught.value)
