"""WSP against torchvision's ResNet and a pooling that loops over the channels."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_scores import by_numpy, filled, state_of
from thin_metrics import ThinWsp, thin_resnet, weights_of
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.wsp import Wsp


def _backbone(metric: Wsp, network: nn.Module) -> nn.Sequential:
    children = list(network.children())
    frozen = filled(nn.Sequential(*children[:7]), state_of(metric, "resnet101_freeze."))
    return nn.Sequential(frozen, filled(nn.Sequential(*children[7:8]), state_of(metric, "resnet101.")))


def _reference(metric: Wsp, network: nn.Module, image: Tensor) -> float:
    """In double precision after the network, channel by channel."""
    with torch.no_grad():
        features = _backbone(metric, network)(by_numpy(image)[None])[0].double().numpy()
    pooling = {name: value.double().numpy() for name, value in state_of(metric, "wsp.").items()}
    flat = features.reshape(len(features), -1)
    pooled = []
    for channel, values in enumerate(flat):
        response = pooling["conv.weight"][channel, :, 0, 0] @ flat + pooling["conv.bias"][channel]
        centred = (response - pooling["bn.running_mean"][channel]) / np.sqrt(pooling["bn.running_var"][channel] + 1e-5)
        weights = np.maximum(centred * pooling["bn.weight"][channel] + pooling["bn.bias"][channel], 0.0)
        pooled.append((values * weights).sum() / (weights.sum() + 0.0001))
    last = {name: value.double().numpy() for name, value in state_of(metric, "fc.").items()}
    shares = last["weight"] @ np.array(pooled) + last["bias"]
    return float(sum(rating * share for rating, share in enumerate(shares, start=1)))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (97, 130), (301, 224)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """At the smallest size, odd, oblong and upright: images are never resized."""
    metric = ThinWsp.from_weights(weights_of(ThinWsp, tmp_path))
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, thin_resnet(1), image[0]), abs=2e-5)


def test_the_published_network_is_torchvisions(tmp_path: Path) -> None:
    """ResNet-101, the last layer in a module of its own."""
    metric = Wsp.from_weights(weights_of(Wsp, tmp_path))
    image = photographs(1, 100, 75, 4)
    with torch.no_grad():
        score = float(metric(image))
    network = library("torchvision.models", "backbones", "a test").resnet101()
    assert score == pytest.approx(_reference(metric, network, image[0]), abs=1e-4)


@pytest.mark.parametrize("numpy", [b"numpy.core", b"numpy._core"])
def test_what_the_authors_training_saves_beside_the_tensors_is_left_out(numpy: bytes, tmp_path: Path) -> None:
    """Its options are a namespace, its best results numbers of NumPy 1 or 2; the optimizer's state is there too."""
    path = weights_of(ThinWsp, tmp_path)["wsp"]
    state = torch.load(path, weights_only=True)["state_dict"]
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1, momentum=0.9)
    saved = {
        "epoch": 60,
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "best_res": (np.float64(0.93), np.float64(0.91), np.float32(0.2)),
        "args": argparse.Namespace(data="koniq10k", epochs=100, lr=0.1),
    }
    torch.save(saved, tmp_path / "written.pt")
    with zipfile.ZipFile(tmp_path / "written.pt") as own, zipfile.ZipFile(tmp_path / "checkpoint.pth.tar", "w") as file:
        for name in own.namelist():
            content = own.read(name)
            file.writestr(name, content.replace(b"numpy._core", numpy) if name.endswith("data.pkl") else content)
    loaded = ThinWsp.from_weights({"wsp": tmp_path / "checkpoint.pth.tar"}).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
