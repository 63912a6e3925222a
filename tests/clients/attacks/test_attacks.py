"""What holds for every attack of the catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import ConstantOracle, LinearOracle, ScoreOnly, TorchOracle
from tests.clients.attacks.short import AS_PUBLISHED, EDITS, ONE_STEP, SEARCHES, TRAINED, attack_of

from scoreguard.v1.spec import format_chain, parse_chain
from scoreguard_client.attacks import (
    CATALOGUE,
    AttackInputError,
    AttackSpecError,
    Mode,
    Needs,
    OracleAnswerError,
    OracleMismatchError,
    QueryBudgetError,
    parse_attack,
    parse_attacks,
)
from scoreguard_client.attacks.base import SearchResult
from scoreguard_client.attacks.catalogue import kind_of, parameter_types
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images, OracleFacts, Scores
from scoreguard_client.testing import ATTACK_RULES, check_attack, without
from scoreguard_client.testing.oracles import ramp as weights_of

TEXTS = [
    "fgsm",
    "ifgsm",
    "ifgsm:mode=benchmark",
    "mifgsm",
    "mifgsm:mode=benchmark",
    "amifgsm",
    "amifgsm:k=0.2",
    "amifgsm:mode=benchmark",
    "korhonen:iterations=4:least=2",
    "korhonen:mode=benchmark:iterations=3",
    "ssah:iterations=3",
    "ssah:mode=benchmark:iterations=3",
    "madc:iterations=3",
    "madc:mode=benchmark:iterations=3",
    "zhang-ssim:iterations=3",
    "zhang-ssim:mode=benchmark:iterations=3",
    "advcf:iterations=3",
    "advcf:mode=benchmark:iterations=3",
    "pgd:iterations=3",
    "apgd:iterations=9",
    "mpgd:iterations=3:restarts=2",
    "mpgd:iterations=3:rounding=straight-through",
    "dct-threshold:iterations=3:restarts=2",
    "ioi",
    "square:queries=20",
    "square:queries=20:mode=benchmark",
    "nes:queries=45",
    "nes:queries=45:mode=benchmark",
    "spsa:queries=20:pairs=4",
    "simba:queries=20",
    "simba:queries=20:basis=pixel",
    "onepixel:queries=20:population=8",
    "onepixel:queries=20:population=8:mode=benchmark",
    "patch-rs:queries=20:side=5",
    "patch-rs:queries=20:mode=benchmark",
    "auto:iterations=9:pushes=3:queries=12",
]
WITH_EPS = [text for text in TEXTS if "eps" in parameter_types(kind_of(text))]
WITHOUT_EPS = [text for text in TEXTS if text not in WITH_EPS]
COMPANIONS = {"niqe": ConstantOracle(4.0)}
CHAIN = parse_chain("jpeg:quality=50:subsampling=4:2:0")
"""What the oracles say stands before them, so that every attack fits; their scores know nothing of it."""


CHECKED = list(
    dict.fromkeys(
        [*TEXTS, *(text for text in SEARCHES if not text.startswith("auto")), *ONE_STEP, *AS_PUBLISHED, *EDITS]
    )
)
"""Every attack that needs no trained perturbation, in every mode; `auto` with few pushes, which take minutes."""
SLOW = {"free-avif"}
"""Its encoder takes its time even for small images, and free-webp differs from it by the format alone."""
ON_VGG16 = ["zhang-lpips:iterations=2", "zhang-dists:iterations=2"]
"""Their convolutions run on several threads, and have given another last bit for the same image: rarely."""


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, marks=[pytest.mark.slow] * (text in SLOW)) for text in CHECKED if text not in ON_VGG16],
)
def test_every_attack_obeys_every_rule(text: str) -> None:
    """Facts, text form, budget, range, shapes, seeds, queries, directions, the clean image; see `ATTACK_RULES`."""
    check_attack(text, chain=format_chain(CHAIN))


@pytest.mark.slow
@pytest.mark.parametrize("text", ON_VGG16)
def test_an_attack_on_a_network_obeys_every_rule(text: str, folder: Path) -> None:
    """But for last bits of a batch, see test_batches.py."""
    check_attack(attack_of(text, folder), rules=without(ATTACK_RULES, "seeds"))


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_perturbation_obeys_every_rule(name: str, tmp_path: Path) -> None:
    """One of 8 x 8 pixels."""
    np.save(tmp_path / "any.npy", np.random.default_rng(2).uniform(-0.1, 0.1, (3, 8, 8)).astype(np.float32))
    check_attack(f"{name}:file={tmp_path / 'any.npy'}")


def test_every_attack_of_the_catalogue_is_checked() -> None:
    """A new attack must be put on one of the lists."""
    assert {kind_of(text).name for text in CHECKED} | set(TRAINED) == set(CATALOGUE)


def smooth() -> TorchOracle:
    """A score in (0, 1) without a flat region."""

    def score(images: torch.Tensor) -> torch.Tensor:
        weights = torch.cos(torch.arange(images[0].numel()) * 0.3).reshape(images.shape[1:]) + 0.2
        return torch.sigmoid((torch.sin(3 * images) * weights).mean(dim=(1, 2, 3)) * 3)

    return TorchOracle(function=score, chain=CHAIN)


def ramp(shape: tuple[int, ...]) -> LinearOracle:
    """Weights of both signs."""
    return LinearOracle(weights=weights_of(shape), chain=CHAIN)


@pytest.mark.parametrize("text", WITHOUT_EPS)
@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 2**32 - 1),
)
def test_attacks_with_other_budgets_stay_in_them_at_any_size(text: str, shape: tuple[int, ...], seed: int) -> None:
    """Mean squared error or number of pixels, in float and in 8 bits."""
    clean = (np.random.default_rng(seed).integers(0, 256, shape) / 255).astype(np.float32)
    attack = parse_attack(text)
    require_budget(attack, clean, attack(clean, ramp(shape[1:])))


@pytest.mark.parametrize("text", WITH_EPS)
@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 12), st.integers(1, 12)),
    eps=st.floats(1e-3, 1.0),
    seed=st.integers(0, 2**32 - 1),
    curved=st.booleans(),
)
def test_every_attack_stays_in_its_budget_at_any_size(
    text: str, shape: tuple[int, ...], eps: float, seed: int, curved: bool
) -> None:
    """L-infinity, range, 8-bit budget, shapes and types hold for random images, sizes, radii and scores."""
    levels = np.random.default_rng(seed).integers(0, 256, shape)
    clean = (levels / 255).astype(np.float32)
    attack = parse_attack(f"{text}:eps={eps!r}")
    result = attack(clean, smooth() if curved else ramp(shape[1:]), companions=COMPANIONS)
    require_budget(attack, clean, result)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_names_attacks_as_they_name_themselves(name: str) -> None:
    """Each is of its field's years; that it states the rest is a rule."""
    assert CATALOGUE[name].name == name
    assert 2007 < CATALOGUE[name].year < 2030


