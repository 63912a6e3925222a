"""AdvCF: its filter against the paper's sum written out, its loop against one written with torch alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import AttackSpecError, Mode
from scoreguard_client.attacks.advcf import AdvCF, colour_filter
from scoreguard_client.oracles.base import Images
from scoreguard_export.metrics.catalogue import load_metric


def colourful(images: torch.Tensor) -> torch.Tensor:
    """A score in (0, 1) that likes dark reds and bright blues."""
    weights = torch.tensor([1.0, -0.5, 2.0]).reshape(3, 1, 1)
    return torch.sigmoid(((images - 0.3) ** 2 * weights).mean(dim=(1, 2, 3)) * 8)


def slow_filter(value: float, theta: list[float]) -> float:
    """F of one value: every piece's stretch times its slope, one after the other."""
    pieces = len(theta)
    stretches = [min(max(value - piece / pieces, 0), 1 / pieces) for piece in range(pieces)]
    return pieces / sum(theta) * sum(stretch * slope for stretch, slope in zip(stretches, theta, strict=True))


@pytest.mark.parametrize("pieces", [1, 5, 64])
def test_the_filter_is_the_papers_sum(pieces: int) -> None:
    """Each image and channel has its own curve; slopes of 0 and values at both ends and on the joints included."""
    rng = np.random.default_rng(8)
    images = rng.random((2, 3, 4, 5))
    images[:, :, 0] = [0, 1, 0.2, 0.5, 63 / 64]
    theta = np.maximum(rng.normal(0.5, 0.5, (2, 3, pieces)), 0) + (pieces == 1)
    found = colour_filter(torch.from_numpy(images), torch.from_numpy(theta)).numpy()
    for place in np.ndindex(images.shape):
        assert found[place] == pytest.approx(slow_filter(float(images[place]), theta[place[:2]].tolist()), abs=1e-9)


def test_equal_slopes_leave_an_image_as_it_is(images: Images) -> None:
    """The start of the search is the clean image."""
    theta = torch.full((3, 3, 64), 1 / 64)
    np.testing.assert_allclose(colour_filter(torch.from_numpy(images), theta).numpy(), images, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), pieces=st.integers(1, 70))
def test_every_curve_rises_from_0_to_1(seed: int, pieces: int) -> None:
    """Whatever the slopes: order is kept, black stays black and white stays white."""
    rng = np.random.default_rng(seed)
    ramp = torch.linspace(0, 1, 101, dtype=torch.float64).expand(1, 3, 1, 101)
    theta = torch.from_numpy(rng.random((1, 3, pieces)) * rng.integers(0, 2, (1, 3, pieces)) + 1e-9)
    curve = colour_filter(ramp, theta)
    assert (curve.diff(dim=3) >= -1e-12).all()
    torch.testing.assert_close(curve[..., [0, -1]], torch.tensor([0.0, 1.0]).double().expand(1, 3, 1, 2))


def reference(clean: Images, *, mode: Mode, weight: float, lr: float, steps: int) -> Images:
    """The loop with autograd all the way, one image at a time; the best by score, rounded in benchmark mode."""
    attacked = []
    for image in torch.from_numpy(clean):
        theta = torch.full((3, 64), 1 / 64, requires_grad=True)
        optimizer = torch.optim.Adam([theta], lr=lr)
        starts = torch.arange(64) / 64
        tried = []
        for _ in range(steps + (mode is Mode.PAPER)):
            stretches = (image[..., None] - starts).clamp(0, 1 / 64)
            filtered = 64 * (stretches * theta[:, None, None]).sum(3) / theta.sum(1)[:, None, None]
            score = colourful(filtered[None])[0]
            tried.append((score.item(), filtered.detach().clamp(0, 1)))
            loss = 1 - score + weight * ((theta / theta.sum(1, keepdim=True) - 1 / 64) ** 2).sum()
            (theta.grad,) = torch.autograd.grad(loss, theta)
            optimizer.step()
            theta.data.clamp_(min=0)
        best = max(tried, key=lambda pair: pair[0])[1]
        attacked.append((best * 255).round() / 255 if mode is Mode.BENCHMARK else best)
    return np.stack([image.numpy() for image in attacked])


