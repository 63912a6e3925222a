"""NIQE against published values, and each of its parts against an independent reference."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from data_folder import DATA, WHY_SKIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from scipy import ndimage, optimize, special
from scipy.stats import spearmanr
from skimage import data
from torch import Tensor

from scoreguard_export import cli
from scoreguard_export.archive.export_graphs import export_graphs
from scoreguard_export.archive.parity_images import PATTERNS
from scoreguard_export.commands.fit import command as fit_command
from scoreguard_export.errors import TrainingError, WeightsError
from scoreguard_export.exporters.engines import Engine, load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.niqe import Niqe, gaussian_of, squared_distance
from scoreguard_export.metrics.niqe_aggd import AggdFit
from scoreguard_export.metrics.niqe_features import PATCH, Halving, LocalStatistics, Luminance, NiqeFeatures
from scoreguard_export.metrics.niqe_fit import NiqeFitConfig, fit_niqe
from scoreguard_export.training.distortions import DISTORTIONS
from scoreguard_export.training.evaluate_mos import read_live, read_samples, score_file

OFFICIAL = DATA / "params" / "niqe_pris_params.npz"
needs_data = pytest.mark.skipif(not OFFICIAL.is_file(), reason=WHY_SKIPPED)


@pytest.fixture(scope="module")
def niqe() -> Niqe:
    """The metric with its shipped model."""
    metric = load_metric("niqe")
    assert isinstance(metric, Niqe)
    return metric


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A photograph that the model was not fitted to, (256, 320, 3) in [0, 1]."""
    left = np.asarray(data.stereo_motorcycle()[0], np.float32)  # type: ignore[no-untyped-call]
    return left[100:356, 200:520] / np.float32(255.0)


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def _noise(count: int, height: int, width: int) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))


def _levels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth texture in levels, without two equal neighbours."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    smooth: np.ndarray = ndimage.gaussian_filter(noise, 1.5)
    return 128.0 + 200.0 * smooth


@needs_data
def test_the_official_model_gives_the_published_values_of_generated_images() -> None:
    """24 Stable Diffusion images of avt_ai_images, scored by their authors with IQA-PyTorch."""
    metric, folder = load_metric("niqe", {"niqe": OFFICIAL}), DATA / "mos" / "avt_ai_images"
    with (folder / "iqa.csv").open(newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if (r["model"], r["metric"]) == ("stable_diffusion", "NIQE")]
    present = [r for r in rows if (folder / f"stable_diffusion_{r['img_id']}").is_file()]
    mine = np.array([score_file(metric, folder / f"stable_diffusion_{r['img_id']}") for r in present])
    errors = np.abs(mine - [float(r["quality_score"]) for r in present])
    assert len(present) == 24
    assert errors.max() < 0.01
    assert errors.mean() < 0.003


@needs_data
@pytest.mark.parametrize("name", ["I03", "I04", "I06", "I08", "I19"])
def test_the_official_model_gives_the_values_of_the_official_code(name: str) -> None:
    """Five images. A third of I19 has no deviation, whose sign the official code leaves to rounding: 8.67 to 9.07."""
    with (DATA / "conformance" / "results_official.csv").open(newline="") as stream:
        published = next(row for row in csv.DictReader(stream) if row["Method"] == "niqe")
    mine = score_file(load_metric("niqe", {"niqe": OFFICIAL}), DATA / "conformance" / f"{name}_dist.png")
    assert mine == pytest.approx(float(published[f"{name}.bmp"]), abs=0.05)


@needs_data
@pytest.mark.slow
def test_the_shipped_model_agrees_with_the_official_one() -> None:
    """Rank correlation over all labelled images, none of which the shipped model was fitted to."""
    shipped, official = load_metric("niqe"), load_metric("niqe", {"niqe": OFFICIAL})
    paths = [image.path for image in read_live(DATA) + read_samples(DATA)]
    paths += sorted((DATA / "mos" / "avt_ai_images").glob("*.png"))
    mine, theirs = ([score_file(metric, path) for path in paths] for metric in (shipped, official))
    assert len(paths) >= 60
    assert spearmanr(mine, theirs).statistic > 0.93


