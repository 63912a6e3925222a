"""A worst-case ensemble after AutoAttack: for each image, the strongest of the attacks that suit its chain.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
(2020). Their set is for classifiers; this one is FGSM, MI-FGSM, APGD, M-PGD and Square, each with the same eps:

    x' = argmax over the members m of Q(m(x))

It adapts to the chain: if the first step rounds (`jpeg`, `quantise`), DCT threshold is also a member; M-PGD's gradients
use the cubic derivative wherever a step rounds; and behind a random defence every query is the mean over as many draws
as the spread of the gradient requires (`oracles.draws`), unless the caller chose a number above one.

Behind a random defence each member's image is scored again before the choice, so that no lucky draw is chosen.
Like AutoAttack it raises flags if the evaluation itself looks doubtful (their section "flags", in our words):

    zero-gradient      more than half of the gradient's values at the clean image are exactly zero: masked
    one-step-wins      a single step gains more than every iterated attack: the gradient does not lead upwards
    black-box-wins     random search gains more than every gradient attack: masked, or the attacks are too short
    one-draw           the same image scores differently twice, and the oracle cannot average over draws
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.v1.spec import Step
from scoreguard_client.attacks.apgd import APGD
from scoreguard_client.attacks.base import Attack, Needs, SearchResult
from scoreguard_client.attacks.dct_threshold import DCTThreshold
from scoreguard_client.attacks.fgsm import FGSM
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.mifgsm import MIFGSM
from scoreguard_client.attacks.mpgd import MPGD
from scoreguard_client.attacks.session import Session
from scoreguard_client.attacks.square import Square
from scoreguard_client.oracles.base import Scores

_MIFGSM_STEPS: Final = 10
_MASKED_SHARE: Final = 0.5

Marks = npt.NDArray[np.bool_]
"""A truth value for each image, (N,)."""


@dataclass(frozen=True, kw_only=True)
class Auto(LInfAttack):
    """The strongest of FGSM, MI-FGSM, APGD, M-PGD, DCT threshold and Square for each image, with flags."""

    name = "auto"
    title = "Auto"
    paper = "after Croce & Hein, arXiv 2003.01690"
    year = 2020
    needs = Needs.GRADIENT
    flag_meanings = MappingProxyType(
        {
            **Attack.flag_meanings,
            "zero-gradient": "most of the gradient is exactly zero: it is masked, so trust the black-box attacks more",
            "one-step-wins": "a single step beats the iterated attacks: the gradient may be masked",
            "black-box-wins": "random search beats every gradient attack: the gradient is masked, or they need more "
            "steps",
            "one-draw": "the score is random and each query was one draw: give --crafting-draws",
        }
    )

    iterations: int = 100
    """Gradients per run of APGD and per restart of M-PGD; 100 in AutoAttack."""
    restarts: int = 2
    """Starts of M-PGD: the clean image, then random points."""
    pushes: int = 40
    """Gradients for DCT threshold."""
    queries: int = 500
    """Scores for Square; AutoAttack uses 5000, for one of its four attacks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.iterations >= 1, f"iterations must be at least 1, not {self.iterations}")
        self.require(self.restarts >= 1, f"restarts must be at least 1, not {self.restarts}")
        self.require(self.pushes >= 1, f"pushes must be at least 1, not {self.pushes}")
        self.require(self.queries >= 1, f"queries must be at least 1, not {self.queries}")

    @property
    def members(self) -> tuple[Attack, ...]:
        """Every possible member of the ensemble: one step, iterated gradients, random search."""
        eps, direction = self.eps, self.direction
        return (
            FGSM(eps=eps, direction=direction),
            MIFGSM(eps=eps, alpha=eps / _MIFGSM_STEPS, iterations=_MIFGSM_STEPS, direction=direction),
            APGD(eps=eps, iterations=self.iterations, direction=direction),
            MPGD(eps=eps, iterations=self.iterations, restarts=self.restarts, direction=direction),
            DCTThreshold(eps=eps, iterations=self.pushes, direction=direction),
            Square(eps=eps, queries=self.queries, direction=direction),
        )

    def members_for(self, chain: Sequence[Step]) -> tuple[Attack, ...]:
        """Return the members that work through a chain whose parameters are all filled in."""
        return tuple(member for member in self.members if member.fits(chain))

    @property
    def queries_needed(self) -> int:
        """Queries of all members, one more score of each result, and three queries for the flags."""
        return sum(member.queries_needed + 2 for member in self.members) + 3

    def run(self, session: Session) -> SearchResult:
        """Run every member, and choose the best result for each image."""
        session.take_draws()
        once, gradient = session.value_and_gradient(session.clean)
        again = session.value_and_gradient(session.clean)[0]
        results = [_delegate(member, session) for member in self.members_for(session.oracle.facts.chain)]
        objectives = np.stack([session.objective(result) for result in results])
        best = objectives.argmax(axis=0)
        marks = {
            "zero-gradient": (gradient == 0).reshape(len(gradient), -1).mean(axis=1) > _MASKED_SHARE,
            "one-step-wins": (objectives[0] > objectives[1:3].max(axis=0)) & (objectives[0] > once),
            "black-box-wins": (best == len(results) - 1) & (objectives[-1] > once),
            "one-draw": (once != again) & (session.oracle.facts.calls_per_question == 1),
        }
        images = np.stack(results)[best, np.arange(len(best))]
        return SearchResult(images=images, objective=_chosen(objectives, best), flags=_texts(marks, len(best)))


def _delegate(member: Attack, session: Session) -> npt.NDArray[np.float32]:
    result = member(session.clean, session.oracle, seeds=session.seeds)
    session.absorb(result.queries, result.trace)
    return result.attacked


def _chosen(objectives: Scores, best: npt.NDArray[np.int64]) -> Scores:
    return np.asarray(objectives[best, np.arange(len(best))])


def _texts(marks: Mapping[str, Marks], count: int) -> tuple[str, ...]:
    return tuple(",".join(name for name, mark in marks.items() if mark[index]) for index in range(count))
