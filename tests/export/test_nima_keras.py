"""The official file of NIMA, as Keras saves it: read, folded, fetched, and refused."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from file_server import file_server
from torch import Tensor
from torch.nn import functional

from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.archive.requested import requested
from scoreguard_export.cli import main
from scoreguard_export.errors import MissingExtraError, WeightsError
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.nima import Nima, resized

h5py: Any = pytest.importorskip("h5py", reason="the extra keras is not installed")
Arrays = Mapping[str, npt.NDArray[np.float32]]
WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
LAYERS = ["conv1", *(f"conv_{kind}_{pair}" for pair in range(1, 14) for kind in ("dw", "pw"))]
"""Convolutions of Keras' MobileNet, in order."""
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def drawn() -> dict[str, npt.NDArray[np.float32]]:
    """Weights by Keras' names, `layer/array`: kernels (height, width, inputs, outputs), batch norms, a dense layer."""
    generator = np.random.default_rng(5)
    arrays = {}
    for index, layer in enumerate(LAYERS):
        pair, pointwise = (index - 1) // 2, index % 2 == 0
        inputs = 3 if index == 0 else WIDTHS[pair]
        outputs = WIDTHS[pair + 1] if pointwise and index else WIDTHS[0] if index == 0 else inputs
        depthwise = layer.startswith("conv_dw")
        shape = (3, 3, inputs, 1) if depthwise else (1, 1, inputs, outputs) if index else (3, 3, 3, outputs)
        fan = 9 if depthwise else shape[0] * shape[1] * inputs
        arrays[f"{layer}/{'depthwise_kernel' if depthwise else 'kernel'}"] = generator.normal(
            0, (2 / fan) ** 0.5, shape
        )
        arrays[f"{layer}_bn/gamma"] = generator.normal(1.0, 0.1, outputs)
        arrays[f"{layer}_bn/beta"] = generator.normal(0.2, 0.2, outputs)
        arrays[f"{layer}_bn/moving_mean"] = generator.normal(0.0, 0.2, outputs)
        arrays[f"{layer}_bn/moving_variance"] = generator.uniform(0.5, 1.5, outputs)
    arrays["dense_1/kernel"], arrays["dense_1/bias"] = generator.normal(0, 0.05, (1024, 10)), generator.normal(0, 1, 10)
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def save(arrays: Arrays, path: Path, within: str = "") -> Path:
    """Write the layout of Keras: a group for each layer, with a group of its name and the arrays inside."""
    with h5py.File(path, "w") as file:
        root = file.create_group(within) if within else file
        root.attrs["layer_names"] = np.array([name.encode() for name in dict.fromkeys(n.split("/")[0] for n in arrays)])
        root.attrs["keras_version"] = b"2.1.6"
        for name, value in arrays.items():
            layer, _, array = name.partition("/")
            root.create_dataset(f"{layer}/{layer}/{array}:0", data=value)
    return path