def test_fractions_whole_numbers_and_modes_are_read() -> None:
    """A radius may be written as the field writes it."""
    attack = parse_attack("mifgsm:eps=8/255:iterations=3:mode=benchmark")
    assert (attack.eps, attack.queries_needed) == (8 / 255, 3)  # type: ignore[attr-defined]
    assert attack.mode is Mode.BENCHMARK  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ifgms", "did you mean ifgsm"),
        ("zzz", "known: fgsm"),
        ("ifgsm:esp=0.1", "did you mean eps"),
        ("ifgsm:eps", "not key=value"),
        ("ifgsm:eps=big", "a number or a fraction"),
        ("ifgsm:eps=1/0", "a number or a fraction"),
        ("ifgsm:eps=0", "eps must be in (0, 1]"),
        ("ifgsm:eps=nan", "a number or a fraction"),
        ("ifgsm:iterations=2.5", "a whole number"),
        ("ifgsm:iterations=0", "iterations must be at least 1"),
        ("ifgsm:mode=fast", "paper or benchmark"),
        ("ifgsm:eps=0.1:eps=0.2", "given twice"),
        ("square:queries=0", "queries must be at least 1"),
        ("square:p_init=2", "p_init must be in (0, 1]"),
        ("mifgsm:nu=-1", "nu must be at least 0"),
    ],
)
def test_a_text_that_is_no_attack_gives_one_line_that_says_what_is_wrong(text: str, said: str) -> None:
    """Near names and allowed values are in the message."""
    with pytest.raises(AttackSpecError) as caught:
        parse_attack(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_attack_that_is_listed_twice_runs_once() -> None:
    """The order is kept."""
    assert [attack.name for attack in parse_attacks("ifgsm,fgsm,ifgsm")] == ["ifgsm", "fgsm"]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((3, 8, 8), dtype=np.float32),
        np.zeros((1, 8, 8, 3), dtype=np.float32),
        np.zeros((1, 3, 8, 8), dtype=np.float64),
        np.zeros((0, 3, 8, 8), dtype=np.float32),
        np.full((1, 3, 8, 8), 1.5, dtype=np.float32),
        np.full((1, 3, 8, 8), np.nan, dtype=np.float32),
    ],
    ids=["no batch", "channels last", "float64", "empty", "out of range", "nan"],
)
def test_images_that_cannot_be_attacked_are_refused(images: Images) -> None:
    """Shape, type and range are checked before any query."""
    with pytest.raises(AttackInputError):
        parse_attack("fgsm")(images, ramp((3, 8, 8)))


