"""Reports on scores that were mapped onto a reference metric first, and the command that fits such a map."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.clients.report.conftest import DIM, FGSM, MakeRun, sound_records

from scoreguard_client.campaign import Record, RunError
from scoreguard_client.cli import main
from scoreguard_client.report import Report, TableOptions, make_report, read_report
from scoreguard_client.report.csv_selection import CsvOptions
from scoreguard_client.report.csv_table import read_csv_report
from scoreguard_client.report.tables.leaderboard import leaderboard
from scoreguard_client.report.tables.metrics import metrics
from scoreguard_client.report.text import text_table
from scoreguard_client.scores import DomainTransform, Sample, Scaling, ScoreRange
from scoreguard_client.scores.domain_transform import sample_sha256

CLEAN, REFERENCE = np.array([0.0, 20.0, 50.0, 100.0]), np.array([1.0, 3.0, 4.0, 9.0])
TEN = ScoreRange(low=0, high=10)


def side(metric: str, *, higher_is_better: bool = True) -> Sample:
    """A metric of this direction."""
    return Sample(metric=metric, higher_is_better=higher_is_better, images=4, sha256="0" * 64)


@pytest.fixture
def bent(tmp_path: Path) -> tuple[Path, DomainTransform]:
    """A map of the run's metric that is bent twice, and its file."""
    fitted = DomainTransform.fit(CLEAN, REFERENCE, source=side("bright"), reference=side("stars"), reference_range=TEN)
    path = tmp_path / "map.json"
    path.write_text(fitted.to_json(), encoding="utf-8")
    return path, fitted


def mapped(records: list[Record], fitted: DomainTransform) -> list[Record]:
    """The records with every score mapped by numpy's interpolation, which knows nothing of ours."""
    names = [name for name in vars(records[0]) if re.match(r"(clean|attacked)_(score|defended)", name)]
    assert len(names) == 6

    def there(value: float) -> float:
        return float(np.interp(value, fitted.scores, fitted.mapped))

    changes: list[dict[str, Any]] = [{name: there(getattr(one, name)) for name in names} for one in records]
    return [replace(one, **change) for one, change in zip(records, changes, strict=True)]


def numbers(report: Report) -> dict[tuple[Any, ...], float]:
    """Every number of the table by attack, chain, whether adaptive, and column."""
    return {
        (row.attack, row.chain, row.adaptive, key): estimate.value
        for row in report.rows
        for key, estimate in row.scores.items()
    }


def worst_gains(report: Report) -> dict[str, float]:
    """The worst gain behind each chain."""
    cells = {line.key: line.cells[0].estimate for line in leaderboard(report).lines}
    return {chain: estimate.value for chain, estimate in cells.items() if estimate is not None}


def test_the_worst_gain_is_of_mapped_scores_and_the_raw_one_stands_beside_it(
    make_run: MakeRun, tmp_path: Path, bent: tuple[Path, DomainTransform]
) -> None:
    """The leaderboard is that of scores mapped by hand; side by side with another metric both are there."""
    path, fitted = bent
    raw = read_report(make_run(), TableOptions(resamples=20))
    report = read_report(raw.run, TableOptions(resamples=20, domain_transform=str(path)))
    other = replace(raw, metric=replace(raw.metric, name="other"))
    table = metrics([report, other])
    assert table is not None
    keys = [heading.key for heading in table.headings]
    assert keys == ["worst_gain:bright", "worst_gain_transformed:bright", "worst_gain:other"]
    columns = zip(*([cell.estimate.value for cell in line.cells if cell.estimate] for line in table.lines), strict=True)
    found = [dict(zip((line.key for line in table.lines), column, strict=True)) for column in columns]
    raw.run.rename(tmp_path / "raw")
    by_hand = make_run(mapped(sound_records(), fitted), range={"range_low": 0, "range_high": 10})
    wanted = [worst_gains(raw), worst_gains(read_report(by_hand, TableOptions(resamples=20))), worst_gains(raw)]
    assert found[1] != found[0]
    for column, expected in zip(found, wanted, strict=True):
        assert column == pytest.approx(expected)


@pytest.mark.parametrize("scaling", [Scaling.DECLARED_RANGE, Scaling.CLEAN_SELECTION])
def test_a_report_with_a_transform_is_the_report_of_mapped_scores(
    make_run: MakeRun, tmp_path: Path, bent: tuple[Path, DomainTransform], scaling: Scaling
) -> None:
    """The same run with scores mapped by hand on a metric of the reference's range; beside them the raw numbers."""
    path, fitted = bent
    options = TableOptions(resamples=20, scaling=scaling)
    raw = read_report(make_run(), options)
    got = numbers(read_report(raw.run, replace(options, domain_transform=str(path))))
    stars = {"range_low": 0, "range_high": 10}
    raw.run.rename(tmp_path / "raw")
    wanted = numbers(read_report(make_run(mapped(sound_records(), fitted), range=stars), options))
    assert {key: got[key] for key in wanted} == pytest.approx(wanted, nan_ok=True)
    before = numbers(raw)
    for (*where, column), value in got.items():
        if column.endswith("_raw"):
            assert value == pytest.approx(before[(*where, column.removesuffix("_raw"))])
    assert {key[-1] for key in set(got) - set(wanted)} == {"clean_mean_raw", "attacked_mean_raw", "absolute_gain_raw"}


