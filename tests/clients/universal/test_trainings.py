"""The three trainings against known optima, independent loops in torch, and each other's modes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle
from tests.clients.universal.conftest import COUNT, SIZE, Train, recipe, write_images

from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks.errors import OracleAnswerError
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.perturbations.errors import RecipeError
from scoreguard_client.target.images import as_batch, find_images, read_image
from scoreguard_client.universal.crops import TrainingImages
from scoreguard_client.universal.generative import GenerativeLearner
from scoreguard_client.universal.teacher import oracle_teacher
from scoreguard_client.universal.training import Training, batch_indices
from scoreguard_client.universal.unet import UNet

Function = Callable[[torch.Tensor], torch.Tensor]
KINDS = ["cumulative", "optimized", "generative"]
MODES = ["paper", "benchmark"]
WEIGHTS = np.random.default_rng(2).normal(size=(3, SIZE, SIZE)).astype(np.float32)


def wavy(images: torch.Tensor) -> torch.Tensor:
    """A score whose gradient depends on the image, and whose gradient beyond [0, 1] is not zero."""
    weights = torch.from_numpy(WEIGHTS)
    return (torch.sin(3 * images) * weights).mean(dim=(1, 2, 3))


def batch_of(folder: Path) -> torch.Tensor:
    """All images of a folder."""
    return torch.from_numpy(as_batch([read_image(folder, image) for image in find_images(folder).images]))


@pytest.mark.parametrize("kind", ["cumulative", "optimized", "momentum"])
@pytest.mark.parametrize(
    ("higher_is_better", "direction", "sign"), [(True, "up", 1), (False, "up", -1), (True, "down", -1)]
)
def test_a_linear_score_has_its_best_perturbation_in_the_corner_of_the_ball(
    kind: str, higher_is_better: bool, direction: str, sign: int, train: Train, grey_photos: Path
) -> None:
    """The optimum is bound * sign(w), or the other corner where a low score is good or quality is lowered."""
    oracle = LinearOracle(weights=WEIGHTS, higher_is_better=higher_is_better)
    rate = 0.02 if kind == "momentum" else 0.01  # Its step decays.
    found = train(oracle, grey_photos, kind=kind, epochs=4, bound=0.1, rate=rate, direction=direction)
    np.testing.assert_allclose(found.values, sign * 0.1 * np.sign(WEIGHTS), atol=1e-6)
    assert 0.1 - 1e-7 < found.largest <= 0.1


def test_the_benchmarks_accumulation_takes_the_raw_gradient(train: Train, photos: Path) -> None:
    """1e-4 + steps * w / span, cut to the bound; pixels at 0 and 1 too, because nothing is cut to [0, 1]."""
    weights = np.asarray(WEIGHTS / 100, dtype=np.float32)
    found = train(LinearOracle(weights=weights), photos, kind="cumulative", mode="benchmark", rate=1.0)
    np.testing.assert_allclose(found.values, np.clip(1e-4 + 6 * weights, -0.1, 0.1), atol=1e-6)


def test_the_objective_is_the_score_over_the_metrics_range(train: Train, photos: Path) -> None:
    """The benchmark's raw step on a metric of 0 to 50 is a fiftieth of that on one of 0 to 1."""

    class Wide(LinearOracle):
        @property
        def facts(self) -> OracleFacts:
            return OracleFacts(metric="wide", score_range=ScoreRange(low=0, high=50))

    found = train(Wide(weights=WEIGHTS), photos, kind="cumulative", mode="benchmark", rate=0.5)
    np.testing.assert_allclose(found.values, np.clip(1e-4 + 6 * 0.5 * WEIGHTS / 50, -0.1, 0.1), atol=1e-6)


def test_every_step_draws_anew_and_the_same_seed_draws_the_same(photos: Path, tmp_path: Path) -> None:
    """The seeds of the questions, of which the draws of random defences follow."""
    oracle, asked = LinearOracle(weights=WEIGHTS), []

    def ask(images: Images, seed: int) -> tuple[Scores, Gradients]:
        asked.append(seed)
        return oracle.gradient(images)

    teacher = replace(oracle_teacher(oracle), ask=ask)
    images = TrainingImages(folder=photos, references=find_images(photos).images)
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{number}.safetensors"
        Training(recipe=recipe(seed=seed), images=images, teacher=teacher, out=out).run(lambda steps, what: None)
    assert asked[:6] == asked[6:12]
    assert len(set(asked)) == 12


def reference(function: Function, images: torch.Tensor, made: Any) -> Images:
    """Both trainings on full batches, as their descriptions say, by autograd on the perturbation itself."""
    benchmark = made.mode == "benchmark"
    values = torch.full(images.shape[1:], 1e-4 if benchmark else 0.0, requires_grad=True)
    adam = torch.optim.Adam([values], lr=made.rate)
    for _ in range(made.epochs):
        adam.zero_grad()
        own = values.expand_as(images).clone()  # One copy for each image, to see its own gradient.
        own.retain_grad()
        moved = images + own
        if made.kind == "cumulative":
            shown = moved if benchmark else moved.clamp(0, 1)
        else:
            shown = moved + (moved.clamp(0, 1) - moved).detach() if benchmark else moved.clamp(0, 1)
        (1 - function(shown)).mean().backward()  # type: ignore[no-untyped-call]
        if made.kind == "optimized":
            adam.step()
        else:
            assert own.grad is not None
            assert values.grad is not None
            step = -values.grad if benchmark else -own.grad.sign().mean(dim=0)
            values.data += made.rate * step
        values.data.clamp_(-made.bound, made.bound)
    return values.detach().numpy()


