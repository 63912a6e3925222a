"""ST-LPIPS: against the published values, and against the formula written out in NumPy and double precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from photographs import crop, to_batch
from second_device import SECOND_DEVICE, second_device
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import TorchOracle

from scoreguard_client.attacks import AttackInputError, Mode, parse_attack
from scoreguard_client.attacks.deep_measures import lpips
from scoreguard_client.attacks.full_reference import value_and_gradient
from scoreguard_client.attacks.weights_files import WeightsFileError
from scoreguard_client.attacks.zhang_dists import ZhangDISTS
from scoreguard_client.attacks.zhang_lpips import ZhangLPIPS
from scoreguard_client.oracles.base import Images

Doubles = npt.NDArray[np.float64]
REAL = DATA / "weights" / "stlpips_alex_fp16.pt"
PUBLISHED = {"I03": 0.5798, "I04": 0.3364, "I06": 0.2164, "I08": 0.0425, "I19": 0.3042}
"""Values of the authors' code with the file in single precision."""
OFFICIAL_SHAPES = {
    "scaling_layer.shift": (1, 3, 1, 1),
    "scaling_layer.scale": (1, 3, 1, 1),
    "net.slice1.0.weight": (64, 3, 11, 11),
    "net.slice1.0.bias": (64,),
    "net.slice1.1.filt": (64, 1, 3, 3),
    "net.slice2.4.filt": (64, 1, 3, 3),
    "net.slice2.5.weight": (192, 64, 5, 5),
    "net.slice2.5.bias": (192,),
    "net.slice3.8.filt": (192, 1, 3, 3),
    "net.slice3.9.weight": (384, 192, 3, 3),
    "net.slice3.9.bias": (384,),
    "net.slice4.11.weight": (256, 384, 3, 3),
    "net.slice4.11.bias": (256,),
    "net.slice5.13.weight": (256, 256, 3, 3),
    "net.slice5.13.bias": (256,),
    "lin0.model.1.weight": (1, 64, 1, 1),
    "lin1.model.1.weight": (1, 192, 1, 1),
    "lin2.model.1.weight": (1, 384, 1, 1),
    "lin3.model.1.weight": (1, 256, 1, 1),
    "lin4.model.1.weight": (1, 256, 1, 1),
}


