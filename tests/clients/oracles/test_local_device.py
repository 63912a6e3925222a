"""The local oracle on another device than the CPU, and in batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from second_device import SECOND_DEVICE, second_device
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.chain.numerics import Numerics
from scoreguard.chain.torchscript import DifferentiableChain
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import DeviceError, DeviceMemoryError
from scoreguard.v1.spec import parse_chain
from scoreguard_client.oracles import LocalOracle, SurrogateError
from scoreguard_client.oracles.base import DeviceOracle, Images

NOISE = parse_chain("scale+noise")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The toy archive."""
    second_device()
    return write_archive(tmp_path_factory.mktemp("store") / "energy")


@pytest.fixture
def images() -> Images:
    """Five images, 7 x 10."""
    return np.random.default_rng(0).random((5, 3, 7, 10), dtype=np.float32)


@pytest.mark.parametrize("draws", [1, 3, (2, 1, 4, 1, 3)])
@pytest.mark.parametrize("batch", [1, 2, 4, 16])
@pytest.mark.parametrize("device", ["cpu", SECOND_DEVICE])
def test_batches_of_draws_have_the_means_of_single_draws(
    device: str, batch: int, draws: int | Sequence[int], toy: Archive, images: Images
) -> None:
    """Each image has its own seeds and its own number of draws, wherever its rows fall."""
    single = LocalOracle(toy, NOISE, seed=3).with_draws(draws)
    batched = LocalOracle(toy, NOISE, seed=3, device=device, batch=batch).with_draws(draws)
    for _ in range(2):
        scores, gradients = single.gradient(images)
        there, slopes = batched.gradient(images)
        np.testing.assert_allclose(there, scores, rtol=1e-5)
        np.testing.assert_allclose(slopes, gradients, rtol=1e-4, atol=1e-6)
        assert [there.dtype, slopes.dtype] == ["float64", "float32"]
        assert batched.last_calls.tolist() == single.last_calls.tolist()
    np.testing.assert_allclose(batched.score(images), single.score(images), rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", SECOND_DEVICE])
def test_a_tensor_is_answered_by_tensors_on_its_device(device: str, toy: Archive, images: Images) -> None:
    """Scores are float64 and gradients float32, as for NumPy arrays, with the same values."""
    oracle, asked = LocalOracle(toy, device=device), torch.from_numpy(images).to(device)
    scores, gradients = oracle.gradient(asked)
    assert {scores.device, gradients.device, oracle.score(asked).device} == {asked.device}
    assert (scores.dtype, gradients.dtype) == (torch.float64, torch.float32)
    here = oracle.gradient(images)
    np.testing.assert_array_equal(scores.cpu().numpy(), here[0])
    np.testing.assert_array_equal(gradients.cpu().numpy(), here[1])


def test_arrays_go_to_the_device_of_the_graphs(toy: Archive, images: Images) -> None:
    """On the CPU they stay NumPy's: no attack changes there."""
    here, there = LocalOracle(toy), LocalOracle(toy, device=SECOND_DEVICE)
    assert isinstance(here, DeviceOracle)
    assert here.to_device(images) is images
    assert there.to_device(images).device == there.device.torch == torch.device(SECOND_DEVICE)
    assert there.to_device(np.arange(3.0)).dtype == torch.float64


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A device that holds at most three rows, and the sizes of the batches that ran."""
    ran, gradient = list[int](), DifferentiableChain.gradient

    def limited(self: DifferentiableChain, images: torch.Tensor, seeds: Sequence[int], **more: Any) -> Any:
        if len(images) > 3:
            raise DeviceMemoryError(str(images.device), "the gradient", tuple(images.shape))
        ran.append(len(images))
        return gradient(self, images, seeds, **more)

    monkeypatch.setattr(DifferentiableChain, "gradient", limited)
    yield ran


def test_a_batch_that_does_not_fit_is_halved_and_stays_so(
    toy: Archive, images: Images, small_memory: list[int]
) -> None:
    """No row is lost or asked twice, and the oracle's copies know the smaller size too."""
    oracle = LocalOracle(toy, NOISE, device=SECOND_DEVICE, seed=1, draws=3)
    scores, gradients = oracle.gradient(images)
    assert small_memory == [3, 3, 3, 3, 3]
    expected = LocalOracle(toy, NOISE, seed=1, draws=3).gradient(images)
    np.testing.assert_allclose(scores, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradients, expected[1], rtol=1e-4, atol=1e-6)
    small_memory.clear()
    oracle.with_seed(2).gradient(images)
    assert max(small_memory) == 3


def test_one_image_that_does_not_fit_is_an_error_of_one_line(
    toy: Archive, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which device, and what to do."""

    def nothing_fits(self: DifferentiableChain, images: torch.Tensor, seeds: Sequence[int]) -> Any:
        raise DeviceMemoryError(str(images.device), "the gradient", tuple(images.shape))

    monkeypatch.setattr(DifferentiableChain, "gradient", nothing_fits)
    with pytest.raises(
        SurrogateError, match=r"more memory than lazy:0 has .* shape \(1, 3, 7, 10\); use smaller images"
    ):
        LocalOracle(toy, device=SECOND_DEVICE).gradient(images)


def test_gradients_in_half_precision_are_given_only_to_who_allows_them(toy: Archive, images: Images) -> None:
    """Scores need no permission."""
    half = Numerics(precision="fp16")
    oracle = LocalOracle(toy, numerics=half)
    assert oracle.score(images).shape == (5,)
    with pytest.raises(SurrogateError, match=r"half precision rounds small gradients to zero.*--half-gradients"):
        oracle.gradient(images)
    allowed = LocalOracle(toy, numerics=half, half_gradients=True)
    np.testing.assert_array_equal(allowed.gradient(images)[1], LocalOracle(toy).gradient(images)[1])


def test_the_first_gradient_names_what_does_not_repeat(
    toy: Archive, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU repeats everything, so nothing is watched there; copies of an oracle share what was found."""
    gradient = DifferentiableChain.gradient

    def warning(self: DifferentiableChain, images: torch.Tensor, seeds: Sequence[int], **more: Any) -> Any:
        text = "upsample_backward does not have a deterministic implementation, but you set 'warn_only'"
        warnings.warn(text, UserWarning, stacklevel=1)
        return gradient(self, images, seeds, **more)

    monkeypatch.setattr(DifferentiableChain, "gradient", warning)
    oracle = LocalOracle(toy, device=SECOND_DEVICE)
    assert not oracle.unrepeatable
    oracle.with_seed(4).gradient(images)
    assert oracle.unrepeatable == ("upsample_backward",)
    free = LocalOracle(toy, device=SECOND_DEVICE, numerics=Numerics(deterministic=False))
    for unwatched in (LocalOracle(toy), free):
        with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
            unwatched.gradient(images)
        assert not unwatched.unrepeatable


def test_an_attacks_own_steps_compute_with_the_oracles_settings(toy: Archive) -> None:
    """They hold within the block only; what does not repeat there is named too."""
    before = torch.are_deterministic_algorithms_enabled()
    oracle = LocalOracle(toy, device=SECOND_DEVICE)
    with oracle.settings():
        assert torch.are_deterministic_algorithms_enabled()
        warnings.warn("cumsum_cuda_kernel does not have a deterministic implementation, but", stacklevel=1)
    assert torch.are_deterministic_algorithms_enabled() == before
    assert oracle.unrepeatable == ("cumsum_cuda_kernel",)
    with LocalOracle(toy).settings():
        assert torch.are_deterministic_algorithms_enabled() == before


def test_an_attacks_own_arrays_that_do_not_fit_are_an_error_of_one_line(toy: Archive) -> None:
    """Not torch's, which is several lines long."""
    message = "lazy:0 has no memory left for the attack's own arrays: attack fewer or smaller images"
    with pytest.raises(SurrogateError, match=message), LocalOracle(toy, device=SECOND_DEVICE).settings():
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")


def test_a_device_that_is_not_there_is_named(toy: Archive) -> None:
    """The message says what to choose."""
    with pytest.raises(DeviceError, match="choose"):
        LocalOracle(toy, device="cuda:7")


def test_an_oracle_on_auto_says_what_it_took(toy: Archive) -> None:
    """Without a GPU it is the CPU, with the reason."""
    oracle = LocalOracle(toy, device="auto")
    assert oracle.device.announcement.startswith(f"device {oracle.device.name}")
