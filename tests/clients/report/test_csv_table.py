"""Tables that were made elsewhere: the benchmark's columns, ours, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
import re
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clients.report.conftest import DIM, FGSM, MakeRun, failed, sound_records

from scoreguard_client.campaign import Record
from scoreguard_client.campaign.tables import column_name
from scoreguard_client.cli import main
from scoreguard_client.report import TableOptions, read_report
from scoreguard_client.report.build import write_csv, write_tables
from scoreguard_client.report.csv_selection import CsvOptions
from scoreguard_client.report.csv_table import CsvReport, read_csv_report
from scoreguard_client.report.errors import TableError
from scoreguard_client.scores import RMode, Scaling, ScoreRange

QUICK = TableOptions(resamples=20)
UNIT, HUNDRED = ScoreRange(low=0, high=1), ScoreRange(low=0, high=100)
BENCHMARK = "image_name,train_dataset,test_dataset,clear,attacked,amplitude,rel_gain,psnr,ssim,mse"
DEFENDED = "image_name,clear,attacked,defended-clear,defended-attacked,psnr_clear_attacked,ssim_clear_attacked"
SMALL = (
    "a.png,COCO,NIPS,0.2,0.3,0.2,1.5,30,0.9,0.001",
    "a.png,VOC,NIPS,0.2,0.5,0.4,2.5,28,0.8,0.002",
    "b.png,COCO,NIPS,0.6,0.7,0.2,1.2,inf,1.0,0",
    "a.png,COCO,VIMEO,0.4,0.1,0.2,0.3,26,0.7,0.003",
)


def write(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Four lines with the benchmark's columns and kind of file name."""
    return write(tmp_path / "uap_maniqa_test.csv", BENCHMARK, *SMALL)


def value(report: CsvReport, row: int, column: str) -> float:
    """A number of the table."""
    return report.rows[row].scores[column].value


def test_the_benchmarks_columns_make_a_row_for_each_data_set(small: Path) -> None:
    """By hand; attack and metric are in the file's name, and two data sets may have an image of one name."""
    report = read_csv_report([small], CsvOptions(range=UNIT), QUICK)
    assert report.metric == "maniqa"
    assert report.groups == (("NIPS", "uap", "none"), ("VIMEO", "uap", "none"))
    assert [(row.images, row.records) for row in report.rows] == [(2, 3), (1, 1)]
    assert value(report, 0, "absolute_gain") == pytest.approx((0.1 + 0.3 + 0.1) / 3)
    assert value(report, 0, "relative_gain") == pytest.approx((0.1 / 1.2 + 0.3 / 1.2 + 0.1 / 1.6) / 3)
    assert value(report, 0, "psnr") == pytest.approx((30 + 28 + 150) / 3)
    assert value(report, 1, "absolute_gain") == pytest.approx(-0.3)
    assert (value(report, 0, "clean_mean"), value(report, 1, "ssim")) == pytest.approx((1 / 3, 0.7))
    # What the table has no columns for is left out, not reported as missing.
    keys = {column.key for column in report.columns}
    assert keys & {"absolute_gain_8bit", "quality_score", "draw_spread"} == set()


@pytest.mark.parametrize(
    ("options", "groups", "gains"),
    [
        ({"by": ()}, ((),), [0.05]),
        ({"by": ("train_dataset",)}, (("COCO",), ("VOC",)), [-0.1 / 3, 0.3]),
        ({"by": ("test_dataset", "amplitude"), "where": (("train_dataset", "COCO"),)}, None, [0.1, -0.3]),
        ({"by": ("attack",), "where": (("test_dataset", "NIPS"), ("amplitude", "0.4"))}, (("uap",),), [0.3]),
    ],
)
def test_lines_are_chosen_and_grouped_by_any_column(
    small: Path, options: dict[str, Any], groups: tuple[tuple[str, ...], ...] | None, gains: list[float]
) -> None:
    """Everything in one row is the benchmark's selection `all`."""
    report = read_csv_report([small], CsvOptions(range=UNIT, **options), QUICK)
    assert groups in (None, report.groups)
    assert [row.scores["absolute_gain"].value for row in report.rows] == pytest.approx(gains)


