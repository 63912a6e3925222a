"""Zhang et al.: the measures against scikit-image and the papers' formulas, the loops against others in torch alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from skimage.metrics import structural_similarity
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, TorchOracle
from tests.clients.attacks.vgg import BLOCKS, DISTS, LPIPS, VGG16
from torch.nn import functional

from scoreguard_client.attacks import AttackInputError, AttackSpecError, Direction, Mode
from scoreguard_client.attacks.deep_measures import dists, lpips
from scoreguard_client.attacks.full_reference import ssim_distance, value_and_gradient
from scoreguard_client.attacks.weights_files import WeightsFileError
from scoreguard_client.attacks.zhang import DeepZhang, Zhang
from scoreguard_client.attacks.zhang_dists import ZhangDISTS
from scoreguard_client.attacks.zhang_lpips import ZhangLPIPS
from scoreguard_client.attacks.zhang_ssim import ZhangSSIM
from scoreguard_client.oracles.base import Gradients, Images, Scores
from scoreguard_export.metrics.catalogue import load_metric

Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
MEAN, DEVIATION = (torch.tensor(values).reshape(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def smooth(images: torch.Tensor) -> torch.Tensor:
    """A score in (0, 1) with a gradient of the order of 1 / values everywhere."""
    weights = torch.cos(torch.arange(images[0].numel()) * 0.3).reshape(images.shape[1:]) + 0.2
    return torch.sigmoid((torch.sin(3 * images) * weights).mean(dim=(1, 2, 3)))


def photos(height: int = 48, width: int = 51) -> Images:
    """Two photographs."""
    found: Images = to_batch(crop(1, 150, 200, height, width), crop(2, 60, 90, height, width)).numpy()
    return found


@pytest.mark.parametrize("size", [(11, 11), (24, 17), (100, 100)])
def test_ssim_is_the_one_of_scikit_image(size: tuple[int, int]) -> None:
    """Gaussian window, no resampling of images of 400 pixels and more; one value for each image."""
    clean = np.tile(photos(*size), (1, 1, 4, 4) if size == (100, 100) else 1)
    other = np.clip(clean + np.random.default_rng(1).normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    found, _ = value_and_gradient(ssim_distance, other, clean)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for value, *pair in zip(found, other.astype(np.float64), clean.astype(np.float64), strict=True):
        wanted = 1 - structural_similarity(*pair, channel_axis=0, **options)  # type: ignore[no-untyped-call]
        assert value == pytest.approx(wanted, abs=1e-4)


def test_the_derivative_of_ssim_is_that_of_finite_differences() -> None:
    """At a few pixels, in both images of a batch."""
    rng = np.random.default_rng(2)
    clean, other = rng.random((2, 3, 13, 12)), rng.random((2, 3, 13, 12))
    _, gradient = value_and_gradient(ssim_distance, other.astype(np.float32), clean.astype(np.float32))
    for place in [(0, 0, 6, 6), (1, 2, 0, 3), (1, 1, 12, 11)]:
        sides = []
        for step in (1e-5, -1e-5):
            moved = other.copy()
            moved[place] += step
            sides.append(float(ssim_distance(torch.from_numpy(moved), torch.from_numpy(clean))[place[0]]))
        assert gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-2, abs=1e-6)


def test_a_derivative_that_is_no_number_counts_as_0() -> None:
    """The length of a vanishing vector has none."""
    clean = np.zeros((2, 3, 2, 2), dtype=np.float32)
    other = clean.copy()
    other[1] = 1

    def length(attacked: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        return ((attacked - clean) ** 2).sum((1, 2, 3)).sqrt()

    values, gradient = value_and_gradient(length, other, clean)
    np.testing.assert_allclose(values, [0, 12**0.5])
    np.testing.assert_allclose(gradient, other / 12**0.5)


def load(path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint, wherever it was made."""
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def features(image: torch.Tensor, state: dict[str, torch.Tensor], pool: Measure) -> list[torch.Tensor]:
    """The five layers of VGG16 that both measures compare, written out."""
    current, found = (image - MEAN) / DEVIATION, []
    for index, places in enumerate(BLOCKS):
        current = pool(current, current) if index else current
        for place in places:
            weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
            current = functional.conv2d(current, weight, bias, padding=1).clamp(min=0)
        found.append(current)
    return found


