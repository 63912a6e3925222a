"""The leaderboard, the adaptive twins and the order of degraded copies against sums written out in the plainest way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from scipy import stats
from tests.clients.report.conftest import DIM, FGSM, METRIC, PLAN, SQUARE, MakeRun, failed, record

from scoreguard_client.attacks import parse_attack
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign import Record
from scoreguard_client.report import Report, TableOptions, read_report, read_reports, tables_of
from scoreguard_client.report.build import is_degradation
from scoreguard_client.report.tables.leaderboard import leaderboard
from scoreguard_client.report.tables.model import Address, Cell, Table
from scoreguard_client.report.tables.order import order

QUICK = TableOptions(resamples=50)
COPY = str(parse_attack("free-grain"))
IMAGES = 40
BROKEN_PLAN = replace(PLAN, attacks=(FGSM, SQUARE, COPY))


@pytest.fixture
def degraded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let one kind of attack be a degradation, whatever there is of them."""
    is_degradation.cache_clear()
    monkeypatch.setattr(kind_of(COPY), "is_degradation", True)
    yield
    is_degradation.cache_clear()


def random_records(seed: int = 0) -> list[Record]:
    """Forty images: FGSM with and without knowing the chain, square without, copies; two draws behind the chain."""
    rng, records = np.random.default_rng(seed), []
    for number in range(IMAGES):
        clean = float(rng.uniform(20, 80))
        defended = [clean + float(rng.normal(0, 3)) for _ in range(2)]
        for attack, chain, through in [
            (FGSM, "none", "none"),
            (FGSM, DIM, "none"),
            (FGSM, DIM, DIM),
            (SQUARE, "none", "none"),
            (SQUARE, DIM, "none"),
            (COPY, "none", "none"),
            (COPY, DIM, "none"),
        ]:
            undefended_gain = float(rng.normal(15, 10))
            for draw in range(2 if chain == DIM else 1):
                served = defended[draw] if chain == DIM else clean
                gain = float(rng.normal(-4 if attack == COPY else 8, 8))
                attacked = served + gain
                records.append(
                    replace(
                        record(0, attack, chain, through, 0.0),
                        image=f"image{number}.png",
                        draw=draw,
                        clean_score=clean,
                        clean_defended=served,
                        attacked_score=clean + undefended_gain if chain == DIM else attacked,
                        attacked_defended=attacked,
                        scoring_seconds=float(rng.uniform(0.01, 0.2)),
                    )
                )
    return records


def made(make_run: MakeRun, records: list[Record]) -> Report:
    """The report of a run of these records."""
    return read_report(make_run(records, plan=BROKEN_PLAN), QUICK)


def cell(table: Table, line: str, heading: str) -> Cell:
    """The cell at an address."""
    row = next(found for found in table.lines if found.key == line)
    return row.cells[[found.key for found in table.headings].index(heading)]


def number(table: Table, line: str, heading: str) -> float:
    """Its number."""
    found = cell(table, line, heading)
    assert found.estimate is not None
    return found.estimate.value


def of_attacks(records: list[Record], chain: str) -> list[Record]:
    """The records of attacks behind a chain."""
    return [one for one in records if one.chain == chain and one.attack != COPY]


def highest(records: list[Record], chain: str) -> dict[str, float]:
    """The highest gain of each image in the metric's units: an attack's is the mean over its draws."""
    by_attack: dict[tuple[str, str, str], list[float]] = {}
    for one in of_attacks(records, chain):
        gain = (one.attacked_defended or 0) - (one.clean_defended or 0)
        by_attack.setdefault((one.image, one.attack, one.attacked_through), []).append(gain)
    found: dict[str, float] = {}
    for (image, _, _), gains in by_attack.items():
        found[image] = max(found.get(image, -np.inf), fmean(gains))
    return found


@pytest.mark.usefixtures("degraded")
@pytest.mark.parametrize("chain", ["none", DIM])
def test_the_worst_gain_is_the_mean_of_each_images_highest(chain: str, make_run: MakeRun) -> None:
    """Over all attacks, adaptive or not, an attack's draws averaged first, copies left out; 100 units are the scale."""
    records = random_records()
    board = leaderboard(made(make_run, records))
    assert number(board, chain, "worst_gain") == pytest.approx(fmean(highest(records, chain).values()) / 100)


