"""The report of a small run: its numbers, its warnings, its files."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console
from tests.clients.report.conftest import DIM, FGSM, METRIC, NAMES, PLAN, SQUARE, MakeRun, failed, record, sound_records

from scoreguard.calibration import Bounds, Calibration
from scoreguard_client.attacks import parse_attack
from scoreguard_client.campaign import Record, RunError
from scoreguard_client.report import Report, TableOptions, make_report, read_report
from scoreguard_client.report.bounds import bounds_for
from scoreguard_client.report.columns import COLUMNS
from scoreguard_client.report.exhibits import amplified_difference, exhibits
from scoreguard_client.report.figures import gains_figure
from scoreguard_client.report.naming import attack_names
from scoreguard_client.report.text import interval, number, text_table, value
from scoreguard_client.scores import Estimate, Scaling, ScoreRange

QUICK = TableOptions(resamples=50)


def test_every_number_of_a_row_is_what_its_column_says(make_run: MakeRun) -> None:
    """Worked out by hand for FGSM behind the chain: clean 20..25, attacked 4 higher."""
    report = read_report(make_run(), QUICK)
    (row,) = [row for row in report.rows if (row.attack, row.chain, row.adaptive) == (FGSM, DIM, False)]
    values = {key: estimate.value for key, estimate in row.scores.items()}
    clean, undefended = np.arange(20.0, 26.0), np.arange(40.0, 52.0, 2.0)
    u, v = clean / 100, (clean + 4) / 100
    assert values["clean_mean"] == pytest.approx(22.5)
    assert values["attacked_mean"] == pytest.approx(26.5)
    assert values["absolute_gain"] == pytest.approx(0.04)
    assert values["absolute_gain_8bit"] == pytest.approx(0.04)
    assert values["relative_gain"] == pytest.approx(np.mean((v - u) / (u + 1)))
    assert values["r_score"] == pytest.approx(np.mean(np.log10((1 - v) / 0.04)), abs=1e-4)
    assert values["wasserstein_score"] == pytest.approx(0.04)
    assert values["energy_score"] > 0
    assert values["purification_gain"] == pytest.approx(np.mean(np.abs(undefended - clean - 4) / undefended))
    assert values["quality_score"] == pytest.approx(0.4 / 2 + 16 / 160)
    assert values["srocc"] == pytest.approx(1)
    assert values["psnr"] == pytest.approx(32)
    assert values["ssim"] == pytest.approx(0.9)
    assert set(values) == {column.key for column in COLUMNS}
    assert (row.images, row.records, row.failed, row.queries) == (6, 6, 0, 5)


def many_records(count: int = 60) -> list[Record]:
    """FGSM undefended on more images, gains that differ."""
    rng = np.random.default_rng(0)
    records = (record(number % len(NAMES), FGSM, "none", "none", float(rng.normal(20, 5))) for number in range(count))
    return [
        replace(
            one,
            image=f"image{number}",
            clean_defended=float(rng.uniform(20, 70)),
            psnr=float(rng.normal(32, 1)),
            ssim=float(rng.uniform(0.8, 0.9)),
            purified_psnr=float(rng.normal(16, 1)),
        )
        for number, one in enumerate(records)
    ]


def test_intervals_hold_the_value_and_are_there_for_every_number(make_run: MakeRun) -> None:
    """Sixty images give an interval to each column."""
    (row,) = read_report(make_run(many_records()), QUICK).rows
    for key, estimate in row.scores.items():
        if key == "draw_spread":  # one draw has none
            assert np.isnan(estimate.value)
            continue
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


def test_six_images_are_too_few_for_an_interval_and_every_form_says_so(make_run: MakeRun) -> None:
    """No kind of interval was found to hold what it claims there."""
    report = make_report(make_run(), QUICK)
    for row in report.rows:
        numbers = [estimate for key, estimate in row.scores.items() if key != "draw_spread"]
        assert {(estimate.note, np.isnan(estimate.low)) for estimate in numbers} == {("n too small", True)}
    assert "n too small" in (report.folder / "index.html").read_text()
    assert "0.200 n too small" in printed(report, 200)
    (saved, *_) = report.to_json()["rows"]
    assert saved["scores"]["absolute_gain"]["note"] == "n too small"


def test_the_table_of_a_file_has_every_chain_and_number_whole(make_run: MakeRun) -> None:
    """One line for each row, with the whole chain: `jpeg:quality=50` is not folded into `jpeg:quality=5` and `0`."""
    chain = "blur:sigma=1.5+jpeg:quality=50+diffpure:t=10"
    report = read_report(make_run(labels={"none": "none", DIM: chain}), QUICK)
    lines = printed(report, None).splitlines()
    assert sum(chain in line for line in lines) == 4
    assert "…" not in "".join(lines)


def printed(report: Report, width: int | None) -> str:
    """The table of the terminal."""
    console = Console(width=width or 1000, record=True, file=io.StringIO())
    console.print(text_table(report, width))
    return console.export_text()


def test_rows_come_in_the_order_of_the_plan_with_adaptive_attacks_apart(make_run: MakeRun) -> None:
    """Attack, then chain; an attack that knew the chain stands directly above its twin that did not."""
    rows = read_report(make_run(), QUICK).rows
    per_attack = [("none", False), (DIM, True), (DIM, False)]
    assert [(row.attack, row.chain, row.adaptive) for row in rows] == [
        (attack, *rest) for attack in (FGSM, SQUARE) for rest in per_attack
    ]


def test_for_a_lower_is_better_metric_a_rising_score_is_a_loss(make_run: MakeRun) -> None:
    """Gains carry the direction, means stay in the metric's units."""
    row = read_report(make_run(range={"higher_is_better": False}), QUICK).rows[0]
    assert row.scores["absolute_gain"].value == pytest.approx(-0.2)
    assert row.scores["attacked_mean"].value > row.scores["clean_mean"].value


