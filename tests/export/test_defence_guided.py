"""Guided diffusion as a denoiser: the schedule, the formula around the network, its graphs, on a narrow network."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from restorers import assert_both_exports_are_it
from torch import Tensor, nn

from scoreguard.chain.sampling import linear_schedule
from scoreguard_export.defences.guided import GuidedDenoiser
from scoreguard_export.defences.guided_network import GuidedNetwork
from scoreguard_export.errors import WeightsError


class Narrow(GuidedDenoiser):
    """The same layers, narrow enough for a test."""

    def untrained(self) -> nn.Module:
        """Make a narrow network."""
        return GuidedNetwork(width=32, multipliers=(1, 2), attended=(1,), blocks=1, head=32)


def checkpoint(folder: Path) -> dict[str, Path]:
    """Generated weights under the official names, in a file as the authors' training writes."""
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, like in Narrow().network.state_dict().items():
        value = torch.randn(like.shape, generator=generator)
        wide = like.dim() > 1
        state[name] = value / math.sqrt(like[0].numel()) if wide else 0.3 * value + float(name.endswith("weight"))
    torch.save(state, folder / "narrow.pt")
    return {"guided-diffusion": folder / "narrow.pt"}


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Narrow:
    """A narrow network with generated weights."""
    return Narrow.from_weights(checkpoint(tmp_path_factory.mktemp("weights")))


def told(defence: GuidedDenoiser, sigma: float, image: Tensor) -> tuple[Tensor, float]:
    """What the network is asked for images with this noise: the state, and the step."""
    asked: list[tuple[Tensor, float]] = []
    hook = defence.network.register_forward_pre_hook(lambda _, given: asked.append((given[0], float(given[1]))))
    defence(image, torch.tensor(sigma))
    hook.remove()
    return asked[0]


@pytest.mark.parametrize("step", [1, 2, 5, 20, 150, 400])
def test_it_asks_for_the_step_whose_noise_there_is(denoiser: Narrow, step: int) -> None:
    """At the noise of a step of the schedule, the network sees that step's state, and its number counted from 0."""
    schedule, image = linear_schedule(), to_batch(crop(0, 7, 9, 32, 32))
    state, number = told(denoiser, 255.0 * schedule.sigma(step), image)
    assert number == pytest.approx(step - 1, abs=2e-3)
    assert torch.allclose(state, math.sqrt(schedule.kept(step)) * (2.0 * image - 1.0), atol=1e-5)


def test_between_two_steps_the_number_lies_between(denoiser: Narrow) -> None:
    """Half way between two noise levels of the schedule is half way between the steps; below the first it stays 0."""
    schedule, image = linear_schedule(), to_batch(crop(0, 7, 9, 32, 32))
    between = 0.5 * 255.0 * (schedule.sigma(50) + schedule.sigma(51))
    assert told(denoiser, between, image)[1] == pytest.approx(49.5, abs=2e-3)
    assert told(denoiser, 0.5 * 255.0 * schedule.sigma(1), image)[1] == 0.0


def test_noise_that_the_network_names_is_removed(denoiser: Narrow) -> None:
    """The result is the state less its noise, in the units of the image, clipped."""
    schedule, image = linear_schedule(), to_batch(crop(0, 7, 9, 32, 64), crop(1, 7, 9, 32, 64))
    kept = schedule.kept(60)
    state = math.sqrt(kept) * (2.0 * image.double() - 1.0)
    noise = denoiser.network(state.float(), torch.tensor(59.0))[:, :3].double()
    clean = (state - math.sqrt(1.0 - kept) * noise) / math.sqrt(kept)
    expected = torch.clamp((clean + 1.0) / 2.0, 0.0, 1.0)
    result = denoiser(image, torch.tensor(255.0 * schedule.sigma(60)))
    assert float((result - expected).abs().max()) < 1e-4
    assert float((result - image).abs().max()) > 0.05


def test_without_noise_nothing_changes(denoiser: Narrow) -> None:
    """σ = 0 is the identity."""
    image = to_batch(crop(0, 10, 20, 17, 23))
    assert torch.allclose(denoiser(image, torch.tensor(0.0)), image, atol=1e-6)


def test_the_border_is_extended_by_its_last_row_and_column(denoiser: Narrow) -> None:
    """An image of odd size gets what the one extended to multiples of 32 gets."""
    image, level = to_batch(crop(2, 10, 20, 27, 35)), torch.tensor(20.0)
    extended = nn.functional.pad(image, [0, 29, 0, 5], mode="replicate")
    assert torch.allclose(denoiser(image, level), denoiser(extended, level)[:, :, :27, :35], atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), sigma=st.floats(0.0, 255.0))
def test_any_image_stays_an_image(denoiser: Narrow, height: int, width: int, sigma: float) -> None:
    """At every size and noise level the result has the size of the input and lies in [0, 1], also for noisy input."""
    batch = to_batch(crop(0, 30, 50, height, width), crop(1, 3, 5, height, width)) * 1.4 - 0.2
    result = denoiser(batch, torch.tensor(sigma))
    assert result.shape == batch.shape
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 1.0


@pytest.mark.slow
def test_both_engines_run_it_at_any_size(denoiser: Narrow, tmp_path: Path) -> None:
    """TorchScript and ONNX agree with the module at odd, oblong and smallest sizes; ONNX keeps the weights narrow."""
    assert_both_exports_are_it(denoiser, tmp_path, [(1, 1, 1), (3, 9, 21), (1, 61, 40)], sigma=30.0)
    wide = sum(4 * parameter.numel() for parameter in denoiser.parameters())
    assert (tmp_path / "defence.onnx").stat().st_size < 0.75 * wide


def test_its_gradient_is_the_derivative() -> None:
    """Autograd agrees with finite differences in double precision, borders extended."""
    torch.manual_seed(0)
    defence = Narrow().eval().requires_grad_(False).double()
    image = (torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(1)).double() * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(10.0)), (image,), fast_mode=True)


def test_missing_weights_say_what_to_do() -> None:
    """The message names the option, the source and the licence."""
    with pytest.raises(WeightsError, match=r"--weights guided-diffusion=PATH; .*256x256_diffusion_uncond\.pt .*MIT"):
        Narrow.from_weights({})


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    """A class-conditional checkpoint has a tensor more, and the message says which."""
    files = checkpoint(tmp_path)
    state = torch.load(files["guided-diffusion"], weights_only=True)
    torch.save({**state, "label_emb.weight": torch.zeros(4, 128)}, files["guided-diffusion"])
    with pytest.raises(WeightsError, match=r"1 tensors too many: label_emb\.weight"):
        Narrow.from_weights(files)
