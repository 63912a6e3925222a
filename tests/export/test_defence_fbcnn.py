"""The FBCNN defence against the library's own network, on weights that are generated."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from exported_defence import assert_engines_agree
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from restorers import looked_at
from torch import Tensor, nn

from scoreguard_export.defences.fbcnn import FbCnn
from scoreguard_export.errors import MissingExtraError, WeightsError
from scoreguard_export.libraries import library

WIDTHS = (64, 128, 256, 512)
BLOCKS = 4
OFFICIAL_NUMBERS = 71_921_796


class Slim(FbCnn):
    """The same layers, narrow and shallow enough for a test; the estimate needs its 512 channels."""

    def untrained(self) -> nn.Module:
        """Make a narrow network."""
        network: nn.Module = library("spandrel.architectures.FBCNN", "restorers", "fbcnn").FBCNN(
            nc=[8, 8, 8, 512], nb=1
        )
        return network


class Thin(FbCnn):
    """The same depth with next to no channels, and an estimate of as many."""

    def untrained(self) -> nn.Module:
        """Make a thin network."""
        network: nn.Module = library("spandrel.architectures.FBCNN", "restorers", "fbcnn").FBCNN(nc=[1, 1, 1, 2])
        network.qf_pred = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
        return network


@pytest.fixture(scope="module")
def slim() -> Slim:
    """Fixed random weights, large enough that the quality shows in the result."""
    torch.manual_seed(5)
    defence = Slim().eval().requires_grad_(False)
    for name, weight in defence.network.named_parameters():
        if weight.dim() == 2:
            weight.mul_(3.0)
        if name.startswith("m_") and weight.dim() == 4:
            weight.mul_(1.3)
    return defence


def layers(name: str, inputs: int, outputs: int, side: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Weight and bias of a convolution; of a linear layer where the side is 0."""
    yield f"{name}.weight", (outputs, inputs, side, side) if side else (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def blocks(name: str, first: int, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Residual blocks of two convolutions each."""
    for block in range(first, first + BLOCKS):
        yield from layers(f"{name}.{block}.res.0", width, width, 3)
        yield from layers(f"{name}.{block}.res.2", width, width, 3)


def official() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the colour network, from the paper's figure 3 and the names of the authors' code."""
    yield from layers("m_head", 3, WIDTHS[0], 3)
    for level in range(3):
        yield from blocks(f"m_down{level + 1}", 0, WIDTHS[level])
        yield from layers(f"m_down{level + 1}.{BLOCKS}", WIDTHS[level], WIDTHS[level + 1], 2)
        yield f"m_up{level + 1}.0.weight", (WIDTHS[level + 1], WIDTHS[level], 2, 2)
        yield f"m_up{level + 1}.0.bias", (WIDTHS[level],)
        yield from blocks(f"m_up{level + 1}", 1, WIDTHS[level])
        yield from layers(f"to_gamma_{level + 1}.0", 512, WIDTHS[level], 0)
        yield from layers(f"to_beta_{level + 1}.0", 512, WIDTHS[level], 0)
    for part in ("m_body_encoder", "m_body_decoder", "qf_pred"):
        yield from blocks(part, 0, WIDTHS[3])
    for place, outputs in ((6, 512), (8, 512), (10, 1)):
        yield from layers(f"qf_pred.{place}", 512, outputs, 0)
    for place, inputs in ((0, 1), (2, 512), (4, 512)):
        yield from layers(f"qf_embed.{place}", inputs, 512, 0)
    yield from layers("m_tail", WIDTHS[0], 3, 3)


def test_the_official_checkpoint_fits() -> None:
    """Names and shapes are those of the colour network, and the library takes such a file for FBCNN."""
    shapes = dict(official())
    assert sum(math.prod(shape) for shape in shapes.values()) == OFFICIAL_NUMBERS
    with torch.device("meta"):
        state = FbCnn().network.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == shapes
    architecture = library("spandrel.architectures.FBCNN", "restorers", "fbcnn").FBCNNArch()
    with torch.device("meta"):
        empty = {name: torch.empty(shape) for name, shape in shapes.items()}
        recognised = architecture.load(empty).model
    assert architecture.detect(empty)
    assert {name: tuple(value.shape) for name, value in recognised.state_dict().items()} == shapes


def test_a_checkpoint_loads(slim: Slim, tmp_path: Path) -> None:
    """A file of tensors under the official names gives the network that wrote it."""
    torch.save(slim.network.state_dict(), tmp_path / "fbcnn_color.pth")
    loaded = Slim.from_weights({"fbcnn": tmp_path / "fbcnn_color.pth"}).network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in slim.network.state_dict().items())


@pytest.mark.parametrize("quality", [0.0, 1.0, 40.0, 100.0])
def test_it_computes_what_the_library_computes(slim: Slim, quality: float) -> None:
    """The library's own forward gives the same images, for a quality that is told or estimated."""
    batch = to_batch(crop(0, 7, 9, 21, 34), crop(1, 7, 9, 21, 34))
    given = torch.full((2, 1), 1.0 - quality / 100.0) if quality else None
    expected = torch.clamp(slim.network(batch, given)[0], 0.0, 1.0)
    assert torch.allclose(slim(batch, torch.tensor(quality)), expected, atol=1e-6)


def test_telling_the_estimate_changes_nothing(slim: Slim) -> None:
    """Quality 0 is the quality that the network estimates; another one gives another image."""
    image = to_batch(crop(0, 7, 9, 24, 32))
    estimate = 100.0 * (1.0 - float(slim.network(image)[1]))
    assert 0.0 < estimate < 100.0
    blind = slim(image, torch.tensor(0.0))
    assert torch.allclose(slim(image, torch.tensor(estimate)), blind, atol=1e-5)
    assert float((slim(image, torch.tensor(99.0 if estimate < 50.0 else 1.0)) - blind).abs().max()) > 1e-3


def test_each_image_has_its_own_estimate(slim: Slim) -> None:
    """An image of a batch is treated as if alone."""
    batch = to_batch(crop(0, 7, 9, 16, 24), crop(1, 7, 9, 16, 24))
    alone = torch.cat([slim(batch[:1], torch.tensor(0.0)), slim(batch[1:], torch.tensor(0.0))])
    assert torch.allclose(slim(batch, torch.tensor(0.0)), alone, atol=1e-6)


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), quality=st.integers(0, 100))
def test_any_image_stays_an_image(slim: Slim, height: int, width: int, quality: int) -> None:
    """At every size and quality the result has the size of the input and lies in [0, 1]."""
    batch = to_batch(crop(0, 30, 50, height, width), crop(1, 3, 5, height, width))
    result = slim(batch, torch.tensor(float(quality)))
    assert result.shape == batch.shape
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 1.0


