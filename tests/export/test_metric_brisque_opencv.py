"""OpenCV's BRISQUE against OpenCV's scores and functions, and against an independent implementation."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from brisque_reference import at_two_scales, of_opencv, regression
from data_folder import DATA, WHY_SKIPPED
from scipy import ndimage
from torch import Tensor

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.brisque import Brisque
from scoreguard_export.metrics.brisque_opencv import _GREY, _RANGES, BrisqueOpenCv, halved
from scoreguard_export.metrics.niqe_features import Luminance
from scoreguard_export.training.evaluate_mos import score_file

PARAMETERS = DATA / "params"
MODEL = PARAMETERS / "brisque_model_live.yml"
OPENCV = {
    "conformance/I03_dist.png": 84.462,
    "conformance/I03_ref.png": 5.234,
    "conformance/I04_dist.png": 0.0,
    "conformance/I06_dist.png": 1.295,
    "conformance/I08_dist.png": 7.911,
    "images/nips2017/001b5e6f1b89fd3b.png": 18.326,
    "images/nips2017/00312c7e7196baf4.png": 13.079,
    "images/nips2017/01244097ca8ffdfa.png": 10.638,
    "images/nips2017/0134ba03294509a1.png": 27.165,
    "images/nips2017/02dbe78a73db2808.png": 22.113,
}
"""Scores of `cv2.quality.QualityBRISQUE_compute` of OpenCV 4.14 with these parameters."""
needs_data = pytest.mark.skipif(not MODEL.is_file(), reason=WHY_SKIPPED)


@pytest.fixture(scope="module")
def official() -> BrisqueOpenCv:
    """The metric with OpenCV's model."""
    return BrisqueOpenCv.from_weights({"brisque-opencv": MODEL})


def drawn() -> BrisqueOpenCv:
    """The metric with a drawn regression."""
    torch.manual_seed(2)
    return BrisqueOpenCv().eval()


def levels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth texture in grey levels, not whole ones."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    texture: np.ndarray = 128.0 + 150.0 * ndimage.gaussian_filter(noise, 1.2)
    return texture


def plane(grey: np.ndarray) -> Tensor:
    """(1, 1, H, W), double."""
    return torch.from_numpy(grey)[None, None]


def colours(height: int, width: int, seed: int) -> np.ndarray:
    """Levels (H, W, 3) in 8 bits, red first."""
    texture = np.stack([levels(height, width, seed + channel) for channel in range(3)], axis=2)
    result: np.ndarray = np.clip(texture, 0, 255).astype(np.uint8)
    return result


def batch_of(image: np.ndarray) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0


def resized(grey: np.ndarray) -> np.ndarray:
    """OpenCV's own halving."""
    size = (grey.shape[1] // 2, grey.shape[0] // 2)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC))


def text_of(model: dict[str, np.ndarray]) -> str:
    """A model as OpenCV writes it, lines broken anywhere."""
    vectors = "\n".join(f"      - [ {', '.join(f'{value:.8e}' for value in vector)} ]" for vector in model["vectors"])
    alpha = ",\n             ".join(f"{value:.16e}" for value in model["coefficients"])
    return (
        "%YAML:1.0\n---\nopencv_ml_svm:\n   format: 3\n   svmType: EPS_SVR\n   kernel:\n      type: RBF\n"
        f"      gamma: {float(model['gamma'])!r}\n   C: 1024.\n   p: 1.0e-01\n"
        "   term_criteria: { epsilon:1.0000000000000000e-03 }\n"
        f"   var_count: 36\n   sv_total: {len(model['vectors'])}\n   support_vectors:\n{vectors}\n"
        f"   decision_functions:\n      -\n         sv_count: {len(model['vectors'])}\n"
        f"         rho: {float(model['rho'])!r}\n         alpha: [ {alpha} ]\n"
    )


def model_of(seed: int = 0, count: int = 774) -> dict[str, np.ndarray]:
    """A generated model whose scores lie around 50; names and shapes are written out from the format."""
    generator = np.random.default_rng(seed)
    return {
        "vectors": generator.uniform(-1, 1, (count, 36)).round(6),
        "coefficients": generator.standard_normal(count),
        "gamma": np.array(0.05),
        "rho": np.array(-50.0),
    }


def written(folder: Path, text: str) -> Path:
    """A file named as in OpenCV's repository."""
    path = folder / "brisque_model_live.yml"
    path.write_text(text)
    return path


@needs_data
@pytest.mark.parametrize("name", OPENCV)
def test_the_scores_are_those_of_opencv(official: BrisqueOpenCv, name: str) -> None:
    """OpenCV searches α in steps of 0.001, and leaves the sign of deviations in flat parts (I08) to rounding."""
    assert score_file(official, DATA / name) == pytest.approx(OPENCV[name], abs=0.2)


@needs_data
def test_the_ranges_are_those_of_the_published_file() -> None:
    """Two rows: the least and the largest value of each feature."""
    text = (PARAMETERS / "brisque_range_live.yml").read_text()
    published = re.findall(r"[-\d.e+]+(?=,|\s*\])", text[text.index("data:") :])
    assert [float(number) for number in published] == [bound for side in zip(*_RANGES, strict=True) for bound in side]


@pytest.mark.parametrize("order", ["red", "green", "blue", "mixed"])
def test_the_grey_value_is_that_of_opencv(order: str) -> None:
    """Every level of each channel, and a million colours."""
    image = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    if order != "mixed":
        channel = ["red", "green", "blue"].index(order)
        image[:, :, [other for other in range(3) if other != channel]] = 37
        image[0, :256, channel] = np.arange(256)
    mine = Luminance(_GREY)(batch_of(image))[0, 0].numpy()
    assert np.array_equal(mine, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 35), (35, 101)])
