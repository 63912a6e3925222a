"""`scoreguard dataset`: the attacked images of a run as a folder with a table, a datasheet and checksums."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import yaml
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two, write_photos
from videos import moving, written

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import InternalError, ScoreguardError
from scoreguard_client.campaign import CampaignOptions, Ledger, RunError
from scoreguard_client.cli import command
from scoreguard_client.dataset import DatasetError, DatasetOptions, Published, publish
from scoreguard_client.dataset.file_names import attacked_name, folder_name, plain_names
from scoreguard_client.dataset.table_files import TableWriter, write_csv
from scoreguard_client.target.errors import PlanError

CSV_ONLY = (write_csv,)
"""Parquet needs a package that only its own tests ask for."""


@pytest.fixture
def kept(tmp_path: Path) -> CampaignOptions:
    """A finished run of two metrics that kept its attacked images."""
    options = options_of(tmp_path, attacks="square:queries=3,ifgsm:iterations=2:eps=8/255", keep_attacked=True)
    run(options)
    return options


def make(out: Path, options: CampaignOptions, writers: Sequence[TableWriter] = CSV_ONLY, **changes: Any) -> Published:
    """Publish a run."""
    settings = DatasetOptions(run=options.out, out=out, **changes)
    return publish(settings, lambda total: lambda steps, what: None, writers)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The table as CSV."""
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def image_of(path: Path) -> Any:
    """The values of a file."""
    with PIL.Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def test_every_attacked_image_has_a_row_and_a_file(kept: CampaignOptions, tmp_path: Path) -> None:
    """The file is what was scored: every score is found again from it, by hand."""
    published = make(tmp_path / "set", kept)
    rows = rows_of(tmp_path / "set")
    # Two images, two metrics, two attacks, through `none` and `halve`.
    assert (published.attacked, published.clean) == (len(rows), 2) == (16, 2)
    assert len({row["file_name"] for row in rows}) == 16
    for row in rows:
        levels, clean = (image_of(tmp_path / "set" / row[name]) for name in ("file_name", "clean_file_name"))
        channels = slice(0, 1) if row["metric"] == "red" else slice(0, 3)
        for image, of in ((clean, "clean"), (levels, "attacked")):
            expected = 100 * float((image[..., channels] / 255).mean())
            assert float(row[f"{of}[none]"]) == pytest.approx(expected, abs=1e-4)
            halved = row[f"{of}[halve]"]
            # A record of an attack through the bare metric has all chains, one of an adaptive attack its own.
            assert float(halved) == pytest.approx(expected / 2, abs=1e-4)
        change = np.abs(levels.astype(float) - clean.astype(float)).max() / 255
        assert float(row["l_inf_8bit"]) == pytest.approx(change, abs=1e-6)
        assert change <= (8.01 if row["attack"].startswith("ifgsm") else 25.6) / 255
        error = np.mean((levels.astype(float) - clean.astype(float)) ** 2)
        # A search of three queries may find nothing.
        assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / error) if error else 150, abs=1e-3)
        assert row["adaptive"] == str(row["attacked_through"] != "none")
        assert row["sha256"] == sha256((tmp_path / "set" / row["file_name"]).read_bytes()).hexdigest()
        source = kept.images / row["image_name"]
        assert (tmp_path / "set" / row["clean_file_name"]).read_bytes() == source.read_bytes()
        assert row["clean_sha256"] == sha256(source.read_bytes()).hexdigest()
    assert {row["eps"] for row in rows if row["attack"].startswith("ifgsm")} == {str(8 / 255)}
    assert {row["attack_name"] for row in rows} == {"I-FGSM", "Square"}


def test_one_run_gives_the_same_bytes_each_time(kept: CampaignOptions, tmp_path: Path) -> None:
    """And so does the same campaign, run again elsewhere: attacks are repeatable."""
    make(tmp_path / "one", kept)
    make(tmp_path / "two", kept)
    again = replace(kept, out=tmp_path / "again" / "run")
    run(again)
    make(tmp_path / "three", again)
    sums = [(tmp_path / name / "SHA256SUMS").read_text() for name in ("one", "two", "three")]
    assert sums[0] == sums[1] == sums[2]


