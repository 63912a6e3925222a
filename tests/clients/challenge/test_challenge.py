"""Challenges: images made elsewhere are scored as a run scores its own, and are part of the run from then on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two, write_photos

from scoreguard.support.digests import sha256_of
from scoreguard_client import ScoreguardError
from scoreguard_client.attacks import AttackSpecError, parse_attack, parse_attacks
from scoreguard_client.attacks.external import OVER_BUDGET, External
from scoreguard_client.attacks.regions.base import rounded
from scoreguard_client.campaign import Ledger, RecordKey, RunError, merge
from scoreguard_client.campaign.external import ExternalRecord
from scoreguard_client.campaign.gallery import image_path
from scoreguard_client.challenge import ChallengeError, ChallengeOptions, Outcome, challenge, standings_of
from scoreguard_client.report import TableOptions, make_reports, read_report, read_reports
from scoreguard_client.target.errors import PlanError
from scoreguard_client.testing import FakeService

EPS = 10 / 255
NAMES = ("a.png", "b.png")
FEW = TableOptions(resamples=10)


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A finished run of one metric behind two chains, with one weak attack."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3:eps=10/255", adaptive=False)
    run(options)
    return options.out


def brighter(tmp_path: Path, levels: int, names: Sequence[str] = NAMES, folder: str = "alice") -> Path:
    """The clean images, each value raised by this many levels: the strongest attack on a mean there is."""
    out = tmp_path / folder
    out.mkdir(exist_ok=True)
    for name in names:
        with PIL.Image.open(tmp_path / "photos" / name) as opened:
            values = np.asarray(opened) + np.uint8(levels)
        PIL.Image.fromarray(values).save(out / name)
    return out


def take(out: Path, images: Path, service: FakeService | None = None, **changes: Any) -> Outcome:
    """Challenge a run."""
    with (service or service_of_two()).client() as client:
        return challenge(
            ChallengeOptions(run=out, images=images, **changes), client, lambda total: lambda n, what: None
        )


def external(out: Path) -> list[ExternalRecord]:
    """What challenges have added to a run."""
    with Ledger.open(out) as ledger:
        return ledger.external()


@pytest.mark.parametrize("form", ["png", "npy"])
def test_images_of_the_run_itself_get_the_numbers_of_the_run(tmp_path: Path, form: str) -> None:
    """An attack of the run, handed in as files, has the records that it has there, but for what nobody can know."""
    options = options_of(tmp_path, metric="bright", attacks="ifgsm:iterations=3", adaptive=False, keep_all=True)
    run(options)
    with Ledger.open(options.out) as ledger:
        (unit,) = ledger.plan.units()
        known = {(r.image, r.chain): r for r in ledger.records()}
    arrays = np.load(options.out / "images" / "batches" / f"{unit.key}.npz")
    (tmp_path / "again").mkdir()
    for index, image in enumerate(unit.images):
        path = tmp_path / "again" / image.name
        if form == "png":
            PIL.Image.fromarray(arrays["attacked_8bit"][index].transpose(1, 2, 0)).save(path)
        else:
            np.save(path.with_suffix(".npy"), arrays["attacked"][index].transpose(1, 2, 0))
    outcome = take(options.out, tmp_path / "again")
    assert len(outcome.records) == 4 and not outcome.over_budget and not outcome.failed
    own = {"attack", "seed", "crafting_score", "crafting_seconds", "scoring_seconds", "queries", "flags"}
    if form == "png":  # the run also has the values before rounding
        own |= {"attacked_score", "attacked_defended", "psnr", "ssim", "l_inf", "purified_psnr", "purified_ssim"}
    for record in outcome.records:
        there = known[record.image, record.chain]
        for field in fields(there):
            if field.name not in own:
                assert getattr(record, field.name) == getattr(there, field.name), field.name
    png = [record for record in outcome.records if form == "png"]
    assert all(record.attacked_defended == pytest.approx(record.attacked_defended_8bit) for record in png)


def test_a_record_says_which_file_was_submitted_by_whom_and_in_which_budget(campaign: Path, tmp_path: Path) -> None:
    """And the digest of the clean image stands beside that of the file."""
    images = brighter(tmp_path, 8)
    take(campaign, images, name="alice: of x, y", eps=8 / 255)
    for record in external(campaign):
        assert record.submitted_sha256 == sha256_of((images / record.image).read_bytes())
        assert record.image_sha256 == sha256_of((tmp_path / "photos" / record.image).read_bytes())
        attack = parse_attack(record.attack)
        assert isinstance(attack, External)
        assert (attack.by, attack.eps, attack.min_ssim) == ("alice: of x, y", 8 / 255, 0)
        assert record.queries is None and record.crafting_score is None


def test_the_best_known_attack_is_found_by_hand(campaign: Path, tmp_path: Path) -> None:
    """Raising every value by the whole budget gains the budget, and half of it behind a chain that halves."""
    outcome = take(campaign, brighter(tmp_path, 10))
    standings = {standing.chain: standing for standing in standings_of(campaign, "alice")}
    assert list(standings) == ["none", "halve"]
    for chain, factor in (("none", 1), ("halve", 0.5)):
        own = [
            (r.attacked_defended - r.clean_defended) / 100
            for r in records_of(campaign)
            if r.chain == chain and r.attacked_defended is not None and r.clean_defended is not None
        ]
        standing = standings[chain]
        assert standing.gain.value == pytest.approx(factor * EPS, abs=1e-6)
        assert standing.best_gain is not None
        assert standing.best_gain.value == pytest.approx(sum(own) / len(own), abs=1e-9)
        assert standing.best == "Square" and standing.is_best and standing.images == 2
    assert outcome.attack.eps == pytest.approx(EPS)
    take(campaign, brighter(tmp_path, 9, folder="bob"))
    later = standings_of(campaign, "bob")
    assert [standing.best for standing in later] == ["alice (external)"] * 2
    assert not any(standing.is_best for standing in later)


def test_images_that_were_not_submitted_gain_nothing(campaign: Path, tmp_path: Path) -> None:
    """Chosen images are not ahead of all images."""
    take(campaign, brighter(tmp_path, 10, ["b.png"]))
    standing = standings_of(campaign, "alice")[0]
    assert standing.images == 1
    assert standing.gain.value == pytest.approx(EPS / 2, abs=1e-6)


def test_images_outside_the_budget_are_marked_and_count_nothing(campaign: Path, tmp_path: Path) -> None:
    """In no table and not as best known; the report says how many there are."""
    images = brighter(tmp_path, 10)
    shutil.copy(brighter(tmp_path, 11, ["b.png"], folder="more") / "b.png", images)
    outcome = take(campaign, images)
    assert outcome.over_budget == ("b.png",)
    assert {r.image for r in external(campaign) if r.flags == OVER_BUDGET} == {"b.png"}
    assert standings_of(campaign, "alice")[0].gain.value == pytest.approx(EPS / 2, abs=1e-6)
    report = read_report(campaign, FEW)
    assert [row.images for row in report.rows if report.attack_name(row.attack) == "alice (external)"] == [1, 1]
    assert "alice (external): 1 of 2 images are outside the budget, and in no number." in report.cautions
    take(campaign, brighter(tmp_path, 11, folder="worse"), name="bob")
    assert not any(standing.is_best or standing.images for standing in standings_of(campaign, "bob"))
    assert not any("bob" in report.names[row.attack] for row in read_report(campaign, FEW).rows)


def test_float_values_must_be_inside_before_and_after_rounding(campaign: Path, tmp_path: Path) -> None:
    """A third of a level too much is too much, although it disappears in 8 bits."""
    folder = tmp_path / "carol"
    folder.mkdir()
    for name, levels in (("a", 10.0), ("b", 10.3)):
        with PIL.Image.open(tmp_path / "photos" / f"{name}.png") as opened:
            np.save(folder / f"{name}.npy", (np.asarray(opened) / np.float32(255) + np.float32(levels / 255)))
    assert take(campaign, folder).over_budget == ("b.png",)


def test_a_budget_of_similarity_asks_for_no_distance(campaign: Path, tmp_path: Path) -> None:
    """Everyday edits move an edge by more than any radius."""
    images = brighter(tmp_path, 50)
    assert take(campaign, images, min_ssim=0.5).over_budget == ()
    assert take(campaign, images, min_ssim=0.999, replace=True).over_budget == NAMES
    assert take(campaign, images, min_ssim=0.5, eps=EPS, replace=True).over_budget == NAMES
    assert len(external(campaign)) == 4


def test_the_report_has_a_row_for_a_challenge_like_any_other(campaign: Path, tmp_path: Path) -> None:
    """With its name, after the run's own attacks, and nothing is called unfinished."""
    before = read_report(campaign, FEW)
    take(campaign, brighter(tmp_path, 10))
    report = make_reports(campaign, FEW)[0]
    assert repr(report.rows[:2]) == repr(before.rows)
    assert [report.attack_name(row.attack) for row in report.rows[2:]] == ["alice (external)"] * 2
    assert [row.chain for row in report.rows[2:]] == ["none", "halve"]
    assert report.rows[2].scores["absolute_gain"].value == pytest.approx(EPS, abs=1e-6)
    assert not any("not finished" in caution for caution in report.cautions)
    assert "alice (external)" in (campaign / "report" / "index.html").read_text(encoding="utf-8")
    lines = (campaign / "report" / "records.csv").read_text(encoding="utf-8").splitlines()
    assert {line.count(",") for line in lines} == {lines[0].count(",")}
    assert sum("external:" in line for line in lines) == 4