@pytest.mark.parametrize("scaling", [Scaling.DECLARED_RANGE, Scaling.CLEAN_SELECTION])
def test_the_records_of_a_run_make_the_table_of_the_run(make_run: MakeRun, scaling: Scaling) -> None:
    """Each number and interval, to the last bit; a failed record counts as failed."""
    options = TableOptions(resamples=50, scaling=scaling)
    records = sound_records()
    run = read_report(make_run([*records[:-1], failed(records[-1])]), options)
    write_tables(run)
    report = read_csv_report([run.folder / "records.csv"], CsvOptions(range=HUNDRED), options)
    assert report.metric == run.metric.name
    assert {key.key for key in run.columns} - {key.key for key in report.columns} == {"draw_spread"}
    assert {(row.attack, row.chain, row.adaptive) for row in report.rows} == {
        (row.attack, row.chain, row.adaptive) for row in run.rows
    }
    for row in report.rows:
        (same,) = [
            each
            for each in run.rows
            if (each.attack, each.chain, each.adaptive) == (row.attack, row.chain, row.adaptive)
        ]
        assert (row.images, row.records, row.failed, row.queries) == (
            same.images,
            same.records,
            same.failed,
            same.queries,
        )
        for column in report.columns:
            np.testing.assert_equal(vars(row.scores[column.key]), vars(same.scores[column.key]))
    assert report.cautions == ("Lines that state an error, and are in no number: 1.",)


def test_degraded_copies_among_the_records_are_in_no_row(make_run: MakeRun, tmp_path: Path) -> None:
    """The table is that of the attacks alone, and says how many lines it left out; a table of copies is none."""
    records = sound_records()
    copies = [replace(each, attack="degraded-blur:direction=up:strength=1") for each in records if each.attack == FGSM]
    run = read_report(make_run(records), QUICK)
    heading = [column_name(field.name) for field in fields(Record)]
    write_csv(tmp_path / "both.csv", heading, map(astuple, [*records, *copies]))
    write_csv(tmp_path / "copies.csv", heading, map(astuple, copies))
    report = read_csv_report([tmp_path / "both.csv"], CsvOptions(range=HUNDRED), QUICK)
    assert {row.attack for row in report.rows} == {row.attack for row in run.rows}
    assert report.cautions == (f"Lines of degraded copies, which are no attacks and in no row: {len(copies)}.",)
    with pytest.raises(TableError, match="every line is of a degraded copy"):
        read_csv_report([tmp_path / "copies.csv"], CsvOptions(range=HUNDRED), QUICK)


def test_a_table_of_three_columns_is_enough(tmp_path: Path) -> None:
    """Image, clean and attacked score; the attack is the file's name, and there is no defence."""
    path = write(tmp_path / "mine.csv", "image,clean,attacked", "a,10,30", "b,20,40", "", "c,60,60")
    report = read_csv_report([path], CsvOptions(range=HUNDRED), QUICK)
    assert report.groups == (("mine", "none"),)
    assert (report.metric, report.metric_title) == ("", "unnamed metric")
    assert value(report, 0, "absolute_gain") == pytest.approx(0.4 / 3)
    assert not {"psnr", "ssim"} & {column.key for column in report.columns}


def test_the_defence_studys_columns_compare_defended_scores(tmp_path: Path) -> None:
    """Gains are between defended scores; `Gain` and SROCC take the undefended clean one."""
    lines = ("1.jpg,50,80,40,60,40.5,0.9", "2.jpg,60,90,44,48,41.5,0.8")
    report = read_csv_report([write(tmp_path / "fgsm.csv", DEFENDED, *lines)], CsvOptions(range=HUNDRED), QUICK)
    assert report.groups == (("fgsm", "defended"),)
    assert value(report, 0, "absolute_gain") == pytest.approx((0.2 + 0.04) / 2)
    assert value(report, 0, "purification_gain") == pytest.approx((10 / 50 + 12 / 60) / 2)
    assert value(report, 0, "psnr") == pytest.approx(41)


