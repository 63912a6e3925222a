"""Korhonen: Adam weighted by spatial activity (Korhonen & You, QoEVMA 2022, doi 10.1145/3552469.3555715).

Changes hide where the image is busy. The activity map M of an image is computed from its luma:

    M = dilate(S / max S),  S = Sobel_x(Y)^2 + Sobel_y(Y)^2 with the outermost pixels set to 0

dilated by 5 x 5 pixels without the corners; a flat image has M = 1. Adam then descends J = 1 - Q / range.

- paper: x <- clip(x + M * a), where a is Adam's own step on the plain gradient. The authors' code multiplies the
  gradient by M instead, but Adam undoes any constant factor on an element's gradient, save for its 1e-8, so their map
  only says where pixels move and not how far. Weighting the step gives what the paper describes, an amplitude that
  follows the activity. At least 20 and at most 100 steps, ending after 2 in a row without a better image, as in the
  authors' code, counted for each image; the best image seen is returned. Learning rates in the paper: 0.1, 0.5, 2 and
  5 of 255.
- benchmark: the public benchmark's code. S = Sobel along the rows only, with its sign; M is divided by 255 once more;
  the gradient is multiplied by M; 10 steps; the last image is returned. Where M is negative, pixels move the wrong
  way, and the factor 1/255 pushes small gradients towards Adam's 1e-8.

Not repeated from that code: that the map of the first image weights the whole batch. Here each image has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.adam_steps import AdamSteps, Schedule, as_tensor, loss_slope, parts, separate, together
from scoreguard_client.attacks.base import Mode, SearchResult
from scoreguard_client.attacks.best import Best, Marks
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import column, functions, on_host, one_each
from scoreguard_client.oracles.base import Images

Plane = npt.NDArray[np.float64]
"""One number for each pixel: (H, W)."""

_LUMA: Final = (0.299, 0.587, 0.114)
_VIDEO_RANGE: Final = 219
"""Luma from 0 to 1 in the benchmark's units; decides only when its special case for maps without a peak applies."""
_DISC: Final = np.pad(np.ones((5, 3)), ((0, 0), (1, 1))) + np.pad(np.ones((3, 5)), ((1, 1), (0, 0))) > 0
"""5 x 5 without the corners."""


@dataclass(frozen=True, kw_only=True)
class Korhonen(AdamSteps):
    """Adam with steps that follow the image's activity."""

    name = "korhonen"
    title = "Korhonen"
    paper = "Korhonen & You, QoEVMA 2022; benchmark: arXiv 2310.06958"
    year = 2022
    on_device = True
    schedules = MappingProxyType(
        {Mode.PAPER: Schedule(lr=0.5 / 255, iterations=100), Mode.BENCHMARK: Schedule(lr=0.005, iterations=10)}
    )

    least: int = 20
    """Minimum number of steps; 20 in the paper. Paper mode only."""
    patience: int = 2
    """Steps in a row without a better image that end the search; 2 in the paper. Paper mode only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.least >= 0, f"least must be at least 0, not {self.least}")
        self.require(self.patience >= 1, f"patience must be at least 1, not {self.patience}")

    def run(self, session: Session) -> SearchResult:
        """Descend."""
        weight = session.put(activity_map(on_host(session.clean), self.mode))
        if self.mode is Mode.PAPER:
            return self._weight_the_step(session, weight)

        def slope(images: Images) -> Images:
            weighted: Images = loss_slope(session, session.gradient(images)) * weight
            return weighted

        return SearchResult(images=self.walk(session, session.clean, slope))

    def _weight_the_step(self, session: Session, weight: Images) -> SearchResult:
        images, best, chosen = session.clean, Best(session.clean), functions(session.clean).where
        steps = separate(0 * images)
        optimizer, stale = self.adam(steps), one_each(images, 0)
        searching: Marks = stale == 0
        for iteration in range(1, self.iterations + 1):
            objective, gradient = session.value_and_gradient(images)
            stale = (stale + 1) * ~best.update(images, objective, searching)
            if iteration >= self.least:
                searching = searching & (stale < self.patience)
                # This waits for a device, which costs less than the gradients after the last image has ended.
                if not bool(searching.any()):
                    return best.found
            step = _adam_step(optimizer, steps, loss_slope(session, gradient))
            moved: Images = images + weight * step  # pyright: ignore[reportAssignmentType]
            images = chosen(column(searching), session.region.clip(moved), images)
        best.update(images, session.objective(images), searching)
        return best.found


def activity_map(clean: Images, mode: Mode) -> Images:
    """Compute each image's map: (N, 1, H, W), 0 to 1 in paper mode, at most 1/255 and signed in benchmark mode."""
    red, green, blue = (share * clean[:, index].astype(np.float64) for index, share in enumerate(_LUMA))
    luma = red + green + blue
    one = _paper_map if mode is Mode.PAPER else _benchmark_map
    return np.stack([one(plane) for plane in luma])[:, None].astype(np.float32)


def _paper_map(luma: Plane) -> Plane:
    return _spread(_sobel(luma, 0) ** 2 + _sobel(luma, 1) ** 2)


def _benchmark_map(luma: Plane) -> Plane:
    return _spread(_sobel(luma * _VIDEO_RANGE, 1)) / 255


def _sobel(luma: Plane, axis: int) -> Plane:
    from scipy import ndimage

    return np.asarray(ndimage.sobel(luma, axis=axis))


def _spread(activity: Plane) -> Plane:
    from scipy import ndimage

    inner = np.zeros_like(activity)
    inner[1:-1, 1:-1] = activity[1:-1, 1:-1]
    # Both codes treat a map without a peak this way; a signed one may still have values below 1.
    inner = inner / inner.max() if inner.max() > 0 else inner + 1
    return np.asarray(ndimage.grey_dilation(inner, footprint=_DISC, mode="constant", cval=-np.inf))


def _adam_step(optimizer: Any, steps: list[Any], slope: Images) -> Images:
    for step, own in zip(steps, parts(slope), strict=True):
        step.zero_()
        step.grad = as_tensor(own)
    optimizer.step()
    return together(steps)