def test_the_submitted_images_are_kept_for_whoever_checks(campaign: Path, tmp_path: Path) -> None:
    """Every one in 8 bits, as it was."""
    images = brighter(tmp_path, 10)
    attack = str(take(campaign, images).attack)
    for name in NAMES:
        path = image_path(campaign, name, metric="bright", attack=attack, attacked_through="none")
        with PIL.Image.open(path) as kept, PIL.Image.open(images / name) as there:
            assert np.array_equal(np.asarray(kept), np.asarray(there))


def test_a_challenged_run_is_resumed_extended_and_merged_like_any_other(tmp_path: Path) -> None:
    """The plan does not change, its records do not change, and what was added stays."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", adaptive=False)
    run(options)
    with Ledger.open(options.out) as ledger:
        digest, records, done = ledger.plan.digest, ledger.records(), ledger.done()
    take(options.out, brighter(tmp_path, 10))
    with Ledger.open(options.out) as ledger:
        assert (ledger.plan.digest, ledger.records(), ledger.done()) == (digest, records, done)
    assert run(options).records == 4
    assert run(replace(options, attacks="fgsm", metric="", defences="", extend=True)).records == 8
    added = external(options.out)
    assert len(added) == 4
    other = replace(options, out=tmp_path / "other", attacks="ifgsm:iterations=1")
    run(other)
    merged = merge([other.out, options.out], tmp_path / "merged")
    assert (merged.records, merged.missing, merged.conflicts) == (12, 0, 0)
    assert external(tmp_path / "merged") == added
    names = [report.attack_name(row.attack) for report in read_reports(tmp_path / "merged", FEW) for row in report.rows]
    assert "alice (external)" in names


def test_two_runs_with_another_challenge_of_one_name_are_counted_as_in_conflict(tmp_path: Path) -> None:
    """The first run's stays, as with any record."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", adaptive=False)
    run(options)
    shutil.copytree(options.out, tmp_path / "copy")
    take(options.out, brighter(tmp_path, 10))
    take(tmp_path / "copy", brighter(tmp_path, 9))
    assert merge([options.out, tmp_path / "copy"], tmp_path / "merged").conflicts == 4
    assert external(tmp_path / "merged") == external(options.out)


