"""`verify` takes what an archive holds for what is to be checked, and finds whatever was edited."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tampering import entries_of, packed, with_entry, with_manifest, with_rewritten_graph, write_entries

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import ContractError, IntegrityError
from scoreguard.v1.mar import torchserve_files
from scoreguard_export.archive.model_store import write_server_files
from scoreguard_export.archive.verify import Verified, verify_archive, verify_store
from scoreguard_export.cli import main
from scoreguard_export.errors import ExportError

DEFENCES = ("flip", "quantise", "fcn-filter", "ffdnet", "diffpure-edge")
"""Without weights, with shipped weights, with weights by path, and a diffusion with a graph that finishes it."""
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def store(lite_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lite` behind a defence of each kind, away from the weights that were given."""
    return holding(DEFENCES, lite_store, tmp_path_factory.mktemp("verify"))


@pytest.fixture(scope="module")
def small_store(lite_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two defences, so that all of it is verified in a moment."""
    return holding(DEFENCES[:2], lite_store, tmp_path_factory.mktemp("small"))


def holding(defences: Sequence[str], store: Path, home: Path) -> Path:
    """A copy of a store whose archive holds some of its defences alone."""
    mar = packed(store / "lite.mar", home / "lite.mar")

    def strip(manifest: dict[str, Any]) -> None:
        manifest["defences"] = [d for d in manifest["defences"] if d["facts"]["name"] in defences]
        chains = {vector.get("defences", "") for vector in manifest["golden_vectors"]}
        chosen = {chain for chain in chains if not chain or chain.split(":")[0] in defences}
        manifest["golden_vectors"] = [v for v in manifest["golden_vectors"] if v.get("defences", "") in chosen]

    with_manifest(mar, strip)
    used = set(_strings(json.loads(entries_of(mar)["manifest.json"]), but="files"))
    with_manifest(mar, lambda m: m.update(files=[f for f in m["files"] if f["path"] in used]))
    own = {"manifest.json", *torchserve_files("lite")}
    write_entries(mar, {name: data for name, data in entries_of(mar).items() if name in used | own})
    return home


def _strings(content: object, but: str = "") -> Iterator[str]:
    """Every text in plain JSON, one part left out."""
    if isinstance(content, str):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        if not (but and isinstance(content, dict) and part is content.get(but)):
            yield from _strings(part)


@pytest.fixture
def mar(small_store: Path, tmp_path: Path) -> Path:
    """A copy of the small archive to change."""
    (tmp_path / "store").mkdir()
    return Path(shutil.copy(small_store / "lite.mar", tmp_path / "store" / "lite.mar"))


@pytest.mark.slow
def test_a_store_of_learned_defences_is_verified_without_their_weights(store: Path) -> None:
    """Those whose weights are shipped and those whose weights were given: what the archive holds is enough."""
    (verified,) = verify_store(store)
    finish, denoiser = 1, 1
    assert verified.graphs == 1 + len(DEFENCES) - 1 + finish + denoiser
    assert verified.not_compared == ()


def facts(**values: object) -> Edit:
    """An edit of the metric's facts."""
    return lambda manifest: manifest["metric"]["facts"].update(values)


def parameter(**values: object) -> Edit:
    """An edit of the parameter of `quantise`."""
    return lambda manifest: manifest["defences"][1]["facts"]["parameters"][0].update(values)


def golden(**values: object) -> Edit:
    """An edit of the first golden vector."""
    return lambda manifest: manifest["golden_vectors"][0].update(values)


EDITS: list[tuple[str, Edit, str]] = [
    ("a wider range", facts(range_high=120.0), r"range_high is not what the catalogue says \(120.0, not 100.0\)"),
    ("another direction", facts(higher_is_better=False), "higher_is_better is not what the catalogue says"),
    ("another least size", facts(minimum_size=8), "minimum_size is not what the catalogue says"),
    ("another default", parameter(default_value=255.0), "default_value is not what the catalogue says"),
    ("another bound", parameter(maximum=1e6), "maximum is not what the catalogue says"),
    ("no parameters", lambda m: m["defences"][1]["facts"].pop("parameters"), "has 0 parameters, the catalogue 1"),
    ("tiles", lambda m: m["defences"][1]["facts"].update(tiling={"size": 8}), "tiling is not what the catalogue says"),
    ("a diffusion of no steps", lambda m: m["defences"][1]["facts"].update(diffusion={}), "diffusion is not what"),
    ("tiles of a variant", lambda m: m["defences"][1]["variants"][0].update(tiling={"size": 8}), "runs otherwise"),
    (
        "a value without a graph",
        lambda m: m["defences"][0]["variants"][0]["structural"].update(horizontal=7),
        "no graph",
    ),
    ("an unknown structural name", lambda m: m["defences"][1]["variants"][0].update(structural={"x": 1}), "no graph"),
    ("no golden vector", lambda m: m["golden_vectors"].pop(1), "golden score behind flip is missing"),
    ("no golden vectors", lambda m: m["golden_vectors"].clear(), "does not use, golden"),
    (
        "a golden tolerance within the bound",
        golden(tolerance=0.9),
        "may be off by 0.9 with seed .*, an export allows 0.201",
    ),
    ("a golden tolerance of 1e9", golden(tolerance=1e9), "proves nothing"),
    ("another seed", golden(seed="7"), "with seed 7, an export allows"),
    ("another golden score", golden(score=3.0), "golden image behind no defence scores"),
    (
        "a golden score of a chain",
        lambda m: m["golden_vectors"].append({**m["golden_vectors"][0], "defences": "flip+flip"}),
        r"behind flip\+flip is none of ours",
    ),
]


@pytest.mark.parametrize(("edit", "message"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS])
def test_an_edited_manifest_is_found(edit: Edit, message: str, mar: Path) -> None:
    """One line that names the archive and what differs."""
    with_manifest(mar, edit)
    with pytest.raises((ExportError, ContractError), match=message) as caught:
        verify_archive(Archive(mar))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["evil", "evil.tar.gz", "evil.model"])
