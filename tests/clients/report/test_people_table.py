"""Agreement with people: correlations of served scores with theirs, against SciPy's."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from data_folder import DATA, WHY_SKIPPED
from scipy import stats
from tests.clients.campaign.two_metrics import options_of, run
from tests.clients.report.conftest import DIM, FGSM, NAMES, MakeRun, record, sound_records

from scoreguard_client.campaign import Ledger, Record
from scoreguard_client.report import TableOptions
from scoreguard_client.report.build import Report, read_report
from scoreguard_client.report.tables.model import Line, Table
from scoreguard_client.report.tables.people import people
from scoreguard_client.scores import Clusters, correlation_estimate
from scoreguard_client.target.people import KEY, PeopleScores
from scoreguard_client.testing import FakeService
from scoreguard_client.testing.messages import Floats

SAID = dict(zip(NAMES, (1.0, 2.5, 2.0, 4.0, 3.5, 5.0), strict=True))
BLUR = "degraded-blur:direction=up:strength=1"


def report_of(path: Path, *, higher: bool = True, said: dict[str, float] | None = None) -> Report:
    """The report of a run that is told what people said."""
    scores = PeopleScores(
        source="list.csv", column="mos" if higher else "dmos", higher_is_better=higher, scores=said or SAID
    )
    with Ledger.open(path) as ledger:
        ledger.extend(ledger.plan, ledger.plan, ledger.facts | {KEY: scores.facts()})
    return read_report(path, TableOptions(resamples=50))


def lines_of(table: Table | None) -> dict[str, Line]:
    """The lines by their keys."""
    assert table is not None
    return {line.key: line for line in table.lines}


def values_of(line: Line) -> list[float]:
    """SROCC, PLCC, KROCC."""
    return [cell.estimate.value for cell in line.cells if cell.estimate is not None]


def by_scipy(scores: Sequence[float | None], second: Sequence[float]) -> list[float]:
    """The same three."""
    first = np.array(scores, np.float64)
    return [
        float(stats.spearmanr(first, second).statistic),
        float(stats.pearsonr(first, second).statistic),
        float(stats.kendalltau(first, second).statistic),
    ]


def shuffled() -> list[Record]:
    """Attacked scores in an order of their own, so that each line has another number."""
    rng = np.random.default_rng(4)
    return [
        replace(each, attacked_defended=float(rng.uniform(20, 60)), clean_defended=each.clean_defended)
        for each in sound_records()
    ]


def test_a_run_of_images_that_nobody_judged_has_no_such_table(make_run: MakeRun) -> None:
    """Nor has one whose judged images have no sound record."""
    assert people(read_report(make_run(), TableOptions(resamples=50))) is None
    assert people(report_of(make_run(), said={"another.png": 3.0})) is None


def test_each_chain_has_a_line_of_clean_images_and_one_of_each_attack(make_run: MakeRun) -> None:
    """Adaptive above its twin; all numbers are SciPy's of the records."""
    records = shuffled()
    report = report_of(make_run(records))
    table = people(report)
    lines = lines_of(table)
    assert table is not None
    assert table.key == "people:bright"
    assert [heading.key for heading in table.headings] == ["srocc", "plcc", "krocc", "images"]
    assert "mos of list.csv" in table.about
    assert [key.split(":")[0].split("|")[0] + "|" + key.rsplit("|", 1)[1] for key in lines] == [
        *("clean|none", "fgsm|unaware", "square|unaware"),
        *(f"clean|{DIM}", "fgsm|adaptive", "fgsm|unaware", "square|adaptive", "square|unaware"),
    ]
    said = [SAID[name] for name in NAMES]
    assert values_of(lines[f"clean|{DIM}"]) == pytest.approx(by_scipy([20.0 + n for n in range(6)], said))
    for adaptive in (True, False):
        mine = [r for r in records if (r.attack, r.chain, r.adaptive) == (FGSM, DIM, adaptive)]
        line = lines[f"{FGSM}|{DIM}|{'adaptive' if adaptive else 'unaware'}"]
        assert values_of(line) == pytest.approx(by_scipy([r.attacked_defended for r in mine], said))
        assert line.cells[3].plain == 6
        assert line.tags == (("adaptive",) if adaptive else ())
    assert len({tuple(values_of(line)) for line in lines.values()}) == len(lines) - 1  # both clean lines rise alike


def test_both_sides_are_turned_so_that_more_is_better(make_run: MakeRun) -> None:
    """A metric of distortion and opinions of the difference agree as their opposites do."""
    records = shuffled()
    agreed = lines_of(people(report_of(make_run(records))))
    with Ledger.open(make_run(records)) as ledger:
        path, plan = ledger.run, ledger.plan
        turned = replace(plan, metrics=(replace(plan.metrics[0], higher_is_better=False),))
        ledger.extend(plan, turned, ledger.facts)
    for higher, sign in ((True, -1.0), (False, 1.0)):
        lines = lines_of(people(report_of(path, higher=higher)))
        for key, line in agreed.items():
            assert values_of(lines[key]) == pytest.approx([sign * value for value in values_of(line)])


