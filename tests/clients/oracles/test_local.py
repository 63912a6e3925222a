"""The local oracle against values worked out by hand with numpy."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.clients.oracles.toy_archive import Defence, write_archive

from scoreguard.chain.rounding import Rounding
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import IntegrityError, ParameterError
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_STRAIGHT_THROUGH, DefenceFacts, ParameterSpec
from scoreguard.v1.spec import format_chain, parse_chain
from scoreguard_client import MissingExtraError
from scoreguard_client.attacks import parse_attack
from scoreguard_client.oracles import LocalOracle, SurrogateError, find_surrogate
from scoreguard_client.oracles.base import GradientOracle, Images, Scores
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.quantise import Quantise
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.metrics.catalogue import load_metric


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The toy archive."""
    return write_archive(tmp_path_factory.mktemp("store") / "energy")


@pytest.fixture
def images() -> Images:
    """Two images, 7 x 10."""
    return np.random.default_rng(0).random((2, 3, 7, 10), dtype=np.float32)


def energy(images: npt.NDArray[np.floating[Any]]) -> Scores:
    """The metric in numpy."""
    return np.asarray(100 * (images.astype(np.float64) ** 2).mean(axis=(1, 2, 3)))


def test_the_undefended_score_and_its_gradient_are_those_of_the_metric(toy: Archive, images: Images) -> None:
    """Score 100 mean(x^2), gradient 200 x / size; the facts come from the manifest."""
    oracle = LocalOracle(toy, threads=1)
    scores, gradient = oracle.gradient(images)
    np.testing.assert_allclose(scores, energy(images), rtol=1e-5)
    np.testing.assert_allclose(oracle.score(images), scores)
    np.testing.assert_allclose(gradient, 200 * images / images[0].size, rtol=1e-5)
    assert (oracle.facts.metric, oracle.facts.span, oracle.facts.sign) == ("energy", 100, 1)
    assert isinstance(oracle, GradientOracle)


@pytest.mark.parametrize(
    ("chain", "factor"), [("scale", 0.5), ("scale:factor=0.25", 0.25), ("scale+scale:factor=0.1", 0.05)]
)
def test_parameters_take_their_defaults_and_chains_their_order(
    chain: str, factor: float, toy: Archive, images: Images
) -> None:
    """The chain rule holds through every step."""
    scores, gradient = LocalOracle(toy, parse_chain(chain)).gradient(images)
    np.testing.assert_allclose(scores, energy(images) * factor**2, rtol=1e-5)
    np.testing.assert_allclose(gradient, 200 * factor**2 * images / images[0].size, rtol=1e-4)


@pytest.mark.parametrize("step", [2, 3])
def test_a_structural_parameter_selects_its_variant(step: int, toy: Archive, images: Images) -> None:
    """Each exported variant is another graph."""
    oracle = LocalOracle(toy, parse_chain(f"shrink:step={step}"))
    np.testing.assert_allclose(oracle.score(images), energy(images[:, :, ::step, ::step]), rtol=1e-5)


def test_a_bpda_defence_scores_as_itself_and_passes_the_gradient_as_the_identity(toy: Archive, images: Images) -> None:
    """The derivative of the metric is taken at the purified image and handed through."""
    scores, gradient = LocalOracle(toy, parse_chain("round")).gradient(images)
    purified = np.round(images * 4) / 4
    np.testing.assert_allclose(scores, energy(purified), rtol=1e-5)
    np.testing.assert_allclose(gradient, 200 * purified / images[0].size, rtol=1e-4, atol=1e-7)


def test_a_bpda_defence_that_changes_the_size_cannot_pass_as_the_identity(toy: Archive, images: Images) -> None:
    """The message names the defence."""
    with pytest.raises(SurrogateError, match="'thin' changes the image's size"):
        LocalOracle(toy, parse_chain("thin")).gradient(images)


@pytest.fixture
def rounding_archive(tmp_path: Path) -> Archive:
    """The energy behind the exported modules of `quantise` and `jpeg`."""
    straight = DIFFERENTIABILITY_STRAIGHT_THROUGH
    levels = ParameterSpec(name="levels", default_value=16, minimum=2, maximum=256)
    quality = ParameterSpec(name="quality", default_value=50, minimum=1, maximum=100)
    subsampling = ParameterSpec(
        name="subsampling",
        default_value=420,
        minimum=420,
        maximum=444,
        structural_choices=[420, 444],
        choice_names=["4:2:0", "4:4:4"],
    )
    more: list[Defence] = [
        (DefenceFacts(name="quantise", parameters=[levels], differentiability=straight), {(): Quantise()}),
        (
            DefenceFacts(name="jpeg", parameters=[quality, subsampling], differentiability=straight),
            {(("subsampling", value),): Jpeg(subsampling=value) for value in (420.0, 444.0)},
        ),
    ]
    return write_archive(tmp_path / "rounding", more=more)