def _moments(samples: np.ndarray) -> tuple[float, float, float]:
    """α, β_l, β_r by the equations of the paper and a root finder."""
    left, right = np.sqrt((samples[samples < 0] ** 2).mean()), np.sqrt((samples[samples > 0] ** 2).mean())
    g = left / right
    wanted = np.abs(samples).mean() ** 2 / (samples**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shape = optimize.brentq(lambda a: _rho(a) - wanted, 0.2, 10.0, xtol=1e-14)
    spread = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * spread, right * spread


def _rho(shape: float) -> float:
    return float(special.gamma(2 / shape) ** 2 / (special.gamma(1 / shape) * special.gamma(3 / shape)))


def _asymmetric(shape: float, left: float, right: float, size: tuple[int, int], seed: int) -> np.ndarray:
    """Draw from the distribution: |x|^α is gamma-distributed, and a side is drawn in proportion to its β."""
    generator = np.random.default_rng(seed)
    magnitude = generator.gamma(1 / shape, size=size) ** (1 / shape)
    return np.where(generator.random(size) < left / (left + right), -left * magnitude, right * magnitude)


@pytest.mark.parametrize(
    ("shape", "left", "right"), [(0.5, 0.3, 0.1), (0.9, 0.2, 0.5), (1.0, 1.0, 1.0), (2.0, 0.7, 0.4), (5.0, 1.0, 2.0)]
)
def test_the_fit_finds_the_distribution_that_samples_were_drawn_from(shape: float, left: float, right: float) -> None:
    """Parameters within 5 %, η as the mean of the samples, and all equal to moments solved by a root finder."""
    samples = _asymmetric(shape, left, right, (400, 400), seed=3)
    found, mean, found_left, found_right = (float(value) for value in AggdFit()(torch.from_numpy(samples)))
    assert (found, found_left, found_right) == pytest.approx((shape, left, right), rel=0.05)
    assert (found, found_left, found_right) == pytest.approx(_moments(samples), rel=1e-6)
    assert mean == pytest.approx(samples.mean(), abs=0.02)


@settings(max_examples=60, deadline=None)
@given(shape=st.floats(0.2, 10.0))
def test_the_table_inverts_rho_over_its_whole_range(shape: float) -> None:
    """α and both ratios of Γ, against scipy."""
    found, spread, ratio = (float(v) for v in AggdFit().looked_up(torch.tensor(_rho(shape), dtype=torch.float64)))
    assert found == pytest.approx(shape, rel=1e-6)
    assert spread == pytest.approx(np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape)), rel=1e-6)
    assert ratio == pytest.approx(special.gamma(2 / shape) / special.gamma(1 / shape), rel=1e-6)


