"""The denoiser behind the diffusion purifier: its range, its graphs, and what a pixel depends on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exported_defence import assert_engines_agree
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard.chain.sampling import linear_schedule
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.denoiser_net import HIGHEST, LOWEST, STRIDE, DenoiserNetwork
from scoreguard_export.defences.shipped import write_weights
from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.source import WeightsSource


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    """Fixed random weights, large enough that every part of the network shows in the result."""
    torch.manual_seed(2)
    defence = Denoiser()
    with torch.no_grad():
        for weight in defence.parameters():
            weight.mul_(1.5).add_(0.01 * torch.randn_like(weight))
        defence.network.get_parameter("tail.weight").mul_(10.0)
    return defence.eval().requires_grad_(False)


def test_it_is_small() -> None:
    """Under two million numbers: 3.5 MB in half precision."""
    assert 1_000_000 < sum(parameter.numel() for parameter in DenoiserNetwork().parameters()) < 2_000_000


def test_its_noise_levels_cover_the_steps_of_purification() -> None:
    """From the first step of the linear schedule to step 150."""
    schedule = linear_schedule()
    assert LOWEST < schedule.sigma(1) < schedule.sigma(150) < HIGHEST
    assert Denoiser.facts.parameters[0].maximum == pytest.approx(HIGHEST * 255.0)


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), sigma=st.floats(0.0, 70.0), photo=st.integers(0, 3))
def test_any_image_stays_an_image(denoiser: Denoiser, height: int, width: int, sigma: float, photo: int) -> None:
    """At every size and noise level the result has the size of the input and lies in [0, 1], also for noisy input."""
    batch = to_batch(crop(photo, 30, 50, height, width), crop(photo + 1, 3, 5, height, width)) * 1.4 - 0.2
    result = denoiser(batch, torch.tensor(sigma))
    assert result.shape == batch.shape
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 1.0


@pytest.mark.slow
def test_both_engines_run_it_at_any_size(denoiser: Denoiser, tmp_path: Path) -> None:
    """TorchScript and ONNX agree with the module at odd, oblong and smallest sizes, in batches of 1 and 3."""
    assert assert_engines_agree(denoiser, tmp_path) < 1e-4


def test_without_noise_nothing_changes(denoiser: Denoiser) -> None:
    """σ = 0 is the identity, with no infinite logarithm."""
    batch = to_batch(crop(0, 10, 20, 17, 23))
    assert torch.equal(denoiser(batch, torch.tensor(0.0)), batch)


def test_its_gradient_is_the_derivative(denoiser: Denoiser) -> None:
    """Autograd agrees with finite differences in double precision, borders extended."""
    image = (torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(1)).double() * 0.6 + 0.2).requires_grad_()
    defence = Denoiser().double()
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(10.0)), (image,))


def test_an_image_gets_its_own_noise_level(denoiser: Denoiser) -> None:
    """The network of the training takes one level per image, and gives what it gives for each alone."""
    batch, sigma = to_batch(crop(0, 0, 0, 21, 34), crop(1, 50, 60, 21, 34)), torch.tensor([0.02, 0.2])
    together = denoiser.network(batch, sigma)
    alone = torch.cat([denoiser.network(one[None], level) for one, level in zip(batch, sigma, strict=True)])
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(together[:1], denoiser.network(batch[:1], sigma[1]), atol=1e-2)


def test_the_border_is_extended_by_its_last_row_and_column(denoiser: Denoiser) -> None:
    """An image of odd size gets what the one extended to whole strides gets."""
    image = to_batch(crop(2, 10, 20, 27, 35))
    extended = torch.nn.functional.pad(image, [0, 5, 0, 5], mode="replicate")
    level = torch.tensor(20.0)
    assert torch.allclose(denoiser(image, level), denoiser(extended, level)[:, :, :27, :35], atol=1e-6)


@pytest.mark.parametrize("place", [(200, 200), (203, 198), (207, 205)])
def test_a_pixel_sees_no_further_than_the_reach(denoiser: Denoiser, place: tuple[int, int]) -> None:
    """The gradient of an output pixel is zero beyond `reach`, and not far within it: tiles may overlap by that much."""
    image = torch.rand(1, 3, 408, 408, generator=torch.Generator().manual_seed(0)).requires_grad_()
    denoiser.network(image, torch.tensor(0.1))[0, :, place[0], place[1]].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().amax(dim=(0, 1)).nonzero()
    furthest = int((seen - torch.tensor(place)).abs().max())
    assert Denoiser.reach is not None
    assert Denoiser.reach - STRIDE - 2 <= furthest <= Denoiser.reach


def test_a_tile_gives_the_pixels_of_the_whole(denoiser: Denoiser) -> None:
    """Cut at a multiple of the stride with `reach` pixels around, the inner part is unchanged."""
    image = to_batch(crop(1, 0, 0, 300, 240))
    level = torch.tensor(25.0)
    tile = denoiser(image[:, :, 96:, :], level)
    assert torch.allclose(tile[:, :, 96:], denoiser(image, level)[:, :, 192:], atol=1e-5)


def test_weights_are_written_in_half_precision_and_read_back(denoiser: Denoiser, tmp_path: Path) -> None:
    """What is read is what was written, rounded once."""
    write_weights(denoiser.network, tmp_path / "w.safetensors", torch.float16)
    read = Denoiser.from_weights({"denoiser": tmp_path / "w.safetensors"})
    assert (tmp_path / "w.safetensors").stat().st_size < 4_000_000
    for name, value in read.network.state_dict().items():
        assert torch.equal(value, denoiser.network.state_dict()[name].half().float())


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says which file is missing and where it is from."""
    absent = WeightsSource(licence="Apache-2.0", shipped=tmp_path / "denoiser.safetensors", url="from elsewhere")
    monkeypatch.setattr(Denoiser, "sources", {"denoiser": absent})
    with pytest.raises(WeightsError, match=r"no weights of denoiser at .*denoiser\.safetensors.*from elsewhere"):
        Denoiser.from_weights()
