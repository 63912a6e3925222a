"""Full-reference measures as a loss: the distance of an attacked image from the clean one, and its derivative.

A distance is 0 for equal images and grows with the difference. It is a function of torch tensors with one value for
each image; `value_and_gradient` passes numpy arrays to it and returns its derivative.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np

from scoreguard_client._extras import require_piq, require_torch
from scoreguard_client.oracles.base import Gradients, Images, Scores

SSIM_WINDOW: Final = 11
"""Side of SSIM's Gaussian window, in pixels (Wang et al. 2004); its standard deviation is 1.5."""


class Distance(Protocol):
    """Distance of attacked from clean images."""

    def __call__(self, attacked: Any, clean: Any) -> Any:
        """Compute one value for each image: tensors (N, 3, H, W) in [0, 1] to (N,)."""
        ...


def value_and_gradient(distance: Distance, images: Images, clean: Images) -> tuple[Scores, Gradients]:
    """Compute the distance of each image (N,), and its derivative with respect to that image (N, 3, H, W).

    If a measure has no derivative (LPIPS divides by the length of a feature vector, which may be 0), it is 0.
    """
    # One image at a time: a convolution's last bits depend on the batch.
    pairs = [_one(distance, image[None], other[None]) for image, other in zip(images, clean, strict=True)]
    values, gradients = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return values.astype(np.float64), gradients


def _one(distance: Distance, image: Images, clean: Images) -> tuple[Scores, Gradients]:
    torch = require_torch("full-reference measures")
    attacked = torch.from_numpy(image.copy()).requires_grad_()
    values = distance(attacked, torch.from_numpy(clean.copy()))
    (gradient,) = torch.autograd.grad(values.sum(), attacked)
    return values.detach().numpy(), gradient.nan_to_num(0.0).numpy()


def ssim_distance(attacked: Any, clean: Any) -> Any:
    """1 - SSIM (Wang et al. 2004) on the channels of the images at their own size.

    If a side is below 11 pixels, the window shrinks to the largest odd size that fits.
    """
    piq = require_piq("SSIM")
    side = min(SSIM_WINDOW, *attacked.shape[2:])
    window = side if side % 2 else side - 1
    return 1 - piq.ssim(attacked, clean, kernel_size=window, reduction="none", downsample=False)