def test_a_reference_whose_low_scores_are_good_keeps_gains_positive(make_run: MakeRun, tmp_path: Path) -> None:
    """An attack that raises the metric lowers the mapped score, which is a gain there."""
    reference = side("noise", higher_is_better=False)
    fitted = DomainTransform.fit(CLEAN, 10 - REFERENCE, source=side("bright"), reference=reference)
    path = tmp_path / "map.json"
    path.write_text(fitted.to_json(), encoding="utf-8")
    row = read_report(make_run(), TableOptions(resamples=20, domain_transform=str(path))).rows[0]
    assert row.scores["attacked_mean"].value < row.scores["clean_mean"].value
    assert row.scores["absolute_gain"].value > 0


def test_the_page_the_json_and_the_table_say_which_map_was_used(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], bent: tuple[Path, DomainTransform]
) -> None:
    """The reference, where the map is from, its slope, and the bounds of the reference."""
    path, fitted = bent
    run = make_run()
    line = ["report", str(run), "--resamples", "20", "--domain-transform", str(path)]
    assert main([*line, "--json"]) == 0
    words = "mapped onto stars (optimal transport fitted on 4 and 4 scores)"
    table = text_table(read_report(run, TableOptions(resamples=20, domain_transform=str(path))))
    assert table.title == f"Mean <brightness>: robustness, {words}"
    assert "abs. gain, raw" in [column.header for column in table.columns]
    content = json.loads(capsys.readouterr().out)
    assert content["bounds"] == {"low": 0, "high": 10, "source": "range of stars"}
    assert content["domain_transform"] == fitted.facts()
    assert content["domain_transform"]["slope"] == pytest.approx(0.08)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert f"<dd>{words}</dd>" in page
    assert f"Scores were first {words}" in page
    assert "bounds 0 to 10 (range of stars)" in page
    assert "clean, raw" in page
    # Records and the numbers below the images stay the metric's own: what the service answers.
    assert ",40.0," in (run / "report" / "records.csv").read_text(encoding="utf-8")
    assert "<b>40.00</b>" in page


def test_a_report_without_a_transform_says_nothing_of_one(make_run: MakeRun) -> None:
    """As before there was any."""
    report = make_report(make_run(), TableOptions(resamples=20))
    page = (report.folder / "index.html").read_text(encoding="utf-8")
    assert "mapped onto" not in page and "declared range" in page
    assert report.to_json()["domain_transform"] is None
    assert not [column.key for column in report.columns if column.key.endswith("_raw")]


def test_a_map_that_does_not_fit_the_run_is_refused(
    make_run: MakeRun, tmp_path: Path, bent: tuple[Path, DomainTransform]
) -> None:
    """Of another metric or direction, or beside bounds that are not the reference's."""
    path, fitted = bent
    for scaling in (Scaling.STUDY_BOUNDS, Scaling.CALIBRATED):
        with pytest.raises(RunError, match="brings the bounds of its reference"):
            read_report(make_run(), TableOptions(scaling=scaling, domain_transform=str(path)))
    path.write_text(replace(fitted, source=side("dark")).to_json(), encoding="utf-8")
    with pytest.raises(RunError, match="maps scores of dark, not of bright"):
        read_report(make_run(), TableOptions(domain_transform=str(path)))
    turned = DomainTransform.fit(
        CLEAN, REFERENCE, source=side("bright", higher_is_better=False), reference=side("stars")
    )
    path.write_text(turned.to_json(), encoding="utf-8")
    with pytest.raises(RunError, match="takes lower scores of bright for better ones"):
        read_report(make_run(), TableOptions(domain_transform=str(path)))


def test_a_published_map_applies_to_a_run_too(make_run: MakeRun, tmp_path: Path) -> None:
    """A network of one path: it passes on the scaled score, whatever z, so gains are shares of its scale."""
    state: dict[str, torch.Tensor] = {}
    for index, shape in enumerate(((100, 2), (100, 100), (100, 100), (1, 100))):
        state[f"{2 * index}.weight"] = torch.zeros(shape)
        state[f"{2 * index}.weight"][0, 0] = 1
        state[f"{2 * index}.bias"] = torch.zeros(shape[0])
    path = tmp_path / "maps.pt"
    torch.save({"bright": {"state_dict": state, "X": {"scale_": 0.02, "min_": 0.0}}}, path)
    options = TableOptions(resamples=20, domain_transform=f"as-benchmark:{path}")
    (row,) = [
        row
        for row in read_report(make_run(), options).rows
        if (row.attack, row.chain, row.adaptive) == (FGSM, DIM, False)
    ]
    assert row.scores["absolute_gain"].value == pytest.approx(4 * 0.02, rel=1e-5)
    assert row.scores["absolute_gain_raw"].value == pytest.approx(0.04)
    assert row.scores["clean_mean"].value == pytest.approx(22.5 * 0.02, rel=1e-5)