def test_the_checksums_are_of_every_other_file(kept: CampaignOptions, tmp_path: Path) -> None:
    """As `sha256sum -c` reads them."""
    published = make(tmp_path / "set", kept)
    lines = (tmp_path / "set" / "SHA256SUMS").read_text().splitlines()
    named = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {p.relative_to(tmp_path / "set").as_posix(): p for p in (tmp_path / "set").rglob("*") if p.is_file()}
    del files["SHA256SUMS"]
    assert {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == named
    assert published.files == len(files) + 1
    assert published.size == sum(p.stat().st_size for p in (tmp_path / "set").rglob("*") if p.is_file())
    assert {"README.md", "LICENSES", "metadata.csv"} < set(named)


def test_the_datasheet_answers_from_the_run(kept: CampaignOptions, tmp_path: Path) -> None:
    """Attacks, chains, columns, digests and licences; what it cannot know it says, and no path of this machine."""
    make(tmp_path / "set", kept, licence="cc-by-4.0", source="two | squares", title="Squares")
    text = (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    with Ledger.open(kept.out) as ledger:
        plan = ledger.plan
    for part in ("Motivation", "Composition", "Collection process", "Preprocessing", "Uses", "Distribution"):
        assert f"\n## {part}\n" in text
    for fact in (plan.digest, *(metric.archive_sha256 for metric in plan.metrics), *plan.attacks, "12x8 (2)"):
        assert fact in text
    for column in rows_of(tmp_path / "set")[0]:
        assert f"\n| `{column}` |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) > 30 and not [line for line in tables if not line.endswith("|")]
    assert str(tmp_path) not in text
    header = yaml.safe_load(text.split("---\n")[1])
    assert (header["pretty_name"], header["license"]) == ("Squares", "cc-by-4.0")
    assert "two | squares" in (tmp_path / "set" / "LICENSES").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("not stated", {"license": "unknown"}),
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("Kodak's: free to use", {"license": "other", "license_name": "Kodak's: free to use"}),
    ],
)
def test_a_licence_is_given_by_what_the_hub_knows(
    kept: CampaignOptions, tmp_path: Path, licence: str, expected: dict[str, str]
) -> None:
    """An identifier, or `other` with its name; what was not stated is unknown."""
    make(tmp_path / "set", kept, licence=licence)
    text = (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    assert {key: header[key] for key in header if key.startswith("license")} == expected
    assert f"Clean images: {licence}." in text


def test_a_run_that_kept_too_few_images_says_how_to_keep_them(tmp_path: Path) -> None:
    """The same images are made again, so that nothing is lost but time."""
    write_photos(tmp_path / "photos", "c.png", "d.png")
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", adaptive=False)
    run(options)
    with pytest.raises(DatasetError, match=r"kept 3 of its 4 attacked images: run the same .* with --keep-attacked"):
        make(tmp_path / "set", options)
    assert not (tmp_path / "set").exists()
    whole = replace(options, out=tmp_path / "whole", keep_attacked=True)
    run(whole)
    assert records_of(whole.out) == records_of(options.out)
    assert make(tmp_path / "set", whole).attacked == 4


def test_only_what_is_asked_for_is_kept(tmp_path: Path) -> None:
    """Attacked and clean images of all, purified ones only of those that the report shows."""
    write_photos(tmp_path / "photos", "c.png", "d.png")
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", adaptive=False, keep_attacked=True)
    run(options)
    folders = {path.name.split("-")[0]: path for path in (options.out / "images").iterdir() if path.name != "batches"}
    kept = {name: len(list(folder.glob("*.png"))) for name, folder in folders.items()}
    # Clean and attacked, and the first three, which the report shows, purified by `halve` too.
    assert kept == {"a": 3, "b": 3, "c": 3, "d": 2}
    assert list((options.out / "images").glob("batches/*")) == []


def test_what_failed_is_not_there_and_is_counted(tmp_path: Path) -> None:
    """The datasheet says how many records."""
    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=3", defences="none", adaptive=False, keep_attacked=True
    )
    service = service_of_two()
    # The catalogue, two clean images, then the first attack's three queries: the next call scores its image.
    service.fail(InternalError("worker died"), calls=[1 + 2 + 6 + 1])
    assert run(options, service).failed == 1
    assert make(tmp_path / "set", options).attacked == 1
    assert "1 records of the campaign failed" in (tmp_path / "set" / "README.md").read_text(encoding="utf-8")


