"""What a campaign can be made on: lists with people's scores, the NIPS 2017 layout, Kodak's folder."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from data_folder import DATA, WHY_SKIPPED
from tests.clients.campaign.two_metrics import options_of, records_of, run, write_photos

from scoreguard_client.campaign import CampaignOptions, Ledger, PlanError, merge
from scoreguard_client.target.image_sets import ImageOptions, ImageSet, find_image_set
from scoreguard_client.target.images import find_images
from scoreguard_client.target.listed import PeopleOptions
from scoreguard_client.target.people import people_of, people_scores

real = pytest.mark.skipif(not DATA.is_dir(), reason=WHY_SKIPPED)


def write_list(folder: Path, text: str, name: str = "list.csv") -> Path:
    """A list beside images."""
    write_photos(folder, "a.png", "b.png")
    write_photos(folder / "more", "c.png")
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def names_of(found: ImageSet) -> list[str]:
    """Names of the images."""
    return [image.name for image in found.found.images]


def people_by(column: str = "", *, lower_is_better: bool | None = None) -> ImageOptions:
    """Options that say how to read people's scores."""
    return ImageOptions(people=PeopleOptions(column=column, lower_is_better=lower_is_better))


@pytest.mark.parametrize(
    ("text", "column", "higher", "scores", "deviations"),
    [
        ("path,mos\nb.png,3.5\na.png,2\n", "mos", True, {"a.png": 2.0, "b.png": 3.5}, {}),
        ("image,MOS,mos_std\nmore/c.png,4,0.5\n", "MOS", True, {"more/c.png": 4.0}, {"more/c.png": 0.5}),
        ("\ufeffdmos;name\r\n61.5;a.png\r\n", "dmos", False, {"a.png": 61.5}, {}),
        ("Name\tother\tmos\tSD\n./more/../a.png\tx\t1e1\t\n\n", "mos", True, {"a.png": 10.0}, {}),
        ('file,mos\n"a.png", 3 \n', "mos", True, {"a.png": 3.0}, {}),
    ],
)
def test_a_list_gives_images_and_what_people_said(
    text: str, column: str, higher: bool, scores: dict[str, float], deviations: dict[str, float], tmp_path: Path
) -> None:
    """Columns in any order and case, commas, semicolons or tabs; paths are the list's, images come by name."""
    found = find_image_set(write_list(tmp_path / "set", text))
    assert names_of(found) == list(scores)
    assert found.people is not None
    assert (found.people.source, found.people.column) == ("list.csv", column)
    assert (found.people.higher_is_better, found.people.scores, found.people.deviations) == (higher, scores, deviations)
    assert found.reader.read(found.found.images[0]).shape == (8, 12, 3)


