"""`weights add` and `weights verify`: what is accepted, where it lies, who finds it, and what is noticed later."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from restorers import generated

from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard_export.archive.requested import requested
from scoreguard_export.cli import main
from scoreguard_export.defences.carn import Carn
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.cnniqa import CnnIqa


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights, told by the environment."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "folder"))
    return tmp_path / "folder"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Generated weights of CNNIQA, in a training checkpoint with an unusual suffix."""
    torch.manual_seed(3)
    path = tmp_path / "best.pth.tar"
    torch.save({"epoch": 3, "model_state_dict": CnnIqa().state_dict()}, path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["weights", *arguments])
    output = capsys.readouterr()
    return int(str(ended.value.code)), output.out, output.err


def test_an_added_file_is_found_by_a_build(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copied under the name of the weights with its digest beside it; a build takes it, unless it is given another."""
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    code, output, told = run(capsys, "add", "cnniqa", str(checkpoint))
    assert (code, output.splitlines()) == (0, [str(folder / "cnniqa"), f"sha256 {digest}"])
    assert "not the official file of cnniqa" in told and "no licence is stated" in told
    assert (folder / "cnniqa.sha256").read_text() == f"{digest}  cnniqa\n"
    weights = requested("cnniqa", "flip", (), print).weights
    assert weights == {"cnniqa": folder / "cnniqa"}
    assert load_metric("cnniqa", weights).weights_digests == {"cnniqa": digest}
    assert requested("cnniqa", "flip", (f"cnniqa={checkpoint}",), print).weights == {"cnniqa": checkpoint}


def test_the_answer_as_json_says_what_it_is(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, place, digest and licence; the same file again is no error and no copy."""
    answers = [json.loads(run(capsys, "add", "cnniqa", str(checkpoint), "--json")[1]) for _ in range(2)]
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    expected = {"name": "cnniqa", "path": str(folder / "cnniqa"), "sha256": digest, "official": False, "copied": True}
    assert answers[0] == {**expected, "licence": CnnIqa.sources["cnniqa"].licence}
    assert answers[1]["copied"] is False


def test_another_file_of_the_name_is_not_overwritten(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first stays, and one line says so."""
    run(capsys, "add", "cnniqa", str(checkpoint))
    before = (folder / "cnniqa").read_bytes()
    torch.manual_seed(4)
    torch.save(CnnIqa().state_dict(), tmp_path / "other.pth")
    code, _, told = run(capsys, "add", "cnniqa", str(tmp_path / "other.pth"))
    assert code == 2
    assert re.search(r"^error: .*cnniqa is another file of cnniqa: remove it first", told.splitlines()[-1])
    assert (folder / "cnniqa").read_bytes() == before


def test_what_does_not_fit_is_named_and_not_copied(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, shapes, a pickled module, half a file, no file: one line each, exit code 2, an empty folder."""
    state = CnnIqa().state_dict()
    torch.save({**state, "fc3.bias": torch.zeros(2), "extra": torch.zeros(1)}, tmp_path / "shape.pth")
    torch.save(CnnIqa(), tmp_path / "module.pth")
    torch.save(state, tmp_path / "half.pth")
    half = (tmp_path / "half.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(half[: len(half) // 2])
    said = {
        "shape.pth": r"1 tensors too many: extra; 1 tensors of another shape: fc3\.bias is \(2,\), not \(1,\)",
        "module.pth": r"weights convert cnniqa .*module\.pth",
        "half.pth": r"holds no tensors that can be read",
        "none.pth": r"no weights of cnniqa at .*none\.pth",
    }
    for name, message in said.items():
        code, output, told = run(capsys, "add", "cnniqa", str(tmp_path / name))
        assert (code, output) == (2, "")
        assert re.search(f"^error: .*{message}", told.splitlines()[-1]), name
    assert not folder.exists()


def test_a_large_network_is_compared_without_its_numbers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of another network is refused by names and shapes, the first five of them."""
    torch.save({"state_dict": {"backbone.fc.weight": torch.zeros(2, 2048)}}, tmp_path / "spaq.pth")
    code, _, told = run(capsys, "add", "spaq", str(tmp_path / "spaq.pth"))
    assert code == 2
    assert "319 tensors missing: backbone.bn1.bias, " in told and ", …; 1 tensors of another shape" in told
    assert "backbone.fc.weight is (2, 2048), not (1, 2048)" in told


def test_one_of_two_files_of_a_defence_is_enough_to_add(
    folder: Path, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second file of Real-ESRGAN, which no variant is built from alone."""
    path = shared_data / "weights/realesr_general_x4v3.pt"
    code, output, _ = run(capsys, "add", "realesrgan-wdn", str(path))
    assert (code, output.splitlines()[0]) == (0, str(folder / "realesrgan-wdn.pt"))


def test_verify_compares_with_what_was_recorded(
    folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unchanged, then changed in one bit, then cut: a line each, and the exit code of a failure."""
    run(capsys, "add", "cnniqa", str(checkpoint))
    place = folder / "cnniqa"
    code, output, _ = run(capsys, "verify")
    assert (code, len(output.splitlines())) == (0, 1)
    assert output.startswith(f"{place}: unchanged, sha256 ")
    content = place.read_bytes()
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content[:-7]):
        place.write_bytes(changed)
        code, output, _ = run(capsys, "verify", "cnniqa")
        assert (code, len(output.splitlines())) == (1, 1)
        assert hashlib.sha256(changed).hexdigest() in output and hashlib.sha256(content).hexdigest() in output
        assert f"({len(changed):,} bytes)" in output
    code, output, _ = run(capsys, "verify", "--json")
    assert (code, json.loads(output)[0]["verdict"]) == (1, "broken")


def test_verify_reads_what_has_no_known_digest(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file put there by hand: readable by the defence, or broken; a name without a file is a failure if asked for."""
    folder.mkdir()
    state = torch.load(generated(Carn, tmp_path)["carn"], weights_only=True)
    torch.save({"m_body": state}, folder / "mprnet.pth")
    code, output, _ = run(capsys, "verify")
    assert code == 1
    assert "mprnet.pth: " in output and "mprnet.pth holds no dictionary of tensors" in output
    (folder / "mprnet.pth").unlink()
    torch.save(state, folder / "carn.pth")
    code, output, _ = run(capsys, "verify", "carn")
    assert (code, "truncated or another file" in output) == (1, True), "the catalogue knows the digest of carn"
    code, _, told = run(capsys, "verify", "spaq")
    assert (code, told) == (1, "no file of spaq in the folder\n")


def test_the_official_file_is_known_by_its_digest(
    folder: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No notice that it is another one; verify says that it is official, even without a record."""
    _, _, told = run(capsys, "add", "carn", str(shared_data / "weights/carn_m.pth"))
    assert told == ""
    (folder / "carn.pth.sha256").unlink()
    assert "carn.pth: official, sha256 d48a759a" in run(capsys, "verify")[1]


def test_a_shipped_name_keeps_its_shipped_weights(
    folder: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is kept, and a notice says how a build gets it."""
    path = shared_data / "params/niqe_pris_params.npz"
    code, _, told = run(capsys, "add", "niqe", str(path))
    assert code == 0
    assert "a build takes the shipped weights of niqe unless --weights names these" in told
    assert requested("niqe", "flip", (), print).weights == {}