def test_halving_equals_opencv(height: int, width: int) -> None:
    """Bicubic; an odd side loses half a pixel, so the step is longer than two. OpenCV has single-precision places."""
    grey = levels(height, width)
    mine = halved(halved(plane(grey), 2), 3)[0, 0].numpy()
    assert mine == pytest.approx(resized(grey), abs=2e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 35), (101, 70)])
def test_the_features_equal_an_independent_implementation(height: int, width: int) -> None:
    """Both scales, sides even and odd; products with pixels outside are zero."""
    grey = levels(height, width, height)
    mine = drawn().features(plane(grey))[0].numpy()
    assert mine == pytest.approx(at_two_scales(grey, of_opencv, resized), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (96, 64)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """From 8-bit images and a file in OpenCV's format to the score."""
    model, image = model_of(), colours(height, width, 5)
    metric = BrisqueOpenCv.from_weights({"brisque-opencv": written(tmp_path, text_of(model))})
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    expected = regression(at_two_scales(grey, of_opencv, resized), _RANGES, model)
    assert 0.0 < expected < 100.0
    with torch.no_grad():
        assert float(metric(batch_of(image))) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("rho", "clipped"), [(-300.0, 100.0), (300.0, 0.0)])
def test_clipping_passes_the_gradient(rho: float, clipped: float) -> None:
    """The score is OpenCV's, and an attacker finds a slope; it is that of the score before clipping."""
    metric, free = drawn(), drawn()
    metric.svr.rho.fill_(rho)
    image = batch_of(colours(48, 50, 1)).requires_grad_()
    score = metric(image)
    assert score.tolist() == [clipped]
    (slope,) = torch.autograd.grad(score.sum(), image)
    (expected,) = torch.autograd.grad(free(image).sum(), image)
    assert torch.equal(slope, expected)
    assert float(slope.abs().max()) > 0.0


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


def test_the_format_is_read_number_by_number(tmp_path: Path) -> None:
    """Coefficients, vectors and the two constants; nothing of the head is taken for one."""
    model = model_of(3)
    state = BrisqueOpenCv.from_weights({"brisque-opencv": written(tmp_path, text_of(model))}).state_dict()
    assert sorted(state) == ["svr.coefficients", "svr.gamma", "svr.rho", "svr.vectors"]
    assert all(np.array_equal(state[f"svr.{name}"].numpy(), value) for name, value in model.items())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("EPS_SVR", "C_SVC", "not a regression of OpenCV"),
        ("type: RBF", "type: LINEAR", "not a regression of OpenCV"),
        ("rho: ", "omega: ", "not a regression of OpenCV"),
        ("decision_functions:", "functions:", "not a regression of OpenCV"),
        ("      - [ ", "      - [ 1.0, ", "not a regression of OpenCV"),
        ("alpha: [", "alpha: [ 1.0,", r"svr.coefficients is \(775,\), not \(774,\)"),
        ("rho: -50.0", "rho: .Nan", "not a regression of OpenCV"),
        ("%YAML:1.0", "YAML", "not a regression of OpenCV"),
    ],
)
def test_another_file_is_refused_in_one_line(old: str, new: str, problem: str, tmp_path: Path) -> None:
    """Other machines, other features, damage; the message says where the right one is."""
    text = text_of(model_of())
    assert old in text
    path = written(tmp_path, text.replace(old, new, 1))
    with pytest.raises(WeightsError, match=rf"live.yml .*{problem}.*weights get brisque-opencv") as caught:
        BrisqueOpenCv.from_weights({"brisque-opencv": path})
    assert "\n" not in str(caught.value)


def test_the_two_models_cannot_be_exchanged(tmp_path: Path) -> None:
    """Their features differ: with the other model I04 would score -16 instead of 0."""
    path = written(tmp_path, text_of(model_of()))
    with pytest.raises(WeightsError, match="not a regression of libsvm"):
        Brisque.from_weights({"brisque": path})
    path.write_text("svm_type epsilon_svr\n")
    with pytest.raises(WeightsError, match="not a regression of OpenCV"):
        BrisqueOpenCv.from_weights({"brisque-opencv": path})
