"""The MPRNet defence: the official names, shapes and results, on weights that are generated."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import crop, to_batch
from restorers import assert_both_exports_are_it
from torch import Tensor, nn

from scoreguard_export.defences.mprnet import MprNet
from scoreguard_export.defences.mprnet_network import MprNetwork
from scoreguard_export.errors import WeightsError

OFFICIAL_NAMES = "d721dbfa8e22b90296ddd781986c67ebf7aa26e365ac8ec85162116acefbf7de"
"""SHA-256 of the sorted lines `name shape` of the state dictionary that the authors' code makes."""
OFFICIAL_PIXELS = [0.198729, 0.099463, 0.51927, 0.497998]
"""What the authors' code gives for the slim network with `seeded` weights on `ramp`, at four pixels."""


class Slim(MprNet):
    """The same layers, narrow enough for a test."""

    def untrained(self) -> nn.Module:
        """Make a narrow network."""
        return MprNetwork(width=16, step=8, extra=8, units=2)


def seeded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the names and shapes given, drawn in order of name."""
    generator = np.random.default_rng(7)
    drawn = {name: generator.standard_normal(state[name].shape) for name in sorted(state)}
    weights = {name: torch.tensor(0.7 * value / np.sqrt(value[0].size)).float() for name, value in drawn.items()}
    # The authors share one slope among all units.
    return {name: torch.full((1,), 0.25) if value.dim() == 1 else value for name, value in weights.items()}


def slim() -> Slim:
    """The narrow network with `seeded` weights."""
    defence = Slim().eval().requires_grad_(False)
    defence.network.load_state_dict(seeded(defence.network.state_dict()))
    return defence


def ramp() -> Tensor:
    """An image (1, 3, 16, 24) from 0 to 1."""
    return torch.linspace(0.0, 1.0, 3 * 16 * 24).reshape(1, 3, 16, 24)


def test_the_official_state_dictionary_loads(tmp_path: Path) -> None:
    """Names and shapes are those of the authors' code, in a checkpoint as their training on several devices writes."""
    generated = seeded(MprNetwork().state_dict())
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in generated.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == OFFICIAL_NAMES
    checkpoint = {f"module.{name}": value for name, value in generated.items()}
    torch.save({"epoch": 80, "state_dict": checkpoint, "optimizer": {"state": {}}}, tmp_path / "model_denoising.pth")
    loaded = MprNet.from_weights({"mprnet": tmp_path / "model_denoising.pth"}).network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in generated.items())
    assert sum(value.numel() for name, value in loaded.items() if not name.endswith("body.1.weight")) == 15_741_024


def test_it_computes_what_the_authors_code_computes() -> None:
    """Four pixels, one in each quarter, equal those of the authors' code for the same weights."""
    result = slim().network(ramp())
    pixels = [result[0, 0, 3, 5], result[0, 1, 2, 20], result[0, 2, 13, 4], result[0, 1, 15, 23]]
    assert [float(pixel) for pixel in pixels] == pytest.approx(OFFICIAL_PIXELS, abs=1e-4)


def test_other_sizes_are_mirrored_to_multiples_of_eight() -> None:
    """The result is that of the mirrored image, cropped."""
    defence, batch = slim(), to_batch(crop(0, 7, 9, 13, 17), crop(1, 7, 9, 13, 17))
    mirrored = torch.from_numpy(np.pad(batch.numpy(), ((0, 0), (0, 0), (0, 3), (0, 7)), mode="reflect"))
    assert defence(batch).shape == batch.shape
    assert torch.equal(defence(batch), defence(mirrored)[:, :, :13, :17])


def test_an_image_of_a_batch_is_treated_as_if_alone() -> None:
    """Quarters and halves that go through as one batch do not mix."""
    defence, batch = slim(), to_batch(crop(0, 7, 9, 16, 24), crop(1, 7, 9, 16, 24))
    alone = torch.cat([defence(batch[:1]), defence(batch[1:])])
    assert torch.allclose(defence(batch), alone, atol=1e-6)


@pytest.mark.slow
def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """TorchScript and ONNX agree at the smallest, odd and even sizes, and batches."""
    defence = slim()
    assert_both_exports_are_it(defence, tmp_path, [(1, 8, 8), (3, 9, 21), (1, 61, 40), (2, 16, 24)])


def test_the_compiler_takes_it_and_changes_nothing() -> None:
    """TorchScript is compiled, so that sizes stay free, and gives the same images."""
    defence, image = slim(), to_batch(crop(0, 7, 9, 9, 21), crop(1, 7, 9, 9, 21))
    script = torch.jit.script(defence)
    assert torch.allclose(script(image), defence(image), atol=1e-5)
    assert torch.allclose(script(image[:1, :, :8, :8]), defence(image[:1, :, :8, :8]), atol=1e-5)


def test_its_gradient_is_the_derivative() -> None:
    """Autograd agrees with finite differences in double precision."""
    defence = slim().double()
    image = (torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(1)).double() * 0.2 + 0.4).requires_grad_()
    weights = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(2)).double()
    assert torch.autograd.gradcheck(lambda x: (defence(x) * weights).sum(), (image,), fast_mode=True)


def test_missing_weights_say_what_to_do() -> None:
    """The message names the option, the source and the licence."""
    with pytest.raises(
        WeightsError, match=r"--weights mprnet=PATH; .*swz30/MPRNet.*\(licence: Academic Public License"
    ):
        MprNet.from_weights({})
