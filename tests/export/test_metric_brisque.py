"""BRISQUE against published values, against MATLAB's features, and against an independent implementation."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from brisque_reference import at_two_scales, imresize, of_release, regression
from data_folder import DATA, WHY_SKIPPED
from PIL import Image
from scipy import ndimage
from torch import Tensor

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.brisque import _RANGES, Brisque
from scoreguard_export.metrics.brisque_svr import LIBSVM
from scoreguard_export.metrics.niqe_features import Halving
from scoreguard_export.training.evaluate_mos import score_file

MODEL = DATA / "params" / "brisque_allmodel"
PUBLISHED = [
    *(2.187, 0.305119, 0.731, 0.046159, 0.078954, 0.124348, 0.735, 0.032419, 0.086307, 0.118338),
    *(0.733, -0.020298, 0.112611, 0.092477, 0.730, -0.022557, 0.114732, 0.092231),
]
"""MATLAB's features at full size of TID2013's i04_14_1, from the tests of bukalapak/pybrisque."""
REST = [
    *(2.103, 0.360946, 0.731, -0.055774, 0.183185, 0.116578, 0.734, -0.046589, 0.179101, 0.123198),
    *(0.730, -0.037948, 0.168773, 0.123828, 0.725, -0.033253, 0.165621, 0.126170),
]
"""The same at half size, by another way of halving; its score is published too."""
needs_model = pytest.mark.skipif(not MODEL.is_file(), reason="params/brisque_allmodel is not in the data folder")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=WHY_SKIPPED)


@pytest.fixture(scope="module")
def official() -> Brisque:
    """The metric with the model of the authors' release."""
    return Brisque.from_weights({"brisque": MODEL})


def drawn() -> Brisque:
    """The metric with a drawn regression."""
    torch.manual_seed(2)
    return Brisque().eval()


def levels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth texture in grey levels, not whole ones."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    texture: np.ndarray = 128.0 + 150.0 * ndimage.gaussian_filter(noise, 1.2)
    return texture


def plane(grey: np.ndarray) -> Tensor:
    """(1, 1, H, W), double."""
    return torch.from_numpy(grey)[None, None]


def image_of(height: int, width: int, seed: int) -> np.ndarray:
    """Levels (H, W, 3) in 8 bits."""
    colours = np.stack([levels(height, width, seed + channel) for channel in range(3)], axis=2)
    result: np.ndarray = np.clip(colours, 0, 255).astype(np.uint8)
    return result


def batch_of(image: np.ndarray) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0


def lines(model: dict[str, np.ndarray]) -> list[str]:
    """A model as libsvm writes it; coefficients in full, features in six digits, zeros left out."""
    head = ["svm_type epsilon_svr", "kernel_type rbf", f"gamma {model['gamma']}", "nr_class 2"]
    head += [f"total_sv {len(model['vectors'])}", f"rho {model['rho']}", "probA 5.7", "SV"]
    for weight, vector in zip(model["coefficients"], model["vectors"], strict=True):
        entries = (f"{index}:{value:g}" for index, value in enumerate(vector, start=1) if value != 0.0)
        head.append(" ".join([repr(float(weight)), *entries, ""]))
    return head


def model_of(seed: int = 0, count: int = 774, features: int = 36) -> dict[str, np.ndarray]:
    """A generated model, with a zero in every vector; names and shapes are written out from the format."""
    generator = np.random.default_rng(seed)
    vectors = generator.uniform(-1, 1, (count, features)).round(6)
    vectors[:, 7] = 0.0
    coefficients = generator.uniform(-1024, 1024, count)
    return {"vectors": vectors, "coefficients": coefficients, "gamma": np.array(0.05), "rho": np.array(-153.591)}


def written(folder: Path, text: list[str]) -> Path:
    """A file named as in the authors' release."""
    path = folder / "allmodel"
    path.write_text("\n".join(text) + "\n")
    return path


@needs_model
@pytest.mark.parametrize(("name", "allowed"), [("I03", 0.2), ("I04", 0.2), ("I06", 0.2), ("I08", 0.6), ("I19", 3.0)])
def test_the_official_model_gives_the_values_of_the_official_code(official: Brisque, name: str, allowed: float) -> None:
    """Five images. Parts of I08 and I19 are flat: the official code leaves signs there to rounding; others get 66.8."""
    with (DATA / "conformance" / "results_official.csv").open(newline="") as stream:
        published = next(row for row in csv.DictReader(stream) if row["Method"] == "brisque")
    mine = score_file(official, DATA / "conformance" / f"{name}_dist.png")
    assert mine == pytest.approx(float(published[f"{name}.bmp"]), abs=allowed)