def test_seeds_must_be_as_many_as_images(images: Images) -> None:
    """A missing seed is not made up."""
    with pytest.raises(AttackInputError):
        parse_attack("square:queries=3")(images, ramp(images.shape[1:]), seeds=[1])


def test_a_gradient_attack_refuses_an_oracle_that_only_scores(images: Images) -> None:
    """The message says where gradients come from."""
    with pytest.raises(OracleMismatchError, match="--gradients live"):
        parse_attack("ifgsm")(images, ScoreOnly(inner=ramp(images.shape[1:])))


@pytest.mark.parametrize("text", ["fgsm", "square:queries=5"])
def test_an_answer_that_is_not_finite_names_the_image(text: str, images: Images) -> None:
    """NaN never becomes a step."""

    class Broken(LinearOracle):
        def score(self, images: Images) -> Scores:
            return np.where(np.arange(len(images)) == 1, np.nan, super().score(images))

    with pytest.raises(OracleAnswerError) as caught:
        parse_attack(text)(images, Broken(weights=np.ones(images.shape[1:], dtype=np.float32)))
    assert caught.value.indices == [1]


def test_an_attack_that_asks_more_than_it_declares_is_stopped(images: Images) -> None:
    """The base, not the attack, holds the budget."""

    class Greedy(LInfAttack):
        name = "greedy"
        needs = Needs.SCORES

        @property
        def queries_needed(self) -> int:
            return 2

        def run(self, session: Session) -> SearchResult:
            while True:
                session.objective(session.clean)

    with pytest.raises(QueryBudgetError):
        Greedy(eps=0.1)(images, ramp(images.shape[1:]))


def test_an_attack_downwards_lowers_what_one_upwards_raises(images: Images) -> None:
    """direction=down is the same search on the negated objective, whichever way the metric runs."""
    for higher_is_better in (True, False):
        oracle = LinearOracle(weights=ramp(images.shape[1:]).weights, higher_is_better=higher_is_better)
        clean = oracle.score(images)
        down = parse_attack("ifgsm:direction=down")(images, oracle)
        up = parse_attack("ifgsm")(images, oracle)
        sign = 1 if higher_is_better else -1
        assert np.all(sign * down.scores < sign * clean)
        assert np.all(sign * up.scores > sign * clean)


def test_calls_are_what_each_question_costs(images: Images) -> None:
    """Draws and calls sent again are counted, and a budget of calls ends the search."""

    class Costly(LinearOracle):
        @property
        def facts(self) -> OracleFacts:
            return replace(super().facts, calls_per_question=3)

        @property
        def last_calls(self) -> npt.NDArray[np.int64]:
            return np.array([3, 3, 4])  # one call of the last image was sent twice

    oracle = Costly(weights=ramp(images.shape[1:]).weights)
    result = parse_attack("square:queries=20")(images, oracle)
    assert result.queries.tolist() == [15, 15, 20]
    assert oracle.calls == 5


def test_an_attack_that_leaves_its_ball_is_brought_back_and_scored_again(images: Images) -> None:
    """The score handed out is always that of the image handed out."""

    class Wild(LInfAttack):
        name = "wild"
        needs = Needs.SCORES

        @property
        def queries_needed(self) -> int:
            return 2

        def run(self, session: Session) -> SearchResult:
            wild = session.clean + np.float32(0.5)
            return SearchResult(images=wild, objective=session.objective(wild))

    oracle = ramp(images.shape[1:])
    result = Wild(eps=0.1)(images, oracle)
    assert np.abs(result.attacked.astype(np.float64) - images).max() <= 0.1
    np.testing.assert_allclose(result.scores, oracle.score(result.attacked))
