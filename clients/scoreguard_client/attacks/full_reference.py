"""Full-reference measures as a loss: the distance of an attacked image from the clean one, and its derivative.

A distance is 0 for equal images and grows with the difference. It is a function of torch tensors with one value for
each image; `value_and_gradient` passes numpy arrays to it and returns its derivative.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np

from scoreguard.chain.devices import CPU
from scoreguard_client._extras import require_piq, require_torch
from scoreguard_client.oracles.arrays import is_host
from scoreguard_client.oracles.base import Gradients, Images, Scores

SSIM_WINDOW: Final = 11
"""Side of SSIM's Gaussian window, in pixels (Wang et al. 2004); its standard deviation is 1.5."""

_SSIM_SIGMA: Final = 1.5
_SSIM_C1: Final = 0.01**2
_SSIM_C2: Final = 0.03**2


class Distance(Protocol):
    """Distance of attacked from clean images."""

    def __call__(self, attacked: Any, clean: Any) -> Any:
        """Compute one value for each image: tensors (N, 3, H, W) in [0, 1] to (N,)."""
        ...


def value_and_gradient(distance: Distance, images: Images, clean: Images) -> tuple[Scores, Gradients]:
    """Compute the distance of each image (N,), and its derivative with respect to that image (N, 3, H, W).

    If a measure has no derivative (LPIPS divides by the length of a feature vector, which may be 0), it is 0.
    """
    if not is_host(images):
        on_device: tuple[Scores, Gradients] = _differentiated(distance, images, clean)
        return on_device
    # One image at a time: a convolution's last bits depend on the batch.
    pairs = [_one(distance, image[None], other[None]) for image, other in zip(images, clean, strict=True)]
    values, gradients = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return values.astype(np.float64), gradients


def _one(distance: Distance, image: Images, clean: Images) -> tuple[Scores, Gradients]:
    torch = require_torch("full-reference measures")
    values, gradient = _differentiated(distance, torch.from_numpy(image.copy()), torch.from_numpy(clean.copy()))
    return values.numpy(), gradient.numpy()


def _differentiated(distance: Distance, images: Any, clean: Any) -> Any:
    """Compute values and derivative of tensors, on their device."""
    attacked = images.detach().clone().requires_grad_()
    values = distance(attacked, clean)
    (gradient,) = require_torch("full-reference measures").autograd.grad(values.sum(), attacked)
    return values.detach(), gradient.nan_to_num(0.0)


def ssim_distance(attacked: Any, clean: Any) -> Any:
    """1 - SSIM (Wang et al. 2004) on the channels of the images at their own size.

    If a side is below 11 pixels, the window shrinks to the largest odd size that fits.
    """
    side = min(SSIM_WINDOW, *attacked.shape[2:])
    window = side if side % 2 else side - 1
    if attacked.device.type != CPU:
        return 1 - ssim(attacked, clean, window)
    piq = require_piq("SSIM")
    return 1 - piq.ssim(attacked, clean, kernel_size=window, reduction="none", downsample=False)


def ssim(attacked: Any, clean: Any, window: int) -> Any:
    """SSIM of each image (N,) with a window of odd side: piq's arithmetic, without its look at the values' range.

    That look would wait for the device at every step.
    """
    torch = require_torch("SSIM")
    places = torch.arange(window, dtype=attacked.dtype, device=attacked.device) - (window - 1) / 2
    bell = torch.exp(-(places**2) / (2 * _SSIM_SIGMA**2))
    kernel = torch.outer(bell, bell) / bell.sum() ** 2
    channels = attacked.shape[1]
    kernel = kernel.expand(channels, 1, window, window)

    def mean(values: Any) -> Any:
        return torch.nn.functional.conv2d(values, kernel, groups=channels)

    one, other = mean(attacked), mean(clean)
    variances = mean(attacked**2) - one**2 + mean(clean**2) - other**2
    contrast = (2 * (mean(attacked * clean) - one * other) + _SSIM_C2) / (variances + _SSIM_C2)
    likeness = (2 * one * other + _SSIM_C1) / (one**2 + other**2 + _SSIM_C1) * contrast
    return likeness.mean(dim=(1, 2, 3))