@pytest.mark.parametrize("shape", [0.4, 1.0, 3.0])
def test_the_derivatives_of_the_fit_are_those_of_finite_differences(shape: float) -> None:
    """Every output by every sample, in double precision."""
    samples = torch.from_numpy(_asymmetric(shape, 0.5, 0.8, (6, 6), seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(AggdFit(), samples, eps=1e-7, atol=1e-6, rtol=1e-4)


def test_the_derivative_of_the_score_is_that_of_finite_differences(niqe: Niqe) -> None:
    """Along random directions of the luminance: both scales, the fit, the covariance and the distance together."""
    grey = torch.from_numpy(_levels(203, 300))[None, None].requires_grad_()
    (slope,) = torch.autograd.grad(niqe.distance_of(grey).sum(), grey)
    for seed in range(3):
        direction = torch.from_numpy(np.random.default_rng(seed).standard_normal(grey.shape))
        step = 1e-6 * direction
        with torch.no_grad():
            change = float(niqe.distance_of(grey + step) - niqe.distance_of(grey - step)) / 2e-6
        assert change == pytest.approx(float((slope * direction).sum()), rel=1e-3)


def test_halving_equals_pillow_bicubic_of_a_mirrored_image() -> None:
    """Pillow reduces with the same kernel but drops taps outside, so it is given the mirrored margin; within 1e-4."""
    levels = _levels(96, 144)
    margin = Image.fromarray(np.pad(levels, 8, mode="symmetric").astype(np.float32))
    expected = np.asarray(margin.resize((80, 56), Image.Resampling.BICUBIC))[4:-4, 4:-4]
    mine = Halving()(torch.from_numpy(levels.astype(np.float32)).double()[None, None])[0, 0].numpy()
    assert np.abs(mine - expected).max() < 1e-4


def test_local_statistics_equal_those_of_scipy() -> None:
    """7×7 Gaussian of σ 7/6 with repeated edges."""
    levels = _levels(50, 61)
    mean, second = (ndimage.gaussian_filter(x, 7 / 6, radius=3, mode="nearest") for x in (levels, levels**2))
    deviation = np.sqrt(second - mean**2)
    normalised, mine = LocalStatistics()(torch.from_numpy(levels)[None, None])
    assert np.abs(mine[0, 0].numpy() - deviation).max() < 1e-8
    assert np.abs(normalised[0, 0].numpy() - (levels - mean) / (deviation + 1)).max() < 1e-8


def test_luminance_is_whole_and_its_gradient_passes_through() -> None:
    """MATLAB's rgb2gray rounds; on 8-bit images the whole levels come out, and the slope is the weight × 255."""
    image = (torch.arange(256).float() / 255.0).expand(1, 3, 1, 256).clone().requires_grad_()
    grey = Luminance()(image)
    assert torch.equal(grey[0, 0, 0].detach(), torch.arange(256, dtype=torch.float64))
    grey.sum().backward()
    assert image.grad is not None
    assert image.grad[0, :, 0, 0].tolist() == pytest.approx([76.2287, 149.6960, 29.0753], abs=1e-3)


def test_the_distance_needs_no_inverse() -> None:
    """Elimination against numpy's solver, on badly conditioned matrices as the official one is."""
    generator = np.random.default_rng(0)
    scales = 10.0 ** generator.uniform(-3, 0, 36)
    roots = generator.standard_normal((4, 36, 50)) * scales[:, None]
    matrices, vectors = roots @ roots.transpose(0, 2, 1) / 50, generator.standard_normal((4, 36))
    expected = [v @ np.linalg.solve(m, v) for m, v in zip(matrices, vectors, strict=True)]
    found = squared_distance(torch.from_numpy(vectors), torch.from_numpy(matrices))
    assert found.numpy() == pytest.approx(np.array(expected), rel=1e-9)


def test_patches_of_weight_zero_do_not_count() -> None:
    """Mean and covariance of the others, as numpy has them; of a single patch the covariance is zero."""
    features = np.random.default_rng(0).standard_normal((2, 5, 36))
    lively = np.array([[1, 1, 0, 1, 1], [0, 0, 1, 0, 0]], float)
    mean, covariance = gaussian_of(torch.from_numpy(features).flatten(0, 1), torch.from_numpy(lively).flatten(), 2)
    kept = features[0][lively[0] > 0]
    assert mean[0].numpy() == pytest.approx(kept.mean(axis=0), abs=1e-7)
    assert covariance[0].numpy() == pytest.approx(np.cov(kept.T), abs=1e-7)
    assert mean[1].numpy() == pytest.approx(features[1, 2], abs=1e-7)
    assert covariance[1].abs().max() < 1e-7


def test_flat_patches_are_told_apart() -> None:
    """Texture counts, a blank half does not, and the patch at its border does."""
    image = np.concatenate([_levels(96, 144), np.full((96, 240), 90.0)], axis=1)
    assert NiqeFeatures()(torch.from_numpy(image)[None, None])[1].tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_image_has_a_finite_score_and_gradient(niqe: Niqe, level: float) -> None:
    """No patch can be fitted, so all count, with a score far from any photograph's and the same at every level."""
    image = torch.full((1, 3, 200, 300), level, requires_grad=True)
    score = niqe(image)
    score.sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert 10.0 < float(score.detach()) < Niqe.facts.score_range.high
    assert float(score.detach()) == pytest.approx(float(niqe(torch.full((1, 3, 96, 96), 0.5))), abs=1e-5)


def test_a_single_patch_is_compared_without_its_covariance(niqe: Niqe, photo: np.ndarray) -> None:
    """Below 192 pixels a side there is one patch: dᵀ (Σ₁ / 2)⁻¹ d, by numpy."""
    image = _batch(photo[:191, :191])
    with torch.no_grad():
        features, _ = niqe.features(niqe.luminance(image))
        score = float(niqe(image))
    difference = features[0].numpy() - niqe.mean.numpy()
    assert score == pytest.approx(
        np.sqrt(difference @ np.linalg.solve(niqe.covariance.numpy() / 2, difference)), rel=1e-5
    )


@settings(max_examples=8, deadline=None)
@given(height=st.integers(96, 260), width=st.integers(96, 260), count=st.integers(1, 3))
def test_any_image_of_96_pixels_a_side_has_one_finite_score(niqe: Niqe, height: int, width: int, count: int) -> None:
    """Odd sizes and batches included."""
    with torch.no_grad():
        scores = niqe(_noise(count, height, width))
    assert scores.shape == (count,)
    assert bool((scores.isfinite() & (scores >= 0.0)).all())


def test_an_image_scores_the_same_alone_and_in_a_batch(niqe: Niqe, photo: np.ndarray) -> None:
    """No statistic is shared between the images of a batch, one of which is flat."""
    images = torch.cat([_batch(photo), _noise(1, 256, 320), torch.full((1, 3, 256, 320), 0.4)])
    with torch.no_grad():
        assert torch.equal(niqe(images), torch.cat([niqe(one[None]) for one in images]))


def test_the_margin_beyond_the_last_patch_is_not_read(niqe: Niqe, photo: np.ndarray) -> None:
    """256×320 leaves 64 rows and 32 columns out, in the score and in the gradient."""
    image = _batch(photo).requires_grad_()
    score = niqe(image)
    score.sum().backward()
    assert float(score.detach()) == float(niqe(_batch(photo[:192, :288])).detach())
    assert image.grad is not None
    assert float(image.grad[:, :, 192:].abs().max()) == float(image.grad[..., 288:].abs().max()) == 0.0
    assert bool(image.grad.isfinite().all())
    assert float(image.grad[:, :, :192, :288].abs().mean()) > 0.0


@pytest.mark.parametrize("name", ["gaussian_blur", "white_noise", "jpeg"])
def test_more_distortion_scores_higher(niqe: Niqe, photo: np.ndarray, name: str) -> None:
    """Lower is better: the score rises from pristine through mild to severe."""
    distorted = [DISTORTIONS[name](photo, severity, np.random.default_rng(0)) for severity in (0.3, 0.7)]
    with torch.no_grad():
        scores = [float(niqe(_batch(image))) for image in (photo, *distorted)]
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 2.0


def test_the_gradient_leads_to_a_worse_score(niqe: Niqe, photo: np.ndarray) -> None:
    """Ten small steps along it change the score more than the same steps in random signs: it can be attacked."""
    start, random = _batch(photo), _batch(photo)
    attacked, generator = start.clone(), torch.Generator().manual_seed(0)
    for _ in range(10):
        attacked.requires_grad_()
        (slope,) = torch.autograd.grad(niqe(attacked).sum(), attacked)
        attacked = (attacked.detach() + 0.5 / 255.0 * slope.sign()).clamp(0.0, 1.0)
        random = (random + 0.5 / 255.0 * (torch.rand(random.shape, generator=generator) - 0.5).sign()).clamp(0.0, 1.0)
    with torch.no_grad():
        assert float(niqe(attacked)) > float(niqe(random)) + 0.5


@pytest.mark.slow
def test_both_graphs_are_the_module_at_other_sizes(niqe: Niqe) -> None:
    """Odd sizes, one patch and many, alone and in threes; the TorchScript gradient is compared, too."""
    parity = export_graphs(niqe).parity
    assert {case.engine for case in parity} == {"torchscript", "onnx"}
    assert {case.batch for case in parity} == {1, 3, len(PATTERNS)}
    assert max(case.max_abs_error for case in parity) < 1e-4


def flat_patches(photo: np.ndarray) -> dict[str, np.ndarray]:
    """Images with flat 96×96 patches, (H, W, 3) in [0, 1]: what divides by their deviations is a small constant."""
    product = np.ones((576, 576, 3), np.float32)
    product[192:384, 192:384] = photo[:192, :192]
    page = Image.new("RGB", (480, 384), "white")
    draw = ImageDraw.Draw(page)
    for row in range(4):
        draw.text((20, 20 + 14 * row), "a page of text on white " * 3, fill="black")
    ramp = np.broadcast_to((np.linspace(0, 255, 192).round() / 255)[None, :, None], (192, 192, 3)).astype(np.float32)
    images = {f"flat {level}": np.full((192, 192, 3), level / 255, np.float32) for level in (0, 128, 255)}
    pages = {"page": np.asarray(page, np.float32) / np.float32(255), "gradient": ramp, "product": product}
    return {**images, **pages, "one patch of two": np.concatenate([ramp, images["flat 255"]])}


@pytest.fixture(scope="module")
def engines(niqe: Niqe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Engine]:
    """The metric as the server runs it, and as attacks do."""
    home = tmp_path_factory.mktemp("niqe")
    export_torchscript(niqe, home / "niqe.pt")
    export_onnx(niqe, home / "niqe.onnx")
    return {"torchscript": load_torchscript(home / "niqe.pt"), "onnx": load_onnx(home / "niqe.onnx", ["image"])}


@pytest.mark.slow
def test_both_engines_score_images_with_flat_patches(engines: dict[str, Engine], niqe: Niqe, photo: np.ndarray) -> None:
    """ONNX Runtime and TorchScript give the module's score: 18.41 of a flat image, 99.80 of a gradient."""
    for name, image in flat_patches(photo).items():
        expected = float(niqe(_batch(image)))
        scores = {engine: float(run((_batch(image),))) for engine, run in engines.items()}
        assert scores == {engine: pytest.approx(expected, abs=Niqe.facts.parity_tolerance) for engine in engines}, name
        if name.startswith("flat"):
            assert expected == pytest.approx(18.41, abs=0.01)
        if name == "gradient":
            assert expected == pytest.approx(99.80, abs=0.01)


@pytest.mark.slow
def test_a_flat_patch_in_a_batch_leaves_the_others_as_they_are(
    engines: dict[str, Engine], niqe: Niqe, photo: np.ndarray
) -> None:
    """A textured image scores the same beside a flat one, in both engines."""
    batch = torch.cat([_batch(photo[:192, :192]), _batch(np.ones((192, 192, 3), np.float32))])
    expected = niqe(batch)
    for run in engines.values():
        assert torch.allclose(run((batch,)), expected, atol=Niqe.facts.parity_tolerance)


def test_the_shipped_model_is_what_its_record_says() -> None:
    """More patches than features, photographs by name, and no image that the human scores show."""
    path = Niqe.sources["niqe"].shipped
    assert path is not None
    record, model = json.loads(path.with_suffix(".json").read_text()), load_file(path)
    assert record["photos"] == ["nips2017", "kodak24", "scikit-image"]
    assert {"kodim08", "kodim19", "kodim21"} <= set(record["excluded"])
    assert record["patches"] > record["patches_used"] > 10 * 36
    assert {name: tuple(value.shape) for name, value in model.items()} == {"mean": (36,), "covariance": (36, 36)}


def _broken_files(folder: Path) -> dict[str, Path]:
    paths = {
        name: folder / name for name in ("text.npz", "keys.npz", "pickle.npz", "text.safetensors", "shape.safetensors")
    }
    for name in ("text.npz", "text.safetensors"):
        paths[name].write_text("no model")
    np.savez(paths["keys.npz"], mean=np.zeros(36))
    np.savez(paths["pickle.npz"], mu_pris_param=np.array([{}], object), cov_pris_param=np.eye(36))
    save_file({"mean": torch.zeros(3)}, paths["shape.safetensors"])
    paths["flat.safetensors"] = folder / "flat.safetensors"
    save_file({"mean": torch.zeros(36), "covariance": torch.zeros(36, 36)}, paths["flat.safetensors"])
    return paths


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.npz", "no model of niqe at"),
        ("absent.safetensors", "no model of niqe at"),
        ("text.npz", "is not a model"),
        ("keys.npz", "is not a model"),
        ("pickle.npz", "is not a model"),
        ("text.safetensors", "is not a model"),
        ("shape.safetensors", r"its shapes are \{'mean': \(3,\)\}"),
        ("flat.safetensors", "no positive definite covariance"),
    ],
)
def test_a_wrong_or_missing_model_is_refused_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    """The message names the file and both ways to get a right one; no pickle is read."""
    _broken_files(tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_metric("niqe", {"niqe": tmp_path / name})
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert "scoreguard-export fit niqe" in str(caught.value)
    assert "niqe_pris_params.npz" in str(caught.value)


def _fit(folder: Path, *words: str) -> tuple[bytes, bytes]:
    result = CliRunner().invoke(fit_command, ["niqe", "--out", str(folder), "--sharpness", "0.2", *words])
    assert result.exit_code == 0, result.output
    return (folder / "niqe.safetensors").read_bytes(), (folder / "niqe.json").read_bytes()


def test_the_fit_command_gives_equal_bytes_and_a_model_that_scores(tmp_path: Path) -> None:
    """Twice the same photographs, whatever number of threads; the record tells what was used."""
    threads = torch.get_num_threads()
    first = _fit(tmp_path / "a", "--exclude", "rocket")
    torch.set_num_threads(2)
    try:
        assert _fit(tmp_path / "b", "--exclude", "rocket") == first
    finally:
        torch.set_num_threads(threads)
    record = json.loads(first[1])
    assert record["photographs"] == 3
    assert record["excluded"] == ["rocket"]
    assert record["command"] == "scoreguard-export fit niqe --exclude rocket --sharpness 0.2"
    assert float(load_metric("niqe", {"niqe": tmp_path / "a" / "niqe.safetensors"})(_noise(1, 96, 96))) > 0.0


def test_the_fit_is_the_mean_and_covariance_of_sharp_patches(tmp_path: Path) -> None:
    """One sharp half and one smooth half: only the sharp patches are used, and numpy has the same moments."""
    levels = np.concatenate([_levels(480, 960), 128 + (_levels(480, 960) - 128) / 20], axis=1)
    photo = np.repeat(np.clip(levels, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)
    tiny = np.zeros((PATCH - 1, 300, 3), np.uint8)
    config = NiqeFitConfig(sources=("test",), out=tmp_path)
    model = load_file(fit_niqe({"photo": photo, "tiny": tiny}, config))
    record = json.loads((tmp_path / "niqe.json").read_text())
    assert (record["photographs"], record["patches"], record["patches_used"]) == (1, 100, 50)
    features = NiqeFeatures()(torch.from_numpy(photo[..., 0].astype(np.float64))[None, None])[0].numpy()
    sharp = features.reshape(5, 20, 36)[:, :10].reshape(50, 36)
    assert model["mean"].numpy() == pytest.approx(sharp.mean(axis=0), rel=1e-9)
    assert model["covariance"].numpy() == pytest.approx(np.cov(sharp.T), abs=1e-9)


def test_too_few_sharp_patches_are_refused(tmp_path: Path) -> None:
    """36 features need more patches than that, and nothing is written."""
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    with pytest.raises(TrainingError, match="9 sharp patches of 1 photographs are too few"):
        fit_niqe({"photo": photo}, NiqeFitConfig(sources=("test",), out=tmp_path / "out"))
    with pytest.raises(TrainingError, match="0 sharp patches of 0 photographs are too few"):
        fit_niqe({}, NiqeFitConfig(sources=("test",), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sharpness", [-0.1, 1.0])
def test_a_sharpness_that_is_no_fraction_is_refused(tmp_path: Path, sharpness: float) -> None:
    """At 1 no patch would be left."""
    with pytest.raises(TrainingError, match="fraction of the sharpest patch"):
        NiqeFitConfig(sources=(), out=tmp_path, sharpness=sharpness)


@pytest.mark.parametrize("words", [["fit", "--help"], ["fit", "niqe", "--help"]])
def test_help_of_the_fit_command_shows_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As every command's."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 0
    assert "Example: scoreguard-export fit niqe" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"), [(["--photos", "nowhere"], "does not exist"), (["--no-bundled"], "0 photographs are too few")]
)
def test_a_fit_without_photographs_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    """Never a traceback."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fit", "niqe", "--out", str(tmp_path / "out"), *words])
    assert stopped.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and problem in errors[0]
