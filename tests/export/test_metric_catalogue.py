"""What holds for every metric of the catalogue."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from thin_metrics import THIN
from thin_towers import THIN_TOWERS
from video_metrics import THIN_VIDEO

from scoreguard.catalogue import UnknownNameError
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_export.metrics.cnniqa import CnnIqa
from scoreguard_export.metrics.lite import Lite
from scoreguard_export.metrics.nima import Nima
from scoreguard_export.testing import check_metric

MODULES: dict[str, type[Metric]] = {"lite": Lite, "cnniqa": CnnIqa, "nima": Nima}
ALIKE = ("brisque-opencv", "nima-aesthetic")
"""Those whose code is mostly that of another one, which is checked always."""
OTHER_SIZES = [(1, 33, 47), (3, 301, 223), (1, 512, 512), (3, 65, 64), (1, 97, 640)]


def _metric(name: str) -> Metric:
    """Random weights: what is tested here holds for any."""
    torch.manual_seed(1)
    return MODULES[name]().eval().requires_grad_(False)


def _image(count: int, height: int, width: int) -> torch.Tensor:
    """8-bit values, so that no rounding stands on the edge."""
    levels = torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(height))
    return levels.float() / 255.0


def _slope(graph: torch.nn.Module) -> torch.Tensor:
    image = _image(2, 90, 70).requires_grad_()
    graph(image).sum().backward()
    assert image.grad is not None
    return image.grad


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ALIKE else [])
        for name in CATALOGUE
        if name not in {**THIN, **THIN_TOWERS, **THIN_VIDEO}
    ],
)
def test_every_entry_obeys_every_rule(name: str, tmp_path: Path) -> None:
    """Facts, shapes, ranges, batches, gradients, both graphs, golden vector; unshipped weights are drawn.

    Those with a large backbone are checked on a small one: `test_metric_backbones.py`, `test_metric_towers.py`,
    `test_metric_video.py`.
    """
    torch.manual_seed(4)
    kind, files = CATALOGUE[name], {}
    for source in (source for source, facts in kind.sources.items() if facts.shipped is None):
        files[source] = tmp_path / f"{source}.pt"
        torch.save(kind().state_dict(), files[source])
    check_metric(name, files=files)
    assert kind.facts.minimum_size >= 32


def test_an_unknown_name_lists_the_near_ones() -> None:
    """A slip of the pen is answered with what was meant."""
    with pytest.raises(UnknownNameError, match="did you mean nima"):
        CATALOGUE["nimaa"]
    with pytest.raises(UnknownNameError, match="unknown metric 'xyz'"):
        load_metric("xyz")


def test_the_default_metric_needs_no_download() -> None:
    """Its weights lie in the package, and it comes in evaluation mode."""
    assert not load_metric("lite").training


@pytest.mark.parametrize("name", MODULES)
def test_the_traced_graph_scores_and_differentiates_at_other_sizes(name: str) -> None:
    """TorchScript traced at one size gives the eager scores and gradients at sizes never traced."""
    metric = _metric(name)
    traced = torch.jit.trace(metric, _image(2, 224, 256), check_trace=False)  # type: ignore[no-untyped-call]
    for count, height, width in OTHER_SIZES:
        image = _image(count, height, width)
        assert torch.allclose(traced(image), metric(image), atol=metric.facts.parity_tolerance)
    slope, eager_slope = _slope(traced), _slope(metric)
    assert torch.allclose(slope, eager_slope, atol=1e-5)
    assert float(slope.abs().max()) > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_onnx_graph_scores_at_other_sizes(name: str, tmp_path: Path) -> None:
    """ONNX exported at one size gives the eager scores at odd, small and oblong sizes, alone and in batches."""
    metric, path = _metric(name), tmp_path / "metric.onnx"
    least = metric.facts.minimum_size
    axes = {0: torch.export.Dim("n", min=1, max=64)}
    axes |= {axis: torch.export.Dim(side, min=least, max=4096) for axis, side in ((2, "h"), (3, "w"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            metric, (_image(2, 224, 256),), dynamo=True, dynamic_shapes=(axes,), input_names=["image"], verbose=False
        )
    assert program is not None
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count, height, width in OTHER_SIZES:
        image = _image(count, height, width)
        scores = session.run(None, {"image": image.numpy()})[0]
        assert scores.shape == (count,)
        assert np.abs(scores - metric(image).numpy()).max() <= metric.facts.parity_tolerance