@pytest.mark.parametrize("kind", ["cumulative", "optimized"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rate", [0.004, 0.03])
def test_both_modes_do_what_an_independent_loop_does(
    kind: str, mode: str, rate: float, train: Train, photos: Path
) -> None:
    """Twelve full-batch steps on images that touch both ends of the range."""
    rate = rate * 1000 if (kind, mode) == ("cumulative", "benchmark") else rate
    changes = {"kind": kind, "mode": mode, "epochs": 12, "batch": COUNT, "rate": rate}
    found = train(TorchOracle(function=wavy), photos, **changes)
    wanted = reference(wavy, batch_of(photos), recipe(**changes))
    np.testing.assert_allclose(found.values, wanted, atol=2e-5)
    assert np.abs(found.values).max() > 0.01


def test_the_momentum_training_does_what_an_independent_loop_does(train: Train, tmp_path: Path) -> None:
    """Six steps on what the metric was shown: means of gradients of L1 norm 1, nine tenths kept, a step that decays."""
    levels = np.random.default_rng(5).integers(100, 150, (COUNT, SIZE + 3, SIZE + 5, 3), dtype=np.uint8)
    folder, shown = write_images(tmp_path / "wide", list(levels)), list[torch.Tensor]()

    def seen(images: torch.Tensor) -> torch.Tensor:
        shown.append(images.detach().clone())
        return wavy(images)

    found = train(TorchOracle(function=seen), folder, kind="momentum", rate=0.02, epochs=2, batch=2)
    values, direction = torch.zeros(3, SIZE, SIZE), torch.zeros(3, SIZE, SIZE, dtype=torch.float64)
    for done, images in enumerate(shown):
        point = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(wavy(point).sum(), point)
        slope = slope.double() / slope.double().abs().sum(dim=(1, 2, 3), keepdim=True)
        direction = 0.9 * direction + slope.mean(dim=0)
        values = (values + 0.02 * (1 - done / len(shown)) * direction.sign()).clamp(-0.1, 0.1)
    assert len(shown) == 6
    np.testing.assert_allclose(found.values, values.numpy(), atol=1e-6)


def test_each_step_of_the_momentum_training_sees_windows_of_its_own(train: Train, tmp_path: Path) -> None:
    """Of one image, shown again and again, no two windows are alike; the others kinds see its centre each time."""
    levels = np.random.default_rng(5).integers(0, 256, (1, 60, 60, 3), dtype=np.uint8)
    folder = write_images(tmp_path / "one", list(levels))
    for kind, windows in (("momentum", 6), ("optimized", 1)):
        flat = LinearOracle(weights=np.zeros_like(WEIGHTS))
        train(flat, folder, tmp_path / f"{kind}.safetensors", kind=kind, epochs=6, batch=1)
        assert len({seen.tobytes() for seen in flat.seen}) == windows


def test_the_benchmark_has_no_momentum_training() -> None:
    """The message says what to leave out."""
    with pytest.raises(RecipeError, match="leave mode=benchmark out"):
        recipe(kind="momentum", mode="benchmark")


@pytest.mark.parametrize("kind", KINDS)
def test_the_modes_of_a_kind_give_different_perturbations(
    kind: str, train: Train, photos: Path, tmp_path: Path
) -> None:
    """Same images, same seed, same rate."""
    oracle = TorchOracle(function=wavy)
    paper, benchmark = (
        train(oracle, photos, tmp_path / f"{mode}.safetensors", kind=kind, mode=mode).values for mode in MODES
    )
    assert np.abs(paper - benchmark).max() > 1e-4


def test_only_the_benchmarks_accumulation_shows_the_metric_values_beyond_the_range(train: Train, photos: Path) -> None:
    """All others see images."""
    for kind in KINDS:
        for mode in MODES:
            oracle = LinearOracle(weights=WEIGHTS)
            train(oracle, photos, photos.parent / f"{kind}-{mode}.safetensors", kind=kind, mode=mode)
            beyond = any(seen.min() < 0 or seen.max() > 1 for seen in oracle.seen)
            assert beyond is ((kind, mode) == ("cumulative", "benchmark"))


@pytest.mark.parametrize(("kind", "mode"), [*itertools.product(KINDS, MODES), ("momentum", "paper")])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    kind: str, mode: str, train: Train, photos: Path, tmp_path: Path
) -> None:
    """Down to the last bit of the values, whatever others draw meanwhile; size 32 and 64 have dropout or none."""
    oracle, files = TorchOracle(function=lambda x: wavy(x[:, :, :SIZE, :SIZE])), []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        out = tmp_path / f"{number}.safetensors"
        train(oracle, photos, out, kind=kind, mode=mode, seed=seed, size=64 if kind == "generative" else SIZE)
        files.append(out.read_bytes())
    assert files[0] == files[1]
    values = [np.frombuffer(data[-4 * 3 * SIZE * SIZE :], dtype=np.float32) for data in files]
    assert not np.array_equal(values[0], values[2])


def test_an_epoch_of_the_paper_sees_every_image_once_and_the_benchmarks_need_not() -> None:
    """The benchmark's batches are full and drawn afresh; the paper's last one holds what is left."""
    paper, benchmark = recipe(images=11, batch=4, epochs=2), recipe(images=11, batch=4, epochs=2, mode="benchmark")
    epochs = [[batch_indices(paper, 3 * epoch + step) for step in range(3)] for epoch in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 3]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(11))
    assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()
    fresh = [batch_indices(benchmark, step) for step in range(3)]
    assert [len(set(batch.tolist())) for batch in fresh] == [4, 4, 4]
    assert len(set(np.concatenate(fresh).tolist())) < 11