def test_scores_behind_a_random_chain_are_means_over_its_draws(tmp_path: Path, running: Any) -> None:
    """And a chain that an adaptive attack did not know has none."""
    from scoreguard_client import ScoringClient
    from scoreguard_client.campaign import launch

    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=2", defences="shift,dim", draws=3, keep_attacked=True
    )
    with ScoringClient(running.target) as client:
        launch(options, client, lambda runner: lambda steps, what: None)
    make(tmp_path / "set", options)
    records = records_of(options.out)
    for row in rows_of(tmp_path / "set"):
        mine = [r for r in records if (r.image, r.attacked_through) == (row["image_name"], row["attacked_through"])]
        shifted = [r.attacked_defended_8bit for r in mine if r.chain == "shift"]
        if shifted:
            assert float(row["attacked[shift]"]) == pytest.approx(np.mean(np.array(shifted, float)))
            assert len(shifted) == 3
        else:
            assert row["attacked[shift]"] == row["clean[shift]"] == ""
    assert {row["attacked_through"].split(":")[0] for row in rows_of(tmp_path / "set")} == {"none", "shift", "dim"}


def _spoil(folder: Path) -> None:
    path = next(path for path in folder.rglob("*square*.png"))
    PIL.Image.fromarray(image_of(path) // 2).save(path)


def _cut(folder: Path) -> None:
    path = next(path for path in folder.rglob("*square*.png"))
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(("change", "reason"), [(_spoil, "was changed since"), (_cut, r"\.png: ")])
def test_an_image_that_is_not_what_was_scored_is_refused(
    kept: CampaignOptions, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    """And nothing is left of the folder."""
    change(kept.out / "images")
    with pytest.raises(DatasetError, match=reason):
        make(tmp_path / "set", kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "run"]


def test_a_folder_that_is_in_use_is_refused(kept: CampaignOptions, tmp_path: Path) -> None:
    """An empty one is as good as none."""
    (tmp_path / "set").mkdir()
    make(tmp_path / "set", kept)
    with pytest.raises(DatasetError, match="is there already: publish into a new folder"):
        make(tmp_path / "set", kept)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is there already"):
        make(tmp_path / "file", kept)
    with pytest.raises(DatasetError, match="cannot be written"):
        make(tmp_path / "file" / "below", kept)


def test_runs_that_cannot_be_published_are_refused(tmp_path: Path) -> None:
    """No run, another version's, and one without records."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", adaptive=False, keep_attacked=True)
    with pytest.raises(RunError, match="holds no campaign"):
        make(tmp_path / "set", options)
    run(options)
    with Ledger.open(options.out) as ledger, ledger._connection as connection:
        connection.execute("DELETE FROM records")
    with pytest.raises(DatasetError, match="has no attacked image yet"):
        make(tmp_path / "set", options)
    with Ledger.open(options.out) as ledger, ledger._connection as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'layout'")
    with pytest.raises(RunError, match="layout 99"):
        make(tmp_path / "set", options)


def test_clean_images_that_are_gone_are_named(kept: CampaignOptions, tmp_path: Path) -> None:
    """Or found in the folder that is given."""
    shutil.move(kept.images, tmp_path / "moved")
    with pytest.raises(PlanError, match=r"the clean image a\.png of the run is not in .*--images DIR"):
        make(tmp_path / "set", kept)
    assert make(tmp_path / "set", kept, images=tmp_path / "moved").clean == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(
    kept: CampaignOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a data set would be taken for a whole one."""
    whole = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if "attacked" in path.parts:
            raise OSError(28, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(DatasetError, match="cannot be written: No space left on device"):
        make(tmp_path / "set", kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "run"]


def test_the_package_for_parquet_is_missed_before_the_work(
    kept: CampaignOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that says how to install it."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    words = ["dataset", str(kept.out), "--out", str(tmp_path / "set")]
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=words) == 2
    error = capsys.readouterr().err
    assert "pip install 'scoreguard[dataset]'" in error and "Traceback" not in error
    assert not (tmp_path / "set").exists()


def test_names_that_no_file_can_have_everywhere_get_others() -> None:
    """Plain ones stay; others keep their letters; no two are one where case does not count."""
    names = ["a.png", "more/b.JPG", "A.png", "caf\\xe9.png", "x y/c:d.webp", "..", "-.png", "a.jpg", "a.jpg.png"]
    plain = plain_names(names)
    assert {name: plain[name] for name in ("a.png", "more/b.JPG", "-.png", "a.jpg")} == {
        "a.png": "a.png",
        "more/b.JPG": "more/b.JPG",
        "-.png": "-.png",
        "a.jpg": "a.jpg",
    }
    files = [*plain.values(), *(attacked_name(name) for name in plain.values() if not name.endswith(".png"))]
    assert len({file.lower() for file in files}) == len(files)
    assert all(part not in ("", ".", "..") for name in plain.values() for part in name.split("/"))
    assert all(name.isascii() and not set(name) & set(' :\\*?"<>|') for name in plain.values())
    assert plain["x y/c:d.webp"].endswith(".webp")
    assert folder_name("none") == "none"
    assert folder_name("ifgsm:eps=0.1") != folder_name("ifgsm:eps=0.2")
    assert folder_name("ifgsm:eps=0.1").startswith("ifgsm-")


def test_the_command_says_what_it_wrote(
    kept: CampaignOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people with what is missing in the datasheet, for programs as one JSON object."""
    pytest.importorskip("pyarrow")
    words = ["dataset", str(kept.out), "--out", str(tmp_path / "set"), "--source", "two squares"]
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=words) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"16 attacked and 2 clean images in {tmp_path / 'set'}: 23 files, ")
    assert "'not stated' for --licence: state" in captured.out
    assert "18/18" in captured.err
    words[3] = str(tmp_path / "again")
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=[*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["attacked"], found["clean"], found["files"]) == (16, 2, 23)
    assert found["out"] == str(tmp_path / "again")


def test_parquet_and_csv_are_one_table(kept: CampaignOptions, tmp_path: Path) -> None:
    """The same columns and values; Parquet has the types, and is the same bytes each time."""
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    from scoreguard_client.dataset.publish import WRITERS

    make(tmp_path / "set", kept, WRITERS)
    table = pyarrow.parquet.read_table(tmp_path / "set" / "metadata.parquet")
    rows = rows_of(tmp_path / "set")
    assert table.column_names == list(rows[0])
    for there, here in zip(table.to_pylist(), rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in there.items()} == here
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["adaptive"], types["queries"], types["clean[halve]"]) == ("bool", "int64", "double")
    make(tmp_path / "again", kept, WRITERS)
    files = [(tmp_path / name / "metadata.parquet").read_bytes() for name in ("set", "again")]
    assert files[0] == files[1]
    assert io.BytesIO(files[0]).read(4) == b"PAR1"


def test_the_frames_of_a_video_are_published_as_images(tmp_path: Path) -> None:
    """Each clean frame as a PNG file of the values that were attacked, with that file's digest."""
    pytest.importorskip("av")
    frames = list(moving(6, 8, 12))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mkv").write_bytes(written(frames))
    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=3", images=tmp_path / "clips", frames=2, keep_attacked=True
    )
    run(options)
    published = make(tmp_path / "set", options)
    assert published.clean == 2
    for row in rows_of(tmp_path / "set"):
        clean = tmp_path / "set" / row["clean_file_name"]
        place = int(row["image_name"].rpartition("=")[2])
        assert row["image_name"] == f"a.mkv#frame={place:06}"
        assert clean.suffix == ".png"
        assert np.array_equal(image_of(clean), frames[place])
        assert row["clean_sha256"] == sha256(clean.read_bytes()).hexdigest()
    shutil.rmtree(tmp_path / "clips")
    with pytest.raises(PlanError, match=r"is not in .*clips, or was changed"):
        make(tmp_path / "other", options)