def test_a_column_of_another_name_is_named_and_has_a_direction(tmp_path: Path) -> None:
    """KADID-10k calls a score dmos of which more is better."""
    path = write_list(tmp_path, "path,rating,dmos\na.png,7,4\n")
    by_name = find_image_set(path, people_by(column="rating"))
    turned = find_image_set(path, people_by(lower_is_better=False))
    assert by_name.people is not None
    assert turned.people is not None
    assert (by_name.people.scores, by_name.people.higher_is_better) == ({"a.png": 7.0}, True)
    assert (turned.people.scores, turned.people.higher_is_better) == ({"a.png": 4.0}, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,score\na.png,3\n", r"line 1: no column of scores by people \(mos, dmos\): give --mos-column; .*score"),
        ("mos,size\n3,1\n", r"list.csv, line 1: no column of paths \(path, image, name\); it has mos, size"),
        ("", "list.csv, line 1: no column of paths"),
        ("path,mos\n", "list.csv lists no image"),
        ("path,mos\na.png,nan\n", "list.csv, line 2: mos is nan, not a number"),
        ("path,mos\na.png,3\nb.png,\n", "list.csv, line 3: mos is empty, not a number"),
        ("path,mos\na.png,inf\n", "list.csv, line 2: mos is inf, not a number"),
        ("path,mos,mos_std\na.png,3,wide\n", "list.csv, line 2: mos_std is wide, not a number"),
        ("path,mos\n\n ,3\n", "list.csv, line 3: path is empty"),
        ("path,mos\na.png,3,4\n", "list.csv, line 2: 3 cells under a heading of 2"),
        ("path,mos\na.png,3\n./a.png,4\n", "list.csv, line 3: a.png is listed twice, first in .*line 2"),
        ("path,mos\n../x.png,3\n", "list.csv, line 2: ../x.png is not below the folder of the list"),
        ("path,mos\n/x.png,3\n", "list.csv, line 2: /x.png is not below the folder of the list"),
        ('path,mos\n"a.png,3\n', "list.csv, line 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_used_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    """One line each, before anything runs."""
    with pytest.raises(PlanError) as caught:
        find_image_set(write_list(tmp_path, text))
    assert re.search(said, str(caught.value))
    assert "\n" not in str(caught.value)


def test_options_of_people_are_for_lists_with_such_a_column(tmp_path: Path) -> None:
    """Near names are told; a folder has no scores."""
    path = write_list(tmp_path, "path,rating\na.png,3\n")
    with pytest.raises(PlanError, match="no column 'ratings'; did you mean rating"):
        find_image_set(path, people_by(column="ratings"))
    with pytest.raises(PlanError, match="for a CSV list"):
        find_image_set(tmp_path, people_by(column="rating"))
    (tmp_path / "latin.csv").write_bytes(b"path,mos\ncaf\xe9.png,3\n")
    with pytest.raises(PlanError, match="not UTF-8"):
        find_image_set(tmp_path / "latin.csv")


def test_a_listed_file_that_is_not_there_is_left_out_with_its_line(tmp_path: Path) -> None:
    """The others are attacked; if none can be, that is an error."""
    path = write_list(tmp_path, "path,mos\nb.png,1\ngone.png,2\nlist.csv,3\n")
    found = find_image_set(path)
    assert names_of(found) == ["b.png"]
    assert [entry.name for entry in found.found.left_out] == ["gone.png", "list.csv"]
    assert f"{path}, line 3: cannot read {tmp_path / 'gone.png'}: No such file" in found.found.left_out[0].error
    assert f"{path}, line 4: " in found.found.left_out[1].error
    assert find_image_set(path, ImageOptions(limit=1)).found.left_out == ()
    path.write_text("path,mos\ngone.png,2\n")
    with pytest.raises(PlanError, match=r"no image of .* can be read; the first: .*line 2"):
        find_image_set(path)


def test_the_layout_of_nips_is_known_by_its_table(tmp_path: Path) -> None:
    """Only what is listed counts, under the same names as in a folder; what is missing is told line by line."""
    write_photos(tmp_path / "images", "aa.png", "bb.png", "other.png")
    (tmp_path / "images.csv").write_text("ImageId,URL\nbb,u\naa,u\nlost,u\n")
    found = find_image_set(tmp_path)
    assert names_of(found) == ["images/aa.png", "images/bb.png"]
    assert [entry.name for entry in found.found.left_out] == ["images/lost.png"]
    assert f"{tmp_path / 'images.csv'}, line 4: cannot read" in found.found.left_out[0].error
    assert set(found.found.images) < set(find_images(tmp_path).images)
    (tmp_path / "images.csv").write_text("ImageId,URL\n../aa,u\n")
    with pytest.raises(PlanError, match=r"line 2: ImageId is \.\./aa"):
        find_image_set(tmp_path)
    (tmp_path / "images.csv").write_text("file\naa\n")
    assert len(names_of(find_image_set(tmp_path))) == 3


@real
def test_the_nips_images_are_found_by_their_table(tmp_path: Path) -> None:
    """The first hundred by name, of the thousand of the table, in the layout of the download."""
    source = DATA / "images" / "nips2017"
    (tmp_path / "images").symlink_to(source)
    shutil.copy(source / "images.csv", tmp_path / "dev_dataset.csv")
    found = find_image_set(tmp_path, ImageOptions(limit=5))
    assert names_of(found) == [f"images/{path.name}" for path in sorted(source.glob("*.png"))[:5]]
    with (source / "images.csv").open(newline="") as file:
        assert {Path(name).stem for name in names_of(found)} < {row["ImageId"] for row in csv.DictReader(file)}


@real
def test_kodaks_folder_is_a_folder() -> None:
    """kodim01 to kodim24, each of its own size."""
    found = find_image_set(DATA / "images" / "kodak24")
    assert names_of(found) == [f"kodim{number:02}.png" for number in range(1, 25)]
    assert {(image.height, image.width) for image in found.found.images} == {(512, 768), (768, 512)}


@real
def test_lists_of_the_databases_are_read_as_they_are() -> None:
    """LIVE's labels, of which lower is better; samples of others, of which the originals have no score."""
    live = find_image_set(DATA / "mos" / "live_subset" / "labels.csv", ImageOptions(limit=3))
    assert live.people is not None
    assert (live.people.column, live.people.higher_is_better) == ("dmos", False)
    assert live.people.scores["gblur_buildings_4.png"] == 21.6803
    assert live.people.deviations["gblur_buildings_4.png"] == 1.8114
    with pytest.raises(PlanError, match=r"labels\.csv, line 2: mos is empty"):
        find_image_set(DATA / "mos" / "iqa_samples" / "labels.csv")


@pytest.fixture
def listed(tmp_path: Path) -> CampaignOptions:
    """A small campaign on a list."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", defences="none", adaptive=False)
    path = options.images / "list.csv"
    path.write_text("path,dmos\na.png,30\nb.png,50\n")
    return replace(options, images=path)


def facts_of(options: CampaignOptions) -> dict[str, object]:
    """The facts of a run."""
    with Ledger.open(options.out) as ledger:
        return ledger.facts


def test_a_run_on_a_list_is_the_run_on_the_folder_with_scores_by_people(
    listed: CampaignOptions, tmp_path: Path
) -> None:
    """Plan and records are the same; the scores stand beside, and can be had turned so that higher is better."""
    folder = replace(listed, images=listed.images.parent, out=tmp_path / "folder")
    run(listed)
    run(folder)
    assert records_of(listed.out) == records_of(folder.out)
    with Ledger.open(listed.out) as there, Ledger.open(folder.out) as here:
        assert there.plan.digest == here.plan.digest
    assert people_of(facts_of(listed)) == {"a.png": -30.0, "b.png": -50.0}
    assert people_of(facts_of(folder)) == {}
    assert people_scores(facts_of(folder)) is None
    # Resumed from the folder the scores stay.
    run(replace(folder, out=listed.out))
    assert people_of(facts_of(listed)) == {"a.png": -30.0, "b.png": -50.0}


def test_a_run_gets_scores_by_people_when_it_is_extended(listed: CampaignOptions) -> None:
    """Resuming does not change what a run states: that is refused; contradicting scores are."""
    run(replace(listed, images=listed.images.parent))
    with pytest.raises(PlanError, match="give --extend"):
        run(listed)
    more = replace(listed, metric="", attacks="", defences="", extend=True)
    listed.images.write_text("path,dmos\na.png,30\n")
    run(more)
    listed.images.write_text("path,dmos\nb.png,50\n")
    run(more)
    assert people_of(facts_of(listed)) == {"a.png": -30.0, "b.png": -50.0}
    listed.images.write_text("path,dmos\nb.png,51\n")
    with pytest.raises(PlanError, match=r"b.png has two scores by people: 50, and 51 in list.csv"):
        run(more)
    listed.images.write_text("path,mos\nb.png,50\n")
    with pytest.raises(PlanError, match=r"two kinds do not fit together: dmos of list.csv, and mos of list.csv"):
        run(more)
    assert people_of(facts_of(listed)) == {"a.png": -30.0, "b.png": -50.0}


def test_merged_runs_have_the_scores_of_both(listed: CampaignOptions, tmp_path: Path) -> None:
    """And none is lost if one run has none."""
    parts = []
    for name, text in (("one", "path,mos\na.png,3\n"), ("two", "path,mos\nb.png,4\n")):
        listed.images.write_text(text)
        parts.append(tmp_path / name)
        run(replace(listed, out=parts[-1]))
    merge(parts, tmp_path / "both")
    assert people_of(facts_of(replace(listed, out=tmp_path / "both"))) == {"a.png": 3.0, "b.png": 4.0}