def test_a_generator_learns_a_linear_score(train: Train, grey_photos: Path) -> None:
    """It raises the score by most of what the ball allows, and stays inside."""
    bound = 10 / 255
    signs = np.sign(np.random.default_rng(1).normal(size=(3, 2, 2))).astype(np.float32).repeat(4, 1).repeat(4, 2)
    weights = np.asarray(signs / signs.size, dtype=np.float32)
    found = train(LinearOracle(weights=weights), grey_photos, kind="generative", epochs=40, bound=bound, channels=8)
    assert found.largest <= bound
    assert float((found.values * signs).mean()) > 0.8 * bound


def test_the_benchmarks_noise_is_cut_after_the_first_step_and_the_papers_is_not() -> None:
    """From then on it is nearly a constant."""
    for mode, cut in (("paper", False), ("benchmark", True)):
        made = recipe(kind="generative", mode=mode, bound=10 / 255)
        learner = GenerativeLearner(made)
        before = learner.state()["noise"].copy()
        assert before.max() > 0.9
        learner.perturbation(0)
        learner.learn(np.ones((2, 3, SIZE, SIZE), np.float32))
        after = learner.state()["noise"]
        assert np.allclose(after, np.clip(before, 0, 10 / 255)) is cut
        assert np.array_equal(after, before) is not cut


def test_the_paper_hands_out_the_networks_output_and_the_benchmark_one_draw_of_its_dropout() -> None:
    """At 64 x 64 one decoder stage drops; the same weights give two perturbations."""
    made = recipe(kind="generative", size=64)
    paper, benchmark = GenerativeLearner(made), GenerativeLearner(recipe(kind="generative", size=64, mode="benchmark"))
    benchmark.restore(paper.state())
    network = UNet(64, made.channels)
    weights = {
        name.removeprefix("network/"): torch.from_numpy(array.copy())
        for name, array in paper.state().items()
        if name.startswith("network/")
    }
    network.load_state_dict(weights)
    with torch.no_grad():
        wanted = 0.1 * network.eval()(torch.from_numpy(paper.state()["noise"]))[0].numpy()
    np.testing.assert_allclose(paper.final(), wanted, atol=1e-7)
    np.testing.assert_array_equal(benchmark.final(), benchmark.final())
    assert np.abs(benchmark.final() - wanted).max() > 1e-6
    assert np.abs(paper.perturbation(0) - paper.perturbation(1)).max() > 1e-6, "dropout is drawn anew at each step"


def test_the_generator_is_the_published_network() -> None:
    """54.4 million weights at 256 x 256 (pix2pix prints 54.414 M), 8 levels, dropout in 3 stages."""
    with torch.device("meta"):
        network = UNet(256)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(54.41, abs=0.01)
    kinds = [type(module).__name__ for module in network.modules()]
    assert (kinds.count("Conv2d"), kinds.count("ConvTranspose2d"), kinds.count("Dropout")) == (8, 8, 3)
    assert (kinds.count("LeakyReLU"), kinds.count("ReLU"), kinds.count("Tanh")) == (7, 8, 1)
    assert kinds.count("InstanceNorm2d") == 6 + 7


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_the_generator_fits_every_power_of_two(size: int) -> None:
    """Its output has the size of its input and lies within (-1, 1)."""
    with torch.no_grad():
        drawn = UNet(size, 2)(torch.rand(1, 3, size, size))
    assert drawn.shape == (1, 3, size, size)
    assert drawn.abs().max() < 1


def test_a_gradient_that_is_not_finite_stops_the_training(train: Train, photos: Path) -> None:
    """One line that names the image; no file is left."""

    class Broken(LinearOracle):
        def gradient(self, images: Images) -> tuple[Scores, Gradients]:
            scores, gradients = super().gradient(images)
            gradients[1, 0, 0, 0] = np.nan
            return scores, gradients

    with pytest.raises(OracleAnswerError, match="gradient is not finite for image 1"):
        train(Broken(weights=WEIGHTS), photos)
    assert not list(photos.parent.glob("*.safetensors*"))