def test_a_metric_whose_low_scores_are_good_is_turned_around(tmp_path: Path) -> None:
    """By the range that is given worst first, or by the study's column."""
    lines = ("image,clean,attacked", "a,60,20", "b,50,30")
    path = write(tmp_path / "mine.csv", *lines)
    worst_first = ScoreRange(low=0, high=100, higher_is_better=False)
    report = read_csv_report([path], CsvOptions(range=worst_first), QUICK)
    assert value(report, 0, "absolute_gain") == pytest.approx(0.3)
    told = write(tmp_path / "told.csv", *(f"{line},{'lower_better' if line is lines[0] else 'True'}" for line in lines))
    scaled = TableOptions(resamples=20, scaling=Scaling.CLEAN_SELECTION)
    report = read_csv_report([told], CsvOptions(), scaled)
    assert not report.to_json()["higher_is_better"]
    assert value(report, 0, "absolute_gain") == pytest.approx((4 + 2) / 2)
    with pytest.raises(TableError, match="lower_better"):
        read_csv_report([told], CsvOptions(range=HUNDRED), QUICK)


def test_a_column_names_the_metric_and_one_of_several_is_chosen(tmp_path: Path) -> None:
    """A name that is given must be there."""
    path = write(tmp_path / "mine.csv", "image,clean,attacked,metric", "a,10,30,lite", "a,0.1,0.4,niqe", "b,20,30,lite")
    report = read_csv_report([path], CsvOptions(range=HUNDRED, metric="lite"), QUICK)
    assert (report.metric, report.rows[0].images) == ("lite", 2)
    with pytest.raises(TableError, match="have scores of lite, niqe: give --metric"):
        read_csv_report([path], CsvOptions(range=HUNDRED), QUICK)
    with pytest.raises(TableError, match="scores of lite, niqe"):
        read_csv_report([path], CsvOptions(range=HUNDRED, metric="nima"), QUICK)
    only = write(tmp_path / "only.csv", "image,clean,attacked,metric", "a,10,30,lite", "b,20,30,lite")
    with pytest.raises(TableError, match="no scores of nima, only of lite"):
        read_csv_report([only], CsvOptions(range=HUNDRED, metric="nima"), QUICK)


def test_compressed_files_and_those_with_a_mark_at_the_start_are_read(tmp_path: Path, small: Path) -> None:
    """As gzip writes them, and as spreadsheets do; several files make one table."""
    packed, marked = tmp_path / "ifgsm_maniqa_test.csv.gz", tmp_path / "madc_maniqa_test.csv"
    packed.write_bytes(gzip.compress(small.read_bytes()))
    marked.write_bytes(b"\xef\xbb\xbf" + small.read_bytes().replace(b"\n", b"\r\n"))
    report = read_csv_report([small, packed, marked], CsvOptions(range=UNIT, by=("attack",)), QUICK)
    assert report.groups == (("uap",), ("ifgsm",), ("madc",))
    assert len({row.scores["absolute_gain"].value for row in report.rows}) == 1
    assert report.cautions == ()