def test_a_map_fitted_by_the_command_is_the_librarys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a table of attacks, whose lines repeat clean scores, and from the answers of `scoreguard score --json`."""
    table = tmp_path / "uap_maniqa_test.csv"
    lines = ("image_name,test_dataset,clear,attacked", "a,NIPS,0.2,1", "a,NIPS,0.2,2", "b,NIPS,0.6,1", "a,DERF,0.5,1")
    table.write_text("\n".join(lines), encoding="utf-8")
    answers = tmp_path / "niqe.jsonl"
    answers.write_text("".join(json.dumps({"image": f"{k}.png", "score": k}) + "\n" for k in (7, 3, 5, 4)))
    out = tmp_path / "map.json"
    line = ["domain", "fit", str(table), str(answers), "--reference", "niqe", "--reference-range", "20,0"]
    assert main([*line, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: maniqa onto niqe, optimal transport fitted on 3 and 4 scores")
    clean, other = np.array([0.2, 0.6, 0.5]), np.array([7.0, 3.0, 5.0, 4.0])
    wanted = DomainTransform.fit(
        clean,
        other,
        source=Sample(
            metric="maniqa",
            higher_is_better=True,
            images=3,
            sha256=sample_sha256(["NIPS/a", "NIPS/b", "DERF/a"], clean),
        ),
        reference=Sample(
            metric="niqe",
            higher_is_better=False,
            images=4,
            sha256=sample_sha256([f"{k:g}.png" for k in other], other),
        ),
        reference_range=ScoreRange(low=0, high=20, higher_is_better=False),
    )
    assert DomainTransform.read(out) == wanted
    assert main([*line, "--out", str(out), "--slope", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["slope"] == 3
    assert DomainTransform.read(out).slope == 3


def test_a_table_of_attacks_can_be_reported_on_with_a_map_of_its_metric(
    tmp_path: Path, bent: tuple[Path, DomainTransform]
) -> None:
    """By hand: 20 to 35 is 3 to 3.5 of 10; the raw gain is a share of the range that is given."""
    table = tmp_path / "mine.csv"
    table.write_text("image,clean,attacked\na,20,35\nb,50,75\n", encoding="utf-8")
    options = TableOptions(resamples=20, domain_transform=str(bent[0]))
    report = read_csv_report([table], CsvOptions(metric="bright", range=ScoreRange(low=0, high=200)), options)
    scores = report.rows[0].scores
    assert scores["absolute_gain"].value == pytest.approx((0.05 + 0.25) / 2)
    assert scores["absolute_gain_raw"].value == pytest.approx((15 + 25) / 2 / 200)
    assert report.to_json()["bounds"]["source"] == "range of stars"
    assert report.domain.startswith("mapped onto stars")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.csv", "image,score\na,1\nb,2\n", "a metric without a name: name the metric"),
        ("a_lite_test.csv", "image,score\na,1\na,2\n", "line 3: another score of a is 1, and here it is 2"),
        ("a_lite_test.csv", "image,points\na,1\n", "no column for score"),
        ("a_lite_test.csv", "image,score\na,\n", "line 2, column score: an empty cell is no number"),
        ("a_lite_test.csv", "image,score,error\na,,died\n", "has no score: every line states an error"),
        ("a_lite_test.csv", "image,score\na,1\nb,1\n", "lite needs two different scores or more"),
        ("a_lite_test.csv", "image,score,metric\na,1,x\nb,2,y\n", "has scores of x, y: name the metric"),
        ("x.jsonl", "", "is empty"),
        ("x.jsonl", '{"image": "a", "error": {}}\n', "line 1 is no answer of scoreguard score --json"),
        ("x.jsonl", '{"image": "a", "score": null}\n', "the score None of a is no finite number"),
        ("x.jsonl", "[1]\n", "line 1 is no answer"),
        ("none.jsonl", None, "cannot be read"),
    ],
)
def test_scores_that_fit_no_map_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, why: str
) -> None:
    """With the file, exit code 2, and nothing written."""
    path, other, out = tmp_path / name, tmp_path / "b_other_test.csv", tmp_path / "map.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    other.write_text("image,score\na,1\nb,2\n", encoding="utf-8")
    assert main(["domain", "fit", str(path), str(other), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert why in said and name in said
    assert not out.exists()