@pytest.mark.parametrize("chain", ["quantise:levels=5", "scale+jpeg", "jpeg:subsampling=4:4:4:quality=20+quantise"])
def test_another_derivative_of_rounding_changes_the_gradient_and_no_bit_of_a_score(
    chain: str, rounding_archive: Archive
) -> None:
    """Cubic, by the constructor or as a twin; a chain that does not round has one gradient."""
    images = np.random.default_rng(5).random((2, 3, 24, 17), dtype=np.float32)
    plain = LocalOracle(rounding_archive, parse_chain(chain))
    cubic = plain.with_rounding(Rounding.CUBIC)
    scores, straight = plain.gradient(images)
    again, soft = cubic.gradient(images)
    np.testing.assert_array_equal(again, scores)
    np.testing.assert_array_equal(cubic.score(images), plain.score(images))
    assert np.abs(soft - straight).max() > 0.1 * np.abs(straight).max()
    given = LocalOracle(rounding_archive, parse_chain(chain), rounding=Rounding.CUBIC)
    np.testing.assert_array_equal(given.gradient(images)[1], soft)
    other = LocalOracle(rounding_archive, parse_chain("scale"))
    np.testing.assert_array_equal(other.gradient(images)[1], other.with_rounding(Rounding.CUBIC).gradient(images)[1])


def test_through_a_quantisation_the_cubic_gradient_is_worked_out_by_hand(rounding_archive: Archive) -> None:
    """D energy / d level = 200 y / n, times 3 (4 x - round(4 x))^2 or a hundredth."""
    images = np.random.default_rng(6).random((2, 3, 5, 4), dtype=np.float32)
    oracle = LocalOracle(rounding_archive, parse_chain("quantise:levels=5"), rounding=Rounding.CUBIC)
    levels = np.rint(images * 4)
    expected = 200 * levels / 4 / images[0].size * np.maximum(3 * (images * 4 - levels) ** 2, 0.01)
    np.testing.assert_allclose(oracle.gradient(images)[1], expected, atol=1e-5)


@pytest.mark.parametrize("chain", ["quantise:levels=256", "jpeg:quality=50", "jpeg:quality=50:subsampling=4:4:4"])
def test_mpgd_climbs_from_an_image_whose_numbers_all_stand_between_two_thresholds(
    chain: str, rounding_archive: Archive
) -> None:
    """A flat 8-bit image, where the cubic slope alone is 0 everywhere."""
    grey = np.full((1, 3, 32, 32), 128 / 255, np.float32)
    oracle = LocalOracle(rounding_archive, parse_chain(chain))
    result = parse_attack("mpgd:iterations=5:eps=8/255")(grey, oracle)
    assert result.scores[0] > oracle.score(grey)[0]


def test_the_facts_tell_the_chain_with_every_parameter(rounding_archive: Archive) -> None:
    """Attacks read there what they attack."""
    facts = LocalOracle(rounding_archive, parse_chain("scale+jpeg:quality=30")).facts
    assert format_chain(facts.chain) == "scale:factor=0.5+jpeg:quality=30:subsampling=4:2:0"
    assert LocalOracle(rounding_archive).facts.chain == ()


def test_a_twin_with_another_rounding_goes_on_with_the_draws(toy: Archive, images: Images) -> None:
    """No draw of a random defence is seen twice, whichever of the two is asked."""
    oracle = LocalOracle(toy, parse_chain("noise"), seed=3)
    twin = oracle.with_rounding(Rounding.CUBIC)
    seen = [oracle.score(images), twin.score(images), oracle.score(images)]
    fresh = LocalOracle(toy, parse_chain("noise"), seed=3)
    np.testing.assert_array_equal(np.stack(seen), np.stack([fresh.score(images) for _ in range(3)]))


def test_random_defences_follow_the_seed_and_draws_are_averaged(toy: Archive, images: Images) -> None:
    """Same seed, same draws in the same order; the mean over many draws nears the expectation."""
    chain = parse_chain("noise:sigma=0.2")
    first = LocalOracle(toy, chain, seed=3)
    answers = [first.score(images) for _ in range(2)]
    again = LocalOracle(toy, chain, seed=4).with_seed(3)
    np.testing.assert_array_equal(again.score(images), answers[0])
    assert not np.array_equal(answers[0], answers[1])
    scores, gradient = LocalOracle(toy, chain, draws=400).gradient(images)
    np.testing.assert_allclose(scores, energy(images) + 100 * 0.2**2, rtol=0.02)
    expected = 200 * images / images[0].size
    assert np.abs(gradient - expected).mean() < 0.1 * np.abs(expected).mean()


def test_a_checkpointed_gradient_is_the_same(toy: Archive) -> None:
    """What the backward pass needs is computed again, random draws included."""
    images = np.random.default_rng(3).random((2, 3, 40, 50), dtype=np.float32)
    chain = parse_chain("noise+waves+scale:factor=0.9+shrink+round:levels=9+noise:sigma=0.3+waves")
    plain, thrifty = (LocalOracle(toy, chain, seed=4, draws=3, checkpoint=flag) for flag in (False, True))
    scores, gradient = plain.gradient(images)
    again, checkpointed = thrifty.gradient(images)
    np.testing.assert_array_equal(again, scores)
    np.testing.assert_allclose(checkpointed, gradient, rtol=1e-6)