def test_tiles_overlap_by_what_a_pixel_looks_at() -> None:
    """Told a quality, a pixel looks 249 pixels far; without, at the whole image."""
    defence, tiles = Thin().eval(), FbCnn.tiles({})
    reached = [looked_at(defence, 528, 264 + place, 264, torch.tensor(50.0))[0] for place in (0, 7)]
    assert tiles is not None
    assert max(reached) == 249 <= tiles.overlap
    assert looked_at(defence, 528, 264, 264, torch.tensor(0.0)) == (264, 264)


@pytest.mark.slow
def test_both_engines_run_it_at_any_size(slim: Slim, tmp_path: Path) -> None:
    """TorchScript and ONNX agree with the module at odd, oblong and smallest sizes, told and estimated."""
    assert assert_engines_agree(slim, tmp_path) < 1e-4


@pytest.mark.parametrize("quality", [0.0, 50.0])
def test_its_gradient_is_the_derivative(slim: Slim, quality: float, tmp_path: Path) -> None:
    """Autograd agrees with finite differences in double precision, also through the estimate."""
    torch.save(slim.network.state_dict(), tmp_path / "weights.pt")
    defence = Slim.from_weights({"fbcnn": tmp_path / "weights.pt"}).double()
    weights = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(2)).double()

    def scored(image: Tensor) -> Tensor:
        result: Tensor = (defence(image, torch.tensor(quality)) * weights).sum()
        return result

    image = (torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(1)).double() * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(scored, (image,), fast_mode=True)


def test_missing_weights_say_what_to_do() -> None:
    """The message names the option, the source and the licence."""
    with pytest.raises(WeightsError, match=r"--weights fbcnn=PATH; .*fbcnn_color\.pth \(licence: Apache-2\.0\)"):
        FbCnn.from_weights({})


def test_another_networks_weights_are_refused(slim: Slim, tmp_path: Path) -> None:
    """The grey network's first layer has another shape, and the message says which."""
    state = {**slim.network.state_dict(), "m_head.weight": torch.zeros(8, 1, 3, 3)}
    torch.save(state, tmp_path / "fbcnn_gray.pth")
    with pytest.raises(WeightsError, match=r"m_head\.weight is \(8, 1, 3, 3\), not \(8, 3, 3, 3\)"):
        Slim.from_weights({"fbcnn": tmp_path / "fbcnn_gray.pth"})


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without spandrel the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "spandrel.architectures.FBCNN", None)
    with pytest.raises(MissingExtraError, match=r"fbcnn needs pip install 'scoreguard\[restorers\]'"):
        FbCnn()