def test_the_benchmarks_scaling_is_by_the_clean_scores(make_run: MakeRun) -> None:
    """Clean scores 40..50 become 0..1, so that a rise of 20 is a gain of 2."""
    options = TableOptions(resamples=20, scaling=Scaling.CLEAN_SELECTION)
    row = read_report(make_run(), options).rows[0]
    assert row.scores["absolute_gain"].value == pytest.approx(2)


def calibration(folder: Path, **changes: Any) -> Path:
    """A file of a calibration of `bright` from 20 to 60."""
    measured = Calibration(
        metric="bright",
        images=3,
        images_sha256="ab" * 32,
        weights={},
        low=20.0,
        lower_quartile=30.0,
        median=40.0,
        upper_quartile=50.0,
        high=60.0,
    )
    path = folder / "range.json"
    path.write_text(replace(measured, **changes).to_json())
    return path


def test_scores_are_scaled_by_a_calibration_that_the_report_names(make_run: MakeRun, tmp_path: Path) -> None:
    """Scores of 20 to 60 become 0..1, so that a rise of 20 is a gain of a half; the list of images is named."""
    options = TableOptions(resamples=20, scaling=Scaling.CALIBRATED, calibration=calibration(tmp_path))
    report = make_report(make_run(), options)
    assert report.rows[0].scores["absolute_gain"].value == pytest.approx(0.5)
    source = f"calibrated sha256:{'ab' * 32}"
    assert report.to_json()["bounds"] == {"low": 20.0, "high": 60.0, "source": source}
    assert f"bounds 20 to 60 ({source})" in (report.folder / "index.html").read_text()
    assert read_report(make_run(), QUICK).to_json()["bounds"] == {"low": 0, "high": 100, "source": "declared"}