def test_a_checkpoint_keeps_one_image_for_each_step(toy: Archive) -> None:
    """Forty sines in four steps keep forty images without it; with it, no more than each step's own."""
    kept = {}
    for flag in (False, True):
        oracle, sizes = LocalOracle(toy, parse_chain("waves+waves+waves+waves"), checkpoint=flag), list[int]()

        def pack(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        image = torch.rand(1, 3, 40, 50, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            oracle._chain.score(image, [0])
        kept[flag] = sum(sizes) / image.numel()
    assert kept[False] >= 40
    assert kept[True] <= 5


def test_a_real_metric_answers_bit_for_bit_alike_however_often_it_was_asked(tmp_path: Path) -> None:
    """A resumed campaign, whose process is fresh, gets the gradients of one that was never stopped."""
    crops = np.random.default_rng(6).random((2, 3, 96, 112), dtype=np.float32)

    class Behind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.jpeg, self.lite = Jpeg(), load_metric("lite")

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.lite(self.jpeg(image, torch.tensor(50.0)))  # type: ignore[no-any-return]

    with quiet():
        traced = torch.jit.trace(Behind().eval(), torch.from_numpy(crops), check_trace=False)  # type: ignore[no-untyped-call]
    archive = write_archive(tmp_path / "behind", traced)
    asked = LocalOracle(archive)
    answers = [asked.gradient(crops) for _ in range(4)]
    scores, gradient = LocalOracle(archive).gradient(crops)
    for again in answers:
        np.testing.assert_array_equal(again[0], scores)
        np.testing.assert_array_equal(again[1], gradient)


def test_unknown_defences_and_parameters_are_refused_before_any_query(toy: Archive) -> None:
    """What there is stands in the message."""
    with pytest.raises(SurrogateError, match="there are scale, shrink"):
        LocalOracle(toy, parse_chain("jpeg"))
    with pytest.raises(ParameterError):
        LocalOracle(toy, parse_chain("scale:factor=7"))


def test_a_changed_graph_is_not_loaded(tmp_path: Path) -> None:
    """The digest is confirmed before torch sees a byte."""
    toy = write_archive(tmp_path / "energy")
    graph = tmp_path / "energy" / "energy.pt"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="changed after the export"):
        LocalOracle(toy)


def test_an_image_that_a_graph_cannot_read_gives_one_line(toy: Archive) -> None:
    """Torch's pages of trace become a message with the shape."""
    with pytest.raises(SurrogateError, match=r"shape \(1, 3, 8\)") as caught:
        LocalOracle(toy).score(np.zeros((1, 3, 8), dtype=np.float32))
    assert "\n" not in str(caught.value)


def test_a_surrogate_is_found_as_a_file_as_a_folder_and_in_a_model_store(tmp_path: Path) -> None:
    """A `.mar`, an unpacked archive, or a store in which the metric's archive is looked up."""
    unpacked = write_archive(tmp_path / "unpacked")
    store = tmp_path / "store"
    store.mkdir()
    with zipfile.ZipFile(store / "energy.mar", "w") as mar:
        for path in unpacked.path.iterdir():
            mar.write(path, path.name)
    assert find_surrogate(unpacked.path, "whatever").name == "energy"
    assert find_surrogate(store / "energy.mar", "whatever").name == "energy"
    found = find_surrogate(store, "energy")
    assert LocalOracle(found).score(np.ones((1, 3, 4, 4), dtype=np.float32)).tolist() == [100]
    with pytest.raises(SurrogateError, match="there are energy"):
        find_surrogate(store, "lite")
    with pytest.raises(IntegrityError):
        find_surrogate(tmp_path / "nothing", "lite")


def test_without_torch_the_message_says_what_to_install(toy: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails becomes the name of the extra."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="attacks"):
        LocalOracle(toy)


def test_attacks_and_oracles_import_without_torch() -> None:
    """A black-box attack needs no torch."""
    code = "import sys; sys.modules['torch'] = None; import scoreguard_client.attacks, scoreguard_client.oracles"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_real_metric_answers_bit_for_bit_alike_in_any_batch(tmp_path: Path) -> None:
    """Alone, in threes and in another order: torch's kernels would round otherwise for a larger batch."""
    images = np.random.default_rng(7).random((3, 3, 61, 75), dtype=np.float32)
    with quiet():
        traced = torch.jit.trace(load_metric("lite").eval(), torch.from_numpy(images), check_trace=False)  # type: ignore[no-untyped-call]
    oracle = LocalOracle(write_archive(tmp_path / "lite", traced))
    scores, gradient = oracle.gradient(images)
    for places in ([0], [1], [2], [2, 0], [1, 2, 0]):
        found = oracle.gradient(images[places])
        np.testing.assert_array_equal(found[0], scores[places])
        np.testing.assert_array_equal(found[1], gradient[places])
        np.testing.assert_array_equal(oracle.score(images[places]), oracle.score(images)[places])
