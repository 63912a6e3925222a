"""VSFA and MDTVSFA against torchvision, torch's GRU and pooling by loops; their three graphs, of any length."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from official_states import HEADS, resnet50
from torch import Tensor, nn
from video_metrics import THIN_VIDEO, head_state, video_weights

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import Role
from scoreguard_export.libraries import library
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_export.metrics.temporal_pooling import temporally_pooled
from scoreguard_export.metrics.video import BACKBONE, VideoMetric
from scoreguard_export.testing import check_metric

NAMES = tuple(THIN_VIDEO)
Floats = NDArray[np.float64]


def pooled(quality: Floats) -> float:
    """The pooling of one clip, frame by frame."""
    kept = []
    for place in range(len(quality)):
        memory = min(quality[max(0, place - 11) : place + 1])
        ahead = quality[place : place + 12]
        weights = [math.exp(-value) for value in ahead]
        current = sum(value * weight for value, weight in zip(ahead, weights, strict=True)) / sum(weights)
        kept.append(0.5 * current + 0.5 * memory)
    return float(sum(kept) / len(kept))


def _features(network: nn.Module, image: Tensor, weight: Tensor, bias: Tensor) -> Floats:
    """The 128 numbers of one frame: a forward pass of torchvision, the rest by NumPy."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    prepared = (image.double().numpy() - mean[:, None, None]) / deviation[:, None, None]
    caught: list[Tensor] = []
    hook = network.layer4.register_forward_hook(lambda module, given, found: caught.append(found))  # type: ignore[union-attr]
    with torch.no_grad():
        network(torch.from_numpy(prepared).float()[None])
    hook.remove()
    cells = caught[0][0].double().numpy().reshape(2048, -1)
    statistics = np.concatenate([cells.mean(axis=1), cells.std(axis=1, ddof=1)])
    found: Floats = weight.double().numpy() @ statistics + bias.double().numpy()
    return found


def _reference(name: str, network: nn.Module, state: dict[str, Tensor], clip: Tensor) -> float:
    """The score of a clip (T, 3, H, W)."""
    first, recurrent, last = {
        "vsfa": ("ann.fc0", "rnn", "q"),
        "mdtvsfa": ("dimemsion_reduction", "feature_aggregation", "regression"),
    }[name]
    features = np.stack([_features(network, frame, state[f"{first}.weight"], state[f"{first}.bias"]) for frame in clip])
    unit = nn.GRU(128, 32, batch_first=True).double()
    unit.load_state_dict({key.removeprefix(f"{recurrent}."): value for key, value in state.items() if recurrent in key})
    with torch.no_grad():
        states = unit(torch.from_numpy(features)[None])[0][0].numpy()
    score = pooled(states @ state[f"{last}.weight"][0].double().numpy() + float(state[f"{last}.bias"]))
    if name == "vsfa":
        return score
    relative = 1.0 / (1.0 + math.exp(-score))
    inner = float(state["nlm.0.weight"]) * relative + float(state["nlm.0.bias"])
    return float(state["nlm.2.weight"]) / (1.0 + math.exp(-inner)) + float(state["nlm.2.bias"])


def thin(name: str, folder: Path) -> VideoMetric:
    """The metric on a small network with generated weights."""
    metric = THIN_VIDEO[name].from_weights(video_weights(name, folder))
    return metric.requires_grad_(False)


def clip_score(metric: VideoMetric, clip: Tensor) -> Tensor:
    """By the graphs of frames and clips: (1,)."""
    parts = metric.graphs()
    score: Tensor = parts[Role.POOL](parts[Role.FRAME](clip)[None])
    return score


@pytest.mark.parametrize("frames", range(1, 41))
def test_temporal_pooling_equals_loops_at_any_length(frames: int) -> None:
    """Shorter than a window, as long, and longer; three clips at once, of small, large and equal values."""
    quality = np.random.default_rng(frames).normal(0.5, 0.3, (3, frames))
    quality[1] *= 20.0
    quality[2] = 0.25
    found = temporally_pooled(torch.from_numpy(quality))
    assert found.numpy() == pytest.approx([pooled(clip) for clip in quality], abs=1e-12)


def test_temporal_pooling_stays_finite_far_from_zero() -> None:
    """An unbounded quality may be large and jump: only differences within a window enter the exponentials."""
    level = torch.tensor([[1000.0, 1001.0, 1002.0], [-1000.0, -1001.0, -1000.0]])
    assert temporally_pooled(level).numpy() == pytest.approx(
        [pooled(np.array(clip) - clip[0]) + clip[0] for clip in level.tolist()], abs=1e-3
    )
    jump = torch.cat([torch.full((1, 20), -500.0), torch.full((1, 20), 500.0)], dim=1)
    # 31 memories and 20 outlooks of the 40 are of the low part.
    assert float(temporally_pooled(jump)) == pytest.approx(500.0 * (0.5 * (9 - 31) + 0.5 * (20 - 20)) / 40)


@pytest.mark.parametrize("name", NAMES)
def test_the_official_names_and_shapes_are_the_modules(name: str) -> None:
    """A state_dict of the authors' network fits the head, and torchvision's the backbone, tensor by tensor."""
    with torch.device("meta"):
        metric = CATALOGUE[name]()
    assert isinstance(metric, VideoMetric)
    assert {key: tuple(value.shape) for key, value in metric.head.state_dict().items()} == dict(HEADS[name]())
    network = metric.untrained()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == dict(resnet50())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 3, 14])
