"""A surrogate refuses the images that the server refuses, before a graph sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import ParameterError, TooSmallError
from scoreguard.v1.spec import parse_chain
from scoreguard_client.oracles import LocalOracle


@pytest.fixture
def toy(tmp_path: Path) -> Archive:
    """The toy archive, whose metric reads 2 pixels, `round` 4, and whose `shrink:step` is bound by the image."""
    archive = write_archive(tmp_path / "energy")
    archive.manifest.metric.facts.minimum_size = 2
    defences = {artifact.facts.name: artifact.facts for artifact in archive.manifest.defences}
    defences["round"].minimum_size = 4
    defences["shrink"].parameters[0].at_most_side = True
    return archive


@pytest.mark.parametrize(
    ("chain", "error", "problem"),
    [
        ("shrink+shrink+shrink:step=3", ParameterError, r"shrink:step=3 \(step 3\) .* 3 x 2 there: use 2"),
        ("shrink+shrink+round", TooSmallError, r"defence 'round' \(step 3\) needs at least 4 x 4 .* 3 x 2 there"),
        ("shrink+shrink+shrink", TooSmallError, "metric 'energy' needs at least 2 x 2 .* 2 x 1 there"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_step(
    toy: Archive, chain: str, error: type[Exception], problem: str
) -> None:
    """7 rows and 10 columns are 2 and 3 behind two halvings; scores and gradients say so alike."""
    oracle, images = LocalOracle(toy, parse_chain(chain)), np.ones((1, 3, 7, 10), dtype=np.float32)
    for question in (oracle.score, oracle.gradient):
        with pytest.raises(error, match=problem):
            question(images)


def test_what_fits_exactly_is_scored(toy: Archive) -> None:
    """The bound itself is allowed."""
    images = np.ones((1, 3, 6, 9), dtype=np.float32)
    assert LocalOracle(toy, parse_chain("shrink:step=3")).score(images).tolist() == [100]
    assert LocalOracle(toy, parse_chain("round")).score(images[..., :4, :4]).tolist() == [100]


def test_a_bad_parameter_of_a_later_step_is_named(toy: Archive) -> None:
    """Before any image is seen."""
    with pytest.raises(ParameterError, match=r"scale:factor=7 \(step 2\) is out of range: 0 to 1"):
        LocalOracle(toy, parse_chain("scale+scale:factor=7"))
