"""The file of a perturbation: what it carries, its digest, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.universal.conftest import recipe

from scoreguard_client.perturbations.artifact import load_perturbation, save_perturbation
from scoreguard_client.perturbations.errors import PerturbationError, RecipeError
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import tiled


def values(seed: int = 0, shape: tuple[int, ...] = (3, 8, 8)) -> npt.NDArray[np.float32]:
    """A perturbation within 0.1."""
    return np.random.default_rng(seed).uniform(-0.1, 0.1, shape).astype(np.float32)


def test_a_saved_perturbation_comes_back_with_its_recipe_and_digest(tmp_path: Path) -> None:
    """The digest is that of the file, as any other program computes it; so are values and facts."""
    path = tmp_path / "new" / "u.safetensors"
    saved = save_perturbation(path, values(), recipe())
    found = load_perturbation(path, saved.sha256)
    assert found.sha256 == saved.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.recipe == recipe()
    np.testing.assert_array_equal(found.values, values())
    np.testing.assert_array_equal(safetensors.numpy.load_file(path)["perturbation"], values())
    with safetensors.safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["scoreguard"])
    assert facts["recipe"]["kind"] == "optimized"
    assert (facts["steps"], facts["low"], facts["high"]) == (6, float(values().min()), float(values().max()))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_equal_perturbations_have_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    """A digest stands for the values and for the recipe."""
    digests = [
        save_perturbation(tmp_path / f"{number}.safetensors", array, made).sha256
        for number, (array, made) in enumerate(
            [(values(), recipe()), (values(), recipe()), (values(1), recipe()), (values(), recipe(seed=1))]
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_digest_that_does_not_match_is_refused(tmp_path: Path) -> None:
    """Naming the file and both digests."""
    path = tmp_path / "u.safetensors"
    save_perturbation(path, values(), recipe())
    with pytest.raises(PerturbationError, match=f"{path} is not the perturbation.*not {'0' * 64}"):
        load_perturbation(path, "0" * 64)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((3, 4, 4), np.nan, np.float32), "not finite"),
        (np.full((3, 4, 4), 2, np.float32), "units of"),
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((1, 4, 4), np.float32), "float32"),
        (np.zeros((3, 4, 4), np.float64), "float32"),
        (np.zeros((3, 0, 4), np.float32), "float32"),
    ],
)
def test_arrays_that_are_no_perturbation_are_neither_read_nor_written(
    array: npt.NDArray[Any], said: str, tmp_path: Path
) -> None:
    """NaN, another scale, another shape or type."""
    path = tmp_path / "u.safetensors"
    with pytest.raises(PerturbationError, match=said):
        save_perturbation(path, array, recipe())
    assert not path.exists()
    facts = json.dumps({"format": 1, "recipe": recipe().as_dict()})
    safetensors.numpy.save_file({"perturbation": array}, path, {"scoreguard": facts})
    with pytest.raises(PerturbationError, match=said):
        load_perturbation(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no tensors",
        safetensors.numpy.save({"perturbation": np.zeros((3, 4, 4), np.float32)}),
        safetensors.numpy.save({"perturbation": np.zeros((3, 4, 4), np.float32)}, {"scoreguard": "["}),
        safetensors.numpy.save({"perturbation": np.zeros((3, 4, 4), np.float32)}, {"scoreguard": "[]"}),
        safetensors.numpy.save({"perturbation": np.zeros((3, 4, 4), np.float32)}, {"scoreguard": '{"format": 9}'}),
        safetensors.numpy.save({"other": np.zeros((3, 4, 4), np.float32)}, {"scoreguard": '{"format": 1}'}),
        safetensors.numpy.save({"perturbation": np.zeros((3, 4, 4), np.float32)}, {"scoreguard": '{"format": 1}'}),
        safetensors.numpy.save(
            {"perturbation": np.zeros((3, 4, 4), np.float32)}, {"scoreguard": '{"format": 1, "recipe": {"kind": "x"}}'}
        ),
    ],
)
def test_a_damaged_file_gives_one_line(data: bytes, tmp_path: Path) -> None:
    """Cut, foreign, of another version: always the same class of error, which names the file."""
    path = tmp_path / "u.safetensors"
    path.write_bytes(data)
    with pytest.raises(PerturbationError, match=str(path)) as caught:
        load_perturbation(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    """Path and command."""
    with pytest.raises(PerturbationError, match=r"gone\.safetensors.*scoreguard uap train --out"):
        load_perturbation(tmp_path / "gone.safetensors")


def test_published_arrays_are_read_in_either_layout(tmp_path: Path) -> None:
    """Height, width, channels and channels first give the same perturbation; nothing is known of its training."""
    np.save(tmp_path / "last.npy", values().transpose(1, 2, 0).astype(np.float64))
    np.save(tmp_path / "first.npy", values())
    for name in ("last.npy", "first.npy"):
        found = load_perturbation(tmp_path / name)
        np.testing.assert_array_equal(found.values, values())
        assert found.recipe is None
        assert found.facts()["recipe"] == {}


def test_an_array_file_cannot_run_code(tmp_path: Path) -> None:
    """Pickled objects are refused, and so are whole numbers, whose scale nobody knows."""
    (tmp_path / "object.npy").write_bytes(pickle.dumps([1]))
    np.save(tmp_path / "pickled.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "levels.npy", np.zeros((4, 4, 3), np.uint8))
    for name in ("object.npy", "pickled.npy", "levels.npy"):
        with pytest.raises(PerturbationError, match=name):
            load_perturbation(tmp_path / name)


def test_a_published_image_is_read_around_level_127(tmp_path: Path) -> None:
    """Ten levels above are 10 / 255; a photograph is not taken for a perturbation."""
    levels = np.full((4, 5, 3), 127, np.uint8)
    levels[0, 0], levels[1, 1] = 137, 117
    PIL.Image.fromarray(levels).save(tmp_path / "u.png")
    found = load_perturbation(tmp_path / "u.png")
    assert found.values.shape == (3, 4, 5)
    assert found.values[:, 0, 0].tolist() == pytest.approx([10 / 255] * 3)
    assert found.values[:, 1, 1].tolist() == pytest.approx([-10 / 255] * 3)
    PIL.Image.fromarray(np.full((4, 5, 3), 200, np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(PerturbationError, match="within 51 levels"):
        load_perturbation(tmp_path / "photo.png")


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("uap_maniqa_COCO.npy", 0.1),
        ("uap_maniqa_VOC2012.npy", 0.1),
        ("cumulative_uap_nima.png", 10 / 255),
        ("optimized_uap_nima.png", 10 / 255),
        ("generative_uap_nima.png", 10 / 255),
    ],
)
def test_the_benchmarks_published_perturbations_can_be_read(name: str, largest: float, shared_data: Path) -> None:
    """256 x 256, with the bounds that the benchmark states."""
    found = load_perturbation(shared_data / "benchmark/uap" / name)
    assert found.values.shape == (3, 256, 256)
    assert found.largest == pytest.approx(largest)


@settings(max_examples=40, deadline=None)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), target=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_tiling_is_that_of_numpy_cut_to_size(size: tuple[int, int], target: tuple[int, int]) -> None:
    """Repeated from the top left corner, at odd sizes and at smaller ones."""
    perturbation = values(shape=(3, *size))
    repeats = (1, -(-target[0] // size[0]), -(-target[1] // size[1]))
    wanted = np.tile(perturbation, repeats)[:, : target[0], : target[1]]
    np.testing.assert_array_equal(tiled(perturbation, *target), wanted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "magic"}, "kind is cumulative, optimized, generative, momentum"),
        ({"epochs": 0}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"images": 0}, "images"),
        ({"size": 4}, "size must be at least 8"),
        ({"kind": "generative", "size": 48}, "64, 128, 256"),
        ({"bound": 0.0}, "bound"),
        ({"bound": 1.5}, "bound"),
        ({"rate": 0.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    """One line that names the parameter."""
    with pytest.raises(RecipeError, match=said):
        recipe(**changes)


def test_a_recipe_survives_being_written_and_tells_what_differs() -> None:
    """Through JSON, field by field."""
    made = recipe(bound=10 / 255)
    assert Recipe.from_dict(json.loads(json.dumps(made.as_dict()))) == made
    assert made.differences(replace(made, seed=5, batch=3)) == "batch: 2 there, 3 here; seed: 0 there, 5 here"
    with pytest.raises(RecipeError, match="epochs, hue"):
        Recipe.from_dict({name: value for name, value in made.as_dict().items() if name != "epochs"} | {"hue": 1})