@pytest.mark.usefixtures("degraded")
def test_the_chain_with_the_lowest_worst_gain_leads_and_has_rank_one(make_run: MakeRun) -> None:
    """The ranks are those of the means over images, since every chain has all of them."""
    records = random_records()
    board = leaderboard(made(make_run, records))
    means = {chain: fmean(highest(records, chain).values()) for chain in ("none", DIM)}
    assert [line.key for line in board.lines] == sorted(means, key=lambda chain: means[chain])
    texts = [cell(board, line.key, "rank").text for line in board.lines]
    assert [text.split()[0] for text in texts] == ["1", "2"]
    assert all(text.endswith("]") for text in texts), "forty images give an interval"


@pytest.mark.usefixtures("degraded")
def test_what_columns_say_of_a_row_is_said_of_all_attacks_of_a_chain(make_run: MakeRun) -> None:
    """Gain, Quality and SROCC over every record of an attack behind the chain, and the mean time of a call."""
    records = random_records()
    board, mine = leaderboard(made(make_run, records)), of_attacks(records, DIM)
    clean, attacked = (np.array([getattr(one, name) for one in mine]) for name in ("clean_score", "attacked_defended"))
    assert number(board, DIM, "purification_gain") == pytest.approx(np.mean(np.abs(clean - attacked) / clean))
    assert number(board, DIM, "quality_score") == pytest.approx(0.4 / 2 + 16 / 160)
    assert number(board, DIM, "srocc") == pytest.approx(stats.spearmanr(clean, attacked).statistic)
    seconds = fmean(one.scoring_seconds or 0 for one in mine)
    assert cell(board, DIM, "milliseconds").plain == pytest.approx(1000 * seconds)


@pytest.mark.usefixtures("degraded")
def test_rank_inversions_are_pairs_that_an_attack_turned_round(make_run: MakeRun) -> None:
    """Every ordered pair of images written out: a tenth of the scale apart undefended, the worst attack on the poor."""
    records = random_records()
    undefended = {one.image: one.clean_score or 0 for one in records}
    served, attacked = {}, {}
    for image in undefended:
        mine = [one for one in of_attacks(records, DIM) if one.image == image]
        draws = {one.draw: one.clean_defended or 0 for one in mine}
        served[image] = fmean(draws.values())
        kinds = {(one.attack, one.adaptive) for one in mine}
        attacked[image] = max(
            fmean(one.attacked_defended or 0 for one in mine if (one.attack, one.adaptive) == kind) for kind in kinds
        )
    pairs = [(a, b) for a, b in permutations(undefended, 2) if undefended[b] - undefended[a] >= 10]
    share = fmean(attacked[poor] > served[better] for poor, better in pairs)
    assert 0 < share < 1
    assert number(leaderboard(made(make_run, records)), DIM, "rank_inversions") == pytest.approx(share)


@pytest.mark.usefixtures("degraded")
def test_detection_is_the_area_under_the_roc_of_the_gap(make_run: MakeRun) -> None:
    """Undefended less defended, attacked against clean, each clean image and draw once; nothing to see undefended."""
    records = random_records()
    mine = of_attacks(records, DIM)
    gaps = [(one.attacked_score or 0) - (one.attacked_defended or 0) for one in mine]
    clean = {(one.image, one.draw): (one.clean_score or 0) - (one.clean_defended or 0) for one in mine}
    area = stats.mannwhitneyu(gaps, list(clean.values())).statistic / (len(gaps) * len(clean))
    board = leaderboard(made(make_run, records))
    assert number(board, DIM, "detection_area") == pytest.approx(area)
    assert np.isnan(number(board, "none", "detection_area"))


@pytest.mark.usefixtures("degraded")
@pytest.mark.parametrize("higher", [True, False])
def test_copies_are_in_the_order_of_scores_and_in_no_table_of_attacks(higher: bool, make_run: MakeRun) -> None:
    """Behind each chain, the share of copies with the better score, whichever direction is better."""
    records = random_records()
    report = read_report(make_run(records, plan=BROKEN_PLAN, range={"higher_is_better": higher}), QUICK)
    copies = [one for one in records if one.attack == COPY and one.chain == DIM]
    raised = [(one.attacked_defended or 0) > (one.clean_defended or 0) for one in copies]
    share = fmean(raised) if higher else 1 - fmean(raised)
    table = order(report)
    assert table is not None
    assert [heading.key for heading in table.headings] == ["free-grain"]
    assert number(table, DIM, "free-grain") == pytest.approx(share)
    assert number(leaderboard(report), DIM, "order_violations") == pytest.approx(share)
    for found in tables_of([report]):
        if found.key.startswith(("robustness", "adaptive")):
            assert not any(line.key.startswith(COPY) for line in found.lines)