def test_lines_that_are_there_twice_are_said(tmp_path: Path) -> None:
    """The public benchmark appends to its files, and one of them has 48 lines twice; they count as there."""
    path = write(tmp_path / "uap_maniqa_test.csv", BENCHMARK, *SMALL, SMALL[0])
    report = read_csv_report([path], CsvOptions(range=UNIT), QUICK)
    assert report.rows[0].records == 4
    assert report.cautions == ("Lines that repeat the image, attack and chain of another, and count like it: 1.",)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "is empty"),
        (("",), "is empty"),
        (("image,clean,attacked",), "has no line below its heading"),
        (("image,clean", "a,1"), r"no column for attacked_defended \(attacked_defended, .*\), only image, clean$"),
        (("clean,attacked", "1,2"), r"no column for image \(image, image_name\), only clean, attacked$"),
        (("image;clean;attacked", "a;1;2"), "no column for image"),
        (("image,clean,clean,attacked", "a,1,1,2"), "has two columns clean"),
        (("image,clean,attacked", "a,1,2", "b,1"), "line 3: 2 cells, and the heading has 3"),
        (("image,clean,attacked", "a,1,2", "b,nan,3"), "line 3, column clean: 'nan' is not finite"),
        (("image,clean,attacked", "a,1,2", "", "b,2,high"), "line 4, column attacked: 'high' is no number"),
        (("image,clean,attacked", "a,,2"), "line 2, column clean: an empty cell is no number"),
        (("image,clean,attacked", "a,1,inf"), "line 2, column attacked: 'inf' is not finite"),
        (("image,clean,attacked", ",1,2"), "line 2, column image: an empty cell names no image"),
        (("image,clean,attacked,ssim", "a,1,2,inf"), "line 2, column ssim: 'inf' is not finite"),
        (("image,clean,attacked,psnr", "a,1,2,nan"), "line 2, column psnr: 'nan' is not finite"),
        (("image,clean,attacked,psnr", "a,1,2,30 dB"), "line 2, column psnr: '30 dB' is no number"),
        (("image,clean,attacked,draw", "a,1,2,0.5"), "line 2, column draw: '0.5' is no count"),
        (("image,clean,attacked,adaptive", "a,1,2,maybe"), "line 2, column adaptive: 'maybe' is neither"),
        (("image,clean,attacked", '"a,1,2'), "cannot be read as CSV"),
        (("image,clean,attacked,error", "a,,,died"), "every line of the tables states an error"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...], why: str
) -> None:
    """With its file, line and column; exit code 2 and no traceback."""
    path = tmp_path / "mine.csv"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert main(["report", "--from-csv", str(path), "--scaling", "clean_selection"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert re.search(why, said)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Nor one that is not there, nor a compressed one that was cut, nor a folder."""
    path, cut = tmp_path / "mine.csv", tmp_path / "cut.csv.gz"
    path.write_bytes(b"image,clean,attacked\n\xff,1,2\n")
    cut.write_bytes(gzip.compress(b"image,clean,attacked\na,1,2\n" * 50)[:40])
    for each in (path, cut, tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableError, match="cannot be read as CSV"):
            read_csv_report([each], CsvOptions(range=UNIT), QUICK)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give --range WORST,BEST, or --scaling clean_selection"),
        (["--range", "0"], "'0' is not two numbers, WORST,BEST"),
        (["--range", "1,1"], "'1,1' is no range"),
        (["--range", "0,nan"], "'0,nan' is no range"),
        (["--range", "0,1", "--by", "epoch"], "no table has a column epoch, only image_name, "),
        (["--range", "0,1", "--where", "epoch=1"], "no table has a column epoch"),
        (["--range", "0,1", "--where", "amplitude=9"], "no line has 9 in the column amplitude"),
        (["--range", "0,1", "--where", "amplitude"], "'amplitude' is not COLUMN=VALUE"),
        (["--range", "0,1", "--out", "{file}/below"], "cannot be written"),
        (["--range", "0,1", "--domain-transform", "{file}"], "is no domain transform"),
        (["--range", "0,1", "--scaling", "calibrated", "--calibration", "{file}"], "is no calibration"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(
    small: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    """Exit code 2 and no traceback."""
    given = [argument.format(file=small) for argument in arguments]
    assert main(["report", "--from-csv", str(small), *given]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert why in said


def test_options_of_tables_need_their_flag(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A run has its metric and range; two runs are not one report."""
    run = str(make_run())
    assert main(["report", run, "--range", "0,1"]) == 2
    assert "--range goes with --from-csv" in capsys.readouterr().err
    assert main(["report", run, run]) == 2
    assert "report on one RUN" in capsys.readouterr().err


def test_the_command_prints_the_table_and_writes_it(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text for people, as JSON for programs, as CSV on request."""
    line = ["report", "--from-csv", str(small), "--range", "0,1", "--resamples", "20"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "maniqa: robustness" in text and "NIPS uap" in text
    assert "scaled by 0 to 1 (declared); higher is better" in text
    with (tmp_path / "out" / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["test_dataset"] for row in rows] == ["NIPS", "VIMEO"]
    assert float(rows[0]["absolute_gain"]) == pytest.approx(0.5 / 3)
    assert rows[0]["absolute_gain_low"] == ""
    assert main([*line, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["rows"][1]["group"] == {"test_dataset": "VIMEO", "attack": "uap", "chain": "none"}
    assert content["rows"][1]["scores"]["absolute_gain"]["value"] == pytest.approx(-0.3)
    assert content["bounds"] == {"low": 0, "high": 1, "source": "declared"}
    assert content["domain_transform"] is None


def scores_of(report: CsvReport, row: int = 0) -> list[float]:
    """Absolute and relative gain, R, W, E."""
    keys = ("absolute_gain", "relative_gain", "r_score", "wasserstein_score", "energy_score")
    return [value(report, row, key) for key in keys]


def test_the_benchmarks_published_table_comes_out(shared_data: Path) -> None:
    """MANIQA under FGSM on NIPS 2017 after the benchmark's transform, from its CSV, with its notebook's R interval.

    The notebook states t intervals over rows; here a row is an image, so ours agree to its third digit too.
    """
    folder = shared_data / "benchmark"
    options = TableOptions(
        scaling=Scaling.CLEAN_SELECTION,
        r_mode=RMode.BENCHMARK,
        domain_transform=f"as-benchmark:{folder / 'domain_transform_to_mdtvsfa.pt'}",
    )
    wanted = json.loads((folder / "maniqa" / "expected_scores.json").read_text(encoding="utf-8"))["NIPS_std-fgsm"]
    path = folder / "maniqa" / "std-fgsm_maniqa_test.csv.gz"
    report = read_csv_report([path], CsvOptions(where=(("test_dataset", "NIPS"),)), options)
    names = ("absolute_gain", "relative_gain", "robustness_score", "wasserstein_score", "energy_distance_score")
    np.testing.assert_allclose(scores_of(report), [wanted[name] for name in names], atol=0.0005)
    for ours, theirs in (("absolute_gain", "absolute_gain"), ("relative_gain", "relative_gain")):
        found = report.rows[0].scores[ours]
        np.testing.assert_allclose([found.low, found.high], wanted[f"{theirs}_ci95"], atol=0.001)
    assert (report.metric, report.rows[0].images) == ("maniqa", 1000)
    # Beside the transformed gain stands the untransformed one, by the range of the clean scores: the raw golden.
    assert value(report, 0, "absolute_gain_raw") == pytest.approx(0.300, abs=0.0005)


@pytest.mark.slow
def test_the_benchmarks_raw_scores_of_a_universal_perturbation_come_out(shared_data: Path) -> None:
    """Six lines an image: two training sets and three amplitudes, in one row as the benchmark pools them."""
    path = shared_data / "benchmark" / "maniqa" / "uap_maniqa_test.csv.gz"
    options = TableOptions(scaling=Scaling.CLEAN_SELECTION, r_mode=RMode.BENCHMARK)
    report = read_csv_report([path], CsvOptions(where=(("test_dataset", "NIPS"),)), options)
    np.testing.assert_allclose(scores_of(report), (-0.199, -0.129, 0.599, -0.199, -0.362), atol=0.0006)
    assert (report.rows[0].images, report.rows[0].records) == (1000, 6000)


def test_the_chains_and_attacks_of_a_run_are_columns(make_run: MakeRun) -> None:
    """A run's records can be pooled otherwise than its report does."""
    run = read_report(make_run(), QUICK)
    write_tables(run)
    table = CsvOptions(range=HUNDRED, by=("chain",), where=(("attack", FGSM), ("adaptive", "no")))
    report = read_csv_report([run.folder / "records.csv"], table, QUICK)
    assert {group[0] for group in report.groups} == {"none", DIM}
    assert {row.attack for row in report.rows} == {"all"}
