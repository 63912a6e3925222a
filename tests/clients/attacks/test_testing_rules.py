"""The tester of attacks: each rule catches a class that breaks it, and says how to mend it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoreguard_client import ScoreguardError
from scoreguard_client.attacks import IFGSM, AttackSpecError, ChainMismatchError, Needs
from scoreguard_client.attacks.base import Attack, Companions, SearchResult
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images
from scoreguard_client.testing import ATTACK_RULES, RuleBrokenError, check_attack, without

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Step1(LInfAttack):
    """One step along the gradient's sign: right in every way but that no entry point names it."""

    name = "step1"
    title = "One step"
    paper = "none"
    year = 2024
    needs = Needs.GRADIENT

    @property
    def queries_needed(self) -> int:
        """One gradient."""
        return 1

    def run(self, session: Session) -> SearchResult:
        """Walk."""
        return SearchResult(images=session.region.clip(session.clean + self.step(session)))

    def step(self, session: Session) -> Images:
        """The whole radius."""
        return np.asarray(self.eps * np.sign(session.gradient(session.clean)), np.float32)


@dataclass(frozen=True, kw_only=True)
class Search(LInfAttack, ScoreAttack):
    """Uniform noise, the best of it: right in every way but that no entry point names it."""

    name = "search"
    title = "Search"
    paper = "none"
    year = 2024
    queries: int = 12

    def run(self, session: Session) -> SearchResult:
        """Draw."""
        best, highest = session.clean, session.clean_objective
        while session.left:
            drawn = session.region.clip(session.clean + self.noise(session))
            objective = session.objective(drawn)
            highest = objective if highest is None else highest
            better = objective > highest
            best = np.where(better.reshape(-1, 1, 1, 1), drawn, best)
            highest = np.where(better, objective, highest)
        return SearchResult(images=best, objective=highest)

    def noise(self, session: Session) -> Images:
        """For each image from its own seed."""
        shape = session.clean.shape[1:]
        return np.stack([rng.uniform(-self.eps, self.eps, shape) for rng in session.rngs]).astype(np.float32)


class Undated(Step1):
    """A year that is none."""

    year = 0


class Undecorated(Step1):
    """A parameter that is none: the decorator is forgotten."""

    decay: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Tupled(Step1):
    """A parameter whose text is not read back."""

    name = "tupled"
    scales: tuple[int, ...] = (1, 2)


class Liar(Step1):
    """Asks for gradients and says that it needs none."""

    needs = Needs.SCORES


class Independent(Step1):
    """Asks for nothing and says that it needs gradients."""

    def step(self, session: Session) -> Images:
        """Brighter."""
        return np.full_like(session.clean, self.eps)


class Asking(Search):
    """Asks for scores and says that it needs nothing."""

    needs = Needs.NOTHING


class Double(Step1):
    """Another type."""

    def run(self, session: Session) -> SearchResult:
        """Walk in double precision."""
        walked: Any = session.clean + self.eps * np.sign(session.gradient(session.clean)).astype(np.float64)
        return SearchResult(images=walked)


class Wide(Step1):
    """A ball twice as wide as it says."""

    def region(self, clean: Images, companions: Companions) -> Ball:
        """The ball of radius 2 eps."""
        return ball_around(clean, 2 * self.eps)

    def step(self, session: Session) -> Images:
        """Twice."""
        return 2 * super().step(session)


class Overwriting(Step1):
    """Writes into the clean images."""

    def run(self, session: Session) -> SearchResult:
        """Walk in place."""
        step, walked = self.step(session), session.clean
        walked += step
        return SearchResult(images=np.clip(walked, 0, 1))


class Unseeded(Search):
    """Randomness of its own."""

    def noise(self, session: Session) -> Images:
        """Another one each time."""
        return np.random.default_rng().uniform(-self.eps, self.eps, session.clean.shape).astype(np.float32)


class Social(Step1):
    """The step of an image depends on the images beside it."""

    def step(self, session: Session) -> Images:
        """Along the mean gradient, as far as the batch's brightness says."""
        return super().step(session) * np.float32(session.clean.mean())


class Secretive(Step1):
    """Asks the oracle behind the session's back."""

    def step(self, session: Session) -> Images:
        """After a question that nobody counts."""
        session.oracle.score(session.clean)
        return super().step(session)


class Lazy(Search):
    """Leaves a part of its budget."""

    def run(self, session: Session) -> SearchResult:
        """One draw."""
        drawn = session.region.clip(session.clean + self.noise(session))
        return SearchResult(images=drawn, objective=session.objective(drawn))


class Counting(Search):
    """Counts its questions itself, as if each cost one call."""

    def run(self, session: Session) -> SearchResult:
        """As many draws as questions were declared."""
        drawn, objective = session.clean, None
        for _ in range(self.queries - 1):
            drawn = session.region.clip(session.clean + self.noise(session))
            objective = session.objective(drawn)
        return SearchResult(images=drawn, objective=objective)


class Boastful(Step1):
    """A score that nobody gave."""

    def run(self, session: Session) -> SearchResult:
        """Walk."""
        return SearchResult(images=super().run(session).images, objective=np.full(len(session.clean), 1e6))


class Flattering(Step1):
    """Never admits a loss."""

    @property
    def queries_needed(self) -> int:
        """A gradient and a score."""
        return 2

    def run(self, session: Session) -> SearchResult:
        """Walk, and hand out the higher of two scores with the image walked to."""
        clean, slope = session.value_and_gradient(session.clean)
        images = session.region.clip(session.clean + np.asarray(self.eps * np.sign(slope), np.float32))
        return SearchResult(images=images, objective=np.maximum(session.objective(images), clean))