@pytest.mark.parametrize(("mode", "lr"), [(Mode.PAPER, 0.002), (Mode.BENCHMARK, 0.001)])
@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_the_steps_are_those_of_an_independent_loop(mode: Mode, lr: float, weight: float, images: Images) -> None:
    """Filter, loss, Adam, the bound on the slopes, and which image is kept."""
    result = AdvCF(mode=mode, lr=lr, iterations=12, weight=weight)(images, TorchOracle(function=colourful))
    wanted = reference(images, mode=mode, weight=weight, lr=lr, steps=12)
    assert np.mean(np.abs(result.attacked - wanted) > 1e-3) < 0.01


def test_the_benchmarks_result_is_8_bit_and_the_papers_is_not(images: Images) -> None:
    """Only the benchmark rounds what it hands out; the score handed out is that of the rounded image."""
    oracle = TorchOracle(function=colourful)
    benchmark, paper = (AdvCF(mode=mode, iterations=8)(images, oracle) for mode in (Mode.BENCHMARK, Mode.PAPER))
    np.testing.assert_array_equal(benchmark.attacked, (benchmark.attacked_8bit / 255).astype(np.float32))
    np.testing.assert_allclose(benchmark.scores, oracle.score(benchmark.attacked))
    assert np.any(paper.attacked != (paper.attacked_8bit / 255).astype(np.float32))


def test_equal_colours_stay_equal(images: Images) -> None:
    """It is a filter: what two pixels share before they share after."""
    result = AdvCF(iterations=10)(images, TorchOracle(function=colourful))
    for before, after in zip(images[0], result.attacked[0], strict=True):
        for level in np.unique(before)[:20]:
            assert np.ptp(after[before == level]) == 0


def test_a_heavier_weight_keeps_the_curve_nearer_to_the_identity(images: Images) -> None:
    """The distance from the clean image falls with the weight."""
    oracle = TorchOracle(function=colourful)
    changes = [np.abs(AdvCF(iterations=30, weight=w)(images, oracle).attacked - images).mean() for w in (0, 500)]
    assert changes[1] < 0.5 * changes[0]


@pytest.mark.parametrize("mode", list(Mode))
def test_the_best_image_seen_is_kept(mode: Mode) -> None:
    """The score handed out is never below that of the clean image, even where every step makes it worse."""

    class Worse(LinearOracle):
        def gradient(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
            scores, gradients = super().gradient(images)
            return scores, -gradients

    clean = (np.random.default_rng(2).integers(0, 256, (2, 3, 6, 6)) / 255).astype(np.float32)
    oracle = Worse(weights=np.ones((3, 6, 6), dtype=np.float32))
    result = AdvCF(mode=mode, iterations=5)(clean, oracle)
    np.testing.assert_allclose(result.attacked, clean, atol=1e-6)


def test_lite_sees_more_quality_in_filtered_colours() -> None:
    """The shipped metric's score of photographs rises."""
    metric = load_metric("lite").requires_grad_(False)
    clean = to_batch(crop(1, 150, 200, 48, 51), crop(2, 60, 90, 48, 51)).numpy()
    oracle = TorchOracle(function=metric)
    assert np.all(AdvCF(mode=Mode.BENCHMARK)(clean, oracle).scores > oracle.score(clean))


def test_defaults_follow_the_mode() -> None:
    """The paper's 500 steps of 0.01 with weight 5; 10 of 0.001 with 0.5 in the benchmark; 0 is a weight."""
    assert "lr=0.01:iterations=500:mode=paper:pieces=64:weight=5" in str(AdvCF())
    assert "lr=0.001:iterations=10:mode=benchmark:pieces=64:weight=0.5" in str(AdvCF(mode=Mode.BENCHMARK))
    assert AdvCF(weight=0).weight == 0


@pytest.mark.parametrize("wrong", [{"pieces": 0}, {"weight": float("nan")}, {"weight": float("inf")}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """Each with its name."""
    with pytest.raises(AttackSpecError, match=next(iter(wrong))):
        AdvCF(**wrong)  # type: ignore[arg-type]
