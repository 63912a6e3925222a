"""Linear layers whose rows do not depend on their number, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from export_samples import metric_facts
from torch import Tensor, nn

from scoreguard_export.exporters.engines import load_onnx
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.linear import RowLinear, WideLinear
from scoreguard_export.metrics.patches import mean_of_each, patches_of

ROWS = 40


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """A number of threads; they share the rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"),
    [(RowLinear, 150, 64), (RowLinear, 64, 1), (WideLinear, 100, 800), (WideLinear, 800, 800), (WideLinear, 2048, 96)],
)
def test_a_row_is_the_same_whatever_the_number_of_rows(kind: type[nn.Linear], inputs: int, outputs: int) -> None:
    """A matrix product sums one row in another order than three, and the last of nine in another one than the first."""
    torch.manual_seed(0)
    layer, rows = kind(inputs, outputs), torch.randn(ROWS, inputs)
    with torch.no_grad():
        alone = torch.cat([layer(row[None]) for row in rows])
        for count in range(1, ROWS + 1):
            assert torch.equal(layer(rows[:count]), alone[:count]), count


@pytest.mark.parametrize("kind", [RowLinear, WideLinear])
def test_it_is_the_linear_layer(kind: type[nn.Linear]) -> None:
    """In double precision, to its rounding, for one row and for several."""
    torch.manual_seed(1)
    layer = kind(33, 7).double()
    for count in (1, 2, 4, 5):
        rows = torch.randn(count, 33, dtype=torch.float64)
        expected = rows @ layer.weight.T + layer.bias
        assert torch.allclose(layer(rows), expected, rtol=1e-12, atol=1e-12)


class OfPatches(Metric):
    """Two layers on every patch of 16×16 pixels, whose number follows from the size."""

    facts = metric_facts("patches")

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(WideLinear(768, 32), nn.ReLU(), WideLinear(32, 8))

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return mean_of_each(self.layers(patches_of(image, 16, 8).flatten(1)), image)


def test_the_number_of_rows_stays_free_in_the_graph(tmp_path: Path) -> None:
    """The exporter to ONNX must know that there is a first row."""
    torch.manual_seed(0)
    metric = OfPatches().eval().requires_grad_(False)
    export_onnx(metric, tmp_path / "patches.onnx")
    run = load_onnx(tmp_path / "patches.onnx", ["image"])
    for batch, height, width in ((1, 16, 16), (2, 40, 33), (3, 64, 80)):
        image = torch.rand(batch, 3, height, width)
        assert torch.allclose(run((image,)), metric(image), atol=1e-5)
