"""LPIPS (R. Zhang et al. 2018) and DISTS (Ding et al. 2020) with weights from the user's disk.

Both compare features of VGG16, trained on ImageNet, with their own parameters. This package contains none of these
files and downloads nothing: the user names a folder that holds them,

- `vgg16-397923af.pth`: torchvision's VGG16, weights IMAGENET1K_V1; BSD-3-Clause. Only its `features.*` are read.
- `lpips_v0.1_lin_vgg.pth`: `lpips/weights/v0.1/vgg.pth` of richzhang/PerceptualSimilarity; BSD-2-Clause.
- `dists_weights.pt`: `DISTS_pytorch/weights.pt` of dingkeyan93/DISTS; MIT.

or the file of VGG16 itself, under any name, with the others next to it. The arithmetic is piq's.

In place of LPIPS the user may name a file of ST-LPIPS, which is complete; see `shift_tolerant`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from scoreguard.chain.devices import CPU
from scoreguard_client._extras import require_piq, require_torch
from scoreguard_client.attacks.errors import AttackInputError
from scoreguard_client.attacks.full_reference import Distance
from scoreguard_client.attacks.shift_tolerant import network_file, shift_tolerant
from scoreguard_client.attacks.weights_files import HeadFile, WeightsFileError, digest_of_files, read_tensors

_CHANNELS: Final = (64, 128, 256, 512, 512)
"""Channels of the five layers compared."""
_LAYERS: Final = ("3", "8", "15", "22", "29")
"""relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 in torchvision's numbering."""
_VGG16: Final = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
"""Channels of the convolutions up to the last layer compared; 0 = halve the size."""
_LPIPS_SIDE: Final = 16
"""Shortest side, in pixels, that four halvings do not reduce to nothing."""


def _vgg16_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    index, inputs = 0, 3
    for outputs in _VGG16:
        if outputs:
            shapes |= {f"features.{index}.weight": (outputs, inputs, 3, 3), f"features.{index}.bias": (outputs,)}
            inputs = outputs
        index += 2 if outputs else 1
    return shapes


VGG16_FILE: Final = HeadFile(
    name="vgg16-397923af.pth",
    source="torchvision's VGG16, weights IMAGENET1K_V1, BSD-3-Clause",
    shapes=_vgg16_shapes(),
)
LPIPS_HEAD: Final = HeadFile(
    name="lpips_v0.1_lin_vgg.pth",
    source="lpips/weights/v0.1/vgg.pth of richzhang/PerceptualSimilarity, BSD-2-Clause",
    shapes={f"lin{index}.model.1.weight": (1, width, 1, 1) for index, width in enumerate(_CHANNELS)},
    instead="weights=st-lpips, or weights=FILE with the file of ST-LPIPS",
)
DISTS_HEAD: Final = HeadFile(
    name="dists_weights.pt",
    source="DISTS_pytorch/weights.pt of dingkeyan93/DISTS, MIT",
    shapes={name: (1, 3 + sum(_CHANNELS), 1, 1) for name in ("alpha", "beta")},
)


def weights_digest(weights: str, head: HeadFile, expected: str = "") -> str:
    """Compute the digest of the files that a measure reads: the first 16 digits of each SHA-256, concatenated.

    Raises:
        WeightsFileError: a file is missing, or the digest is not the expected one (empty = any).
    """
    found = digest_of_files(_paths(weights, head))
    if expected not in ("", found):
        raise WeightsFileError(f"the files of {weights!r} have digest {found}, not {expected}: they have changed")
    return found


@lru_cache(maxsize=2)  # an attack may minimise one, and its campaign measure another
def lpips(weights: str, digest: str, device: str = CPU) -> Distance:
    """Return LPIPS with the files of `weights`, on a device: version 0.1, or ST-LPIPS if it names that; loaded once.

    Raises:
        WeightsFileError: a file is missing, broken, or does not match the digest (empty = any).
    """
    if network := network_file(weights):
        weights_digest(weights, LPIPS_HEAD, digest)
        return shift_tolerant(network, device)
    features, head = _load(weights, LPIPS_HEAD, digest)
    piq = require_piq("LPIPS")
    loss = piq.ContentLoss(
        features, layers=_LAYERS, weights=list(head.values()), normalize_features=True, reduction="none"
    )
    loss = _on(device, loss)

    def distance(attacked: Any, clean: Any) -> Any:
        if min(attacked.shape[2:]) < _LPIPS_SIDE:
            raise AttackInputError(f"LPIPS needs images of at least {_LPIPS_SIDE} x {_LPIPS_SIDE} pixels")
        return loss(attacked, clean)

    return distance


@lru_cache(maxsize=1)
def dists(weights: str, digest: str, device: str = CPU) -> Distance:
    """Return DISTS with the files of `weights`, on a device; loaded once.

    Raises:
        WeightsFileError: a file is missing, broken, or does not match the digest (empty = any).
    """
    features, head = _load(weights, DISTS_HEAD, digest)
    piq = require_piq("DISTS")
    parts = [part for name in ("alpha", "beta") for part in head[name].split((3, *_CHANNELS), dim=1)]

    class Local(piq.DISTS):  # type: ignore[misc, name-defined]
        """DISTS without piq's constructor, which would download."""

        def __init__(self) -> None:
            piq.ContentLoss.__init__(
                self,
                features,
                layers=_LAYERS,
                weights=parts,
                replace_pooling=True,
                reduction="none",
                allow_layers_weights_mismatch=True,
            )

    distance: Distance = _on(device, Local())
    return distance


def _on(device: str, loss: Any) -> Any:
    """Move a measure with its constants, which piq would copy to the device at every call."""
    if device == CPU:
        return loss
    loss.mean, loss.std = loss.mean.to(device), loss.std.to(device)
    loss.weights = [weight.to(device) for weight in loss.weights]
    return loss.to(device)


def _load(weights: str, head: HeadFile, digest: str) -> tuple[Any, dict[str, Any]]:
    weights_digest(weights, head, digest)
    backbone, parameters = _paths(weights, head)
    state = read_tensors(backbone, VGG16_FILE)
    features = _vgg16()
    features.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    return features.eval(), read_tensors(parameters, head)


def _paths(weights: str, head: HeadFile) -> tuple[Path, ...]:
    """Return the files that a measure reads: the backbone and the head, or the one that is both."""
    if head is LPIPS_HEAD and (network := network_file(weights)):
        return (network,)
    place = Path(weights).expanduser()
    backbone, folder = (place, place.parent) if place.is_file() else (place / VGG16_FILE.name, place)
    found = ((backbone, VGG16_FILE), (folder / head.name, head))
    for path, wanted in found:
        if not weights or not path.is_file():
            where = f"no file {str(path)!r}" if weights else "weights=FOLDER is not given"
            instead = f"; or give {head.instead}" if head.instead else ""
            raise WeightsFileError(f"{where}; the folder must hold {wanted.name} ({wanted.source}){instead}")
    return found[0][0], found[1][0]


def _vgg16() -> Any:
    nn = require_torch("VGG16").nn
    layers, inputs = [], 3
    for outputs in _VGG16:
        if outputs:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