def test_a_second_challenge_of_a_name_needs_to_say_so(campaign: Path, tmp_path: Path) -> None:
    """Nothing is mixed: a replacement leaves nothing of what was there."""
    take(campaign, brighter(tmp_path, 10), chains="halve")
    with pytest.raises(ChallengeError, match="has a challenge of 'alice' already: replace it with --replace"):
        take(campaign, brighter(tmp_path, 4))
    assert {r.chain for r in external(campaign)} == {"halve"}
    images = brighter(tmp_path, 4, ["a.png"], folder="fewer")
    take(campaign, images, name="alice", chains="none", eps=4 / 255, replace=True)
    assert [(r.chain, r.image) for r in external(campaign)] == [("none", "a.png")]


def test_an_adaptive_challenge_stands_beside_its_unaware_twin(campaign: Path, tmp_path: Path) -> None:
    """Only behind chains that there was something to know of."""
    take(campaign, brighter(tmp_path, 10), adaptive=True)
    rows = [(row.chain, row.adaptive) for row in read_report(campaign, FEW).rows if "external" in row.attack]
    assert sorted(rows) == [("halve", True), ("none", False)]


def test_every_metric_of_the_run_is_asked(tmp_path: Path) -> None:
    """Or the ones that were named."""
    options = options_of(tmp_path, attacks="square:queries=3", adaptive=False)
    run(options)
    take(options.out, brighter(tmp_path, 10))
    assert {standing.metric for standing in standings_of(options.out, "alice")} == {"bright", "red"}
    take(options.out, brighter(tmp_path, 10), metric="red", replace=True)
    assert {standing.metric for standing in standings_of(options.out, "alice")} == {"red"}


