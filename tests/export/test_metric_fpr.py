"""FPR against PyTorch's own layers on patches that are cut as the authors' and the benchmark's code cut them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from official_states import drawn, fpr_training
from thin_metrics import ThinFpr, shapes_of, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.fpr import UNUSED, Fpr

BLOCKS = (("sfl1", True), ("sfl21", False), ("sfl22", True), ("sfl23", False), ("sfl3", True))
"""In order, and whether they pool."""


def _columns_first(image: Tensor) -> list[Tensor]:
    """The authors' split: strips from top to bottom, then all strips cut at each column."""
    values = image.permute(1, 2, 0).numpy()
    rows, columns = values.shape[0] // 64, values.shape[1] // 64
    strips = np.stack(np.split(values[: rows * 64], rows, axis=0))
    patches = np.concatenate(np.split(strips[:, :, : columns * 64], columns, axis=2))
    return [torch.from_numpy(patch.transpose(2, 0, 1).copy()) for patch in patches]


def _as_benchmark(image: Tensor) -> list[Tensor]:
    """The benchmark's split, which keeps the colours apart and then takes three planes at a time."""
    planes = [
        plane[top : top + 64, left : left + 64]
        for plane in image
        for top in range(0, image.shape[1] - 63, 64)
        for left in range(0, image.shape[2] - 63, 64)
    ]
    return [torch.stack(planes[first : first + 3]) for first in range(0, len(planes), 3)]


def _features(state: Mapping[str, Tensor], patch: Tensor) -> Tensor:
    def convolved(maps: Tensor, name: str, padding: int = 1) -> Tensor:
        return functional.conv2d(maps, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    maps = patch[None]
    for name, pools in BLOCKS:
        for index in (1, 2):
            maps = functional.leaky_relu(convolved(maps, f"{name}.conv{index}.conv.0"), 0.2)
        maps = functional.max_pool2d(maps, 2, 2) if pools else maps
    maps = functional.max_pool2d(functional.leaky_relu(convolved(maps, "scl1.conv.conv.0"), 0.2), 2, 2)
    return convolved(maps, "scl2", padding=0).reshape(256)


def _reference(metric: Fpr, patches: list[Tensor]) -> float:
    state = {name: value.double() for name, value in metric.state_dict().items()}
    layer = nn.GRU(256, 32, batch_first=True).double()
    layer.load_state_dict({name.removeprefix("swl1."): state[name] for name in state if name.startswith("swl1.")})
    with torch.no_grad():
        features = torch.stack([_features(state, patch.double()) for patch in patches])
        states = layer(features[None])[0][0]
        values, weights = [], []
        for feature, given in zip(features, states, strict=True):
            hidden = state["srl1.weight"] @ feature + state["srl1.bias"]
            values.append(float(state["srl2.weight"] @ hidden + state["srl2.bias"]))
            weights.append(max(float(state["swl2.weight"] @ given + state["swl2.bias"]), 0.0) + 1e-8)
    return float(np.dot(values, weights) / np.sum(weights))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 133), (200, 130), (299, 299)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """One patch, a row of them, and grids; what does not fill a patch is not read."""
    files, image = weights_of(ThinFpr, tmp_path), photographs(1, height, width, 3)
    for variant, cut in (("", _columns_first), ("as-benchmark", _as_benchmark)):
        metric = ThinFpr.from_weights(files, variant)
        with torch.no_grad():
            assert float(metric(image)) == pytest.approx(_reference(metric, cut(image[0])), abs=1e-3)


def test_the_benchmarks_way_differs_and_has_the_other_direction(tmp_path: Path) -> None:
    """Except for one patch, whose colours are its planes; the range is the benchmark's."""
    files = weights_of(ThinFpr, tmp_path)
    usual, benchmark = ThinFpr.from_weights(files), ThinFpr.from_weights(files, "as-benchmark")
    one, several = photographs(1, 64, 64, 3), photographs(1, 128, 192, 3)
    with torch.no_grad():
        assert torch.equal(usual(one), benchmark(one))
        assert abs(float(usual(several) - benchmark(several))) > 1e-3
    assert not usual.facts.higher_is_better
    assert benchmark.facts.higher_is_better
    assert (benchmark.facts.name, benchmark.facts.score_range.low) == ("fpr-as-benchmark", 47.225)


def test_the_tensors_of_the_training_are_left_out_by_name(tmp_path: Path) -> None:
    """The official file loads whole, as its training saved it; a tensor of another name does not."""
    training = dict(fpr_training())
    assert set(training) == UNUSED
    state = drawn(shapes_of(ThinFpr()) | training)
    torch.save({"epoch": 7, "state_dict": state}, tmp_path / "official.pkl")
    metric = ThinFpr.from_weights({"fpr": tmp_path / "official.pkl"})
    assert all(torch.equal(value, state[name]) for name, value in metric.state_dict().items())
    torch.save(state | {"sfl4.weight": torch.zeros(1)}, tmp_path / "other.pkl")
    with pytest.raises(WeightsError, match=r"1 tensors too many: sfl4\.weight"):
        ThinFpr.from_weights({"fpr": tmp_path / "other.pkl"})


def test_the_order_of_the_patches_counts(tmp_path: Path) -> None:
    """The weights are a recurrent network's: the same patches in another order have another score."""
    metric, image = ThinFpr.from_weights(weights_of(ThinFpr, tmp_path)), photographs(1, 64, 192, 3)
    patches = torch.split(image, 64, dim=3)
    with torch.no_grad():
        assert abs(float(metric(image) - metric(torch.cat(patches[::-1], dim=3)))) > 1e-5
