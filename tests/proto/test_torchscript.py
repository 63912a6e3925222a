"""The one TorchScript engine, on the graphs of a small archive whose values can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.clients.oracles.toy_archive import write_archive
from torch import Tensor

from scoreguard.chain.execution import run_step
from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.torchscript import (
    DifferentiableChain,
    TorchEngine,
    archive_graphs,
    cause_of,
    load_graph,
)
from scoreguard.support.digests import sha256_of
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import EngineError, IntegrityError, NoGradientError, TooSmallError
from scoreguard.v1.spec import parse_chain


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The toy archive; its metric is 100 times the mean square."""
    return write_archive(tmp_path_factory.mktemp("store") / "energy")


@pytest.fixture
def images() -> Tensor:
    """Two images, 8 x 10, of 8 bits."""
    levels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 10))
    return torch.from_numpy(levels.astype(np.float32) / 255)


def steps_of(archive: Archive, chain: str) -> list[ResolvedStep]:
    """A chain's text, resolved."""
    artifacts = {artifact.facts.name: artifact for artifact in archive.manifest.defences}
    return [
        resolve_step(step.to_message(), artifacts[step.name], place) for place, step in enumerate(parse_chain(chain))
    ]


def chain_of(archive: Archive, chain: str, *, checkpoint: bool = False) -> DifferentiableChain:
    """A chain on the graphs of an archive."""
    engine = TorchEngine(modules=archive_graphs(archive), checkpoint=checkpoint)
    return DifferentiableChain(engine=engine, metric=archive.manifest.metric, steps=steps_of(archive, chain))


@pytest.mark.parametrize(
    ("chain", "factor"), [("none", 1.0), ("scale", 0.5), ("scale:factor=0.25+scale", 0.125), ("scale:factor=0", 0.0)]
)
def test_score_and_gradient_are_those_worked_out_by_hand(
    toy: Archive, images: Tensor, chain: str, factor: float
) -> None:
    """Score 100 mean((cx)^2), gradient 200 c^2 x / size, one score for each image of a batch."""
    scores, gradient = chain_of(toy, chain).gradient(images, [0, 0])
    expected = 100 * (images.double() * factor).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(gradient, 200 * factor**2 * images / images[0].numel(), rtol=1e-4, atol=1e-12)
    assert not scores.requires_grad


def test_a_term_of_a_mean_over_draws_is_its_share(toy: Archive, images: Tensor) -> None:
    """With four draws each gradient is a quarter; the score is whole."""
    chain = chain_of(toy, "scale")
    whole, quarter = chain.gradient(images, [0, 0]), chain.gradient(images, [0, 0], draws=4)
    assert torch.equal(quarter[0], whole[0])
    assert torch.equal(quarter[1] * 4, whole[1])


def test_a_bpda_step_gives_its_own_value_to_the_last_bit_and_passes_the_gradient(toy: Archive, images: Tensor) -> None:
    """The score is that of the purified image alone, the gradient the metric's there."""
    (step,) = steps_of(toy, "round:levels=7")
    engine = TorchEngine(modules=archive_graphs(toy))
    purified = run_step(engine, images, step, [0, 0], 0)
    scores, gradient = chain_of(toy, "round:levels=7").gradient(images, [0, 0])
    expected = chain_of(toy, "none").gradient(purified, [0, 0])
    assert torch.equal(scores, expected[0])
    assert torch.equal(gradient, expected[1])


def test_a_bpda_step_that_changes_the_size_scores_and_has_no_gradient(toy: Archive, images: Tensor) -> None:
    """The error names step and defence; without autograd there is nothing to refuse."""
    chain = chain_of(toy, "thin")
    with torch.no_grad():
        scores = chain.score(images, [0, 0])
    torch.testing.assert_close(scores, 100 * images[:, :, ::2, ::2].square().mean(dim=(1, 2, 3)))
    with pytest.raises(NoGradientError, match="no gradient through thin: defence 'thin' changes") as caught:
        chain.gradient(images, [0, 0])
    assert (caught.value.step, caught.value.defence) == ("thin", "thin")


@pytest.mark.parametrize("chain", ["waves+scale", "noise+waves+shrink+round:levels=9+noise:sigma=0.3", "none"])
def test_a_checkpointed_gradient_is_the_same_to_the_last_bit(toy: Archive, images: Tensor, chain: str) -> None:
    """What the backward pass needs is computed again, with the same draws."""
    plain, thrifty = (chain_of(toy, chain, checkpoint=flag).gradient(images, [3, 2**63 + 1]) for flag in (False, True))
    assert torch.equal(plain[0], thrifty[0])
    assert torch.equal(plain[1], thrifty[1])


