"""How well denoisers remove Gaussian noise from photographs: ours, and the public ones whose weights are in a folder.

Noise is added to the image in [0, 1] without clipping; the result is clipped but not rounded. PSNR is the mean over the
images, in dB. Every denoiser gets the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreguard.chain.devices import THE_CPU, Device
from scoreguard_export.defences.bfcnn import BfCnn
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_export.training.photos import Bytes

Denoise = Callable[[Tensor, float], Tensor]
"""Maps noisy images (N, 3, H, W) and the noise's standard deviation in levels of 255 to the result in [0, 1]."""

LEVELS = (15.0, 25.0, 50.0)
"""Noise at which denoisers are compared, in levels of 255."""

BFCNN_FILE, FFDNET_FILE = "bfcnn_color_0to100.pt", "ffdnet_color.pt"


@dataclass(frozen=True, kw_only=True)
class DenoisingRow:
    """One denoiser at one noise level."""

    denoiser: str
    level: float
    """Standard deviation of the noise, in levels of 255."""
    psnr: float
    """Mean over the images, in dB."""


def compare(
    weights: Path | None,
    peers: Path | None,
    photos: Mapping[str, Bytes],
    seed: int = 0,
    device: Device = THE_CPU,
) -> Iterator[DenoisingRow]:
    """Compute the PSNR of our denoiser and of those whose weights are available, at every level.

    Args:
        weights: weights of our denoiser; None = the shipped ones.
        peers: folder that may hold the weights of BF-CNN and FFDNet; None = only ours.
        photos: photographs (H, W, 3) by name.
        seed: seed of the noise.
        device: where the denoisers run.

    Raises:
        WeightsError: our weights are missing or those of another network.
    """
    for name, denoise in denoisers(weights, peers, device).items():
        for level in LEVELS:
            yield DenoisingRow(denoiser=name, level=level, psnr=mean_psnr(denoise, list(photos.values()), level, seed))


def denoisers(weights: Path | None, peers: Path | None, device: Device = THE_CPU) -> dict[str, Denoise]:
    """Return our denoiser and those of the folder, by name; images are on the host."""
    there = device.torch
    own = Denoiser.from_weights({"denoiser": weights} if weights else {}).to(there)
    found: dict[str, Denoise] = {
        "noisy": lambda noisy, level: noisy.clamp(0.0, 1.0),
        "denoiser": lambda noisy, level: own(noisy.to(there), torch.tensor(level, device=there)).cpu(),
    }
    if peers is not None and (peers / BFCNN_FILE).is_file():
        blind = BfCnn.from_weights({"bfcnn": peers / BFCNN_FILE}).to(there)
        found["bfcnn"] = lambda noisy, level: blind(noisy.to(there)).cpu()
    if peers is not None and (peers / FFDNET_FILE).is_file():
        told = FfdNet.from_weights({"ffdnet": peers / FFDNET_FILE}).to(there)
        found["ffdnet"] = lambda noisy, level: told(noisy.to(there), torch.tensor(level, device=there)).cpu()
    return found


@torch.no_grad()
def mean_psnr(denoise: Denoise, photos: Sequence[Bytes], level: float, seed: int = 0) -> float:
    """Mean PSNR in dB over photographs (H, W, 3); the noise of each follows from the seed, its index and the level."""
    values = []
    for place, photo in enumerate(photos):
        clean = torch.from_numpy(np.array(photo, order="C")).permute(2, 0, 1)[None].float() / 255.0
        rng = np.random.default_rng([seed, 4, place, round(level)])
        noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), dtype=np.float32))
        error = torch.square(denoise(clean + level / 255.0 * noise, level) - clean).mean()
        values.append(-10.0 * math.log10(float(error)))
    return float(np.mean(values))


def middle(photo: Bytes, side: int) -> Bytes:
    """Return the middle square of a photograph, or the whole photograph if it is smaller."""
    top, left = (max(0, (length - side) // 2) for length in photo.shape[:2])
    return photo[top : top + side, left : left + side]