@pytest.mark.usefixtures("degraded")
def test_for_a_lower_is_better_metric_a_falling_score_is_the_gain(make_run: MakeRun) -> None:
    """The worst case is the deepest fall, and the gap is turned round, and with it the area."""
    records = random_records()
    run = make_run(records, plan=BROKEN_PLAN, range={"higher_is_better": False})
    board = leaderboard(read_report(run, QUICK))
    flipped = [
        replace(one, clean_defended=-(one.clean_defended or 0), attacked_defended=-(one.attacked_defended or 0))
        for one in records
    ]
    assert number(board, DIM, "worst_gain") == pytest.approx(fmean(highest(flipped, DIM).values()) / 100)
    shutil.rmtree(run)
    upwards = leaderboard(made(make_run, records))
    assert number(board, DIM, "detection_area") == pytest.approx(1 - number(upwards, DIM, "detection_area"))


def test_without_copies_there_is_no_order_and_its_column_is_empty(make_run: MakeRun) -> None:
    """The table is left out; the leaderboard's cells have no number."""
    report = read_report(make_run(), QUICK)
    assert "order:bright" not in {table.key for table in tables_of([report])}
    assert np.isnan(number(leaderboard(report), DIM, "order_violations"))


@pytest.mark.usefixtures("degraded")
def test_the_adaptive_twin_is_compared_image_by_image(make_run: MakeRun) -> None:
    """An image whose adaptive attack failed is in the other's gain, and not in the difference."""
    records = [failed(one) if one.adaptive and one.image == "image0.png" else one for one in random_records()]
    tables = {table.key: table for table in tables_of([made(make_run, records)])}
    gains: dict[tuple[str, bool], list[float]] = {}
    for one in records:
        if one.attack == FGSM and one.chain == DIM and not one.error:
            gains.setdefault((one.image, one.adaptive), []).append(
                (one.attacked_defended or 0) - (one.clean_defended or 0)
            )
    both = [image for image, knew in gains if knew]
    differences = [fmean(gains[image, True]) - fmean(gains[image, False]) for image in both]
    assert len(differences) == IMAGES - 1
    found, line = tables["adaptive:bright"], f"{FGSM}|{DIM}"
    assert [row.key for row in found.lines] == [line]
    assert number(found, line, "difference") == pytest.approx(fmean(differences) / 100)
    unaware = [gain for (_, knew), own in gains.items() if not knew for gain in own]
    assert number(found, line, "gain_unaware") == pytest.approx(fmean(unaware) / 100)


@pytest.mark.usefixtures("degraded")
def test_every_number_of_the_rows_is_in_the_robustness_table(make_run: MakeRun) -> None:
    """The line of an adaptive attack stands directly above its twin; keys say which is which."""
    report = made(make_run, random_records())
    table = next(found for found in tables_of([report]) if found.key == "robustness:bright")
    assert [line.key for line in table.lines][:3] == [
        f"{FGSM}|none|unaware",
        f"{FGSM}|{DIM}|adaptive",
        f"{FGSM}|{DIM}|unaware",
    ]
    for line, row in zip(table.lines, report.rows, strict=True):
        shown = dict(zip((heading.key for heading in table.headings), line.cells, strict=True))
        assert {key: shown[key].estimate for key in row.scores} == row.scores
        assert (shown["images"].plain, shown["failed"].plain) == (row.images, row.failed)


def test_the_strongest_attack_is_named_and_whether_it_knew_the_chain(make_run: MakeRun) -> None:
    """Adaptive attacks gain 12 and plain ones 4; undefended there is no chain to know."""
    board = leaderboard(read_report(make_run(), QUICK))
    assert cell(board, DIM, "strongest").text == "FGSM, adaptive"
    assert cell(board, "none", "strongest").text == "FGSM"


def test_the_worst_case_names_the_families_that_it_lacks(make_run: MakeRun) -> None:
    """Everyday edits are missing here; a jpeg chain also lacks the threshold attack, which fits no other chain."""
    about = leaderboard(read_report(make_run(), QUICK)).about
    assert "gradient attacks, query attacks" in about
    assert "Not in this run: everyday edits" in about