def test_without_a_file_the_calibration_of_the_deployed_archive_counts(make_run: MakeRun) -> None:
    """A run stores its bounds, and the report names them."""
    stored = {"low": 20.0, "high": 60.0, "source": f"calibrated sha256:{'cd' * 32}"}
    report = read_report(make_run(calibration=stored), TableOptions(resamples=20, scaling=Scaling.CALIBRATED))
    assert report.rows[0].scores["absolute_gain"].value == pytest.approx(0.5)
    assert report.to_json()["bounds"] == stored


def test_without_any_calibration_the_bounds_of_the_study_count() -> None:
    """They come after the archive's own; a metric that no study measured is refused, with what would help."""
    declared, options = ScoreRange(low=0.0, high=80.0), TableOptions(scaling=Scaling.CALIBRATED)
    deployed = Bounds(low=1.0, high=2.0, source="calibrated sha256:ab")
    assert bounds_for("fpr", declared, options) == Bounds(low=47.225, high=77.047, source="nips2017")
    assert bounds_for("fpr", declared, options, deployed) == deployed
    with pytest.raises(RunError, match="no study has bounds of lite"):
        bounds_for("lite", declared, options)


def test_bounds_that_do_not_belong_to_the_metric_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    """Another metric's calibration, none, a file of something else, and a study that has none of this metric."""
    run, other = make_run(), tmp_path / "other.json"
    other.write_text("{}")
    cases = {
        "is a calibration of niqe, not of bright": (Scaling.CALIBRATED, calibration(tmp_path, metric="niqe")),
        "needs --calibration FILE": (Scaling.CALIBRATED, None),
        "other.json is no calibration": (Scaling.CALIBRATED, other),
        "the study has no bounds of bright, only of brisque, ": (Scaling.STUDY_BOUNDS, None),
        "a calibration needs the scaling 'calibrated'": (Scaling.DECLARED_RANGE, other),
    }
    for message, (scaling, path) in cases.items():
        with pytest.raises(RunError, match=message):
            read_report(run, TableOptions(scaling=scaling, calibration=path))


def test_failed_records_are_counted_and_in_no_number(make_run: MakeRun) -> None:
    """A row of failures only has no scores, and every form of the report shows dashes."""
    records = sound_records()
    records = [failed(r) if r.attack == SQUARE or r.image == NAMES[0] else r for r in records]
    report = make_report(make_run(records), QUICK)
    first, last = report.rows[0], report.rows[-1]
    assert (first.images, first.failed) == (5, 1)
    assert (last.images, last.failed, last.scores) == (0, 6, {})
    assert "–" in (report.folder / "index.html").read_text()
    assert report.cautions[0].startswith("21 records failed")


def test_cautions_name_what_should_not_be_taken_at_face_value(make_run: MakeRun) -> None:
    """Unfinished run, attack without effect, weak adaptive attack, rounding, shifted clean scores."""
    records = []
    for place in range(len(NAMES)):
        records.append(record(place, FGSM, "none", "none", -1.0))
        plain = record(place, FGSM, DIM, "none", 6.0)
        records.append(replace(plain, attacked_defended_8bit=(plain.clean_defended or 0) + 1))
        records.append(record(place, FGSM, DIM, DIM, 2.0))
    cautions = read_report(make_run(records, expected=40), QUICK).cautions
    wanted = (
        "18 of 40 records",
        "gains nothing even undefended",
        "when it knows the defence",
        "8-bit rounding",
        "-22.50",
    )
    for said, caution in zip(wanted, cautions, strict=True):
        assert said in caution


AUTO = str(parse_attack("auto"))


def drawn(attack: str, draw: int, gain: float, **changes: object) -> list[Record]:
    """One draw of each image behind the chain."""
    plain = (record(place, attack, DIM, "none", gain) for place in range(len(NAMES)))
    return [replace(one, draw=draw, **changes) for one in plain]  # type: ignore[arg-type]