@needs_model
def test_the_official_model_gives_the_published_values_of_generated_images(official: Brisque) -> None:
    """24 Stable Diffusion images of avt_ai_images, scored by their authors with IQA-PyTorch."""
    folder = DATA / "mos" / "avt_ai_images"
    with (folder / "iqa.csv").open(newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if (r["model"], r["metric"]) == ("stable_diffusion", "BRISQUE")]
    present = [r for r in rows if (folder / f"stable_diffusion_{r['img_id']}").is_file()]
    mine = np.array([score_file(official, folder / f"stable_diffusion_{r['img_id']}") for r in present])
    errors = np.abs(mine - [float(r["quality_score"]) for r in present])
    assert len(present) == 24
    assert errors.max() < 0.2
    assert errors.mean() < 0.05


@needs_model
def test_the_official_regression_of_published_features_is_the_published_score(official: Brisque) -> None:
    """MATLAB's score of these features is 52.521; scaling and regression alone."""
    features = torch.tensor([[*PUBLISHED, *REST]], dtype=torch.float64)
    assert float(official.svr(features)) == pytest.approx(52.521, abs=1e-3)


@needs_model
def test_the_digest_is_that_of_the_model_that_was_tested(official: Brisque) -> None:
    """What `weights get` checks."""
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert dict(official.weights_digests) == {"brisque": digest}
    assert digest == Brisque.sources["brisque"].sha256


@needs_data
def test_the_features_of_an_image_are_those_of_matlab() -> None:
    """18 at full size: α within half a step of the official grid of 0.001, the others to their six decimals nearly."""
    image = np.array(Image.open(DATA / "mos" / "iqa_samples" / "tid2013_i04_14_1.png").convert("RGB"))
    metric = drawn()
    with torch.no_grad():
        mine = metric.at_scale(metric.luminance(batch_of(image)))[0].numpy()
    shapes = [0, 2, 6, 10, 14]
    assert mine[shapes] == pytest.approx(np.array(PUBLISHED)[shapes], abs=6e-4)
    assert np.delete(mine, shapes) == pytest.approx(np.delete(PUBLISHED, shapes), abs=4e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 35), (101, 70)])
def test_the_features_equal_an_independent_implementation(height: int, width: int) -> None:
    """Both scales, sides even and odd."""
    grey = levels(height, width, height)
    mine = drawn().features(plane(grey))[0].numpy()
    assert mine == pytest.approx(at_two_scales(grey, of_release, imresize), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (96, 64)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """From 8-bit images and a file in the official format to the score; single precision holds seven digits."""
    model, image = model_of(), image_of(height, width, 5)
    metric = Brisque.from_weights({"brisque": written(tmp_path, lines(model))})
    grey = np.floor(image.astype(float) @ [0.298936021293775, 0.587043074451121, 0.114020904255103] + 0.5)
    expected = regression(at_two_scales(grey, of_release, imresize), _RANGES, model)
    with torch.no_grad():
        assert float(metric(batch_of(image))) == pytest.approx(expected, rel=1e-5, abs=2e-3)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 48), (35, 71)])
def test_halving_equals_imresize(height: int, width: int) -> None:
    """Odd sides are rounded up, and see the mirrored border."""
    grey = levels(height, width)
    assert Halving()(plane(grey))[0, 0].numpy() == pytest.approx(imresize(grey), abs=1e-9)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (64, 51)])
def test_halving_equals_pillow_bicubic_of_a_mirrored_image(height: int, width: int) -> None:
    """Pillow reduces with the same kernel but drops taps outside, so it is given the mirrored margin."""
    grey = levels(height, width)
    margins = [(8, 8 + side % 2) for side in grey.shape]
    wide = Image.fromarray(np.pad(grey, margins, mode="symmetric").astype(np.float32))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    expected = np.asarray(wide.resize((columns + 8, rows + 8), Image.Resampling.BICUBIC))[4:-4, 4:-4]
    assert np.abs(Halving()(plane(grey))[0, 0].numpy() - expected).max() < 1e-4


