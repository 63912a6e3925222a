"""MANIQA against timm's transformers, vision and Swin, and the attention over channels written as sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reference_scores import filled, state_of
from thin_towers import ThinManiqa, tower_weights
from torch import Tensor
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.maniqa import Maniqa

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Generated weights of the small network."""
    return tower_weights(ThinManiqa, tmp_path_factory.mktemp("maniqa"))


def _channels(state: State, values: Tensor) -> Tensor:
    """(C, T): attention between rows; the answer is read column by column."""
    query, key, value = (
        functional.linear(values, state[f"{c}.weight"], state[f"{c}.bias"]) for c in ("c_q", "c_k", "c_v")
    )
    weights = (torch.einsum("ct,dt->cd", query, key) / values.shape[1] ** 0.5).softmax(dim=1)
    return torch.einsum("cd,dt->ct", weights, value).t().reshape(values.shape) + values


def _stage(state: State, grid: Tensor, between: int) -> Tensor:
    """(1, side, side, C): timm's two blocks of Swin, shifted in the second, and the convolution."""
    block = library("timm.models.swin_transformer", "timm", "a test").SwinTransformerBlock
    side, width = grid.shape[1], grid.shape[3]
    for index in range(2):
        shape = {"input_resolution": (side, side), "window_size": 4, "shift_size": 2 * index, "num_heads": 4}
        tables = ("attn_mask", "relative_position_index")
        inside = {
            key.removeprefix(f"blocks.{index}."): value for key, value in state.items() if f"blocks.{index}." in key
        }
        wanted = {key: value for key, value in inside.items() if not key.endswith(tables)}
        network = block(dim=width, mlp_ratio=between / width, **shape)
        computed = dict(network.named_buffers())
        network.load_state_dict(wanted, strict=False)
        assert {key for key in network.state_dict() if not key.endswith(tables)} == set(wanted)
        assert all(torch.equal(computed[key], inside[key].to(computed[key])) for key in computed if key in inside)
        grid = network.eval()(grid)
    convolved = functional.conv2d(grid.permute(0, 3, 1, 2), state["conv.weight"], state["conv.bias"], padding=1)
    return torch.relu(convolved).permute(0, 2, 3, 1)


def _half(metric: Maniqa, number: int, values: Tensor) -> Tensor:
    """(C, T) → (D, T): two attentions over channels, the 1×1 convolution, two stages."""
    for index in range(2):
        values = _channels(state_of(metric, f"tablock{number}.{index}."), values)
    state = state_of(metric, f"conv{number}.")
    values = state["weight"][:, :, 0, 0] @ values + state["bias"][:, None]
    side = int(values.shape[1] ** 0.5)
    grid = values.t().reshape(1, side, side, -1)
    for index in range(2):
        grid = (
            0.8 * _stage(state_of(metric, f"swintransformer{number}.layers.{index}."), grid, metric.vit.embed_dim)
            + grid
        )
    return grid.reshape(side * side, -1).t()


def _of_crop(metric: Maniqa, crop: Tensor) -> float:
    """The weighted mean of the cells of one crop (3, side, side)."""
    kept = metric.vit.forward_intermediates(crop[None] * 2.0 - 1.0, indices=[6, 7, 8, 9], intermediates_only=True)
    cells = _half(metric, 2, _half(metric, 1, torch.cat([tokens[0].flatten(1) for tokens in kept]))).t()
    heads = []
    for name, last in (("fc_score", torch.relu), ("fc_weight", torch.sigmoid)):
        state = state_of(metric, f"{name}.")
        hidden = torch.relu(functional.linear(cells, state["0.weight"], state["0.bias"]))
        heads.append(last(functional.linear(hidden, state["3.weight"], state["3.bias"])))
    return float((heads[0] * heads[1]).sum() / heads[1].sum())


def _reference(metric: Maniqa, image: Tensor, variant: str) -> float:
    side = metric.side
    with torch.no_grad():
        if variant:
            functional_ = library("torchvision.transforms.functional", "backbones", "a test")
            return _of_crop(metric, functional_.resize(image, [side, side], antialias=False))
        down, across = (image.shape[1] - side) // 4, (image.shape[2] - side) // 4
        corners = [(row * down, column * across) for row in range(4) for column in range(5)]
        scores = [_of_crop(metric, image[:, top : top + side, left : left + side]) for top, left in corners]
    return sum(scores) / 20


@pytest.mark.parametrize(
    ("variant", "height", "width"),
    [
        ("", 224, 224),
        ("", 227, 301),
        ("as-benchmark", 224, 224),
        ("as-benchmark", 299, 299),
        ("as-benchmark", 240, 501),
    ],
)
def test_the_score_equals_an_independent_implementation(
    files: dict[str, Path], variant: str, height: int, width: int
) -> None:
    """The fixed grid of crops, each alone; the benchmark's way at other sizes than its own."""
    metric = ThinManiqa.from_weights(files, variant)
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, image[0], variant), abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_published_network_is_timms(tmp_path: Path) -> None:
    """A ViT-B/8 and the whole network behind it, on one crop."""
    metric = Maniqa.from_weights(tower_weights(Maniqa, tmp_path), "as-benchmark")
    network: Any = library("timm", "timm", "a test").create_model("vit_base_patch8_224")
    filled(network, state_of(metric, "vit."))
    image = photographs(1, 224, 224, 4)
    with torch.no_grad():
        score = float(metric(image))
        metric.vit = network
        assert score == pytest.approx(_of_crop(metric, image[0]), abs=1e-4)


def test_a_crop_of_an_image_of_its_size_is_the_benchmarks_reading(files: dict[str, Path]) -> None:
    """Twenty equal crops have the mean of one."""
    usual, benchmark = ThinManiqa.from_weights(files), ThinManiqa.from_weights(files, "as-benchmark")
    image = photographs(2, 64, 64, 3)
    with torch.no_grad():
        assert torch.allclose(usual(image), benchmark(image), atol=1e-6)


def test_an_image_has_its_score_whatever_is_beside_it(files: dict[str, Path]) -> None:
    """Alone, in a batch of three, and in another order: equal to the last bit, twenty crops each."""
    metric = ThinManiqa.from_weights(files)
    images = photographs(3, 230, 257, 5)
    with torch.no_grad():
        together = metric(images)
        assert torch.equal(torch.cat([metric(image[None]) for image in images]), together)
        assert torch.equal(metric(images.flip(0)), together.flip(0))
    assert len(set(together.tolist())) == 3