def test_the_spread_is_that_of_an_images_draws_and_their_mean_is_the_score(make_run: MakeRun) -> None:
    """Gains of 2 and 6 have the mean 4 and the standard deviation sqrt(8)."""
    (row,) = read_report(make_run(drawn(FGSM, 0, 2.0) + drawn(FGSM, 1, 6.0)), QUICK).rows
    assert row.scores["absolute_gain"].value == pytest.approx(0.04)
    assert row.scores["draw_spread"].value == pytest.approx(np.sqrt(8))
    assert (row.images, row.records) == (6, 12)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (drawn(FGSM, 0, 2.0) + drawn(SQUARE, 0, 9.0), "black-box attack gains more than every gradient attack"),
        (drawn(AUTO, 0, 2.0, flags="zero-gradient,out-of-range"), "6 attacked images: most of the gradient"),
        (drawn(FGSM, 0, 2.0, flags="out-of-range"), "left the metric's declared range"),
        (drawn(AUTO, 0, 2.0, flags="black-box-wins"), "random search beats"),
        (drawn(AUTO, 0, 2.0, flags="one-step-wins"), "a single step beats"),
        (drawn(AUTO, 0, 2.0, flags="one-draw"), "give --crafting-draws"),
        (
            drawn(FGSM, 0, 4.0) + drawn(FGSM, 1, 4.0) + drawn(FGSM, 0, 5.0, attacked_through=DIM, adaptive=True),
            "one draw of it per query",
        ),
    ],
)
def test_each_sign_of_a_doubtful_evaluation_is_told(records: list[Record], said: str, make_run: MakeRun) -> None:
    """After AutoAttack's flags; an image counts once however many records carry its flag."""
    cautions = read_report(make_run(records, plan=replace(PLAN, attacks=(FGSM, SQUARE, AUTO))), QUICK).cautions
    assert any(said in caution for caution in cautions), cautions


EDIT, BEST_EDIT = str(parse_attack("free-sharpen")), str(parse_attack("free-best"))


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (drawn(FGSM, 0, 2.0) + drawn(BEST_EDIT, 0, 9.0), "a black-box attack gains more"),
        ([record(place, EDIT, "none", "none", -1.0) for place in range(len(NAMES))], "gains nothing"),
    ],
)
def test_an_everyday_edit_says_nothing_about_gradients_and_is_no_failed_search(
    records: list[Record], said: str, make_run: MakeRun
) -> None:
    """Its budget is a fidelity, and it asks the metric nothing."""
    cautions = read_report(make_run(records, plan=replace(PLAN, attacks=(FGSM, BEST_EDIT, EDIT))), QUICK).cautions
    assert not any(said in caution for caution in cautions), cautions


def test_an_edit_that_was_weakened_is_told(make_run: MakeRun) -> None:
    """The row's parameters are not what these images met."""
    records = drawn(EDIT, 0, 2.0, flags="weakened")
    cautions = read_report(make_run(records, plan=replace(PLAN, attacks=(EDIT,))), QUICK).cautions
    assert any("6 attacked images: the edit was weakened" in caution for caution in cautions), cautions


JPEG, BLURRED = "jpeg:quality=50:subsampling=4:2:0", "blur:kernel=3:sigma=0+jpeg:quality=50:subsampling=4:2:0"
PUSHES, MOMENTUM = str(parse_attack("dct-threshold")), str(parse_attack("mpgd"))


@pytest.mark.parametrize(
    ("chain", "attacks", "said"),
    [
        (JPEG, [FGSM], "add auto or dct-threshold"),
        (JPEG, [FGSM, MOMENTUM], "add auto or dct-threshold"),
        (JPEG, [FGSM, PUSHES], ""),
        (JPEG, [FGSM, str(parse_attack("auto"))], ""),
        (JPEG, [SQUARE], ""),
        (BLURRED, [FGSM], "add auto or mpgd"),
        (BLURRED, [MOMENTUM], ""),
        (DIM, [FGSM], ""),
    ],
)
def test_a_chain_that_rounds_and_met_plain_gradients_alone_is_told(
    chain: str, attacks: list[str], said: str, make_run: MakeRun
) -> None:
    """Straight-through gradients do not see thresholds; random search has none."""
    plan = replace(PLAN, attacks=tuple(attacks), metrics=(replace(METRIC, chains=("none", chain)),))
    records = [
        replace(record(place, attack, DIM, DIM, 9.0), chain=chain, attacked_through=chain)
        for attack in attacks
        for place in range(len(NAMES))
    ]
    cautions = [text for text in read_report(make_run(records, plan=plan), QUICK).cautions if "rounds, and" in text]
    assert bool(cautions) == bool(said)
    assert said in "".join(cautions)


