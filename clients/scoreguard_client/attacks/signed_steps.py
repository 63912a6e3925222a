"""Base of the iterated sign attacks: I-FGSM and MI-FGSM.

The two modes differ in what is clipped between steps.

- paper: the image itself is carried, x_{t+1} = Clip_{x, eps}(x_t + alpha * sign(d_t)), where Clip cuts to the eps
  ball and to [0, 1] at once (Kurakin et al. 2017, section 2.2).
- benchmark: a perturbation p is carried and cut to the eps ball only. The metric sees clip(x + p, 0, 1), and the
  gradient passes straight through that clip. A pixel that is driven beyond 0 or 1 keeps its excess and needs as many
  steps to come back; the returned image is also clip(x + p, 0, 1).

Both return the last image; paper mode returns the clean image if that scores better (see `clean_candidate`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from scoreguard_client.attacks.base import Mode, Needs, SearchResult
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import float32, functions
from scoreguard_client.oracles.base import Gradients, Images


@dataclass(frozen=True, kw_only=True)
class SignedSteps(LInfAttack):
    """Steps of fixed length along the sign of a direction that a subclass accumulates."""

    needs = Needs.GRADIENT

    alpha: float = 1 / 255
    """Length of one step, in units of [0, 1]; 1/255 in the benchmark."""
    iterations: int = 10
    """Number of steps; 10 in the benchmark, where alpha * iterations = eps."""
    mode: Mode = Mode.PAPER
    """Which variant of the method runs; see the module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.alpha <= 1, f"alpha must be in (0, 1], not {self.alpha:g}")
        self.require(self.iterations >= 1, f"iterations must be at least 1, not {self.iterations}")

    @property
    def keeps_clean(self) -> bool:
        """True in paper mode; the benchmark's code returns its last image, which may be worse than the clean one."""
        return self.mode is Mode.PAPER

    @property
    def queries_needed(self) -> int:
        """Count one gradient for each step."""
        return self.iterations

    def asked_at(self, images: Images, direction: Gradients) -> Images:
        """Points in [0, 1] at which the gradient is queried: the images themselves, unless a method looks ahead."""
        del direction
        return images

    @abstractmethod
    def accumulate(self, direction: Gradients, gradient: Gradients) -> Gradients:
        """Compute the next direction from the last one and the new gradient."""

    def run(self, session: Session) -> SearchResult:
        """Walk."""
        walk = self._walk_perturbation if self.mode is Mode.BENCHMARK else self._walk_image
        return SearchResult(images=walk(session))

    def _walk_image(self, session: Session) -> Images:
        images, direction = session.clean, functions(session.clean).zeros_like(session.clean)
        for _ in range(self.iterations):
            direction = self.accumulate(direction, session.gradient(self.asked_at(images, direction)))
            images = session.region.clip(images + self._step(direction))
        return images

    def _walk_perturbation(self, session: Session) -> Images:
        perturbation, direction = (functions(session.clean).zeros_like(session.clean) for _ in range(2))
        for _ in range(self.iterations):
            seen = functions(perturbation).clip(session.clean + perturbation, 0, 1)
            direction = self.accumulate(direction, session.gradient(self.asked_at(seen, direction)))
            moved = perturbation + self._step(direction)
            perturbation = float32(functions(moved).clip(moved, -self.eps, self.eps))
        return session.region.clip(session.clean + perturbation)

    def _step(self, direction: Gradients) -> Images:
        step: Images = float32(self.alpha * functions(direction).sign(direction))
        return step