def test_an_image_scores_the_same_bits_alone_and_in_any_batch() -> None:
    """No statistic is shared between the images of a batch."""
    metric, images = drawn(), photographs(3, 75, 101, 0)
    with torch.no_grad():
        alone = torch.cat([metric(image[None]) for image in images])
        assert torch.equal(metric(images), alone)
        assert torch.equal(metric(images.flip(0)), alone.flip(0))


def test_the_derivative_of_the_score_is_that_of_finite_differences() -> None:
    """Along random directions of the luminance, through both scales, all fits and the regression."""
    metric = drawn()
    grey = plane(levels(45, 60, 1)).requires_grad_()
    (slope,) = torch.autograd.grad(metric.svr(metric.features(grey)).sum(), grey)
    for seed in range(3):
        direction = torch.from_numpy(np.random.default_rng(seed).standard_normal(grey.shape))
        step = 1e-6 * direction
        with torch.no_grad():
            after, before = (metric.svr(metric.features(grey + sign * step)) for sign in (1.0, -1.0))
        assert float(after - before) / 2e-6 == pytest.approx(float((slope * direction).sum()), rel=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_image_has_a_finite_score_and_gradient(level: float) -> None:
    """Black leaves nothing to fit at all; the border of others is an edge to black."""
    image = torch.full((1, 3, 40, 50), level, requires_grad=True)
    score = drawn()(image)
    score.sum().backward()
    assert image.grad is not None
    assert bool(score.isfinite().all() and image.grad.isfinite().all())


def test_the_official_format_is_read_number_by_number(tmp_path: Path) -> None:
    """Coefficients, vectors with the zeros that the format leaves out, and the two constants."""
    model = model_of(3)
    metric = Brisque.from_weights({"brisque": written(tmp_path, lines(model))})
    state = metric.state_dict()
    assert sorted(state) == ["svr.coefficients", "svr.gamma", "svr.rho", "svr.vectors"]
    assert all(np.array_equal(state[f"svr.{name}"].numpy(), value) for name, value in model.items())


def test_the_tensors_of_the_model_load_as_well(tmp_path: Path) -> None:
    """As saved from a module."""
    saved = drawn().state_dict()
    torch.save(saved, tmp_path / "model.pt")
    loaded = Brisque.from_weights({"brisque": tmp_path / "model.pt"}).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: [line.replace("epsilon_svr", "c_svc") for line in text], "not a regression of libsvm"),
        (lambda text: [line.replace("rbf", "linear") for line in text], "not a regression of libsvm"),
        (lambda text: [line for line in text if not line.startswith("rho")], "not a regression of libsvm"),
        (lambda text: [*text, "1.0 37:0.5"], "not a regression of libsvm"),
        (lambda text: [*text, "1.0 1:half"], "not a regression of libsvm"),
        (lambda text: [line for line in text if line != "SV"], r"svr.vectors is \(0, 36\)"),
        (lambda text: text[:-3], r"svr.vectors is \(771, 36\), not \(774, 36\)"),
        (lambda text: [*text[:-1], "nan 1:0.5"], "svr.coefficients holds numbers that are not finite"),
        (lambda text: ["%YAML:1.0", *text], "not a regression of libsvm"),
        (lambda text: [], "not a regression of libsvm"),
    ],
)
def test_another_file_is_refused_in_one_line(change: object, problem: str, tmp_path: Path) -> None:
    """Other machines, other features, damage, other formats; the message says where the right one is."""
    assert callable(change)
    path = written(tmp_path, change(lines(model_of())))
    with pytest.raises(WeightsError, match=rf"allmodel .*{problem}.*weights get brisque") as caught:
        Brisque.from_weights({"brisque": path})
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_which_is_needed(tmp_path: Path) -> None:
    """The file, its source and its licence."""
    with pytest.raises(WeightsError, match=r"absent.*--weights brisque=PATH.*allmodel.*UT Austin"):
        Brisque.from_weights({"brisque": tmp_path / "absent"})


def test_the_format_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    """Whatever the file is called."""
    path = tmp_path / "model.safetensors"
    path.write_text("\n".join(lines(model_of())))
    assert path.read_bytes().startswith(LIBSVM.start)
    assert float(Brisque.from_weights({"brisque": path}).svr.rho) == -153.591