def generated_state() -> dict[str, torch.Tensor]:
    """Random weights under the official names; kernels in half precision, as in a reduced file."""
    rng = torch.Generator().manual_seed(11)
    binomial = torch.tensor([1.0, 2.0, 1.0])
    state = {}
    for name, shape in OFFICIAL_SHAPES.items():
        if name.endswith("filt"):
            state[name] = (torch.outer(binomial, binomial) / 16).expand(shape).clone()
        elif name.startswith(("lin", "scaling")):
            state[name] = torch.rand(shape, generator=rng) + 0.1
        elif name.endswith("bias"):
            state[name] = torch.randn(shape, generator=rng) * 0.1
        else:
            deviation = (2 / float(np.prod(shape[1:]))) ** 0.5
            state[name] = (torch.randn(shape, generator=rng) * deviation).half()
    return state


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated file of ST-LPIPS."""
    path = tmp_path_factory.mktemp("st") / "alex_shift_tolerant.pth"
    torch.save(generated_state(), path)
    return path


def photos(height: int, width: int) -> Images:
    """Two photographs."""
    found: Images = to_batch(crop(1, 150, 200, height, width), crop(2, 60, 90, height, width)).numpy()
    return found


def noisy(clean: Images) -> Images:
    """The same with noise."""
    noise = np.random.default_rng(3).normal(0, 0.05, clean.shape)
    return np.clip(clean + noise, 0, 1).astype(np.float32)


def smooth(images: torch.Tensor) -> torch.Tensor:
    """A score in (0, 1) with a gradient everywhere."""
    return torch.sigmoid(torch.sin(5 * images).mean(dim=(1, 2, 3)))


def windows(values: Doubles, side: int) -> Doubles:
    """Every window of a side: (C, h, w, side, side)."""
    return np.lib.stride_tricks.sliding_window_view(values, (side, side), axis=(1, 2))


def convolved(values: Doubles, state: dict[str, Doubles], name: str, padding: int) -> Doubles:
    """A convolution with zeros around."""
    kernel = state[f"{name}.weight"]
    padded = np.pad(values, ((0, 0), (padding, padding), (padding, padding)))
    found = np.tensordot(kernel, windows(padded, kernel.shape[-1]), axes=([1, 2, 3], [0, 3, 4]))
    return np.asarray(found + state[f"{name}.bias"][:, None, None])


def blurred(values: Doubles) -> Doubles:
    """Every second value of the image smoothed by 1 2 1 in both directions, two pixels reflected at each side."""
    padded = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    both = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return np.asarray(both[:, ::2, ::2])


def layers(image: Doubles, state: dict[str, Doubles]) -> list[Doubles]:
    """The five layers of the shift-tolerant AlexNet, of length 1 at each place."""
    shift, scale = (state[f"scaling_layer.{name}"][0] for name in ("shift", "scale"))
    first = np.maximum(blurred(convolved(((2 * image - 1) - shift) / scale, state, "net.slice1.0", 2)), 0)
    found = [first]
    for name, padding in (("net.slice2.5", 2), ("net.slice3.9", 1)):
        pooled = windows(found[-1], 3).max(axis=(3, 4))
        found.append(np.maximum(convolved(blurred(pooled), state, name, padding), 0))
    for name in ("net.slice4.11", "net.slice5.13"):
        found.append(np.maximum(convolved(found[-1], state, name, 1), 0))
    return [layer / (np.sqrt((layer**2).sum(axis=0)) + 1e-10) for layer in found]


def written_out(attacked: Images, clean: Images, state: dict[str, Doubles]) -> list[float]:
    """The distance of each image."""
    distances = []
    for pair in zip(attacked.astype(np.float64), clean.astype(np.float64), strict=True):
        total = 0.0
        for index, (one, other) in enumerate(zip(*(layers(image, state) for image in pair), strict=True)):
            heads = state[f"lin{index}.model.1.weight"].reshape(-1, 1, 1)
            total += float((heads * (one - other) ** 2).sum(axis=0).mean())
        distances.append(total)
    return distances


@pytest.mark.parametrize("size", [(21, 21), (22, 35), (48, 51)])
def test_the_distance_is_the_formula_written_out(size: tuple[int, int], file: Path) -> None:
    """Even and odd sides, down to the smallest; 0 for equal images."""
    clean = photos(*size)
    state = {name: tensor.double().numpy() for name, tensor in generated_state().items()}
    found, gradient = value_and_gradient(lpips(str(file), ""), noisy(clean), clean)
    np.testing.assert_allclose(found, written_out(noisy(clean), clean, state), rtol=1e-4)
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()
    assert value_and_gradient(lpips(str(file), ""), clean, clean)[0].tolist() == [0, 0]


def test_the_derivative_is_that_of_finite_differences(file: Path) -> None:
    """Along a direction, in both images."""
    clean = photos(24, 29)
    other, direction = noisy(clean), np.sign(noisy(clean) - 0.5).astype(np.float32)
    distance = lpips(str(file), "")
    _, gradient = value_and_gradient(distance, other, clean)
    moved = [(other + step * direction).astype(np.float32) for step in (2e-4, -2e-4)]
    ends = [value_and_gradient(distance, images, clean)[0] for images in moved]
    wanted = (gradient * direction).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(wanted, (ends[0] - ends[1]) / 4e-4, rtol=0.03)


def test_flat_images_have_a_derivative(file: Path, tmp_path: Path) -> None:
    """Where no channel answers the length is 0, and its derivative counts as 0 instead of spoiling the others."""
    state = generated_state()
    state["net.slice1.0.bias"] -= 100
    torch.save(state, tmp_path / "silent.pth")
    clean = np.full((1, 3, 24, 24), 0.5, dtype=np.float32)
    values, gradient = value_and_gradient(lpips(str(tmp_path / "silent.pth"), ""), noisy(clean), clean)
    assert np.isfinite(values).all()
    distance = lpips(str(tmp_path / "silent.pth"), "")
    tensor = torch.from_numpy(noisy(clean)).requires_grad_()
    distance(tensor, torch.from_numpy(clean)).sum().backward()
    assert tensor.grad is not None
    assert torch.isfinite(tensor.grad).all()
    np.testing.assert_array_equal(gradient, tensor.grad.numpy())


def test_an_image_has_one_distance_in_any_batch(file: Path) -> None:
    """To the last bit: alone, and in the other order."""
    clean = photos(33, 28)
    distance = lpips(str(file), "")
    together = value_and_gradient(distance, noisy(clean), clean)
    turned = value_and_gradient(distance, noisy(clean)[::-1], clean[::-1])
    alone = value_and_gradient(distance, noisy(clean)[1:], clean[1:])
    for part in range(2):
        np.testing.assert_array_equal(together[part], turned[part][::-1])
        np.testing.assert_array_equal(together[part][1:], alone[part])


def test_another_device_gives_the_same_distance(file: Path) -> None:
    """No tensor stays behind on the CPU."""
    second_device()
    clean = photos(24, 26)
    here, _ = value_and_gradient(lpips(str(file), ""), noisy(clean), clean)
    tensors = [torch.from_numpy(images).to(SECOND_DEVICE) for images in (noisy(clean), clean)]
    there = lpips(str(file), "", SECOND_DEVICE)(*tensors)
    assert there.device == torch.device(SECOND_DEVICE)
    np.testing.assert_allclose(there.cpu().numpy(), here, rtol=1e-4)


@pytest.mark.parametrize("mode", list(Mode))
def test_zhang_runs_with_a_file_of_any_name(mode: Mode, file: Path) -> None:
    """The budget holds, the score rises, and the image stays nearer than without the measure."""
    clean, oracle = photos(24, 27), TorchOracle(function=smooth)
    attack = ZhangLPIPS(mode=mode, weights=str(file), eps=0.03, iterations=6).pinned()
    result = attack(clean, oracle)
    require_budget(attack, clean, result)
    assert np.all(result.scores > oracle.score(clean))
    free = replace(attack, weight=0.0)(clean, oracle)
    held = replace(attack, weight=20.0)(clean, oracle)
    distance = lpips(str(file), "")
    far, near = (value_and_gradient(distance, found.attacked, clean)[0] for found in (free, held))
    assert np.all(near < far)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_the_name_means_the_fetched_file(
    suffix: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder of fetched weights; the digest is that of the file wherever it is, and survives the text form."""
    monkeypatch.setenv("SCOREGUARD_WEIGHTS", str(tmp_path))
    (tmp_path / f"st-lpips{suffix}").symlink_to(file)
    pinned = ZhangLPIPS(weights="st-lpips").pinned()
    assert pinned.digest == ZhangLPIPS(weights=str(file)).pinned().digest
    assert parse_attack(str(pinned)) == pinned
    short = replace(pinned, iterations=1)
    assert short(photos(21, 22), TorchOracle(function=smooth)).attacked.shape == (2, 3, 21, 22)


