"""MADC: maximum differentiation (Wang and Simoncelli, "Maximum differentiation (MAD) competition", 2008), as an attack.

The quality is raised while the mean squared error from the clean image is held fixed: x' walks on the sphere of radius
`rmse` around x. With d = x' - x, to which the gradient of the MSE is parallel, and g = grad Q(x'), each step is

    p = g - (<g, d> / <d, d>) d,  y = x' + step * R * p / ||g||,  x' = clip(x + s (y - x), 0, 1)

where R is the sphere's radius, rmse * sqrt(3 H W), and s is found by a search along the gradient of the MSE on both
sides of y: outwards (s > 1) if the cut to [0, 1] has made the MSE too small, inwards if the step has made it too large.
The gradient's part p vanishes where the walk has converged, and the steps with it.

The walk starts as in the paper, at the clean image with Gaussian noise of the wanted error, drawn from the image's
seed. At x itself the gradient of the MSE is zero and there is nothing to be orthogonal to.

The benchmark's description gives the search a precision of 0.04 without a unit. On the scale of 0 to 1 that is
10/255, the whole radius, and would constrain nothing; it is read as 0.04 grey levels, that is 0.4 % of 10/255, and as
the same share of a smaller radius. The search ends inside, between rmse - precision and rmse, never above. An image
whose moved values are all at 0 or 1 cannot reach the sphere and ends inside it. If the clean image scores better than
the end of the walk, it is returned (see `clean_candidate`), and its error is 0.

mode=benchmark follows that code instead: from x, 8 sign steps of length lr, orthogonal to the gradient from the second
step on, and the error only as an upper bound: while it is exceeded, d shrinks by 0.0005 sign(d). With lr = 0.001 the
error cannot exceed 0.008, the bound of 10/255 is never met, and the walk is a short I-FGSM.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import BENCHMARK_EPS, Attack, Companions, Mode, Needs, SearchResult
from scoreguard_client.attacks.per_image import totals
from scoreguard_client.attacks.regions.mse import MseRegion, root_mean_square
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import column, float32, float64, functions, is_host, one_each
from scoreguard_client.oracles.base import Gradients, Images

_PRECISION: Final = 0.04 / 255
_SHARE: Final = _PRECISION / BENCHMARK_EPS
_PROBES: Final = 60
_DEVICE_PROBES: Final = 30
"""On a device all images take as many, since to ask whether they have arrived would wait for it: 12 doublings to the
farthest and 14 halvings to the finest precision suffice, except where single precision has no closer images."""
_FARTHEST: Final = 2.0**12
_SMALLEST: Final = 1e-30
_RETREAT: Final = 0.0005

Numbers = npt.NDArray[np.floating]
"""Images, differences of images or one number for each, in either precision."""


@dataclass(frozen=True, kw_only=True)
class MADC(Attack):
    """Gradient ascent at a fixed mean squared error; the module describes `mode`."""

    name = "madc"
    title = "MADC"
    paper = "Wang and Simoncelli, Journal of Vision 8(12):8"
    year = 2008
    needs = Needs.GRADIENT
    budget = "RMSE = rmse"
    on_device = True

    rmse: float = BENCHMARK_EPS
    """Root mean squared error that is held (paper) or not exceeded (benchmark), in units of [0, 1]; 10/255 in the
    benchmark."""
    iterations: int = 8
    """Number of steps; 8 in the benchmark."""
    step: float = 0.5
    """Paper mode: length of a step whose gradient is along the sphere, in radii of the sphere."""
    lr: float = 0.001
    """Benchmark mode: length of a sign step, in units of [0, 1]; 0.001 in the benchmark."""
    mode: Mode = Mode.PAPER
    """Which variant of the method runs; see the module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.rmse <= 1, f"rmse must be in (0, 1], not {self.rmse:g}")
        self.require(self.iterations >= 1, f"iterations must be at least 1, not {self.iterations}")
        self.require(0 < self.step < math.inf, f"step must be above 0, not {self.step:g}")
        self.require(0 < self.lr <= 1, f"lr must be in (0, 1], not {self.lr:g}")

    @property
    def keeps_clean(self) -> bool:
        """True in paper mode; the benchmark's code returns its last image, which may be worse than the clean one."""
        return self.mode is Mode.PAPER

    @property
    def queries_needed(self) -> int:
        """Count one gradient for each step."""
        return self.iterations

    @property
    def precision(self) -> float:
        """Tolerance of the search along the gradient of the MSE below the radius, in units of [0, 1]."""
        return min(_PRECISION, _SHARE * self.rmse)

    def region(self, clean: Images, companions: Companions) -> MseRegion:
        """All images within `rmse`."""
        del companions
        return MseRegion(clean=clean, rmse=self.rmse)

    def run(self, session: Session) -> SearchResult:
        """Walk."""
        walk = self._walk_inside if self.mode is Mode.BENCHMARK else self._walk_sphere
        return SearchResult(images=walk(session))

    def _walk_sphere(self, session: Session) -> Images:
        clean = session.clean
        noise = session.put(np.stack([rng.standard_normal(clean.shape[1:]) for rng in session.rngs]))
        images = self.held(clean, self.rmse * noise)
        for _ in range(self.iterations):
            images = self.held(clean, (images - clean) + self._along(session.gradient(images), images - clean))
        return images

    def _along(self, gradient: Gradients, difference: Numbers) -> Numbers:
        radius = self.rmse * math.sqrt(math.prod(gradient.shape[1:]))
        norm = functions(gradient).sqrt(_inner(gradient, gradient))
        along: Numbers = self.step * radius * orthogonal(gradient, difference) / (norm + (norm == 0))
        return along

    def held(self, clean: Images, difference: Numbers) -> Images:
        """Return images clip(clean + s * difference), s > 0, with an error as close as possible to `rmse`.

        Args:
            clean: the centres, (N, 3, H, W).
            difference: directions from them, (N, 3, H, W).
        """
        chosen, target = functions(clean).where, self.rmse - self.precision / 2
        unit = difference * column(target / functions(difference).clip(_rms(difference), _SMALLEST, None))
        low, high, reached = one_each(clean, 0), one_each(clean, np.inf), one_each(clean, 0)
        probe = one_each(clean, 1)
        for _ in range(_PROBES if is_host(clean) else _DEVICE_PROBES):
            error = root_mean_square(_moved(clean, unit, probe), clean)
            inside = error <= self.rmse
            low, reached = chosen(inside, probe, low), chosen(inside, error, reached)
            high = chosen(inside, high, probe)
            # An image that has arrived stays put, so that it does not depend on the others of its batch.
            there = (self.rmse - reached <= self.precision) | (low >= _FARTHEST)
            if is_host(there) and there.all():
                break
            probe = chosen(there, low, chosen(high == np.inf, 2 * low, (low + high) / 2))
        return _moved(clean, unit, low)

    def _walk_inside(self, session: Session) -> Images:
        clean = images = session.clean
        library = functions(clean)
        for _ in range(self.iterations):
            direction = orthogonal(session.gradient(images), images - clean)
            images = library.clip(self._retreated(clean, images + float32(self.lr * library.sign(direction))), 0, 1)
        return images

    def _retreated(self, clean: Images, images: Images) -> Images:
        library = functions(images)
        # A step adds at most lr, so this many steps back undo it; the region cuts what the last one leaves.
        for _ in range(math.ceil(self.lr / _RETREAT)):
            beyond = root_mean_square(images, clean) > self.rmse
            if is_host(beyond) and not beyond.any():
                break
            back = library.clip(images - float32(_RETREAT * library.sign(images - clean)), 0, 1)
            images = library.where(column(beyond), back, images)
        return images


def orthogonal(gradient: Gradients, difference: Numbers) -> Numbers:
    """Return the part of a gradient that leaves the mean squared error unchanged; all of it at the clean image."""
    square = _inner(difference, difference)
    # Where the square is 0, so is the product.
    share = _inner(gradient, difference) / (square + (square == 0))
    along: Numbers = gradient - share * difference
    return along


def _inner(one: Numbers, other: Numbers) -> Numbers:
    return totals(float64(one) * other)


def _rms(difference: Numbers) -> Numbers:
    squares = totals(float64(difference) ** 2).reshape(-1) / math.prod(difference.shape[1:])
    errors: Numbers = functions(squares).sqrt(squares)
    return errors


def _moved(clean: Images, difference: Numbers, factor: Numbers) -> Images:
    moved: Images = float32(functions(clean).clip(clean + column(factor) * difference, 0, 1))
    return moved