def test_a_clip_scores_as_by_an_independent_implementation(name: str, frames: int, tmp_path: Path) -> None:
    """A clip of one by the metric itself as well; frames differ, so their order counts."""
    metric = thin(name, tmp_path)
    network = metric.untrained().eval()
    network.load_state_dict(torch.load(tmp_path / f"{BACKBONE}.pth", weights_only=True))
    clip = photographs(frames, 70, 96, 5)
    expected = _reference(name, network, head_state(name), clip)
    assert float(clip_score(metric, clip)) == pytest.approx(expected, abs=2e-5)
    if frames == 1:
        assert float(metric(clip)) == pytest.approx(expected, abs=2e-5)
    else:
        assert float(clip_score(metric, clip.flip(0))) != pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_the_published_network_is_torchvisions_and_reads_each_image_alone(tmp_path: Path) -> None:
    """Both files as they are published; alone, in a batch of three and in another order, equal to the last bit."""
    metric = load_metric("vsfa", video_weights("vsfa", tmp_path, thin=False))
    network = library("torchvision.models", "backbones", "a test").resnet50(weights=None).eval()
    network.load_state_dict(torch.load(tmp_path / f"{BACKBONE}.pth", weights_only=True))
    images = photographs(3, 224, 224, 5)
    with torch.no_grad():
        together = metric(images)
        assert torch.equal(torch.cat([metric(image[None]) for image in images]), together)
        assert torch.equal(metric(images.flip(0)), together.flip(0))
    assert float(together[0]) == pytest.approx(_reference("vsfa", network, head_state("vsfa"), images[:1]), abs=2e-5)
    assert len(set(together.tolist())) == 3
    assert set(metric.weights_digests) == {"vsfa", BACKBONE}


@pytest.mark.parametrize("name", ["vsfa", pytest.param("mdtvsfa", marks=pytest.mark.slow)])
def test_the_graph_of_clips_takes_any_number_of_frames(name: str, tmp_path: Path) -> None:
    """Captured at five frames; TorchScript and ONNX score clips of 1 to 40 as the module does."""
    pool = thin(name, tmp_path).graphs()[Role.POOL]
    export_torchscript(pool, tmp_path / "pool.pt")
    export_onnx(pool, tmp_path / "pool.onnx")
    engines = [load_torchscript(tmp_path / "pool.pt"), load_onnx(tmp_path / "pool.onnx", ["features"])]
    for frames in (1, 2, 11, 12, 13, 40):
        features = torch.randn(1, frames, 128, generator=torch.Generator().manual_seed(frames))
        for engine in engines:
            assert float(engine((features,))) == pytest.approx(float(pool(features)), abs=1e-5)
    shape = onnx.load(tmp_path / "pool.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == [1, "frames", 128]


def test_the_gradient_of_an_image_is_finite_where_it_is_flat(tmp_path: Path) -> None:
    """The deviation of a feature that is 0 everywhere has no derivative; it is taken as 0."""
    metric = thin("vsfa", tmp_path)
    for image in (torch.zeros(1, 3, 64, 64), photographs(1, 80, 96, 2)):
        leaf = image.requires_grad_()
        metric(leaf).sum().backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())
    assert leaf.grad is not None
    assert float(leaf.grad.abs().max()) > 0.0


def test_the_range_of_mdtvsfa_follows_from_its_constants(tmp_path: Path) -> None:
    """With the published ones, features of any size score between 0.1506 and 0.8510."""
    state = head_state("mdtvsfa") | {
        "nlm.0.weight": torch.tensor([[3.472679]]),
        "nlm.0.bias": torch.tensor([-1.729996]),
        "nlm.2.weight": torch.ones(1, 1),
        "nlm.2.bias": torch.zeros(1),
    }
    files = video_weights("mdtvsfa", tmp_path)
    torch.save({**state, "regression.weight": state["regression.weight"] * 1e4}, files["mdtvsfa"])
    metric = THIN_VIDEO["mdtvsfa"].from_weights(files).requires_grad_(False)
    scores = [float(clip_score(metric, photographs(2, 64, 64, seed))) for seed in range(8)]
    assert min(scores) == pytest.approx(0.1506, abs=1e-3) or max(scores) == pytest.approx(0.8510, abs=1e-3)
    assert all(0.1505 <= score <= 0.8511 for score in scores)


@pytest.mark.parametrize("missing", ["vsfa", BACKBONE])
def test_both_weights_files_are_needed(missing: str, tmp_path: Path) -> None:
    """The message says which is missing and where it is from, in one line."""
    files = video_weights("vsfa", tmp_path)
    del files[missing]
    assert not THIN_VIDEO["vsfa"].at_hand(files)
    with pytest.raises(WeightsError, match=rf"the weights of {missing} are not shipped: .*https://") as caught:
        THIN_VIDEO["vsfa"].from_weights(files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["vsfa", BACKBONE])
def test_swapped_weights_files_are_refused(name: str, tmp_path: Path) -> None:
    """One line that names the file and what is wrong with it."""
    files = video_weights("vsfa", tmp_path)
    files[name] = next(path for other, path in files.items() if other != name)
    with pytest.raises(WeightsError, match=rf"not the checkpoint of {name} \(\d+ tensors missing"):
        THIN_VIDEO["vsfa"].from_weights(files)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_obeyed(name: str, tmp_path: Path) -> None:
    """Facts, sizes, finite scores and gradients, batches, all three graphs: on the small network."""
    check_metric(THIN_VIDEO[name], files=video_weights(name, tmp_path))