def l2_pool(image: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """The pooling of DISTS: a Hann window on the squares."""
    window = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(window, window).expand(image.shape[1], 1, 3, 3)
    return (functional.conv2d(image**2, kernel, stride=2, padding=1, groups=image.shape[1]) + 1e-12).sqrt()


def max_pool(image: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """The pooling of VGG16."""
    return functional.max_pool2d(image, 2)


def written_lpips(first: torch.Tensor, second: torch.Tensor, folder: Path) -> float:
    """LPIPS of one pair: unit vectors, squares of their differences, weights of the channels, means over space."""
    state, heads = load(folder / VGG16), load(folder / LPIPS)
    total = 0.0
    layers = zip(features(first, state, max_pool), features(second, state, max_pool), strict=True)
    for index, (one, other) in enumerate(layers):
        units = [layer / layer.norm(dim=1, keepdim=True) for layer in (one, other)]
        total += float((heads[f"lin{index}.model.1.weight"] * (units[0] - units[1]) ** 2).sum(1).mean())
    return total


def written_dists(first: torch.Tensor, second: torch.Tensor, folder: Path) -> float:
    """DISTS of one pair: one minus the weighted similarity of means and of variances, the image a layer too."""
    state, heads = load(folder / VGG16), load(folder / DISTS)
    means, structures = [], []
    layers = zip([first, *features(first, state, l2_pool)], [second, *features(second, state, l2_pool)], strict=True)
    for one, other in layers:
        x, y = one[0].flatten(1), other[0].flatten(1)
        means.append((2 * x.mean(1) * y.mean(1) + 1e-6) / (x.mean(1) ** 2 + y.mean(1) ** 2 + 1e-6))
        covariance = (x * y).mean(1) - x.mean(1) * y.mean(1)
        spread = x.var(1, unbiased=False) + y.var(1, unbiased=False)
        structures.append((2 * covariance + 1e-6) / (spread + 1e-6))
    weights = [heads[name].flatten() for name in ("alpha", "beta")]
    return 1 - float((weights[0] * torch.cat(means)).sum() + (weights[1] * torch.cat(structures)).sum())


@pytest.mark.parametrize(("measure", "written"), [(lpips, written_lpips), (dists, written_dists)])
def test_deep_measures_are_those_of_their_papers(
    measure: Callable[[str, str], Measure], written: Callable[[torch.Tensor, torch.Tensor, Path], float], folder: Path
) -> None:
    """Each image of a batch has its own value."""
    clean = torch.from_numpy(photos(32, 37))
    other = (clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    found = measure(str(folder), "")(other, clean)
    wanted = [written(a[None], b[None], folder) for a, b in zip(other, clean, strict=True)]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert found.min() > 0.001


@pytest.mark.parametrize("kind", [ZhangLPIPS, ZhangDISTS])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_deep_measure_holds_the_image_back_and_the_score_still_rises(
    kind: type[DeepZhang], mode: Mode, folder: Path
) -> None:
    """Against the same attack with weight 0."""
    clean, oracle = photos(24, 27), TorchOracle(function=smooth)
    reached = {
        weight: kind(weights=str(folder), mode=mode, iterations=4, weight=weight)(clean, oracle) for weight in (0, 1)
    }
    far, near = (
        value_and_gradient(kind(weights=str(folder)).distance(), reached[weight].attacked, clean)[0]
        for weight in (0, 1)
    )
    assert np.all(near < far)
    assert np.all(reached[1].scores > oracle.score(clean))


def window_ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """SSIM of one pair (3, H, W) by explicit windows."""
    ramp = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = torch.outer(ramp, ramp) / ramp.sum() ** 2
    x, y = (image.unfold(1, 11, 1).unfold(2, 11, 1) for image in (first, second))
    mean_x, mean_y, xx, yy, xy = ((z * window).sum((3, 4)) for z in (x, y, x * x, y * y, x * y))
    spread = xx - mean_x**2 + yy - mean_y**2
    contrast = (2 * (xy - mean_x * mean_y) + 0.03**2) / (spread + 0.03**2)
    return ((2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2) * contrast).mean()


def reference(clean: Images, *, mode: Mode, weight: float, lr: float, steps: int) -> Images:
    """Sign steps in paper mode, torch's Adam in the benchmark's; one image at a time, autograd all the way."""
    attacked = []
    for seed, image in enumerate(torch.from_numpy(clean)):
        current = image.clone()
        if mode is Mode.PAPER:
            noise = np.random.default_rng(seed).integers(-1, 2, image.shape) / 255
            current = (image + torch.from_numpy(noise)).float().clamp(0, 1)
        optimizer = torch.optim.Adam([current], lr=lr)
        for _ in range(steps):
            point = current.clone().requires_grad_()
            loss = 1 - smooth(point[None])[0] + weight * (1 - window_ssim(point, image))
            (gradient,) = torch.autograd.grad(loss, point)
            if mode is Mode.PAPER:
                gradient[:, :5, :5] = gradient[:, -5:, -5:] = 0
                current -= lr * gradient.sign()
            else:
                current.grad = gradient
                optimizer.step()
            current.clamp_(0, 1)
        attacked.append(current.numpy())
    return np.stack(attacked)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_steps_are_those_of_an_independent_loop(mode: Mode, images: Images) -> None:
    """In all but a few pixels whose gradient vanishes."""
    attack = ZhangSSIM(mode=mode, iterations=6, weight=0.5)
    result = attack(images, TorchOracle(function=smooth))
    wanted = reference(images, mode=mode, weight=0.5, lr=0.005, steps=6)
    assert np.mean(np.abs(result.attacked - wanted) > 1e-3) < 0.01


def test_the_papers_adam_forgets_and_the_benchmarks_remembers() -> None:
    """After one step up and one down the first is back where it started, the second is not."""
    clean = np.full((1, 3, 12, 12), 0.5, dtype=np.float32)

    class Turning(LinearOracle):
        def gradient(self, images: Images) -> tuple[Scores, Gradients]:
            self.calls += 1
            return np.zeros(1), np.full_like(images, 3 if self.calls % 2 else -1)

        def score(self, images: Images) -> Scores:
            return np.zeros(len(images))

    moved = {}
    for mode in Mode:
        attack = ZhangSSIM(mode=mode, iterations=2, weight=0)
        moved[mode] = attack(clean, Turning(weights=clean[0])).attacked - clean
    assert np.abs(moved[Mode.PAPER]).max() <= 1 / 255 + 1e-6
    np.testing.assert_array_less(0.005, moved[Mode.BENCHMARK])


@pytest.mark.parametrize("mode", list(Mode))
def test_only_the_papers_ssim_spares_two_corners(mode: Mode, folder: Path) -> None:
    """5 x 5 pixels at the top left and the bottom right stay at their start."""
    clean = np.full((1, 3, 16, 18), 0.5, dtype=np.float32)
    oracle = LinearOracle(weights=np.ones(clean.shape[1:], dtype=np.float32))
    moved = np.abs(ZhangSSIM(mode=mode, weight=0, iterations=4)(clean, oracle).attacked - clean)
    spared = np.zeros((16, 18), dtype=bool)
    spared[:5, :5] = spared[-5:, -5:] = mode is Mode.PAPER
    assert np.all((moved[0] <= 1 / 255 + 1e-6) == spared)
    other = ZhangDISTS(mode=mode, weight=0, iterations=4, weights=str(folder))(clean, oracle)
    assert np.abs(other.attacked - clean).min() > 1 / 255 + 1e-6


def test_the_papers_steps_have_their_length_however_weak_the_gradient() -> None:
    """Each image's gradient is scaled by its own norm: Adam's 1e-8 does not stop an image beside a steeper one."""
    clean = np.full((2, 3, 12, 12), 0.5, dtype=np.float32)

    class Uneven(LinearOracle):
        def gradient(self, images: Images) -> tuple[Scores, Gradients]:
            scores, gradients = super().gradient(images)
            return scores, gradients * np.array([1, 1e-9], dtype=np.float32).reshape(2, 1, 1, 1)

    oracle = Uneven(weights=np.ones(clean.shape[1:], dtype=np.float32))
    moved = ZhangSSIM(weight=0, iterations=4)(clean, oracle).attacked - clean
    np.testing.assert_allclose(moved[:, :, 5:7], 4 * 0.005, atol=1 / 255 + 1e-6)


def test_the_papers_start_is_one_level_of_noise_from_the_seed(images: Images) -> None:
    """-1, 0 or 1 of 255, drawn for each image; the benchmark starts from the clean image."""
    first = {}
    for mode in Mode:
        oracle = LinearOracle(weights=np.ones(images.shape[1:], dtype=np.float32))
        ZhangSSIM(mode=mode, iterations=1)(images, oracle, seeds=[4, 5, 4])
        first[mode] = oracle.seen[0]
    np.testing.assert_array_equal(first[Mode.BENCHMARK], images)
    noise = np.rint((first[Mode.PAPER] - images) * 255)
    inside = (images > 0).all(axis=0) & (images < 1).all(axis=0)
    assert set(np.unique(noise)) == {-1, 0, 1}
    assert np.array_equal(noise[0][inside], noise[2][inside])
    assert not np.array_equal(noise[0][inside], noise[1][inside])


@pytest.mark.parametrize("mode", list(Mode))
def test_lite_is_fooled_at_a_higher_ssim_than_by_plain_adam(mode: Mode) -> None:
    """At equal steps on photographs; plain Adam is weight 0. Downwards the shipped metric's score falls.

    The oracle declares a range of 1 for a score of 0 to 100: weight 100 is the 1 of a metric that declares its own.
    """
    oracle, clean = TorchOracle(function=load_metric("lite").requires_grad_(False)), photos()
    near, plain = (ZhangSSIM(mode=mode, iterations=10, weight=weight)(clean, oracle) for weight in (100.0, 0.0))
    down = ZhangSSIM(mode=mode, iterations=10, weight=100.0, direction=Direction.DOWN)(clean, oracle)
    ours, theirs = (value_and_gradient(ssim_distance, result.attacked, clean)[0] for result in (near, plain))
    assert np.all(ours < 0.7 * theirs)
    assert np.all(near.scores > oracle.score(clean))
    assert np.all(down.scores < oracle.score(clean))


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_score_moves_in_the_direction_asked_for(mode: Mode, higher_is_better: bool, images: Images) -> None:
    """Up is better quality, whichever way the metric runs; the measure holds in both."""
    oracle = TorchOracle(function=smooth, higher_is_better=higher_is_better)
    sign = 1 if higher_is_better else -1
    up, down = (ZhangSSIM(mode=mode, weight=0.01, iterations=8, direction=way)(images, oracle) for way in Direction)
    assert np.all(sign * up.scores > sign * oracle.score(images))
    assert np.all(sign * down.scores < sign * oracle.score(images))


@pytest.mark.parametrize("kind", [ZhangSSIM, ZhangLPIPS, ZhangDISTS])
@pytest.mark.parametrize("mode", list(Mode))
def test_an_image_is_attacked_alike_in_any_batch(kind: type[Zhang], mode: Mode, folder: Path) -> None:
    """Its own seed, its own measure, its own norm of the gradient."""
    clean, oracle = photos(20, 23), TorchOracle(function=smooth)
    attack = kind(mode=mode, iterations=3)
    attack = replace(attack, weights=str(folder)) if isinstance(attack, DeepZhang) else attack
    batch = attack(clean, oracle)
    alone = attack(clean[1:], oracle, seeds=[1])
    assert np.mean(np.abs(alone.attacked[0] - batch.attacked[1]) > 1e-4) < 0.01


@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 13), st.integers(1, 13)),
    eps=st.sampled_from([1.0, 0.03, 0.5 / 255]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_budget_holds_at_any_size(mode: Mode, shape: tuple[int, ...], eps: float, seed: int) -> None:
    """L-infinity, range and types; the window of SSIM shrinks with the image."""
    clean = (np.random.default_rng(seed).integers(0, 256, shape) / 255).astype(np.float32)
    attack = ZhangSSIM(mode=mode, eps=eps, iterations=3, lr=0.05)
    require_budget(attack, clean, attack(clean, TorchOracle(function=smooth)))


@pytest.mark.parametrize("size", [(16, 16), (17, 30)])
@pytest.mark.parametrize("kind", [ZhangLPIPS, ZhangDISTS])
def test_the_budget_holds_with_deep_measures(kind: type[DeepZhang], size: tuple[int, int], folder: Path) -> None:
    """Down to the smallest image that LPIPS takes."""
    attack = kind(weights=str(folder), eps=0.01, iterations=2)
    require_budget(attack, photos(*size), attack(photos(*size), TorchOracle(function=smooth)))


def test_images_too_small_for_lpips_are_refused_and_dists_takes_them(folder: Path) -> None:
    """Four halvings leave nothing of 15 pixels."""
    oracle = TorchOracle(function=smooth)
    with pytest.raises(AttackInputError, match="at least 16 x 16"):
        ZhangLPIPS(weights=str(folder), iterations=1)(photos(15, 40), oracle)
    assert ZhangDISTS(weights=str(folder), iterations=1)(photos(3, 5), oracle).attacked.shape == (2, 3, 3, 5)


@pytest.mark.parametrize("kind", [ZhangLPIPS, ZhangDISTS])
def test_a_pinned_attack_names_its_files_by_digest_and_notices_others(
    kind: type[DeepZhang], folder: Path, tmp_path: Path
) -> None:
    """The same files elsewhere have the same digest; other files are refused when loaded, and when pinned again."""
    pinned = kind(weights=str(folder)).pinned()
    assert f":digest={pinned.digest}" in str(pinned)
    assert len(pinned.digest) == 16
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    assert kind(weights=str(tmp_path / VGG16)).pinned().digest == pinned.digest
    state = load(tmp_path / kind.head.name)
    torch.save({name: value + 1e-3 for name, value in state.items()}, tmp_path / kind.head.name)
    moved = kind(weights=str(tmp_path), digest=pinned.digest, iterations=1)
    for use in (moved.pinned, lambda: moved(photos(16, 16), TorchOracle(function=smooth))):
        with pytest.raises(WeightsFileError, match=f"not {pinned.digest}"):
            use()


@pytest.mark.parametrize(("kind", "head"), [(ZhangLPIPS, LPIPS), (ZhangDISTS, DISTS)])
def test_a_missing_file_is_named_with_its_source_and_licence(kind: type[DeepZhang], head: str, tmp_path: Path) -> None:
    """First VGG16, then the measure's own; and what to write where nothing is given."""
    with pytest.raises(WeightsFileError, match="weights=FOLDER is not given"):
        kind().pinned()
    with pytest.raises(WeightsFileError) as caught:
        kind(weights=str(tmp_path)).pinned()
    assert all(part in str(caught.value) for part in (VGG16, "torchvision", "BSD-3-Clause"))
    (tmp_path / VGG16).write_bytes(b"")
    with pytest.raises(WeightsFileError) as caught:
        kind(weights=str(tmp_path))(photos(16, 16), TorchOracle(function=smooth))
    assert all(part in str(caught.value) for part in (head, "BSD-2-Clause" if head == LPIPS else "MIT"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (VGG16, {"features.0.weight": torch.zeros(64, 1, 3, 3)}, "'features.0.weight' has shape (64, 1, 3, 3)"),
        (VGG16, {}, "'features.0.weight' has shape ()"),
        (LPIPS, {"lin0.model.1.weight": torch.zeros(1, 63, 1, 1)}, "not (1, 64, 1, 1)"),
        (LPIPS, [1, 2], "is not lpips_v0.1_lin_vgg.pth"),
        (LPIPS, b"not a checkpoint", "cannot read"),
        (LPIPS, b"", "cannot read"),
    ],
    ids=["other shape", "no tensors", "other head", "a list", "text", "empty"],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    name: str, content: object, said: str, folder: Path, tmp_path: Path
) -> None:
    """One line that names the file and what it should be."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink()
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(WeightsFileError) as caught:
        ZhangLPIPS(weights=str(tmp_path), iterations=1)(photos(16, 16), TorchOracle(function=smooth))
    assert said in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults_follow_the_mode() -> None:
    """200 steps in the authors' code, 10 in the benchmark's; both with lr 0.005 and weight 1."""
    assert "lr=0.005:iterations=200:mode=paper:weight=1" in str(ZhangSSIM())
    assert "lr=0.005:iterations=10:mode=benchmark:weight=1" in str(ZhangSSIM(mode=Mode.BENCHMARK))


@pytest.mark.parametrize("weight", [-1, float("inf")])
def test_parameters_out_of_range_are_refused(weight: float) -> None:
    """With their name."""
    with pytest.raises(AttackSpecError, match="weight"):
        ZhangDISTS(weight=weight)
