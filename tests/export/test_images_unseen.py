"""Tables of trained parts are made from images that those parts never saw: the lists are compared."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scoreguard_export.metrics.niqe_fit import photos_digest
from scoreguard_export.training.photos import bundled_photos, photos_in

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "export/scoreguard_export/weights"


def loaded(name: str, folder: str = "benchmarks") -> ModuleType:
    """A script as a module."""
    path = ROOT / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"of_{folder}_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


unseen = loaded("unseen")


@pytest.mark.parametrize("record", ["lite", "denoiser", "niqe", "fcn_filter"])
def test_each_record_lists_what_its_weights_were_trained_on(record: str) -> None:
    """As many as it says, and none that was held out or excluded."""
    content = json.loads((WEIGHTS / f"{record}.json").read_text())
    names = content["trained_on"]
    assert len(names) == len(set(names)) > 50
    counts = [content[key] for key in ("training_photographs", "photographs", "training_images") if key in content]
    assert all(count == len(names) for count in counts)
    kept_out = {name.partition("-png-")[0] for name in [*content.get("held_out", []), *content.get("excluded", [])]}
    assert kept_out and not kept_out & set(names)


def test_the_list_of_niqe_is_that_of_the_photographs_in_its_digest(shared_data: Path) -> None:
    """The record's digest is over names and values of every photograph that was read."""
    content = json.loads((WEIGHTS / "niqe.json").read_text())
    folders = (shared_data / "images/nips2017", shared_data / "images/kodak24")
    photos = bundled_photos() | photos_in(folders)
    assert photos_digest({name: photos[name] for name in content["trained_on"]}) == content["data_sha256"]


def test_the_list_of_the_other_records_is_their_folders_less_what_was_kept_out(shared_data: Path) -> None:
    """Folders by name, as the record's command has them."""
    folders = [shared_data / "images" / folder for folder in ("nips2017", "kodak24")]
    every = {path.stem for folder in folders for path in folder.glob("*.png")}
    every |= {"astronaut", "coffee", "chelsea", "rocket"}
    for record in ("lite", "denoiser"):
        content = json.loads((WEIGHTS / f"{record}.json").read_text())
        assert set(content["trained_on"]) == every - set(content["held_out"]) - set(content["excluded"])


def test_no_image_of_the_documented_list_was_trained_on() -> None:
    """The list that docs/attacks.md's table of `lite` is made from."""
    names = unseen.LIST.read_text().split()
    assert len(names) == len(set(names)) >= 20
    assert not [name for name in names if unseen.seen_by(name, ["lite"])]


def test_the_attack_table_takes_no_image_that_a_metric_was_trained_on(shared_data: Path) -> None:
    """Of the first hundred of NIPS 2017 eight are left for `lite`; `nima` knows the Kodak images besides."""
    folders = [shared_data / "images/nips2017", shared_data / "images/kodak24"]
    chosen = [path.name for path in unseen.choose(folders, ["lite"])]
    assert len(chosen) == 14
    assert set(chosen) <= set(unseen.LIST.read_text().split())
    assert len(unseen.choose(folders, ["lite", "nima"])) == 8
    assert {path.stem for path in unseen.choose(folders, ["lite", "denoiser", "fcn-filter", "niqe"])} == {
        f"kodim{number:02}" for number in (1, 3, 4, 8, 19, 21)
    }


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("001b5e6f1b89fd3b.png", "lite"),
        ("kodim05.jpg", "nima"),
        ("000b7d55b6184b08.png", "diffpure"),
        ("00312c7e7196baf4.png", "fcn-filter"),
        ("astronaut.png", "niqe"),
    ],
)
def test_an_image_of_a_training_list_is_refused_in_one_line(name: str, part: str) -> None:
    """By name, with the part that knows it."""
    with pytest.raises(SystemExit) as caught:
        unseen.refuse_seen(["unknown.png", name], ["unknown", part])
    assert str(caught.value).startswith(f"{name} is in the training list of {part}: ")
    assert "\n" not in str(caught.value)


def test_the_demo_shows_images_that_lite_was_not_trained_on() -> None:
    """All six, and scikit-image brings them."""
    demo = loaded("demo", "scripts")
    assert not [name for name in (*demo.SHARP, *demo.POOR) if unseen.seen_by(name, ["lite"])]


def test_the_denoisers_table_in_the_docs_is_of_images_that_it_never_saw() -> None:
    """kodim01 to kodim05, as docs/defences.md says."""
    assert "kodim01 to kodim05" in (ROOT / "docs/defences.md").read_text(encoding="utf-8")
    assert not [number for number in range(1, 6) if unseen.seen_by(f"kodim{number:02}.png", ["denoiser"])]
