"""The perceptual distance of a campaign: measured, stored, in the plan, and in the tables of its report."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from tests.clients.attacks.test_shift_tolerant import generated_state
from tests.clients.campaign.conftest import Launch

from scoreguard.catalogue import UnknownNameError
from scoreguard_client.attacks.deep_measures import lpips
from scoreguard_client.attacks.weights_files import WeightsFileError
from scoreguard_client.campaign import CampaignOptions, Ledger, PlanMismatchError
from scoreguard_client.campaign.perceptual import find_distance
from scoreguard_client.report import TableOptions, make_report, read_report

QUICK = TableOptions(resamples=20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated file of ST-LPIPS."""
    path = tmp_path_factory.mktemp("weights") / "st-lpips.pth"
    torch.save(generated_state(), path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image that ST-LPIPS can read, and one that is too small for it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, side in (("large.png", 24), ("small.png", 12)):
        PIL.Image.fromarray(rng.integers(40, 200, (side, side, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_every_record_has_the_distance_of_its_float_image(
    run_campaign: Launch, options: CampaignOptions, weights: Path
) -> None:
    """The distance is that of the attacked image before rounding; a stronger attack is farther away."""
    run_campaign(distance=f"st-lpips={weights}", attacks="fgsm:eps=1/255,fgsm:eps=8/255", defences="none")
    with Ledger.open(options.out) as ledger:
        records = ledger.records()
        plan = ledger.plan
    measured = {(record.image, record.attack): record.perceptual for record in records}
    weak, strong = (measured["large.png", attack] for attack in plan.attacks)
    assert [measured["small.png", attack] for attack in plan.attacks] == [None, None]
    assert weak is not None
    assert strong is not None
    assert 0 < weak < strong


def test_a_distance_is_that_of_the_attack_which_minimises_it(weights: Path) -> None:
    """The same function of the same images, in the layout of a record."""
    rng = np.random.default_rng(1)
    clean = rng.random((30, 40, 3), dtype=np.float32)
    image = np.clip(clean + rng.normal(0, 0.05, clean.shape), 0, 1).astype(np.float32)
    distance = find_distance(f"st-lpips={weights}")
    assert distance is not None
    one, other = (torch.from_numpy(values.transpose(2, 0, 1)[None].copy()) for values in (image, clean))
    assert distance.of(clean, image) == float(lpips(str(weights), "")(one, other))
    assert distance.of(clean, clean) == 0


def test_the_report_has_a_column_of_its_name(
    run_campaign: Launch, options: CampaignOptions, photos: Path, weights: Path
) -> None:
    """In the page, the CSV and the JSON: the mean over the images."""
    (photos / "small.png").unlink()
    run_campaign(distance=f"st-lpips={weights}", attacks="fgsm", defences="none")
    report = read_report(options.out, QUICK)
    (record,) = report.records
    assert report.rows[0].scores["perceptual"].value == pytest.approx(record.perceptual)
    make_report(options.out, QUICK)
    page = (report.folder / "index.html").read_text("utf-8")
    assert "ST-LPIPS of the attacked image against the clean one" in page
    with (report.folder / "table.csv").open(encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["perceptual"]) == pytest.approx(record.perceptual)


def test_an_image_that_is_too_small_leaves_the_mean_undefined_and_is_named(
    run_campaign: Launch, options: CampaignOptions, weights: Path
) -> None:
    """A mean over the others would be that of other images than the other columns are of."""
    run_campaign(distance=f"st-lpips={weights}", attacks="fgsm", defences="none")
    report = read_report(options.out, QUICK)
    assert report.rows[0].scores["perceptual"].undefined == 1
    assert any("ST-LPIPS is undefined: 1 of 2 images have too few pixels" in text for text in report.cautions)


def test_a_run_without_a_distance_has_no_column(run_campaign: Launch, options: CampaignOptions) -> None:
    """Neither in the rows nor in the page."""
    run_campaign(attacks="fgsm", defences="none")
    report = read_report(options.out, QUICK)
    assert "perceptual" not in report.rows[0].scores
    assert [column.key for column in report.columns if column.key == "perceptual"] == []


def test_a_run_is_not_resumed_with_another_distance(run_campaign: Launch, weights: Path) -> None:
    """Half the records would have another number under the same name."""
    run_campaign(attacks="fgsm", defences="none")
    with pytest.raises(PlanMismatchError, match=r"distance: nothing there, st-lpips:[0-9a-f]{16} here"):
        run_campaign(attacks="fgsm", defences="none", distance=f"st-lpips={weights}")


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("st-lpip", UnknownNameError, "st-lpips"),
        ("lpips", WeightsFileError, "lpips=FOLDER"),
        ("dists=nowhere", WeightsFileError, "nowhere"),
    ],
)
def test_a_distance_that_cannot_be_measured_is_refused_in_one_line(
    text: str, error: type[Exception], says: str
) -> None:
    """An unknown name, no folder, and a folder that is not there."""
    with pytest.raises(error, match=says) as raised:
        find_distance(text)
    assert "\n" not in str(raised.value)


def test_st_lpips_is_not_taken_for_lpips(weights: Path, tmp_path: Path) -> None:
    """The two give other numbers, so each is asked for by its own name."""
    with pytest.raises(WeightsFileError, match="write st-lpips="):
        find_distance(f"lpips={weights}")
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(WeightsFileError, match=r"is not alex_shift_tolerant\.pth"):
        find_distance(f"st-lpips={other}")
