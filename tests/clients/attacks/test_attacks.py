"""What holds for every attack of the catalogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import ConstantOracle, LinearOracle, ScoreOnly, TorchOracle

from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import (
    CATALOGUE,
    AttackInputError,
    AttackSpecError,
    Direction,
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


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_seeds_give_the_same_pictures_alone_and_in_a_batch(text: str, pictures: Images) -> None:
    """Bit for bit where the score itself does not depend on the batch."""
    attack, oracle = parse_attack(text), ramp(pictures.shape[1:])
    together = attack(pictures, oracle, seeds=[7, 8, 9], companions=COMPANIONS)
    again = attack(pictures, oracle, seeds=[7, 8, 9], companions=COMPANIONS)
    alone = attack(pictures[1:2], oracle, seeds=[8], companions=COMPANIONS)
    np.testing.assert_array_equal(together.attacked, again.attacked)
    np.testing.assert_array_equal(together.attacked[1:2], alone.attacked)


@pytest.mark.parametrize("text", TEXTS)
def test_a_curved_score_is_attacked_alike_in_any_batch(text: str, pictures: Images) -> None:
    """Up to what the score's own last bits make of it: a few pixels of vanishing gradient."""
    attack, oracle = parse_attack(text), smooth()
    together = attack(pictures, oracle, seeds=[7, 8, 9], companions=COMPANIONS)
    alone = attack(pictures[1:2], oracle, seeds=[8], companions=COMPANIONS)
    assert np.mean(np.abs(together.attacked[1:2] - alone.attacked) > 1e-4) < 0.01


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_every_attack_can_be_turned_round(text: str, higher_is_better: bool, pictures: Images) -> None:
    """Downwards it ends below where it ends upwards, whichever way the metric runs."""
    middle = (pictures * np.float32(0.5) + np.float32(0.25)).astype(np.float32)
    weights = np.random.default_rng(5).normal(size=pictures.shape[1:]).astype(np.float32)
    oracle = LinearOracle(weights=weights, higher_is_better=higher_is_better, chain=CHAIN)
    up, down = (
        parse_attack(f"{text}:direction={direction}")(middle, oracle, companions=COMPANIONS) for direction in Direction
    )
    sign = 1 if higher_is_better else -1
    assert np.all(sign * up.scores >= sign * down.scores)
    assert np.any(sign * up.scores > sign * down.scores)


def smooth() -> TorchOracle:
    """A score in (0, 1) without a flat region."""

    def score(pictures: torch.Tensor) -> torch.Tensor:
        weights = torch.cos(torch.arange(pictures[0].numel()) * 0.3).reshape(pictures.shape[1:]) + 0.2
        return torch.sigmoid((torch.sin(3 * pictures) * weights).mean(dim=(1, 2, 3)) * 3)

    return TorchOracle(function=score, chain=CHAIN)


def ramp(shape: tuple[int, ...]) -> LinearOracle:
    """Weights of both signs."""
    weights = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape).astype(np.float32)
    return LinearOracle(weights=weights, chain=CHAIN)


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
    """L-infinity, range, 8-bit budget, shapes and types hold for random pictures, sizes, radii and scores."""
    levels = np.random.default_rng(seed).integers(0, 256, shape)
    clean = (levels / 255).astype(np.float32)
    attack = parse_attack(f"{text}:eps={eps!r}")
    result = attack(clean, smooth() if curved else ramp(shape[1:]), companions=COMPANIONS)
    require_budget(attack, clean, result)


