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
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_export.metrics.cnniqa import CnnIqa
from scoreguard_export.metrics.lite import Lite
from scoreguard_export.metrics.nima import Nima
from scoreguard_export.testing import check_metric

MODULES: dict[str, type[Metric]] = {"lite": Lite, "cnniqa": CnnIqa, "nima": Nima}
LATER = ("brisque", "brisque-opencv", "niqe", "nima-aesthetic")
"""Those whose code is mostly that of another one, and those whose graphs take longest: checked with the slow tests."""
WHOLE = [name for name in CATALOGUE if name not in {**THIN, **THIN_TOWERS, **THIN_VIDEO}]
"""Those without a large backbone."""
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


def _drawn_weights(name: str, folder: Path) -> dict[str, Path]:
    """Files of random weights for those that are not shipped."""
    torch.manual_seed(4)
    kind, files = CATALOGUE[name], {}
    for source in (source for source, facts in kind.sources.items() if facts.shipped is None):
        files[source] = folder / f"{source}.pt"
        torch.save(kind().state_dict(), files[source])
    return files


@pytest.mark.parametrize("name", [pytest.param(x, marks=[pytest.mark.slow] if x in LATER else []) for x in WHOLE])
def test_every_entry_obeys_every_rule(name: str, tmp_path: Path) -> None:
    """Facts, shapes, ranges, batches, gradients, both graphs, golden vector; unshipped weights are drawn.

    Those with a large backbone are checked on a small one: `test_metric_backbones.py`, `test_metric_towers.py`,
    `test_metric_video.py`.
    """
    check_metric(name, files=_drawn_weights(name, tmp_path))
    assert CATALOGUE[name].facts.minimum_size >= 32


@pytest.mark.parametrize("name", WHOLE)
def test_an_image_has_its_score_whatever_is_beside_it(name: str, tmp_path: Path) -> None:
    """Alone, in a batch of three, and in another order: equal to the last bit. The others' is in their test files."""
    metric = load_metric(name, _drawn_weights(name, tmp_path))
    for height, width in ((131, 150), (96, 97)):
        images = photographs(3, height, width, 5)
        with torch.no_grad():
            together = metric(images)
            assert torch.equal(torch.cat([metric(image[None]) for image in images]), together)
            assert torch.equal(metric(images.flip(0)), together.flip(0))


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
