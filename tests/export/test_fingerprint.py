"""What a build depends on: code, weights, libraries; and not: paths, other code."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreguard_export.archive import fingerprint
from scoreguard_export.archive.fingerprint import code_digest, export_key
from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS

FILES = {
    "__init__": "",
    "helper": "import numpy\nVALUE = 1\n",
    "one": "from fingerprinted.helper import VALUE\nclass One: pass\n",
    "two": "from . import helper\nclass Two: pass\n",
    "three": "class Three: pass\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of three classes, two of which use a helper."""
    folder = tmp_path / "fingerprinted"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("fingerprinted")]:
        del sys.modules[name]
    forget()


def forget() -> None:
    """As a new process would."""
    for cached in (fingerprint._file_digest, fingerprint._imported, fingerprint._file_of):
        cached.cache_clear()


def keys() -> dict[str, str]:
    """The key of every class of the package."""
    forget()
    names = ("one", "two", "three")
    classes = {name: getattr(importlib.import_module(f"fingerprinted.{name}"), name.title()) for name in names}
    return {name: export_key(kind, {}) for name, kind in classes.items()}


@pytest.mark.parametrize(
    ("changed", "others"), [("one", {"one"}), ("helper", {"one", "two"}), ("three", {"three"}), ("__init__", {"two"})]
)
def test_a_key_changes_with_the_code_that_its_class_uses(package: Path, changed: str, others: set[str]) -> None:
    """The class's own file and what it imports, in either way of writing it; no other file of the package."""
    before = keys()
    path = package / f"{changed}.py"
    path.write_text(path.read_text() + "# changed\n")
    after = keys()
    assert {name for name in before if before[name] != after[name]} == others


def test_a_key_changes_with_the_content_of_weights_and_not_with_their_place(tmp_path: Path) -> None:
    """The same file elsewhere gives the same graphs."""
    kind = METRICS["lite"]
    for name, data in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(data)
    same, moved, other = (export_key(kind, {"lite": tmp_path / name}) for name in "abc")
    assert same == moved != other
    assert export_key(kind, {}) != same


def test_a_key_changes_with_the_version_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that the class or the exporter imports, by its own name or by that of its distribution."""
    before = export_key(CATALOGUE["flip"], {})
    known = fingerprint._versions
    for name in ("torch", "onnxruntime", "pillow"):
        monkeypatch.setattr(
            fingerprint,
            "_versions",
            lambda top, name=name: tuple((n, "0" if n == name else v) for n, v in known(top)),
        )
        assert export_key(CATALOGUE["flip"], {}) != before, name


def test_a_network_of_a_library_counts_with_its_version() -> None:
    """FBCNN's is imported by name when it is built; the key has the version of what holds it."""
    assert "spandrel" in fingerprint._libraries([CATALOGUE["fbcnn"].__module__])


def test_options_of_the_build_are_part_of_the_key() -> None:
    """Fewer variants are another result."""
    kind = CATALOGUE["flip"]
    assert export_key(kind, {}, variants=[{}]) != export_key(kind, {}, variants=[{}, {}])


def test_no_defence_depends_on_the_catalogue_of_all() -> None:
    """Else a new defence would rebuild every other one."""
    for name, kind in CATALOGUE.items():
        modules = fingerprint._sources([kind.__module__, *fingerprint._EXPORTER])
        assert not modules.keys() & {"scoreguard_export.defences.catalogue", "scoreguard_export.metrics.catalogue"}, (
            name
        )


def test_the_digest_of_code_is_that_of_the_class_alone() -> None:
    """It tells whether facts can be compared: the exporter and the libraries have no part in them."""
    assert code_digest(CATALOGUE["flip"]) != code_digest(CATALOGUE["quantise"])
    assert code_digest(METRICS["nima"]) == code_digest(METRICS["nima-aesthetic"])


@pytest.mark.slow
def test_a_class_of_a_script_that_is_run_has_a_key(tmp_path: Path) -> None:
    """Its file is the script's: `python script.py` builds, and the next run finds what it built."""
    script = tmp_path / "script.py"
    script.write_text(
        "from scoreguard_export.archive.fingerprint import export_key\nclass Mine: pass\nprint(export_key(Mine, {}))\n"
    )
    words = [sys.executable, str(script)]
    first, again = (subprocess.run(words, capture_output=True, text=True, check=True).stdout for _ in range(2))
    script.write_text(script.read_text() + "# changed\n")
    assert first == again != subprocess.run(words, capture_output=True, text=True, check=True).stdout
