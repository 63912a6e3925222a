"""What holds of every defence as it is served: sizes and ranges, seeds, the eager modules' images, tiles."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from served import (
    RANDOM,
    SEED,
    SERVED,
    Floats,
    Served,
    eagerly,
    photo_like,
    purified_values,
    purify_item,
    smallest,
    step_of,
)

import scoreguard_handlers
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import ArchiveManifest, GraphFiles, Tiling
from scoreguard.v1.worker_pb2 import WorkerRequest
from scoreguard_export.archive.mar import write_mar
from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.exporters.onnx_graph import export_onnx

ODD = (97, 131)
SMALL = (45, 61)
DETERMINISTIC = [name for name in SERVED if name not in RANDOM]
PROTO = Path(sys.modules["scoreguard.v1"].__file__ or "").parents[2]
ROOTS = [str(Path(scoreguard_handlers.__file__).parents[1]), str(PROTO)]
ELSEWHERE = """
import hashlib, json, sys
from pathlib import Path

from scoreguard.v1.archive import Archive
from scoreguard.v1.worker_pb2 import WorkerRequest
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.worker import Worker

worker = Worker.load(Archive(Path(sys.argv[1])), WorkerConfig())
response = worker.run(WorkerRequest.FromString(sys.stdin.buffer.read()))
images = [result.purify.purified_image.tensor.data for result in response.results]
print(json.dumps([hashlib.sha256(image).hexdigest() for image in images]))
"""


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("odd", [True, False])
def test_it_gives_an_image_of_the_size_that_the_facts_promise(served: Served, name: str, odd: bool) -> None:
    """Finite float32 values in [0, 1], from an odd size and from the smallest."""
    size = ODD if odd else (smallest(name), smallest(name))
    purified = served.purify(photo_like(*size), step_of(name, min(size)))
    assert purified.dtype == np.float32
    assert np.isfinite(purified).all()
    assert 0.0 <= purified.min() <= purified.max() <= 1.0
    assert served.artifact(name).facts.size_preserving == CATALOGUE[name].facts.size_preserving
    if CATALOGUE[name].facts.size_preserving:
        assert purified.shape == (*size, 3)


def test_an_image_below_the_smallest_size_is_refused_with_the_name_of_the_step(served: Served) -> None:
    """One pixel less than the minimum is an error of its own for each defence; its neighbours are purified."""
    least = {name: CATALOGUE[name].facts.minimum_size for name in SERVED}
    names = [name for name in SERVED if least[name] > 1]
    items = [purify_item(photo_like(least[name] - 1, 40), name, SEED) for name in names]
    results = served.answers(*items, purify_item(photo_like(8, 8), "flip", SEED))
    for name, result in zip(names, results[:-1], strict=True):
        assert f"defence '{name}' (step 1)" in result.status.message
        assert f"at least {least[name]} x {least[name]}" in result.status.message
    assert results[-1].WhichOneof("result") == "purify"


@pytest.mark.parametrize(("chain", "size"), [("crop:size=40", (40, 40)), ("resize", (49, 66))])
def test_a_defence_that_shrinks_leaves_the_size_that_it_documents(
    served: Served, chain: str, size: tuple[int, int]
) -> None:
    """The piece's side, and half the size with a half rounded up."""
    assert served.purify(photo_like(*ODD), chain).shape == (*size, 3)