def unfolded(arrays: Arrays, image: Tensor) -> Tensor:
    """Scores of the network as Keras runs it: batch norms by themselves, "same" padding of TensorFlow."""
    tensors = {name: torch.from_numpy(value).double() for name, value in arrays.items()}
    values = resized(image).double() * 2.0 - 1.0
    for index, layer in enumerate(LAYERS):
        stride = 2 if index == 0 else STRIDES[(index - 1) // 2] if index % 2 else 1
        if (key := f"{layer}/depthwise_kernel") in tensors:
            kernel, groups = tensors[key].permute(2, 3, 0, 1), values.shape[1]
        else:
            kernel, groups = tensors[f"{layer}/kernel"].permute(3, 2, 0, 1), 1
        if kernel.shape[-1] == 3:
            values = functional.pad(values, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        values = functional.conv2d(values, kernel, stride=stride, groups=groups)
        gamma, beta, mean, variance = (tensors[f"{layer}_bn/{name}"] for name in NORM)
        values = functional.batch_norm(values, mean, variance, gamma, beta, eps=1e-3).clamp(0.0, 6.0)
    logits = values.mean(dim=(2, 3)) @ tensors["dense_1/kernel"] + tensors["dense_1/bias"]
    return torch.softmax(logits, dim=1) @ torch.arange(1.0, 11.0, dtype=torch.float64)


@pytest.mark.parametrize("within", ["", "model_weights"])
def test_the_scores_are_those_of_the_unfolded_network(within: str, tmp_path: Path) -> None:
    """Weights alone, or a whole saved model: batch norms are folded without a change beyond rounding."""
    arrays, images = drawn(), photographs(2, 230, 317, 3)
    metric = load_metric("nima", {"nima": save(arrays, tmp_path / "nima.hdf5", within)})
    with torch.no_grad():
        scores, expected = metric(images), unfolded(arrays, images)
    assert float(expected.std()) > 1e-3
    assert torch.allclose(scores.double(), expected, atol=2e-4)


@pytest.mark.skipif(not (DATA / "weights").is_dir(), reason=WHY_SKIPPED)
def test_the_converted_numbers_in_the_official_layout_score_alike(tmp_path: Path) -> None:
    """The file at hand, written as Keras would: batch norms that only add a bias."""
    converted = DATA / "weights/nima_mobilenet_technical.pt"
    state, arrays = Nima(), {}
    state.load("nima", converted)
    for index, (layer, value) in enumerate(zip(LAYERS, drawn_names(), strict=True)):
        weight, bias = (state.get_parameter(f"features.{index}.{name}").detach() for name in ("weight", "bias"))
        arrays[f"{layer}/{value}"] = weight.permute(2, 3, *((0, 1) if value == "depthwise_kernel" else (1, 0))).numpy()
        ones = np.ones(len(bias), np.float32)
        rest = {"gamma": ones, "beta": bias.numpy(), "moving_mean": 0 * ones, "moving_variance": ones * (1 - 1e-3)}
        arrays |= {f"{layer}_bn/{name}": array for name, array in rest.items()}
    arrays["dense_1/kernel"] = state.classifier.weight.detach().T.numpy()
    arrays["dense_1/bias"] = state.classifier.bias.detach().numpy()
    images = photographs(3, 240, 321, 4)
    official = load_metric("nima", {"nima": save(arrays, tmp_path / "nima.hdf5")})
    with torch.no_grad():
        assert torch.allclose(official(images), load_metric("nima", {"nima": converted})(images), atol=1e-5)


def drawn_names() -> list[str]:
    """Name of each convolution's kernel."""
    return ["depthwise_kernel" if layer.startswith("conv_dw") else "kernel" for layer in LAYERS]


def test_it_is_fetched_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a local server under the name of the weights; a build finds it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "folder"))
    content = save(drawn(), tmp_path / "official.hdf5").read_bytes()
    with file_server() as server, pytest.raises(SystemExit) as ended:
        server.content = content
        main(["weights", "get", "nima", "--url", server.url("file", "weights_mobilenet_technical_0.11.hdf5")])
    assert ended.value.code == 0
    place = tmp_path / "folder/nima.hdf5"
    assert capsys.readouterr().out.splitlines() == [str(place), f"--weights nima={place}"]
    assert place.read_bytes() == content
    assert requested("nima", "flip", (), print).weights == {"nima": place}


def test_another_network_or_half_a_file_is_one_line(tmp_path: Path) -> None:
    """A layer that is missing, a shape, and a file that is cut."""
    arrays = drawn()
    save({name: value for name, value in arrays.items() if "conv_pw_13/" not in name}, tmp_path / "missing.hdf5")
    save({**arrays, "dense_1/bias": np.zeros(1, np.float32)}, tmp_path / "shape.hdf5")
    whole = save(arrays, tmp_path / "whole.hdf5").read_bytes()
    (tmp_path / "half.hdf5").write_bytes(whole[: len(whole) // 2])
    said = {
        "missing": r"another network than MobileNet with 10 outputs \('conv_pw_13'\)",
        "shape": r"classifier\.bias is \(1,\), not \(10,\)",
        "half": r"is damaged, or is not HDF5: give the file by --weights nima=PATH",
    }
    for name, message in said.items():
        with pytest.raises(WeightsError, match=message) as caught:
            load_metric("nima", {"nima": tmp_path / f"{name}.hdf5"})
        assert "\n" not in str(caught.value)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the official file needs it."""
    path = save(drawn(), tmp_path / "nima.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"nima needs pip install 'scoreguard\[keras\]'"):
        load_metric("nima", {"nima": path})
