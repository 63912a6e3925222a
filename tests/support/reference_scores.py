"""What the references of metrics with a backbone share: torchvision's own modules, and images prepared by Pillow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from skimage import transform
from torch import Tensor, nn

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
NORM = ("running_mean", "running_var", "weight", "bias")
"""Tensors of a batch norm, in the order in which PyTorch's function takes them."""


def state_of(metric: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The tensors of a part, by their names inside it."""
    state = metric.state_dict()
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def filled(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A module in evaluation mode with these tensors and no others."""
    network.load_state_dict(dict(state))
    return network.eval()


def by_pillow(image: Tensor, height: int, width: int) -> Tensor:
    """(3, H, W) → (3, height, width) by Pillow's BILINEAR on planes of fractions."""
    planes = [Image.fromarray(plane.numpy()).resize((width, height), Image.Resampling.BILINEAR) for plane in image]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))


def by_numpy(image: Tensor) -> Tensor:
    """ImageNet's normalisation in double precision, rounded at the end."""
    values = (image.double().permute(1, 2, 0).numpy() - MEAN) / DEVIATION
    return torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)


def by_scikit_image(image: Tensor, height: int, width: int) -> Tensor:
    """(3, H, W) → (3, height, width) from two pixels in each direction, in double precision; edges are repeated."""
    values = image.permute(1, 2, 0).double().numpy()
    resized = transform.resize(values, (height, width), order=1, mode="edge", anti_aliasing=False)  # type: ignore[no-untyped-call]
    return torch.from_numpy(resized.astype(np.float32)).permute(2, 0, 1)