def test_a_name_in_another_form_finds_its_image(tmp_path: Path) -> None:
    """By the whole name, by the whole name and a suffix, with another suffix, or by the stem alone."""
    write_photos(tmp_path / "photos" / "more", "e.png")
    options = options_of(tmp_path, metric="bright", attacks="square:queries=1", defences="none", adaptive=False)
    run(options)
    folder = brighter(tmp_path, 3, ["a.png", "b.png", "more/e.png"][:2])
    (folder / "a.png").rename(folder / "a.png.png")
    with PIL.Image.open(folder / "b.png") as opened:
        opened.save(folder / "b.bmp")
    (folder / "b.png").unlink()
    shutil.copy(tmp_path / "photos" / "more" / "e.png", folder / "e.png")
    outcome = take(options.out, folder)
    assert sorted(record.image for record in outcome.records) == ["a.png", "b.png", "more/e.png"]
    assert not outcome.left_out


def _write(path: Path, values: Any) -> None:
    np.save(path, values)


CLEAN = np.zeros((8, 12, 3), np.float32)
BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "another size": ("a.png", lambda path: PIL.Image.new("RGB", (12, 9)).save(path), "is 12x9 pixels, and the clean"),
    "an unknown name": ("zzz.png", lambda path: PIL.Image.new("RGB", (12, 8)).save(path), "is the name of no image"),
    "a near name": ("aa.png", lambda path: PIL.Image.new("RGB", (12, 8)).save(path), "did you mean a.png"),
    "not an image": ("a.png", lambda path: path.write_text("text"), "not an image of PNG"),
    "JPEG": ("a.jpg", lambda path: PIL.Image.new("RGB", (12, 8)).save(path), "is a JPEG file, which may lose values"),
    "NaN": ("a.npy", lambda path: _write(path, CLEAN * np.nan), "without NaN"),
    "beyond white": ("a.npy", lambda path: _write(path, CLEAN + 255), "must lie in [0, 1]"),
    "whole numbers": ("a.npy", lambda path: _write(path, CLEAN.astype(np.int64)), "must be uint8, float32 or float64"),
    "channels first": ("a.npy", lambda path: _write(path, CLEAN.transpose(2, 0, 1)), "(height, width, 3)"),
    "a pickle": ("a.npy", lambda path: _write(path, np.array([{}])), "is no NumPy array that is read"),
    "a cut array": ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01"), "is no NumPy array that is read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_scored_is_left_out_with_the_reason(campaign: Path, tmp_path: Path, case: str) -> None:
    """In one line; the others are scored, and if there are none, nothing is added."""
    name, write, reason = BAD[case]
    folder = tmp_path / "alice"
    folder.mkdir()
    write(folder / name)
    with pytest.raises(ScoreguardError) as caught:
        take(campaign, folder)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert external(campaign) == []
    outcome = take(campaign, brighter(tmp_path, 10, ["b.png"]))
    assert [entry.error for entry in outcome.left_out if reason in entry.error]
    assert {record.image for record in outcome.records} == {"b.png"}