def test_a_chain_that_gives_a_constant_has_a_gradient_of_zero(tmp_path: Path, images: Tensor) -> None:
    """Neither an answer about unused tensors nor one that is missing."""

    class Constant(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.zeros(image.shape[0])

    scores, gradient = chain_of(write_archive(tmp_path / "x", Constant()), "scale").gradient(images, [0, 0])
    assert scores.tolist() == [0, 0]
    assert torch.equal(gradient, torch.zeros_like(images))


def test_the_images_themselves_are_left_alone(toy: Archive, images: Tensor) -> None:
    """A caller's tensor neither becomes a leaf nor changes."""
    before = images.clone()
    chain_of(toy, "noise+round").gradient(images, [0, 0])
    assert torch.equal(images, before)
    assert not images.requires_grad


def test_read_only_values_are_taken(toy: Archive) -> None:
    """Torch itself warns of them, and warnings are errors here."""
    values = np.ones((1, 3, 4, 4), np.float32)
    values.flags.writeable = False
    assert torch.equal(TorchEngine(modules=archive_graphs(toy)).array(values), torch.ones(1, 3, 4, 4))


def test_an_image_that_is_too_small_at_a_step_is_refused_by_the_contracts_error(tmp_path: Path) -> None:
    """Sizes are checked where the image is that small."""
    toy = write_archive(tmp_path / "energy")
    toy.manifest.metric.facts.minimum_size = 3
    with pytest.raises(TooSmallError, match="metric 'energy' needs at least 3 x 3"):
        chain_of(toy, "shrink").score(torch.ones(1, 3, 4, 4), [0])


def test_a_graph_that_fails_says_which_and_why_in_one_line(toy: Archive) -> None:
    """Torch's pages of trace become a line with the file, the shape and the cause."""
    with pytest.raises(EngineError, match=r"energy\.pt cannot run on an image of shape \(1, 3, 8\): ") as caught:
        chain_of(toy, "none").score(torch.zeros(1, 3, 8), [0])
    assert caught.value.subject == "energy.pt"
    assert "\n" not in str(caught.value)
    assert "Dimension out of range" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"PK\x03\x04" + bytes(60)], ids=["empty", "text", "zip"])
def test_a_file_that_is_no_graph_gives_the_one_error(tmp_path: Path, data: bytes) -> None:
    """Its digest is right and its content is not TorchScript: one line, what to do included."""
    archive = write_archive(tmp_path / "energy")
    (archive.path / "scale-0.pt").write_bytes(data)
    entry = next(file for file in archive.manifest.files if file.path == "scale-0.pt")
    entry.sha256, entry.size_bytes = sha256_of(data), len(data)
    graphs = archive_graphs(archive)
    assert graphs["energy.pt"] is graphs["energy.pt"]
    with pytest.raises(EngineError, match=r"scale-0\.pt is not TorchScript that torch .* can load: ") as caught:
        graphs["scale-0.pt"]
    assert str(caught.value).endswith("build the archive of 'energy' again")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_changed_file_is_not_loaded(tmp_path: Path) -> None:
    """The digest is confirmed before torch sees a byte."""
    archive = write_archive(tmp_path / "energy")
    path = archive.path / "energy.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="changed after the export"):
        archive_graphs(archive)["energy.pt"]


def test_graphs_and_arrays_are_made_on_the_device(toy: Archive) -> None:
    """Nothing assumes the CPU: weights, parameters and draws of the engine lie on the device that it was given."""
    meta = torch.device("meta")
    engine = TorchEngine(modules=archive_graphs(toy, meta), device=meta)
    for step in steps_of(toy, "scale+noise+shrink"):
        purified = run_step(engine, torch.ones(1, 3, 8, 8, device=meta), step, [0], 0)
        assert purified.device == meta
    weights = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))  # type: ignore[no-untyped-call]
    moved = load_graph(weights.save_to_buffer(), meta)
    assert {parameter.device for parameter in moved.parameters()} == {meta}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("CUDA error: no device\nadvice\n", "CUDA error: no device"),
        ("The following operation failed in the TorchScript interpreter.\nTraceback\n  x\nRuntimeError: a\n", "a"),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_is_the_line_that_says_it(text: str, line: str) -> None:
    """Plain errors begin with it, those of a graph end with it."""
    assert cause_of(RuntimeError(text)) == line