@pytest.mark.parametrize("rounding", [[], [DIM]], ids=["exact", "rounds"])
def test_the_servers_word_that_a_chain_rounds_is_enough(rounding: list[str], make_run: MakeRun) -> None:
    """A defence that this client does not know is judged by the kind of gradient that its server declares."""
    records = [record(place, FGSM, DIM, DIM, 9.0) for place in range(len(NAMES))]
    plan = replace(PLAN, attacks=(FGSM,))
    cautions = read_report(make_run(records, plan=plan, rounding=rounding), QUICK).cautions
    assert any("add auto or mpgd" in caution for caution in cautions) == bool(rounding)


def test_names_are_short_and_tell_attacks_of_one_kind_apart() -> None:
    """Only what differs is named; a radius in levels is written so; direction is told where it is down."""
    one, two = str(parse_attack("ifgsm:eps=4/255")), str(parse_attack("ifgsm:eps=8/255"))
    down, square = str(parse_attack("fgsm:direction=down")), str(parse_attack("square:queries=7"))
    names = attack_names([one, two, down, square])
    assert list(names.values()) == ["I-FGSM (eps 4/255)", "I-FGSM (eps 8/255)", "FGSM down", "Square"]


def test_names_leave_out_what_says_nothing_to_a_reader() -> None:
    """Files and digests of perturbations, whatever differs beside them."""
    one, other = (f"momentum-uap:file={name}:digest={digit * 64}" for name, digit in (("a.npy", "0"), ("b.npy", "1")))
    strong = f"{other}:amplitude=2.0"
    assert set(attack_names([one, other]).values()) == {"Momentum-UAP"}
    assert attack_names([one + ":amplitude=1.0", strong])[strong] == "Momentum-UAP (amplitude 2.0)"


def test_a_flag_that_its_attack_does_not_know_is_shown_as_it_is(make_run: MakeRun) -> None:
    """A run of another version may have it."""
    cautions = read_report(make_run(drawn(FGSM, 0, 2.0, flags="one-step-wins")), QUICK).cautions
    assert any(caution.endswith("6 attacked images: one-step-wins.") for caution in cautions)


def test_an_attack_downwards_is_judged_by_how_far_the_score_falls(make_run: MakeRun) -> None:
    """A negative gain is no weakness there."""
    down = [
        replace(one, attack=FGSM + ":direction=down")
        for one in (record(i, FGSM, "none", "none", -9.0) for i in range(6))
    ]
    plan = replace(PLAN, attacks=(FGSM + ":direction=down",))
    assert not read_report(make_run(down, plan=plan), QUICK).cautions


def test_a_sound_run_has_only_the_caution_about_clean_scores(make_run: MakeRun) -> None:
    """The chain halves every clean score, and that alone is said."""
    (caution,) = read_report(make_run(), QUICK).cautions
    assert "moves clean scores by -22.50" in caution


