"""Videos as the images of a campaign: evenly spaced frames, and intervals that count videos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.clients.campaign.two_metrics import options_of, records_of, run, write_photos
from videos import moving, written

from scoreguard_client import ImageError, MissingExtraError
from scoreguard_client.campaign import CampaignOptions, Ledger, PlanError
from scoreguard_client.report import TableOptions, make_reports, read_report
from scoreguard_client.report.numbers import Numbers
from scoreguard_client.report.tables import tables_of
from scoreguard_client.report.tables.people import people
from scoreguard_client.target.image_sets import ImageOptions, ImageSet, find_image_set
from scoreguard_client.target.images import frame_name, frame_of, unit_of
from scoreguard_client.target.people import people_of
from scoreguard_client.target.videos import places_of

pytest.importorskip("av")

SAID = {"a.mkv": 4.0, "b.mkv": 2.0, "c.mkv": 3.0}


def write_videos(folder: Path, *names: str, frames: int = 10) -> Path:
    """Lossless videos that differ, of ten frames of 8 x 12."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(written(moving(frames, 8, 12, seed=sum(name.encode()))))
    return folder


def names_of(found: ImageSet) -> list[str]:
    """Names of the images."""
    return [image.name for image in found.found.images]


def frames_of(*videos: str, places: Sequence[int]) -> list[str]:
    """Names of frames."""
    return [f"{video}#frame={place:06}" for video in videos for place in places]


@pytest.mark.parametrize(
    ("count", "frames", "places"),
    [
        (100, 4, (12, 37, 62, 87)),
        (10, 3, (1, 5, 8)),
        (7, 1, (3,)),
        (3, 3, (0, 1, 2)),
        (2, 5, (0, 1)),
        (4, 3, (0, 2, 3)),
    ],
)
def test_frames_are_the_middles_of_equal_parts(count: int, frames: int, places: tuple[int, ...]) -> None:
    """As far apart as they can be; a short video gives all of its frames."""
    assert places_of(count, frames) == places


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("a.mp4#frame=000012", "a.mp4"),
        ("more/B c.MKV#frame=1234567", "more/B c.MKV"),
        ("a.mp4", None),
        ("a.png#frame=000012", None),
        ("a.mp4#frame=12", None),
        ("a.mp4#frame=000012.png", None),
    ],
)
def test_the_name_of_a_frame_tells_its_video(name: str, video: str | None) -> None:
    """No name of an image file does: it ends in an image's suffix."""
    assert unit_of(name) == (video or name)
    found = frame_of(name)
    assert (found is None) == (video is None)
    assert found is None or frame_name(*found) == name


def test_frames_have_the_values_of_the_video(tmp_path: Path) -> None:
    """Of a lossless file to the last bit; each has a digest of its own, even where nothing moves."""
    write_videos(tmp_path, "a.mkv")
    still = next(iter(moving(1, 8, 12)))
    (tmp_path / "still.mkv").write_bytes(written([still] * 4))
    found = find_image_set(tmp_path, ImageOptions(frames=3))
    assert names_of(found) == [*frames_of("a.mkv", places=(1, 5, 8)), *frames_of("still.mkv", places=(0, 2, 3))]
    shown = [*(list(moving(10, 8, 12, seed=sum(b"a.mkv")))[place] for place in (1, 5, 8)), *[still] * 3]
    for image, values in zip(found.found.images, shown, strict=True):
        assert np.array_equal(found.reader.read(image), values)
        assert np.array_equal(found.reader.knowing(found.found.images).read(image), values)
        assert (image.height, image.width) == (8, 12)
        assert found.reader.ref(image.name) == image
    assert len({image.sha256 for image in found.found.images}) == 6


def test_a_video_that_was_changed_is_not_read_as_the_planned_one(tmp_path: Path) -> None:
    """Whether it has other frames, fewer of them, or is gone."""
    write_videos(tmp_path, "a.mkv")
    found = find_image_set(tmp_path / "a.mkv", ImageOptions(frames=2))
    last = found.found.images[-1]
    (tmp_path / "a.mkv").write_bytes(written(moving(10, 8, 12, seed=1)))
    with pytest.raises(ImageError, match="was changed since"):
        found.reader.read(last)
    (tmp_path / "a.mkv").write_bytes(written(moving(3, 8, 12)))
    with pytest.raises(ImageError, match="has no frame 7"):
        found.reader.read(last)
    (tmp_path / "a.mkv").unlink()
    with pytest.raises(ImageError, match="No such file"):
        found.reader.read(last)