def test_draws_are_rows_of_their_image_and_failures_and_copies_are_none(make_run: MakeRun) -> None:
    """Two draws of the last image, one failed record of the first, a degraded copy; only what was judged counts."""
    rows = [record(number, FGSM, "none", "none", float(number**2)) for number in range(6)]
    second = replace(rows[5], draw=1, attacked_defended=3.0, clean_defended=70.0)
    failed = replace(rows[0], error="gone")
    copy = replace(rows[2], attack=BLUR, attacked_defended=0.0)
    with Ledger.open(make_run([failed, *rows[1:], second, copy])) as ledger:
        path, plan = ledger.run, ledger.plan
        ledger.extend(plan, replace(plan, attacks=(*plan.attacks, BLUR)), ledger.facts)
    kept = {name: value for name, value in SAID.items() if name != NAMES[1]}
    lines = lines_of(people(report_of(path, said=kept)))
    assert [key for key in lines if key.endswith("|none") or "|none|" in key] == ["clean|none", f"{FGSM}|none|unaware"]
    counted = [*rows[2:], second]
    said = [SAID[each.image] for each in counted]
    attacked = [each.attacked_defended for each in counted]
    assert values_of(lines[f"{FGSM}|none|unaware"]) == pytest.approx(by_scipy(attacked, said))
    assert values_of(lines["clean|none"]) == pytest.approx(by_scipy([each.clean_defended for each in counted], said))
    assert lines["clean|none"].cells[3].plain == 4
    assert all(math.isnan(value) for value in values_of(lines[f"clean|{DIM}"]))


def test_intervals_are_those_of_correlations_with_the_image_as_unit(make_run: MakeRun) -> None:
    """From sixty images on there is one; with fewer the estimate says why there is none."""
    few = lines_of(people(report_of(make_run())))["clean|none"].cells[0].estimate
    assert few is not None
    assert few.note == "n too small"
    rng = np.random.default_rng(0)
    names = [f"{number:02}.png" for number in range(70)]
    said = dict(zip(names, rng.uniform(1, 5, 70).tolist(), strict=True))
    base = record(0, FGSM, "none", "none", 0.0)
    noise = rng.normal(0, 8, 70)
    rows = [
        replace(base, image=name, attacked_defended=10 * said[name] + float(noise[number]))
        for number, name in enumerate(names)
    ]
    cell = lines_of(people(report_of(make_run(rows), said=said)))[f"{FGSM}|none|unaware"].cells[0].estimate
    assert cell is not None
    wanted = correlation_estimate(
        np.array([row.attacked_defended for row in rows], np.float64),
        np.array([said[row.image] for row in rows]),
        Clusters(names, resamples=50),
    )
    assert cell == wanted
    assert cell.low < cell.value < cell.high


def sharpness(image: Floats) -> float:
    """100 times the mean step between neighbours in a row, at most 100."""
    return 100 * float(np.abs(np.diff(image, axis=1)).mean(dtype=np.float64))


@pytest.mark.skipif(not DATA.is_dir(), reason=WHY_SKIPPED)
def test_sharpness_agrees_with_people_about_blur(tmp_path: Path) -> None:
    """A campaign on a part of LIVE's blurred buildings: their order is people's, also behind a defence."""
    source = DATA / "mos" / "live_subset"
    with (source / "labels.csv").open(newline="") as file:
        rows: list[dict[str, Any]] = [row for row in csv.DictReader(file) if "buildings" in row["file"]]
    blurred = [row for row in rows if row["distortion"] in {"gblur", "reference"}]
    for row in blurred:
        PIL.Image.open(source / row["file"]).crop((200, 150, 360, 270)).save(tmp_path / row["file"])
    lines = "".join(f"{row['file']},{row['dmos']}\n" for row in blurred)
    (tmp_path / "list.csv").write_text(f"file,dmos\n{lines}")
    options = options_of(
        tmp_path,
        metric="sharp",
        images=tmp_path / "list.csv",
        attacks="free-contrast:min_ssim=0",
        adaptive=False,
    )
    run(options, FakeService(metrics={"sharp": sharpness}, defences={"halve": lambda image: image / 2}))
    table = lines_of(people(read_report(options.out, TableOptions(resamples=50))))
    assert len(blurred) == 5
    for key, line in table.items():
        assert values_of(line)[0] == pytest.approx(1.0), key
        assert line.cells[3].plain == 5