def test_the_csv_files_hold_every_record_and_every_number(make_run: MakeRun) -> None:
    """They read back with the values of the table."""
    report = make_report(make_run(), QUICK)
    with (report.folder / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report.records)
    assert float(rows[0]["attacked_defended"]) == report.records[0].attacked_defended
    with (report.folder / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for line, row in zip(table, report.rows, strict=True):
        for key, estimate in row.scores.items():
            for name, found in ((key, estimate.value), (f"{key}_low", estimate.low)):
                assert line[name] == ("" if np.isnan(found) else repr(found))


@pytest.mark.parametrize("field", ["attacked_defended", "clean_defended", "clean_score", "attacked_defended_8bit"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_record_with_a_score_that_is_no_number_counts_as_failed(
    field: str, value: float | None, make_run: MakeRun
) -> None:
    """It is in no number; neither the page, nor the CSV files, nor JSON hold NaN."""
    spoiled = [replace(record(0, FGSM, "none", "none", 20.0), **{field: value})]  # type: ignore[arg-type]
    good = [record(number, FGSM, "none", "none", 20.0) for number in range(1, 6)]
    report = make_report(make_run(spoiled + good), QUICK)
    (row,) = report.rows
    assert (row.images, row.failed) == (5, 1)
    assert row.scores["absolute_gain"].value == pytest.approx(0.2)
    assert report.cautions[0].startswith("1 records failed")
    json.dumps(report.to_json(), allow_nan=False)
    files = [(report.folder / name).read_text().lower() for name in ("table.csv", "records.csv", "index.html")]
    files = [re.sub(r"(?s)<script.*?</script>", "", text) for text in files]  # code has its own words for it
    assert not any(re.search(r"[,>\s]-?(nan|inf)[,<\s]", text) for text in files)


def test_a_relative_gain_beyond_the_range_is_undefined_with_the_count_of_images(make_run: MakeRun) -> None:
    """Two of six clean scores are worse than the range: the number is undefined, and the note says for how many."""
    records = [record(number, FGSM, "none", "none", -20.0) for number in range(6)]
    records = [replace(one, clean_defended=165.0 if place < 2 else 60.0) for place, one in enumerate(records)]
    report = make_report(make_run(records, range={"higher_is_better": False}), QUICK)
    (row,) = report.rows
    assert (row.scores["relative_gain"].note, row.scores["relative_gain"].undefined) == ("undefined", 2)
    assert "undefined" in printed(report, None)
    assert "undefined" in (report.folder / "index.html").read_text()
    assert any("rel. gain is undefined: 2 of 6 images" in caution for caution in report.cautions), report.cautions


def test_exhibits_show_the_strongest_attacks_on_each_kept_image_the_worst_first(make_run: MakeRun) -> None:
    """Clean, attacked, difference and purified with their scores; an attack that knew the defence stands apart."""
    records = sound_records()
    records = [
        replace(one, attacked_defended=90.0) if one.image == NAMES[1] and one.adaptive else one for one in records
    ]
    report = read_report(make_run(records), QUICK)
    shown = exhibits(report)
    assert [(exhibit.image, "knowing dim" in exhibit.title) for exhibit in shown] == [
        (NAMES[1], True),
        *((name, False) for name in NAMES[:3]),
        (NAMES[0], True),
        (NAMES[2], True),
    ]
    assert [exhibit.gain for exhibit in shown] == pytest.approx([0.69, 0.2, 0.2, 0.2, 0.12, 0.12])
    first = shown[1].tiles
    assert [tile.title for tile in first] == ["clean", "attacked", "difference ×5", "purified by dim"]
    assert [tile.score for tile in first] == ["40.00", "60.00", "L∞ 25/255", "24.00"]
    files = make_report(report.run, QUICK).folder.glob("attack-*.png")
    assert len(list(files)) == len(shown)


def test_a_report_without_images_is_still_a_report(make_run: MakeRun) -> None:
    """Images that were deleted leave the exhibits out, and old strips do not stay behind."""
    run = make_run()
    make_report(run, QUICK)
    for path in (run / "images").rglob("*.png"):
        path.unlink()
    report = make_report(run, QUICK)
    assert not list(report.folder.glob("attack-*.png"))
    assert "What an attack looks like" not in (report.folder / "index.html").read_text()


def test_the_amplified_difference_is_grey_where_nothing_changed_and_reaches_the_ends() -> None:
    """The largest change becomes black or white, its factor is told; no change at all is grey."""
    clean = np.full((1, 3, 3), 100, dtype=np.uint8)
    attacked = clean.copy()
    attacked[0, 0], attacked[0, 1] = 110, 95
    tile = amplified_difference(clean, attacked, 10 / 255)
    assert tile.image[0, :, 0].tolist() == [255, 64, 128]
    assert (tile.title, tile.score) == ("difference ×13", "L∞ 10/255")
    assert np.all(amplified_difference(clean, clean, 0).image == 128)


def test_drawn_images_are_not_blank(make_run: MakeRun) -> None:
    """The chart has both colours of its legend."""
    report = make_report(make_run(), QUICK)
    with PIL.Image.open(report.folder / "gains.png") as chart:
        colours = {colour for _, colour in chart.convert("RGB").getcolors(1 << 20) or []}
    assert {(0x2F, 0x6D, 0xB5), (0xC8, 0x55, 0x3D)} <= colours


@pytest.mark.parametrize("count", [1, 5, 6, 7, 12])
@pytest.mark.parametrize("chains", [1, 4])
def test_every_panel_of_the_chart_has_its_own_numbers(count: int, chains: int) -> None:
    """Whatever the number of attacks: each axis is numbered, no two numbers touch, and nothing is cut off."""
    attacks = [f"attack {number}" for number in range(count)]
    names = ["none", "jpeg:quality=50", "blur:sigma=1.5+jpeg:quality=75+diffpure:t=10", "flip"][:chains]
    rng = np.random.default_rng(count)
    rows = [
        SimpleNamespace(attack=attack, chain=chain, adaptive=adaptive, scores={"absolute_gain": Estimate(value=gain)})
        for attack in attacks
        for chain in names
        for adaptive, gain in zip((False, chain != "none"), rng.normal(0, 0.3, 2), strict=True)
    ]
    figure = gains_figure(SimpleNamespace(rows=rows, attack_name=str, label=str))  # type: ignore[arg-type]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    assert len(figure.axes) == count
    for panel in figure.axes:
        labels = [label for label in panel.get_xticklabels() if label.get_visible() and label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        low, high = panel.get_window_extent().intervalx
        boxes = [box for box in boxes if low - 1 <= (box.x0 + box.x1) / 2 <= high + 1]
        assert len(boxes) >= 2
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)))
        beside = [label.get_window_extent() for label in panel.get_yticklabels() if label.get_visible()]
        assert all(box.x0 >= 0 for box in [*beside, *boxes, panel.title.get_window_extent()])


@pytest.mark.parametrize(("width", "headings"), [(80, ("abs. gain", "R")), (150, ("SROCC", "Quality", "Gain"))])
def test_the_text_table_fits_its_line(width: int, headings: tuple[str, ...], make_run: MakeRun) -> None:
    """Fewer columns on a narrow terminal, none cut short."""
    report = read_report(make_run(), QUICK)
    text = printed(report, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for heading in ("FGSM adaptive", "dim", *headings):
        assert heading in text


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 139, 140, 160, 200])
def test_on_any_terminal_every_chain_and_number_can_be_read_whole(width: int, make_run: MakeRun) -> None:
    """Lines break between parameters, never inside one; no digit is cut, no column vanishes."""
    chain = "diffpure:t=10:steps=5+jpeg:quality=50:subsampling=4:4:4"
    text = printed(read_report(make_run(labels={"none": "none", DIM: chain}), QUICK), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for part in ("FGSM", "adaptive", "diffpure:", "t=10:", "steps=5+", "quality=50:", "subsampling=4:4:4", "0.200"):
        assert part in text


def test_json_has_no_values_that_json_does_not_know(make_run: MakeRun) -> None:
    """NaN and infinity become null."""
    one_image = [record(0, FGSM, "none", "none", 20.0)]
    data = read_report(make_run(one_image), QUICK).to_json()
    text = json.dumps(data, allow_nan=False)
    scores = json.loads(text)["rows"][0]["scores"]
    nothing = {"low": None, "high": None, "note": "n too small", "undefined": 0, "weak": False}
    assert scores["absolute_gain"] == {"value": pytest.approx(0.2)} | nothing
    assert scores["srocc"]["value"] is None


def test_numbers_for_people_have_no_negative_zero_and_say_where_there_is_none() -> None:
    """A dash for NaN, the sign for infinity, no interval without ends."""
    assert [number(value, 2) for value in (-0.001, 1.005e3, float("inf"), float("nan"))] == [
        "0.00",
        "1005.00",
        "∞",
        "–",
    ]
    assert interval(Estimate(value=1, low=0.5, high=1.5), 1) == "[0.5, 1.5]"
    assert interval(Estimate(value=1, note="n too small"), 1) == "n too small"
    assert interval(Estimate(value=float("nan"), note="undefined"), 1) == ""
    assert value(Estimate(value=float("nan"), note="undefined"), 1) == "undefined"
    assert value(Estimate(value=float("nan")), 1) == "–"


@pytest.mark.parametrize(
    ("span", "numbers", "shown"),
    [
        (1, (0.5012, 0.5117), ("0.5012", "0.5117")),
        (9, (4.951, 4.953), ("4.9510", "4.9530")),
        (100, (87.65, 88.69), ("87.65", "88.69")),
        (1e4, (5120.0, 5180.0), ("5120", "5180")),
        (1e4, (5120.11, 5120.19), ("5120.110", "5120.190")),
        (100, (87.651, 87.653), ("87.6510", "87.6530")),
        (1e-3, (5.012e-4, 5.017e-4), ("0.00050120", "0.00050170")),
        (100, (50.0, float("nan")), ("50.00", "–")),
    ],
)
def test_digits_follow_the_range_and_tell_rows_apart(
    span: float, numbers: tuple[float, ...], shown: tuple[str, ...]
) -> None:
    """A ten-thousandth of the range, and a tenth of the spread of the column where that is finer."""
    decimals = COLUMNS[0].decimals(ScoreRange(low=0, high=span), [Estimate(value=one) for one in numbers])
    assert tuple(number(one, decimals) for one in numbers) == shown


@pytest.mark.parametrize("span", [1.0, 9.0, 100.0, 1e4])
def test_a_report_of_any_range_shows_rows_that_differ(span: float, make_run: MakeRun) -> None:
    """Scores half a per cent of the range apart read differently, means and ends of intervals."""
    records = []
    for one in many_records():
        small = {name: getattr(one, name) * span / 100 for name in ("clean_defended", "attacked_defended")}
        records.append(replace(one, **small))
        lower = {name: small[name] - 0.005 * span for name in small}
        records.append(replace(one, attack=SQUARE, **lower))
    report = read_report(make_run(records, range={"range_high": span}), QUICK)
    for key in ("clean_mean", "attacked_mean"):
        column = next(column for column in COLUMNS if column.key == key)
        cells = [value(row.scores[key], report.decimals(column)) for row in report.rows]
        ends = [interval(row.scores[key], report.decimals(column)) for row in report.rows]
        assert len(set(cells)) == len(set(ends)) == 2


def test_a_run_without_records_gives_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    """It says what to run first."""
    with pytest.raises(RunError, match="run scoreguard attack first"):
        read_report(make_run([]), QUICK)


def test_the_strongest_known_attack_leads_the_table(make_run: MakeRun) -> None:
    """Whatever its place in the plan: a defence is worth what it keeps against that one."""
    auto = str(parse_attack("auto"))
    records = [record(number, attack, "none", "none", 4.0) for attack in (FGSM, auto) for number in range(len(NAMES))]
    plan = replace(PLAN, attacks=(FGSM, auto), metrics=(replace(METRIC, chains=("none",)),))
    assert [row.attack for row in read_report(make_run(records, plan=plan), QUICK).rows] == [auto, FGSM]