class OneWay(Step1):
    """Goes the same way, whatever the direction and the metric."""

    @property
    def keeps_clean(self) -> bool:
        """No."""
        return False

    def step(self, session: Session) -> Images:
        """Brighter, whatever the gradient says."""
        return np.abs(super().step(session))


class Dividing(Step1):
    """Divides by the length of the gradient."""

    def step(self, session: Session) -> Images:
        """Of length eps at most."""
        slope = session.gradient(session.clean)
        with np.errstate(all="ignore"):
            return np.asarray(self.eps * slope / np.abs(slope).max(axis=(1, 2, 3), keepdims=True), np.float32)


BROKEN: list[tuple[Attack, str, str]] = [
    (Undated(), "complete-facts", "the year is 0"),
    (Undecorated(), "value", "decay of Undecorated is annotated and no parameter"),
    (Tupled(), "text-form", "scales=(1%2C 2) is read back as"),
    (Liar(), "declared-needs", "it asks for a gradient and states needs=SCORES"),
    (Independent(), "declared-needs", "it works without gradients and states needs=GRADIENT"),
    (Asking(), "declared-needs", "it declares 12 queries and states needs=NOTHING"),
    (Double(), "result-form", "attacked is float64 (3, 3, 17, 23), not float32"),
    (Wide(), "budget", "allowed 0.039215686"),
    (Overwriting(), "input-kept", "changed in place"),
    (Unseeded(), "seeds", "two runs with the seeds [7, 8, 9] differ on a linear score"),
    (Social(), "seeds", "image 0 alone with seed 7 differs from itself in a batch"),
    (Secretive(), "queries", "questions are asked"),
    (Lazy(), "queries", "2 questions are asked, 12 declared"),
    (Counting(), "calls", "it raises QueryBudgetError"),
    (Boastful(), "own-score", "not those of the attacked images on the linear oracle"),
    (Flattering(), "never-below-clean", "any change lowers the score"),
    (OneWay(), "both-directions", "upwards it does not end above"),
    (Dividing(), "flat-score", "invalid value encountered"),
    (Step1(), "listed", "no entry point of the group scoreguard.attacks is named step1"),
    (Search(), "listed", "no entry point of the group scoreguard.attacks is named search"),
]


@pytest.mark.parametrize(("attack", "rule", "said"), BROKEN, ids=[type(attack).__name__ for attack, *_ in BROKEN])
def test_an_attack_that_breaks_a_rule_is_told_which_and_where(attack: Attack, rule: str, said: str) -> None:
    """One line in the package's own tree: the rule, what was found, and the rule's advice at its end."""
    # A lie that only shows where the score falls is a lie about the score as well.
    rules = without(ATTACK_RULES, "own-score") if isinstance(attack, Flattering) else ATTACK_RULES
    with pytest.raises(RuleBrokenError) as caught:
        check_attack(attack, rules=rules)
    error = caught.value
    assert error.rule == rule, str(error)
    assert said in str(error)
    assert isinstance(error, ScoreguardError)
    assert str(error).endswith(f"; {error.advice}")
    assert error.advice == {rule.name: rule.advice for rule in ATTACK_RULES}[rule]
    assert "\n" not in str(error)


def test_every_rule_is_broken_by_some_class_above() -> None:
    """A new rule needs a class that breaks it."""
    assert {rule.name for rule in ATTACK_RULES} == {rule for _, rule, _ in BROKEN}


@pytest.mark.parametrize("attack", [Step1(), Search()])
def test_an_attack_that_obeys_every_rule_passes_before_it_is_installed(attack: Attack) -> None:
    """Without the last rule nothing is said."""
    check_attack(attack, rules=without(ATTACK_RULES, "listed"))


def test_a_name_of_another_class_is_told() -> None:
    """Two classes under one name."""

    class Impostor(IFGSM):
        """Another I-FGSM."""

    with pytest.raises(RuleBrokenError, match=r"ifgsm is the name of scoreguard_client\.attacks\.ifgsm\.IFGSM"):
        check_attack(Impostor())


def test_what_cannot_be_tried_is_no_broken_rule() -> None:
    """A text that names no attack, and a chain that it does not work through, are the caller's own."""
    with pytest.raises(AttackSpecError, match="did you mean ifgsm"):
        check_attack("ifgms")
    with pytest.raises(ChainMismatchError, match="dct-threshold"):
        check_attack("dct-threshold", chain="flip")


def test_an_attack_may_need_a_chain_that_the_tester_finds() -> None:
    """Whatever of its three it fits."""

    class OnlyQuantised(Step1):
        """Works through one chain only."""

        @classmethod
        def fits(cls, chain: object) -> bool:
            """Whether it begins with a quantisation."""
            return isinstance(chain, tuple) and any(step.name == "quantise" for step in chain)

    check_attack(replace(OnlyQuantised(), eps=0.1), rules=without(ATTACK_RULES, "listed"))


def test_the_tester_needs_no_torch() -> None:
    """An attack that needs none is checked on the base installation."""
    code = (
        "import sys; sys.modules['torch'] = None; from scoreguard_client.testing import check_attack; "
        "check_attack('square:queries=6'); check_attack('ifgsm:iterations=2')"
    )
    roots = [str(ROOT / "proto"), str(ROOT / "clients")]
    setup = f"import sys; sys.path[:0] = {roots!r}; "
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
