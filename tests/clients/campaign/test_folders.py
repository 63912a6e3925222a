"""Folders of images as people have them, and what a campaign makes of each file."""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from google.rpc import code_pb2, status_pb2
from tests.clients.campaign.conftest import Launch

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError
from scoreguard_client.campaign import CampaignOptions, Ledger, PlanError, Record
from scoreguard_client.cli import command
from scoreguard_client.target.images import find_images, name_of, path_of, read_image

LATIN = os.fsdecode(b"caf\xe9.png")


def save(path: Path, *, form: str = "PNG", seed: int = 0) -> None:
    """A small textured image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(40, 200, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(values).save(buffer, form)
    path.write_bytes(buffer.getvalue())


def huge_png() -> bytes:
    """144 megapixels of black in 17 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 12_000
    row = b"\0" * (side // 8 + 1)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good image."""
    save(tmp_path / "folder" / "a.png")
    return tmp_path / "folder"


@pytest.fixture
def here(options: CampaignOptions, folder: Path) -> CampaignOptions:
    """A small campaign on that folder."""
    return replace(options, images=folder, attacks="fgsm", defences="none")


def records_of(run: Path) -> list[Record]:
    """The records of a run."""
    with Ledger.open(run) as ledger:
        return ledger.records()


def test_what_a_mac_adds_to_a_zip_is_no_image(folder: Path) -> None:
    """`._a.png` beside `a.png` is no image, and nobody means it to be one."""
    (folder / "._a.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + b"\0" * 60)
    found = find_images(folder)
    assert [image.name for image in found.images] == ["a.png"]
    assert found.left_out == ()


def test_a_file_that_was_cut_short_is_left_out_by_name(run_campaign: Launch, here: CampaignOptions) -> None:
    """The others are attacked; the summary says which file is missing and why, and so does the run."""
    (here.images / "b.png").write_bytes((here.images / "a.png").read_bytes()[:200])
    summary = run_campaign(images=here.images, attacks="fgsm", defences="none")
    assert (summary.records, summary.failed) == (1, 0)
    assert [entry.name for entry in summary.left_out] == ["b.png"]
    with Ledger.open(here.out) as ledger:
        assert [entry["name"] for entry in ledger.facts["left_out"]] == ["b.png"]


def test_what_has_the_name_of_an_image_and_is_no_file_is_left_out_by_name(folder: Path) -> None:
    """Links that lead nowhere or to themselves, and pipes; a folder of such a name is a folder."""
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.jpg")
    save(folder / "b.png" / "inner.png")
    found = find_images(folder)
    assert {image.name for image in found.images} == {"a.png", "b.png/inner.png"}
    assert sorted(left.name for left in found.left_out) == ["gone.png", "loop.png", "pipe.jpg"]
    assert {left.error for left in found.left_out} == {"it is no file, or a link that leads nowhere"}


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="takes another user, which root alone can become")
def test_a_folder_that_may_not_be_read_is_left_out_by_name() -> None:
    """Python's own walk passes over it without a word."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder / "a.png")
        save(folder / "closed" / "b.png")
        (folder / "closed").chmod(0)
        folder.chmod(0o755)
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.setuid(65534)
            found = find_images(folder)
            os.write(writing, repr([[image.name for image in found.images], *found.left_out]).encode())
            os._exit(0)
        os.waitpid(child, 0)
        said = os.read(reading, 4096).decode()
        os.close(reading)
        os.close(writing)
    assert said == "[['a.png'], LeftOut(name='closed', error='Permission denied')]"


@pytest.mark.parametrize(("name", "form"), [("b.gif", "GIF"), ("c.ppm", "PPM"), ("d.jfif", "JPEG")])
def test_every_form_that_the_server_reads_is_taken(name: str, form: str, folder: Path) -> None:
    """Left out without a word, they would shrink a study unnoticed."""
    save(folder / name, form=form)
    assert [image.name for image in find_images(folder).images] == ["a.png", name]


def test_a_name_that_is_not_utf8_is_attacked_recorded_and_reported(
    folder: Path, running: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In records and tables its bytes are escaped; the file is found again on resuming."""
    save(folder / LATIN, seed=1)
    where = ["--images", str(folder), "--out", str(tmp_path / "run"), "--target", running.target]
    for _ in range(2):
        argv = ["attack", "--attacks", "fgsm", "--gradients", "live", *where]
        assert console.run(command, errors=(ScoreguardError, ContractError), argv=argv) == 0
    assert {record.image for record in records_of(tmp_path / "run")} == {"a.png", "caf\\xe9.png"}
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=["report", str(tmp_path / "run")]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.png", "more/b c.png", "naïve.png", LATIN, "back\\xe9slash.png"])
def test_the_file_of_a_name_is_found_again(name: str, tmp_path: Path) -> None:
    """Whatever its bytes are."""
    save(tmp_path / name)
    told = name_of(tmp_path / name, tmp_path)
    told.encode("utf-8")
    assert path_of(tmp_path, told) == tmp_path / name
    (image,) = find_images(tmp_path).images
    assert read_image(tmp_path, image).shape == (12, 16, 3)


def test_an_output_folder_with_any_name_can_be_printed(folder: Path, running: Any, tmp_path: Path) -> None:
    """Its bytes need not be text."""
    out = tmp_path / os.fsdecode(b"run\xe9")
    argv = ["attack", "--attacks", "fgsm", "--gradients", "live", "--images", str(folder), "--out", str(out)]
    code = console.run(command, errors=(ScoreguardError, ContractError), argv=[*argv, "--target", running.target])
    assert code == 0


def test_an_image_beyond_every_limit_is_left_out_before_anything_is_attacked(
    run_campaign: Launch, here: CampaignOptions
) -> None:
    """17 KB of file may be 144 megapixels of image."""
    (here.images / "huge.png").write_bytes(huge_png())
    summary = run_campaign(images=here.images, attacks="fgsm", defences="none")
    assert summary.records == 1
    assert [entry.name for entry in summary.left_out] == ["huge.png"]
    assert "144" in summary.left_out[0].error


def test_an_image_that_does_not_fit_into_a_message_is_left_out_with_the_limit_to_raise(
    run_campaign: Launch, here: CampaignOptions
) -> None:
    """Six megapixels are 69 MiB of float values, and a message has 64 by default."""
    PIL.Image.new("RGB", (3000, 2000)).save(here.images / "large.png")
    summary = run_campaign(images=here.images, attacks="fgsm", defences="none")
    assert [entry.name for entry in summary.left_out] == ["large.png"]
    assert "give --max-message-mib 69 to both scoreguard-serve and this command" in summary.left_out[0].error


def test_a_folder_with_nothing_that_can_be_attacked_says_why(run_campaign: Launch, tmp_path: Path) -> None:
    """The first cause, in one line."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"text")
    with pytest.raises(PlanError, match=r"no image .* can be read; the first"):
        run_campaign(images=tmp_path / "bad")


def test_an_image_whose_clean_score_failed_is_not_attacked(
    run_campaign: Launch, here: CampaignOptions, running: Any
) -> None:
    """What the server refuses to score clean costs no attack; the others go on, and no rerun is advised."""
    save(here.images / "b.png", seed=1)
    refused = np.asarray(PIL.Image.open(here.images / "b.png")).tobytes()

    def refuse(request: Any) -> status_pb2.Status | None:
        tensor = getattr(getattr(request, "image", None), "tensor", None)
        if tensor is not None and tensor.data == refused:
            return status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="too large")
        return None

    running.service.refuse = refuse
    summary = run_campaign(images=here.images, attacks="square:queries=7", defences="none")
    assert (summary.records, summary.failed, summary.retryable) == (1, 1, 0)
    assert summary.first_error == "not attacked, since the clean image was not scored: too large"
    # The catalogue, two clean scores, and of the good image the attack and its result in float and 8 bits.
    assert len(running.service.requests) == 1 + 2 + 7 + 2


@pytest.mark.parametrize(("code", "retryable"), [("DEADLINE_EXCEEDED", 1), ("INTERNAL", 0), ("INVALID_ARGUMENT", 0)])
def test_a_rerun_is_advised_only_where_it_may_help(
    code: str, retryable: int, run_campaign: Launch, here: CampaignOptions, running: Any
) -> None:
    """A deadline may be met the next time, a fault of the chain or of the image stays."""

    def refuse(request: Any) -> status_pb2.Status | None:
        del request
        first = len(running.service.requests) == 2
        return status_pb2.Status(code=code_pb2.Code.Value(code), message="no") if first else None

    running.service.refuse = refuse
    assert run_campaign(images=here.images, attacks="fgsm", defences="none").retryable == retryable


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no file can be written."""

    def write_bytes(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_a_full_disk_is_one_line_and_the_records_are_kept(
    run_campaign: Launch, here: CampaignOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the run goes on once there is room."""
    changes: dict[str, Any] = {"images": here.images, "attacks": "fgsm", "defences": "none"}
    run_campaign(**changes)
    save(here.images / "b.png", seed=1)
    with monkeypatch.context() as patched:
        full_disk(patched)
        with pytest.raises(ScoreguardError, match="No space left on device; the records so far are kept"):
            run_campaign(**changes | {"out": here.out.with_name("second")})
    assert run_campaign(**changes | {"out": here.out.with_name("second")}).records == 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "is empty: the records of this run are lost"),
        (lambda data: b"x" * 5000, "not a database"),
        (lambda data: data[: len(data) // 2], "malformed|not a database|layout"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    damage: Callable[[bytes], bytes], said: str, run_campaign: Launch, here: CampaignOptions
) -> None:
    """Starting over in silence would look like a finished run with other numbers."""
    changes: dict[str, Any] = {"images": here.images, "attacks": "fgsm", "defences": "none"}
    run_campaign(**changes)
    path = here.out / "campaign.sqlite"
    for leftover in here.out.glob("campaign.sqlite-*"):
        leftover.unlink()
    path.write_bytes(damage(path.read_bytes()))
    for use in (lambda: run_campaign(**changes), lambda: Ledger.open(here.out).records()):
        with pytest.raises(ScoreguardError, match=said):
            use()


def test_a_score_that_is_not_finite_is_a_failed_record(
    run_campaign: Launch, here: CampaignOptions, running: Any
) -> None:
    """It is never a number of a table, and the JSON of the outcome stays JSON."""
    running.service.drift = float("nan")
    summary = run_campaign(images=here.images, attacks="fgsm", defences="none")
    assert (summary.records, summary.failed) == (0, 1)
    assert "not a finite number" in summary.first_error
    json.dumps(summary.failed, allow_nan=False)