def test_without_the_variable_the_folder_is_that_of_the_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file is named with its place, its source and its licence, in one line."""
    monkeypatch.delenv("SCOREGUARD_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(WeightsFileError) as caught:
        ZhangLPIPS(weights="st-lpips").pinned()
    said = str(caught.value)
    parts = (str(tmp_path / "scoreguard" / "weights" / "st-lpips.pth"), "alex_shift_tolerant.pth", "BSD-2-Clause")
    assert all(part in said for part in parts)
    assert "\n" not in said


def test_no_weights_at_all_names_both_ways() -> None:
    """The folder of LPIPS 0.1, and ST-LPIPS."""
    with pytest.raises(WeightsFileError, match=r"weights=FOLDER is not given; .*; or give weights=st-lpips"):
        ZhangLPIPS().pinned()
    with pytest.raises(WeightsFileError) as caught:
        ZhangDISTS().pinned()
    assert "st-lpips" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape"), [("net.slice1.0.weight", (64, 3, 3, 3)), ("lin4.model.1.weight", ())], ids=["VGG", "no head"]
)
def test_a_file_of_another_shape_is_refused(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """The authors' file for VGG16 has the same first names; a tensor may be missing."""
    state = generated_state()
    del state[name]
    torch.save(state | ({name: torch.zeros(shape)} if shape else {"net.other": torch.zeros(1)}), tmp_path / "file.pth")
    attack = ZhangLPIPS(weights=str(tmp_path / "file.pth"), iterations=1)
    with pytest.raises(WeightsFileError) as caught:
        attack(photos(21, 21), TorchOracle(function=smooth))
    said = str(caught.value)
    assert f"{name!r} has shape {shape}, not {OFFICIAL_SHAPES[name]}" in said
    assert "alex_shift_tolerant.pth" in said
    assert "\n" not in said


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    """When loaded, and when pinned again."""
    path = tmp_path / "st.pth"
    torch.save(generated_state(), path)
    pinned = replace(ZhangLPIPS(weights=str(path), iterations=1).pinned(), iterations=1)
    torch.save(generated_state() | {"lin0.model.1.weight": torch.ones(1, 64, 1, 1)}, path)
    for use in (pinned.pinned, lambda: pinned(photos(21, 21), TorchOracle(function=smooth))):
        with pytest.raises(WeightsFileError, match=f"not {pinned.digest}"):
            use()


@pytest.mark.parametrize("size", [(20, 40), (40, 20)])
def test_images_too_small_are_refused(size: tuple[int, int], file: Path) -> None:
    """21 pixels leave the last blur pool three values."""
    with pytest.raises(AttackInputError, match="at least 21 x 21"):
        ZhangLPIPS(weights=str(file), iterations=1)(photos(*size), TorchOracle(function=smooth))


@pytest.mark.skipif(not REAL.is_file(), reason=WHY_SKIPPED)
def test_the_real_file_gives_the_published_values() -> None:
    """The kernels of this file are rounded to half precision, which costs less than 0.0001."""
    distance = lpips(str(REAL), "")
    for name, wanted in PUBLISHED.items():
        pair = []
        for kind in ("dist", "ref"):
            with PIL.Image.open(DATA / "conformance" / f"{name}_{kind}.png") as image:
                values = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
            pair.append(torch.from_numpy(values.transpose(2, 0, 1)[None].copy()))
        with torch.no_grad():
            assert float(distance(*pair)[0]) == pytest.approx(wanted, abs=1.5e-4)


@pytest.mark.skipif(not REAL.is_file(), reason=WHY_SKIPPED)
def test_the_real_file_hardly_notices_a_shift_by_one_pixel() -> None:
    """Which moves the distance of two images by less than 1 %."""
    distance = lpips(str(REAL), "")
    clean = photos(97, 97)
    shifted = np.ascontiguousarray(noisy(clean)[..., 1:]), np.ascontiguousarray(clean[..., 1:])
    whole = np.ascontiguousarray(noisy(clean)[..., :-1]), np.ascontiguousarray(clean[..., :-1])
    before, after = (value_and_gradient(distance, *pair)[0] for pair in (whole, shifted))
    np.testing.assert_allclose(after, before, rtol=0.01)
