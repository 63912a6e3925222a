"""The learned filter: the study's network, its checkpoint, and its graphs."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from exported_defence import assert_engines_agree
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from safetensors.torch import save_file
from torch import Tensor, nn

from scoreguard_export.defences.fcn_filter import FcnFilter, FilterNetwork
from scoreguard_export.defences.shipped import write_weights
from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.source import WeightsSource


class Published(nn.Module):
    """The network of the study as its public code builds it, norm of 8 declared features included."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 3, 3, padding=1)
        self.relu, self.norm = nn.LeakyReLU(0.2), nn.InstanceNorm2d(16)

    def forward(self, image: Tensor) -> Tensor:
        """Up to the tanh."""
        hidden: Tensor = self.relu(self.norm(self.conv2(self.relu(self.conv1(image)))))
        return torch.tanh(self.conv3(hidden))


@pytest.fixture(scope="module")
def published() -> Published:
    """Fixed random weights, larger than usual so that the tanh bends and the clamp cuts."""
    torch.manual_seed(4)
    network = Published()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2.0)
    return network


@pytest.fixture(scope="module")
def weights(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the official one."""
    path = tmp_path_factory.mktemp("weights") / "fcn_mse.pth"
    torch.save({"model": published.state_dict(), "epoch": 137}, path)
    return path


def loaded(path: Path) -> FcnFilter:
    """The filter with the weights of a file."""
    return FcnFilter.from_weights({"fcn-filter": path})


def test_it_has_the_parameters_of_the_study() -> None:
    """11,459 numbers under the official names."""
    assert sum(parameter.numel() for parameter in FilterNetwork().parameters()) == 11_459
    names = [f"conv{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")]
    assert list(FilterNetwork().state_dict()) == names


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), photo=st.integers(0, 3))
def test_it_is_the_published_network(published: Published, weights: Path, height: int, width: int, photo: int) -> None:
    """An official checkpoint gives the published network's images, clamped, at any size that both take."""
    batch = to_batch(crop(photo, 40, 60, height, width), crop(photo + 1, 9, 7, height, width)).double()
    result = loaded(weights).double()(batch)
    assert result.shape == batch.shape
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 1.0
    if height * width > 1:  # torch's norm takes no single pixel
        expected = copy.deepcopy(published).double()(batch).detach().clamp(0.0, 1.0)
        assert float((result - expected).abs().max()) < 1e-9


def test_both_engines_run_it_at_any_size(weights: Path, tmp_path: Path) -> None:
    """TorchScript and ONNX agree with the module at odd, oblong and smallest sizes, in batches of 1 and 3."""
    assert assert_engines_agree(loaded(weights), tmp_path) < 1e-4


def test_its_gradient_is_the_derivative(weights: Path) -> None:
    """Autograd agrees with finite differences in double precision."""
    image = (torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(1)).double() * 0.8 + 0.1).requires_grad_()
    defence = loaded(weights).double()
    assert torch.autograd.gradcheck(lambda x: defence(x), (image,))


def test_a_pixel_depends_on_the_whole_image(weights: Path) -> None:
    """The norm reaches from corner to corner, so the filter must not be run in tiles."""
    image = to_batch(crop(0, 0, 0, 40, 40)).requires_grad_()
    loaded(weights)(image)[0, :, 2, 2].sum().backward()
    assert image.grad is not None
    assert float(image.grad[0, :, 35, 35].abs().max()) > 0.0


def test_the_images_of_a_batch_are_normalised_one_by_one(weights: Path) -> None:
    """An image gets the same result alone and beside others."""
    batch = to_batch(crop(0, 0, 0, 21, 34), crop(1, 50, 60, 21, 34), crop(2, 9, 9, 21, 34))
    defence = loaded(weights)
    alone = torch.cat([defence(one[None]) for one in batch])
    assert torch.allclose(defence(batch), alone, atol=1e-5)


def test_weights_come_from_safetensors_too(weights: Path, tmp_path: Path) -> None:
    """What the training writes is read without pickle."""
    defence = loaded(weights)
    write_weights(defence.network, tmp_path / "own.safetensors")
    batch = to_batch(crop(0, 0, 0, 21, 34))
    assert torch.equal(loaded(tmp_path / "own.safetensors")(batch), defence(batch))


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says which file is missing and where it is from."""
    absent = WeightsSource(licence="Apache-2.0", shipped=tmp_path / "fcn_filter.safetensors", url="from elsewhere")
    monkeypatch.setattr(FcnFilter, "sources", {"fcn-filter": absent})
    with pytest.raises(WeightsError, match=r"no weights of fcn-filter at .*fcn_filter\.safetensors.*from elsewhere"):
        FcnFilter.from_weights()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"conv1.weight": torch.zeros(1)}}, "5 tensors missing: conv1.bias"),
        ({**FilterNetwork().state_dict(), "conv4.bias": torch.zeros(3)}, "1 tensors too many: conv4.bias"),
        ({**FilterNetwork().state_dict(), "conv3.bias": torch.zeros(4)}, r"conv3.bias is \(4,\), not \(3,\)"),
        ([1, 2], "no dictionary of tensors"),
        ({"model": {"conv1.weight": "text"}}, "no dictionary of tensors"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, content: object, message: str) -> None:
    """Other names, shapes or kinds are refused in one line, before anything is filtered."""
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=message) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    """Bytes that are no tensors are no weights."""
    (tmp_path / name).write_text("no weights")
    with pytest.raises(WeightsError, match="no tensors that can be read"):
        loaded(tmp_path / name)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """Pickles are read as tensors alone."""
    torch.save({"model": Published()}, tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="a pickled or scripted module, which is never run"):
        loaded(tmp_path / "whole.pth")


def test_half_precision_is_widened(tmp_path: Path) -> None:
    """A half-precision file gives a float32 module."""
    state = {key: value.half() for key, value in FilterNetwork().state_dict().items()}
    save_file(state, tmp_path / "half.safetensors")
    assert {p.dtype for p in loaded(tmp_path / "half.safetensors").parameters()} == {torch.float32}