@pytest.fixture(scope="module")
def restoring(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The same archive, with the variants of `crop` and `resize` that restore the size."""
    home, manifest = tmp_path_factory.mktemp("restoring"), ArchiveManifest()
    manifest.CopyFrom(served.archive.manifest)
    files = {entry.path: served.archive.read(entry.path) for entry in manifest.files}
    for artifact in manifest.defences:
        if artifact.facts.name in ("crop", "resize"):
            structural = {**artifact.variants[0].structural, "restore": 1.0}
            artifact.variants.add(structural=structural, graphs=GraphFiles(onnx=f"{artifact.facts.name}.onnx"))
            export_onnx(CATALOGUE[artifact.facts.name](**structural).eval(), home / "graph.onnx")
            files[f"{artifact.facts.name}.onnx"] = (home / "graph.onnx").read_bytes()
            (restore,) = (spec for spec in artifact.facts.parameters if spec.name == "restore")
            restore.structural_choices[:] = [0.0, 1.0]
    write_mar(home / "lite.mar", manifest, files)
    return Served.load(Archive(home / "lite.mar"), served.weights)


@pytest.mark.parametrize("chain", ["crop:restore=1:size=40", "resize:restore=1"])
def test_restoring_gives_the_original_size(restoring: Served, chain: str) -> None:
    """The same content as without it, enlarged: its mean stays."""
    image = photo_like(*ODD)
    whole, piece = (restoring.purify(image, text) for text in (chain, chain.replace("restore=1", "restore=0")))
    assert whole.shape == image.shape
    assert piece.shape < image.shape
    assert whole.mean(axis=(0, 1)) == pytest.approx(piece.mean(axis=(0, 1)), abs=0.01)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_deterministic_defence_ignores_the_seed(served: Served, name: str) -> None:
    """Other seeds, and no seed, give the same bits."""
    image, chain = photo_like(*SMALL), step_of(name, min(SMALL))
    first = served.purify(image, chain, 1)
    for seed in (2, 2**64 - 1, None):
        assert np.array_equal(served.purify(image, chain, seed), first)


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_defence_repeats_with_its_seed_alone(served: Served, name: str) -> None:
    """The same seed gives the same bits, another seed another image, in any neighbourhood."""
    image, chain = photo_like(*SMALL), step_of(name, min(SMALL))
    items = [purify_item(image, chain, seed) for seed in (7, 8, 7)]
    first, other, again = (purified_values(result.purify) for result in served.answers(*items))
    assert np.array_equal(first, again)
    assert np.array_equal(first, served.purify(image, chain, 7))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_that_the_server_draws_is_reported_and_repeats_the_answer(served: Served, name: str) -> None:
    """Two requests without a seed get two; each, sent again, gives the same bits."""
    image, chain = photo_like(*SMALL), step_of(name, min(SMALL))
    answers = [served.purified(image, chain, None) for _ in range(2)]
    seeds = [answer.provenance.seed for answer in answers]
    assert seeds[0] != seeds[1]
    for answer, seed in zip(answers, seeds, strict=True):
        assert np.array_equal(served.purify(image, chain, seed), purified_values(answer))


def test_another_process_gives_the_same_bits(served: Served) -> None:
    """Every random defence, in a worker of its own."""
    image = photo_like(*SMALL)
    request = [purify_item(image, step_of(name, min(SMALL)), 2**63 + 11) for name in RANDOM]
    here = [hashlib.sha256(result.purify.purified_image.tensor.data).hexdigest() for result in served.answers(*request)]
    there = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(served.archive.path)],
        input=WorkerRequest(items=request).SerializeToString(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS)},
        capture_output=True,
        check=True,
    )
    assert dict(zip(RANDOM, json.loads(there.stdout), strict=True)) == dict(zip(RANDOM, here, strict=True))


@pytest.mark.parametrize("name", RANDOM)
def test_two_equal_images_of_one_batch_get_draws_of_their_own(together: Served, name: str) -> None:
    """Run as one batch, each is what it is alone with its seed, and the two differ."""
    image, chain = photo_like(*SMALL), step_of(name, min(SMALL))
    results = together.answers(*(purify_item(image, chain, seed) for seed in (3, 4)))
    first, second = (purified_values(result.purify) for result in results)
    assert np.abs(first - second).max() > 1e-3
    for values, seed in ((first, 3), (second, 4)):
        assert np.abs(values - together.purify(image, chain, seed)).max() <= 1e-5


@pytest.fixture(scope="module")
def together(served: Served) -> Served:
    """The same archive, with two images to a run."""
    return Served.load(served.archive, served.weights, graph_batch=2)


SAMPLERS = [":t=5", ":t=4:steps=1", ":t=30:steps=3"]
SETTINGS = [(name, text) for name in SERVED for text in (SAMPLERS if CATALOGUE[name].schedule({}) else [""])]


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_the_served_image_is_the_eager_modules(served: Served, name: str, setting: str) -> None:
    """The whole step on ONNX Runtime, loop and finish included, within the tolerance that the facts declare."""
    image, chain = photo_like(*SMALL), step_of(name, min(SMALL)) + setting
    expected = eagerly(served.eager(name), image, chain)
    given = served.purify(image, chain)
    assert given.shape == expected.shape
    assert np.abs(given - expected).max() <= CATALOGUE[name].facts.parity_tolerance
    assert np.abs(expected - fitted(image, expected)).max() > 1e-3


def fitted(image: Floats, like: Floats) -> Floats:
    """The image's corner of the size of another: something to differ from."""
    return image[: like.shape[0], : like.shape[1]]


CUTS = {
    "ffdnet": (Tiling(size=80, overlap=26, multiple=2), (81, 117)),
    "denoiser": (Tiling(size=224, overlap=96, multiple=8), (41, 300)),
    "diffpure": (Tiling(size=224, overlap=96, multiple=8), (300, 41)),
}
"""Tiles smaller than the served ones, and an image that needs several."""


def tiled(served: Served, name: str, tiling: Tiling) -> Served:
    """The same archive with other tiles of one defence."""
    other = Served.load(Archive(served.archive.path), served.weights)
    other.artifact(name).facts.tiling.CopyFrom(tiling)
    return other


@pytest.mark.parametrize("name", CUTS)
def test_an_image_in_tiles_is_the_image_in_one_piece(served: Served, name: str) -> None:
    """Tiles that overlap by what a pixel looks at change nothing but the order of sums."""
    tiling, size = CUTS[name]
    usual = served.artifact(name).facts.tiling
    assert (tiling.overlap, tiling.multiple) == (usual.overlap, usual.multiple)
    image, chain = photo_like(*size), f"{name}:t=2" if name == "diffpure" else name
    whole = served.purify(image, chain)
    assert np.abs(tiled(served, name, tiling).purify(image, chain) - whole).max() <= 1e-5


def test_tiles_that_overlap_too_little_show(served: Served) -> None:
    """Without overlap the seams are seen: the comparison above can fail."""
    tiling, size = CUTS["ffdnet"]
    image = photo_like(*size)
    cut = tiled(served, "ffdnet", Tiling(size=tiling.size, multiple=tiling.multiple))
    assert np.abs(cut.purify(image, "ffdnet") - served.purify(image, "ffdnet")).max() > 1e-3


def test_every_defence_of_the_catalogue_is_served_or_needs_weights_that_are_not_shipped(served: Served) -> None:
    """Nothing is left out of these tests by mistake."""
    assert [artifact.facts.name for artifact in served.archive.manifest.defences] == list(SERVED)
    for name in CATALOGUE.keys() - set(SERVED):
        assert not next(iter(CATALOGUE[name].sources.values())).shipped
