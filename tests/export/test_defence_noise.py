"""The noise defence against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.archive.parity import check_parity
from scoreguard_export.defences.noise import Noise
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript


@settings(max_examples=30, deadline=None)
@given(
    sigma=st.floats(0.0, 1.0, width=32), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99)
)
def test_it_is_numpys_clipped_sum(sigma: float, height: int, width: int, seed: int) -> None:
    """Any size and strength gives clip(x + sigma * n) to the last bits, inside the range."""
    batch = to_batch(crop(0, 7, 9, height, width), crop(1, 7, 9, height, width))
    noise = np.random.default_rng(seed).standard_normal(batch.shape).astype(np.float32)
    result = Noise()(batch, torch.tensor(sigma), torch.from_numpy(noise)).numpy()
    assert np.abs(result - np.clip(batch.numpy() + np.float32(sigma) * noise, 0.0, 1.0)).max() < 1e-6
    assert 0.0 <= result.min() <= result.max() <= 1.0


def test_its_strength_is_the_one_asked_for() -> None:
    """On mid-grey, where nothing clips, the result deviates by sigma and keeps its mean; images differ."""
    grey = torch.full((2, 3, 200, 200), 0.5)
    noise = torch.randn(grey.shape, generator=torch.Generator().manual_seed(4))
    result = Noise()(grey, torch.tensor(0.05), noise)
    assert float(result.std()) == pytest.approx(0.05, rel=0.01)
    assert float(result.mean()) == pytest.approx(0.5, abs=5e-4)
    assert not torch.equal(result[0], result[1])


def test_its_gradient_is_the_derivative() -> None:
    """Autograd agrees with finite differences in double precision, clipped values included."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 5, 6, generator=generator).double().requires_grad_()
    noise = torch.randn(1, 3, 5, 6, generator=generator).double()
    assert torch.autograd.gradcheck(lambda x: Noise()(x, torch.tensor(0.5), noise), (image,))


def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """TorchScript and ONNX agree with it at every parity case."""
    export_torchscript(Noise().eval(), tmp_path / "noise.pt")
    export_onnx(Noise().eval(), tmp_path / "noise.onnx")
    assert check_parity(Noise().eval(), tmp_path / "noise.pt", tmp_path / "noise.onnx")