def test_a_folder_gives_its_videos_only_where_frames_are_asked_for(tmp_path: Path) -> None:
    """In the order of the names; hidden files are none, and what cannot be decoded is left out by name."""
    write_videos(tmp_path / "more", "a.mkv")
    write_photos(write_videos(tmp_path, "b.mkv"), "a.png")
    (tmp_path / ".hidden.mkv").write_bytes(b"")
    assert names_of(find_image_set(tmp_path)) == ["a.png"]
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 40)
    found = find_image_set(tmp_path, ImageOptions(frames=1))
    assert names_of(found) == ["a.png", *frames_of("b.mkv", "more/a.mkv", places=(5,))]
    assert [entry.name for entry in found.found.left_out] == ["broken.mp4"]
    assert len(names_of(find_image_set(tmp_path, ImageOptions(frames=4, limit=3)))) == 3
    (tmp_path / "a.png").unlink()
    with pytest.raises(PlanError, match="of videos give --frames"):
        find_image_set(tmp_path)
    with pytest.raises(PlanError, match="is a video: give --frames"):
        find_image_set(tmp_path / "b.mkv")


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything runs."""
    write_videos(tmp_path, "a.mkv")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"scoreguard\[video\]"):
        find_image_set(tmp_path, ImageOptions(frames=1))


@pytest.fixture
def judged(tmp_path: Path) -> CampaignOptions:
    """A finished campaign on four frames of each of three videos, which people have judged."""
    folder = write_videos(tmp_path / "videos", *SAID)
    path = folder / "list.csv"
    path.write_text("video,mos\n" + "".join(f"{name},{mos}\n" for name, mos in SAID.items()))
    options = options_of(
        tmp_path, metric="bright", images=path, attacks="square:queries=3,free-grain", adaptive=False, frames=4
    )
    run(options)
    return options


def test_every_frame_is_attacked_and_its_video_is_what_people_judged(judged: CampaignOptions) -> None:
    """Three videos of four frames, behind two chains by two attacks."""
    records = records_of(judged.out)
    assert {record.error for record in records} == {""}
    assert len(records) == 3 * 4 * 2 * 2
    assert {record.unit for record in records} == set(SAID)
    with Ledger.open(judged.out) as ledger:
        assert people_of(ledger.facts) == {name: SAID[unit_of(name)] for name in frames_of(*SAID, places=(1, 3, 6, 8))}
        assert [image.name for image in ledger.plan.images] == frames_of(*SAID, places=(1, 3, 6, 8))


def test_intervals_count_videos(judged: CampaignOptions) -> None:
    """The unit of resampling is the video; a caution says so, and the whole report is made of it."""
    (report,) = make_reports(judged.out, TableOptions(resamples=20))
    rows = [record for record in report.records if record.chain == "none" and record.attack.startswith("square")]
    numbers = Numbers(rows, report.declared, report.options)
    assert (len(rows), numbers.images.count, numbers.images.sizes.tolist()) == (12, 3, [4.0, 4.0, 4.0])
    assert report.rows[0].images == 12
    assert any("12 of the images are frames of 3 videos" in caution for caution in report.cautions)


def test_the_worst_case_of_a_video_is_that_of_the_attack_with_the_highest_mean_over_its_frames(
    judged: CampaignOptions,
) -> None:
    """Written out: the mean over videos of the highest mean gain, as a share of the range of 100."""
    report = read_report(judged.out, TableOptions(resamples=20))
    (table,) = (table for table in tables_of([report]) if table.key == "leaderboard:bright")
    for line in table.lines:
        worst = []
        for video in SAID:
            gains: dict[str, list[float]] = {}
            for record in report.records:
                if (record.unit, record.chain) == (video, line.key):
                    served = (record.attacked_defended or 0) - (record.clean_defended or 0)
                    gains.setdefault(record.attack, []).append(served / 100)
            assert [len(values) for values in gains.values()] == [4, 4]
            worst.append(max(np.mean(values) for values in gains.values()))
        estimate = line.cells[0].estimate
        assert estimate is not None
        assert estimate.value == pytest.approx(np.mean(worst))


def test_people_are_compared_with_the_mean_of_a_videos_frames(judged: CampaignOptions) -> None:
    """As a clip's score is, by SciPy."""
    report = read_report(judged.out, TableOptions(resamples=20))
    table = people(report)
    assert table is not None
    for line in table.lines:
        name, chain = line.key.split("|")[:2]
        rows = [record for record in report.records if record.chain == chain and name in ("clean", record.attack)]
        means = [
            np.mean(
                [(r.clean_defended if name == "clean" else r.attacked_defended) or 0 for r in rows if r.unit == video]
            )
            for video in SAID
        ]
        estimate = line.cells[1].estimate
        assert estimate is not None
        assert estimate.value == pytest.approx(stats.pearsonr(means, list(SAID.values())).statistic)
        assert line.cells[3].plain == 3


def test_a_run_on_videos_can_be_extended(judged: CampaignOptions) -> None:
    """By other frames and attacks; what it has stays."""
    before = records_of(judged.out)
    run(replace(judged, metric="", attacks="free-jpeg", defences="", extend=True, frames=1))
    after = records_of(judged.out)
    assert set(before) < set(after)
    with Ledger.open(judged.out) as ledger:
        assert [image.name for image in ledger.plan.images] == frames_of(*SAID, places=(1, 3, 5, 6, 8))