def test_every_kind_of_attack_is_named_once(make_run: MakeRun) -> None:
    """The ensemble stands for three families; a trained perturbation is a kind of its own; edits are not queries."""
    trained = str(parse_attack("momentum-uap:file=x.npz:digest=" + "ab" * 32))
    for attacks, said in [
        (("auto",), "gradient attacks, dct-threshold, query attacks."),
        (("free-best",), "everyday edits."),
        (("fgsm:eps=0.1", trained), "gradient attacks, trained perturbations."),
    ]:
        texts = tuple(str(parse_attack(attack)) for attack in attacks)
        records = [record(n, texts[0], "none", "none", 20.0) for n in range(3)]
        run = make_run(records, plan=replace(PLAN, attacks=texts))
        assert f"knew the defence or not: {said}" in leaderboard(read_report(run, QUICK)).about
        shutil.rmtree(run)


@pytest.mark.usefixtures("degraded")
def test_a_run_of_copies_alone_has_an_order_and_no_worst_case(make_run: MakeRun) -> None:
    """Nothing attacked it: no number of attacks, no rank, and the text says so."""
    records = [one for one in random_records() if one.attack == COPY]
    report = read_report(make_run(records, plan=replace(BROKEN_PLAN, attacks=(COPY,))), QUICK)
    tables = {table.key: table for table in tables_of([report])}
    assert set(tables) == {"leaderboard:bright", "robustness:bright", "order:bright"}
    board = tables["leaderboard:bright"]
    assert "the run has no attacks" in board.about
    assert np.isnan(number(board, DIM, "worst_gain"))
    assert np.isfinite(number(board, DIM, "order_violations"))
    assert cell(board, DIM, "rank").text == ""
    assert not report.rows
    assert not tables["robustness:bright"].lines


def test_without_adaptive_attacks_the_worst_case_says_so(make_run: MakeRun) -> None:
    """A defence that nobody attacked through may be worse than it looks."""
    chain = "jpeg:quality=50:subsampling=4:2:0"
    plan = replace(PLAN, adaptive=False, metrics=(replace(METRIC, chains=("none", chain)),))
    records = [record(n, FGSM, "none", "none", 20.0) for n in range(3)]
    about = leaderboard(read_report(make_run(records, plan=plan, labels={"none": "none", chain: "jpeg"}), QUICK)).about
    assert "No attack knew a defence" in about
    assert "dct-threshold" in about


def test_a_chain_without_a_sound_record_comes_last_without_numbers(make_run: MakeRun) -> None:
    """Every attack behind it failed."""
    records = [failed(one) if one.chain == DIM else one for one in random_records()[:5]]
    board = leaderboard(read_report(make_run(records), QUICK))
    assert [line.key for line in board.lines] == ["none", DIM]
    assert np.isnan(number(board, DIM, "worst_gain"))
    assert cell(board, DIM, "strongest").text == ""


def test_two_metrics_stand_side_by_side(make_run: MakeRun) -> None:
    """Each has its own leaderboard, and the table of metrics repeats the worst gain of each."""
    other = replace(METRIC, name="other")
    plan = replace(PLAN, metrics=(METRIC, other))
    records = random_records()[:10]
    both = [one for one in records if one.attack != COPY]
    both += [replace(one, metric="other", attacked_defended=(one.attacked_defended or 0) + 5) for one in both]
    reports = read_reports(make_run(both, plan=plan), QUICK)
    tables = {table.key: table for table in tables_of(reports)}
    assert list(tables)[:3] == ["leaderboard:bright", "leaderboard:other", "metrics"]
    for name in ("bright", "other"):
        expected = number(tables[f"leaderboard:{name}"], DIM, "worst_gain")
        assert number(tables["metrics"], DIM, f"worst_gain:{name}") == expected


def test_every_address_is_there_once(make_run: MakeRun) -> None:
    """A cell is found by its table, line and heading."""
    tables = tables_of([read_report(make_run(), QUICK)])
    addresses = [
        Address(table.key, line.key, heading.key)
        for table in tables
        for line in table.lines
        for heading, _ in zip(table.headings, line.cells, strict=True)
    ]
    assert len(addresses) == len(set(addresses)) > 100
