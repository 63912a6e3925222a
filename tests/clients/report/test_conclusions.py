"""The three sentences for whoever decides: computed from the leaderboard, whatever the run is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.clients.report.conftest import DIM, FGSM, METRIC, NAMES, PLAN, MakeRun, failed, record, sound_records

from scoreguard_client.attacks import parse_attack
from scoreguard_client.attacks.base import Direction
from scoreguard_client.attacks.external import External
from scoreguard_client.campaign import ImageRef, Record
from scoreguard_client.report import TableOptions, read_report
from scoreguard_client.report.conclusions import sentences
from scoreguard_client.report.page.views import family
from scoreguard_client.scores import Scaling

QUICK = TableOptions(resamples=50)
SHARPEN = str(parse_attack("free-sharpen"))


def test_a_small_run_says_what_the_defence_is_worth_and_that_it_is_a_hint(make_run: MakeRun) -> None:
    """The worst gain behind the chain is 12 of 100, undefended 20: 40 % less; six images give no interval."""
    assert sentences(read_report(make_run(), QUICK)) == (
        "Behind dim, an attacker who tries everything here raises the score by 12.0 on average, on a scale from 0 to "
        "100.",
        "Undefended, the same attacker raises the score by 20.0 on average, so the defence takes away 40 % of the "
        "gain.",
        "The strongest attack behind it is FGSM, which knows the defence; 6 images are too few for intervals, so take "
        "the order for a hint.",
    )


def test_where_low_scores_are_good_an_attack_lowers_them(make_run: MakeRun) -> None:
    """In the metric's own units."""
    records = [replace(one, attacked_defended=(one.clean_defended or 0) - 8) for one in sound_records()]
    first, *_ = sentences(read_report(make_run(records, range={"higher_is_better": False}), QUICK))
    assert "lowers the score by 8.0" in first


def test_a_defence_that_helps_nobody_is_named_as_such(make_run: MakeRun) -> None:
    """Adaptive attacks gain more behind it than undefended."""
    records = [replace(one, attacked_defended=90.0) if one.adaptive else one for one in sound_records()]
    first, second, third = sentences(read_report(make_run(records), QUICK))
    assert first.startswith("The defence dim does not lower the worst case: undefended, an attacker")
    assert second.startswith("Behind dim the same attacker raises the score by 67.5")
    assert "on the metric alone" in third


def test_everyday_edits_that_beat_every_search_are_told(make_run: MakeRun) -> None:
    """They need to know nothing."""
    plan = replace(PLAN, attacks=(FGSM, SHARPEN))
    records = [record(number, FGSM, DIM, DIM, 2.0) for number in range(6)]
    records += [record(number, SHARPEN, chain, "none", 9.0) for number in range(6) for chain in ("none", DIM)]
    *_, third = sentences(read_report(make_run(records, plan=plan), QUICK))
    assert "Sharpen, an everyday edit that needs to know nothing" in third


def test_an_attack_that_did_not_know_the_defence_is_told_where_none_did(make_run: MakeRun) -> None:
    """The number is then a lower bound."""
    records = [one for one in sound_records() if not one.adaptive]
    *_, third = sentences(read_report(make_run(records, plan=replace(PLAN, adaptive=False)), QUICK))
    assert "which does not know the defence, and none that knows it was tried" in third


def many(gains: dict[str, float]) -> tuple[list[Record], tuple[ImageRef, ...]]:
    """Forty images behind each chain, whose gains spread by 2."""
    images = tuple(ImageRef(name=f"image{number}", sha256="00", height=24, width=32) for number in range(40))
    records = [
        replace(record(number % 6, FGSM, chain, "none", gain + number % 5 - 2), image=images[number].name, chain=chain)
        for chain, gain in gains.items()
        for number in range(40)
    ]
    return records, images


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (6.0, "its interval lies below all others, so its first place holds"),
        (4.1, "its interval overlaps with that of flip, so which of them holds best is open"),
    ],
)
def test_intervals_decide_whether_there_is_a_ranking(other: float, said: str, make_run: MakeRun) -> None:
    """Forty images give intervals."""
    records, images = many({"none": 20.0, DIM: 4.0, "flip": other})
    metric = replace(METRIC, chains=("none", DIM, "flip"))
    plan = replace(PLAN, attacks=(FGSM,), images=images, metrics=(metric,))
    labels = {"none": "none", DIM: "dim", "flip": "flip"}
    first, _, third = sentences(read_report(make_run(records, plan=plan, labels=labels), QUICK))
    assert first.startswith("Of 2 defences tried, dim holds best")
    assert said in third


def test_gains_by_the_clean_scores_are_shares_of_their_range(make_run: MakeRun) -> None:
    """A unit of that scale is no unit of the metric."""
    options = TableOptions(resamples=20, scaling=Scaling.CLEAN_SELECTION)
    first, *_ = sentences(read_report(make_run(), options))
    assert "% of the range of the clean scores" in first
    assert "on a scale" not in first


def test_a_run_without_numbers_concludes_nothing(make_run: MakeRun) -> None:
    """Every record failed."""
    assert set(sentences(read_report(make_run([failed(one) for one in sound_records()]), QUICK))) == {
        "No attack behind any chain has a number yet."
    }


def test_a_run_without_a_defence_does_not_speak_of_one(make_run: MakeRun) -> None:
    """There is nothing to compare with."""
    alone = [record(number, FGSM, "none", "none", 20.0) for number in range(len(NAMES))]
    plan = replace(PLAN, metrics=(replace(METRIC, chains=("none",)),), attacks=(FGSM,))
    first, second, third = sentences(read_report(make_run(alone, plan=plan), QUICK))
    assert first.startswith("No defence was tried: an attacker")
    assert second == "What a defence would be worth, this run cannot say."
    assert third.endswith("there is nothing to rank.")


def test_images_that_somebody_submitted_are_no_everyday_edit(make_run: MakeRun) -> None:
    """Nobody knows how they were made."""
    submitted = str(External(by="alice", eps=10 / 255, min_ssim=0.0, direction=Direction.UP))
    report = read_report(make_run(), QUICK)
    rows = tuple(replace(row, attack=submitted) for row in report.rows if not row.adaptive)
    names = report.names | {submitted: "alice (external)"}
    *_, third = sentences(replace(report, rows=rows, names=names))
    assert "alice (external), which does not know the defence" in third
    assert family(submitted) == "submitted"
    assert family("free-best") == family("free-jpeg") == "everyday edits"