@pytest.mark.parametrize("text", TEXTS)
def test_every_call_is_counted_and_covers_the_whole_batch(text: str, pictures: Images) -> None:
    """Queries per picture = calls to the oracle = rows of the trace = what the attack declares."""
    attack, oracle = parse_attack(text), ramp(pictures.shape[1:])
    result = attack(pictures, oracle, companions=COMPANIONS)
    assert result.queries.tolist() == [oracle.calls] * len(pictures)
    assert result.trace.shape == (oracle.calls, len(pictures))
    # A gradient attack that does not know its last score asks once more, and once about the clean images where none of
    # its questions was; a stopping rule may end a search early.
    assert 0 < oracle.calls <= attack.queries_needed + (2 if attack.needs is Needs.GRADIENT else 0)
    if attack.needs is Needs.SCORES:
        assert oracle.calls == attack.queries_needed
    assert all(len(seen) == len(pictures) for seen in oracle.seen)


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_form_of_an_attack_names_every_parameter_and_reads_back(text: str) -> None:
    """str(attack) identifies it in records: reading it gives an equal attack."""
    attack = parse_attack(text)
    again = parse_attack(str(attack))
    assert str(again) == str(attack)
    assert type(again) is type(attack)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_names_attacks_as_they_name_themselves(name: str) -> None:
    """Each class states its name, source and year."""
    kind = CATALOGUE[name]
    assert kind.name == name
    assert kind.title
    assert kind.paper
    assert 2007 < kind.year < 2030


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
def test_pictures_that_cannot_be_attacked_are_refused(images: Images) -> None:
    """Shape, type and range are checked before any query."""
    with pytest.raises(AttackInputError):
        parse_attack("fgsm")(images, ramp((3, 8, 8)))


def test_seeds_must_be_as_many_as_pictures(pictures: Images) -> None:
    """A missing seed is not made up."""
    with pytest.raises(AttackInputError):
        parse_attack("square:queries=3")(pictures, ramp(pictures.shape[1:]), seeds=[1])


def test_a_gradient_attack_refuses_an_oracle_that_only_scores(pictures: Images) -> None:
    """The message says where gradients come from."""
    with pytest.raises(OracleMismatchError, match="--gradients live"):
        parse_attack("ifgsm")(pictures, ScoreOnly(inner=ramp(pictures.shape[1:])))


@pytest.mark.parametrize("text", ["fgsm", "square:queries=5"])
def test_an_answer_that_is_not_finite_names_the_picture(text: str, pictures: Images) -> None:
    """NaN never becomes a step."""

    class Broken(LinearOracle):
        def score(self, images: Images) -> Scores:
            return np.where(np.arange(len(images)) == 1, np.nan, super().score(images))

    with pytest.raises(OracleAnswerError) as caught:
        parse_attack(text)(pictures, Broken(weights=np.ones(pictures.shape[1:], dtype=np.float32)))
    assert caught.value.indices == [1]


def test_an_attack_that_asks_more_than_it_declares_is_stopped(pictures: Images) -> None:
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
        Greedy(eps=0.1)(pictures, ramp(pictures.shape[1:]))


def test_an_attack_downwards_lowers_what_one_upwards_raises(pictures: Images) -> None:
    """direction=down is the same search on the negated objective, whichever way the metric runs."""
    for higher_is_better in (True, False):
        oracle = LinearOracle(weights=ramp(pictures.shape[1:]).weights, higher_is_better=higher_is_better)
        clean = oracle.score(pictures)
        down = parse_attack("ifgsm:direction=down")(pictures, oracle)
        up = parse_attack("ifgsm")(pictures, oracle)
        sign = 1 if higher_is_better else -1
        assert np.all(sign * down.scores < sign * clean)
        assert np.all(sign * up.scores > sign * clean)


def test_calls_are_what_each_question_costs(pictures: Images) -> None:
    """Draws and calls sent again are counted, and a budget of calls ends the search."""

    class Costly(LinearOracle):
        @property
        def facts(self) -> OracleFacts:
            return replace(super().facts, calls_per_question=3)

        @property
        def last_calls(self) -> npt.NDArray[np.int64]:
            return np.array([3, 3, 4])  # one call of the last picture was sent twice

    oracle = Costly(weights=ramp(pictures.shape[1:]).weights)
    result = parse_attack("square:queries=20")(pictures, oracle)
    assert result.queries.tolist() == [15, 15, 20]
    assert oracle.calls == 5


def test_an_attack_that_leaves_its_ball_is_brought_back_and_scored_again(pictures: Images) -> None:
    """The score handed out is always that of the picture handed out."""

    class Wild(LInfAttack):
        name = "wild"
        needs = Needs.SCORES

        @property
        def queries_needed(self) -> int:
            return 2

        def run(self, session: Session) -> SearchResult:
            wild = session.clean + np.float32(0.5)
            return SearchResult(images=wild, objective=session.objective(wild))

    oracle = ramp(pictures.shape[1:])
    result = Wild(eps=0.1)(pictures, oracle)
    assert np.abs(result.attacked.astype(np.float64) - pictures).max() <= 0.1
    np.testing.assert_allclose(result.scores, oracle.score(result.attacked))