def test_two_files_for_one_image_or_one_for_two_are_left_out(tmp_path: Path) -> None:
    """Whoever submits them says which is meant."""
    write_photos(tmp_path / "photos" / "x", "a.png")
    options = options_of(tmp_path, metric="bright", attacks="square:queries=1", defences="none", adaptive=False)
    run(options)
    folder = brighter(tmp_path, 3)
    (folder / "sub").mkdir()
    shutil.copy(folder / "a.png", folder / "sub" / "a.png")
    shutil.copy(folder / "b.png", folder / "sub" / "b.png")
    reasons = [entry.error for entry in take(options.out, folder).left_out]
    assert reasons == [
        "sub/a.png may be an attack on a.png or x/a.png: name it in full",
        "b.png is an attack on b.png too",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chains": "jpeg"}, "jpeg"),
        ({"metric": "red"}, "'red' is no metric of the run, which has bright"),
        ({"name": "a|b"}, "is no name"),
        ({"name": "a\nb"}, "is no name"),
        ({"eps": 2.0}, "eps must be in"),
        ({"distance": "st-lpips"}, "measures no perceptual distance"),
        ({"clean": Path("/nowhere")}, "the clean image a.png of the run is not in /nowhere"),
    ],
)
def test_an_option_that_does_not_fit_the_run_is_refused(
    campaign: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    """And nothing is added."""
    with pytest.raises(ScoreguardError, match=reason.replace("|", r"\|")):
        take(campaign, brighter(tmp_path, 10), **changes)
    assert external(campaign) == []


def test_a_run_without_any_budget_asks_for_one(tmp_path: Path) -> None:
    """Everyday edits give theirs, a similarity."""
    options = options_of(tmp_path, metric="bright", attacks="onepixel:queries=2", defences="none", adaptive=False)
    run(options)
    with pytest.raises(ChallengeError, match=r"give --eps 10/255 or --min-ssim 0\.9"):
        take(options.out, brighter(tmp_path, 10))
    run(replace(options, metric="", attacks="free-jpeg:min_ssim=0.8", defences="", extend=True))
    assert take(options.out, brighter(tmp_path, 10)).attack.min_ssim == 0.8


def test_a_folder_without_images_is_refused(campaign: Path, tmp_path: Path) -> None:
    """Or no folder at all."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ChallengeError, match=r"empty holds no image and no \.npy"):
        take(campaign, tmp_path / "empty")
    with pytest.raises(ChallengeError, match="typo is not a folder of images"):
        take(campaign, tmp_path / "typo")


def test_a_server_with_another_archive_is_refused(campaign: Path, tmp_path: Path) -> None:
    """Its scores would not be those of the run."""
    images = brighter(tmp_path, 10)
    with pytest.raises(ScoreguardError, match="unknown metric 'bright'"):
        take(campaign, images, FakeService(metrics={"red": lambda image: 1.0}))
    with Ledger.open(campaign) as ledger:
        text = ledger.plan.canonical_json().replace(ledger.plan.metric("bright").archive_sha256, "ab" * 32)
        with ledger._connection as connection:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'plan'", [text])
    with pytest.raises(ChallengeError, match=r"another archive of bright .* than the run was made with \(abababab"):
        take(campaign, images)
    assert external(campaign) == []


def test_clean_images_are_found_where_they_are_now(campaign: Path, tmp_path: Path) -> None:
    """By their content, if they were renamed; a changed one is refused."""
    images = brighter(tmp_path, 10)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(PlanError, match=r"the clean image a\.png of the run is not in .*photos.*--images DIR"):
        take(campaign, images)
    (tmp_path / "moved" / "a.png").rename(tmp_path / "moved" / "first.png")
    assert len(take(campaign, images, clean=tmp_path / "moved").records) == 4
    PIL.Image.new("RGB", (12, 8)).save(tmp_path / "moved" / "b.png")
    with pytest.raises(PlanError, match=r"b\.png of the run is not in .*moved, or was changed"):
        take(campaign, images, clean=tmp_path / "moved", replace=True)


def test_a_run_that_is_not_there_or_of_another_version_is_refused(campaign: Path, tmp_path: Path) -> None:
    """In one line."""
    images = brighter(tmp_path, 10)
    with pytest.raises(RunError, match="holds no campaign"):
        take(tmp_path / "typo", images)
    with Ledger.open(campaign) as ledger, ledger._connection as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'layout'")
    with pytest.raises(RunError, match="layout 99"):
        take(campaign, images)


def test_a_run_that_has_not_scored_an_image_yet_says_so(campaign: Path, tmp_path: Path) -> None:
    """There is no clean score to compare with."""
    with Ledger.open(campaign) as ledger, ledger._connection as connection:
        connection.execute("DELETE FROM clean WHERE image = 'b.png' AND chain = 'halve'")
    images = brighter(tmp_path, 10)
    with pytest.raises(ChallengeError, match=r"no clean score of b\.png behind halve yet: run scoreguard attack again"):
        take(campaign, images)
    assert {r.image for r in take(campaign, images, chains="none").records} == {"a.png", "b.png"}


def test_a_full_disk_is_one_line_and_adds_nothing(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run has is kept."""
    before = records_of(campaign)

    class Full(Ledger):
        def _insert(self, connection: sqlite3.Connection, table: Any, rows: Any) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            super()._insert(connection, table, (replace(row, error="x" * 100_000) for row in rows))

    monkeypatch.setattr("scoreguard_client.challenge.launch.Ledger", Full)
    with pytest.raises(RunError, match="full; what was written before is kept"):
        take(campaign, brighter(tmp_path, 10))
    assert records_of(campaign) == before
    assert external(campaign) == []


def test_an_external_attack_is_not_run() -> None:
    """It is read from records, and neither planned nor called."""
    text = str(External(by="alice"))
    assert parse_attack(text) == External(by="alice")
    with pytest.raises(AttackSpecError, match="made elsewhere"):
        parse_attacks(f"fgsm,{text}")


def test_values_are_rounded_as_the_run_rounds_them() -> None:
    """Inside the budget, if the image is inside: the nearest level of all may be outside."""
    clean = np.full((1, 3, 1, 1), 100 / 255, np.float32)
    inside = np.full((1, 3, 1, 1), np.float32(100.9 / 255))
    region = External(by="a", eps=0.95 / 255).region(clean, {})
    assert rounded(inside).max() == 101
    assert region.quantise(inside).max() == 100


def test_the_seeds_of_random_defences_do_not_depend_on_the_name(tmp_path: Path, running: Any) -> None:
    """So nobody draws again under another name; the number of draws is that of the run."""
    from scoreguard_client import ScoringClient
    from scoreguard_client.campaign import launch

    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=1", defences="shift", adaptive=False, draws=3
    )
    with ScoringClient(running.target) as client:
        launch(options, client, lambda runner: lambda steps, what: None)
        for name in ("alice", "bob"):
            images = brighter(tmp_path, 10)
            settings = ChallengeOptions(run=options.out, images=images, name=name, adaptive=name == "bob")
            challenge(settings, client, lambda total: lambda steps, what: None)
    numbers: dict[str, dict[RecordKey, tuple[int, float | None]]] = {}
    for record in external(options.out):
        by = parse_attack(record.attack)
        assert isinstance(by, External)
        numbers.setdefault(by.by, {})[record.key._replace(attack="", attacked_through="")] = (
            record.seed,
            record.attacked_defended,
        )
    assert numbers["alice"] == numbers["bob"]
    assert len({seed for seed, _ in numbers["alice"].values()}) == 6
    with Ledger.open(options.out) as ledger:
        assert all(record.seed == ledger.plan.seed_of(record.key) for record in ledger.external())