def test_what_torchserve_would_load_beside_the_archives_is_refused(name: str, mar: Path) -> None:
    """`torchserve --models all` loads folders and archives of other kinds from a model store, and runs their code."""
    place = mar.parent / name
    place.mkdir() if name == "evil" else place.write_bytes(b"x")
    with pytest.raises(IntegrityError, match=rf"{name}: no archive, and `torchserve --models all` would run"):
        verify_store(mar.parent)


def test_what_torchserve_leaves_alone_is_no_fault(mar: Path) -> None:
    """Notes, and hidden folders."""
    (mar.parent / "README.md").write_text("notes")
    (mar.parent / ".git").mkdir()
    (verified,) = verify_store(mar.parent)
    assert verified.path == mar


def test_edited_settings_of_plain_torchserve_are_named(mar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Java's options run code, and an address opens a port: not refused, since operators edit them as well."""
    config, log = write_server_files(mar.parent)
    assert "notice" not in notices(mar.parent, capsys)
    config.write_text(config.read_text().replace("http://127.0.0.1:8080", "http://0.0.0.0:8080") + "plugins_path=x\n")
    log.write_text("<Configuration/>")
    assert "config.properties: inference_address, config.properties: plugins_path, log4j2.xml;" in notices(
        mar.parent, capsys
    )


def notices(store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `verify` writes beside its answer, where nothing is wrong."""
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--model-store", str(store)])
    assert stopped.value.code == 0
    return capsys.readouterr().err


def test_an_edited_handler_is_found(mar: Path) -> None:
    """TorchServe would run it with its own rights."""
    with_entry(mar, "defended_score.py", entries_of(mar)["defended_score.py"] + b"import os\n")
    with pytest.raises(IntegrityError, match=r"defended_score\.py (is not what this version writes|has)"):
        verify_archive(Archive(mar))


def test_another_golden_image_is_found(mar: Path) -> None:
    """Its digest may be right: it must show what an export draws."""
    with_rewritten_graph(mar, "golden/image.png", b"no image")
    with pytest.raises(ExportError, match="is none of ours"):
        verify_archive(Archive(mar))


def pickled_module() -> bytes:
    """What torch.save makes of a module."""
    content = io.BytesIO()
    torch.save(torch.nn.Linear(2, 1), content)
    return content.getvalue()


GARBAGE = [
    ("metric.onnx", b"garbage" * 100, "metric.onnx is no graph"),
    ("metric.onnx", b"\x08\x0a\x3a\x03abc\x42\x00", "metric.onnx is no graph that onnx can load"),
    ("metric.pt", b"garbage" * 100, "metric.pt is no graph"),
    ("metric.pt", b"PK\x03\x04" + bytes(60), "metric.pt is not TorchScript"),
    ("metric.pt", pickled_module(), "metric.pt is a pickled module, whose code is never run; take its tensors out by"),
    ("defences/quantise.pt", b"PK\x03\x04" + bytes(60), "defences/quantise.pt is no graph that torchscript can load"),
]


@pytest.mark.parametrize(("name", "data", "message"), GARBAGE, ids=[f"{name} {len(data)}" for name, data, _ in GARBAGE])
def test_a_garbage_graph_is_one_line_and_exit_code_2(
    name: str, data: bytes, message: str, mar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, where its digest is right and its content no graph."""
    with_rewritten_graph(mar, name, data)
    error = failure(mar.parent, capsys)
    assert message in error
    assert str(mar) in error


def failure(store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one error line of `verify`."""
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--model-store", str(store)])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    (error,) = (line for line in lines if not line.startswith("verify "))
    assert error.startswith("error: ")
    return error


@pytest.mark.parametrize("kind", ["empty", "text", "folder", "zip of something else"])
def test_what_is_no_archive_is_one_line_and_exit_code_2(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty store, a .mar that is no zip or another one, and a folder of that name."""
    path = tmp_path / "x.mar"
    if kind == "text":
        path.write_text("no archive")
    elif kind == "folder":
        path.mkdir()
    elif kind != "empty":
        with zipfile.ZipFile(path, "w") as other:
            other.writestr("readme.txt", "hello")
    assert (str(path) if kind != "empty" else "run scoreguard-export build first") in failure(tmp_path, capsys)


def renamed(mar: Path) -> None:
    """The archive as a catalogue with other names would have written it."""

    def rename(manifest: dict[str, Any]) -> None:
        manifest["metric"]["facts"]["name"] = "sharpness"
        manifest["defences"][0]["facts"]["name"] = "mirror"
        for vector in manifest["golden_vectors"]:
            if vector.get("defences") == "flip":
                vector["defences"] = "mirror"

    with_manifest(mar, rename)
    write_entries(mar, entries_of(mar) | torchserve_files("sharpness"))


def test_what_the_catalogue_does_not_know_is_verified_by_the_archive_alone(
    mar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its graphs must agree and give the golden scores; a notice says that its facts were not compared."""
    renamed(mar)
    verified: Verified = verify_archive(Archive(mar))
    assert verified.not_compared == ("sharpness", "mirror")
    assert verified.metric == "sharpness"
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--model-store", str(mar.parent)])
    assert stopped.value.code == 0
    captured = capsys.readouterr()
    assert "golden vectors: right" in captured.out
    assert "exported by other code than this version's: sharpness, mirror; facts were not compared" in captured.err


def test_a_tolerance_that_the_manifest_invents_is_bounded(mar: Path) -> None:
    """What the catalogue does not know may still differ no more than any metric: a graph of another scale is found."""
    renamed(mar)

    def generous(manifest: dict[str, Any]) -> None:
        for case in manifest["metric"]["parity"]:
            case["tolerance"] = 1e9

    with_manifest(mar, generous)
    with_rewritten_graph(mar, "metric.onnx", entries_of(mar)["metric.onnx"].replace(*other_constant(mar), 1))
    with pytest.raises(ExportError, match="onnx graph of sharpness differs"):
        verify_archive(Archive(mar))


def other_constant(mar: Path) -> tuple[bytes, bytes]:
    """The scale of the score, 100, and another one, as the graph holds them."""
    import struct

    old, new = struct.pack("<f", 100.0), struct.pack("<f", 99.0)
    assert old in entries_of(mar)["metric.onnx"]
    return old, new
