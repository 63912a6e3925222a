"""What a user would use instead of a defence: the same filter in OpenCV, Pillow, scikit-image, kornia, torchvision.

Each uses the parameters that the defence runs with, on the image format that its library prefers. A defence takes and
returns RGB float32 (N, 3, H, W) in [0, 1]; `Form` is the conversion in both directions that a user of the library has
to write.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from skimage import data as photographs
from skimage import restoration

from scoreguard.support.torchvision import torchvision_operators

Planes = npt.NDArray[np.float32]
"""(1, 3, H, W) in [0, 1]."""
Values = Mapping[str, float]
"""Every parameter and random number of the defence, by name."""
LEVELS: Final = 255


class Form(StrEnum):
    """An image format."""

    BYTES = "uint8 HWC"
    FLOATS = "float32 HWC"
    PILLOW = "Pillow image"
    PLANES = "float32 NCHW"
    TENSOR = "float32 NCHW, torch"

    def read(self, planes: Planes) -> Any:
        """Make an image in this format."""
        if self is Form.PLANES:
            return planes
        if self is Form.TENSOR:
            return torch.from_numpy(planes)
        if self is Form.FLOATS:
            return np.ascontiguousarray(planes[0].transpose(1, 2, 0))
        levels = np.ascontiguousarray((planes[0] * LEVELS).round().astype(np.uint8).transpose(1, 2, 0))
        return levels if self is Form.BYTES else Image.fromarray(levels)

    def write(self, image: Any) -> Planes:
        """Undo `read`, for an image of any size."""
        if self is Form.PLANES:
            return np.asarray(image)
        if self is Form.TENSOR:
            return np.asarray(image.numpy())
        planes = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))[None]
        return planes if self is Form.FLOATS else np.asarray(planes / LEVELS, np.float32)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One way of doing the work of a defence."""

    name: str
    form: Form
    run: Callable[[Any], Any]
    """Maps an image in that format to one in the same format."""

    def converted(self, planes: Planes) -> Planes:
        """Run on the format that a chain works on, conversions included."""
        return self.form.write(self.run(self.form.read(planes)))


def _kornia() -> Any:
    torchvision_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warnings are irrelevant here
        import kornia
    return kornia


def _torchvision() -> Any:
    torchvision_operators()
    from torchvision.transforms.v2 import functional

    return functional


def _blur(values: Values) -> list[Reference]:
    size = int(values["kernel"])
    sigma = values["sigma"] or 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    kernel, filters, vision = (size, size), _kornia().filters, _torchvision()
    return [
        Reference(name="OpenCV", form=Form.BYTES, run=lambda p: cv2.GaussianBlur(p, kernel, sigma)),
        Reference(name="OpenCV", form=Form.FLOATS, run=lambda p: cv2.GaussianBlur(p, kernel, sigma)),
        Reference(name="torchvision", form=Form.TENSOR, run=lambda p: vision.gaussian_blur(p, kernel, [sigma] * 2)),
        Reference(name="kornia", form=Form.TENSOR, run=lambda p: filters.gaussian_blur2d(p, kernel, (sigma, sigma))),
    ]


def _bilateral(values: Values) -> list[Reference]:
    size, colour, space = int(values["kernel"]), values["sigma_color"], values["sigma_space"]
    filters = _kornia().filters
    # kornia uses the whole square window; OpenCV and the defence use the disc inside it.
    return [
        Reference(name="OpenCV", form=Form.BYTES, run=lambda p: cv2.bilateralFilter(p, size, colour * LEVELS, space)),
        Reference(name="OpenCV", form=Form.FLOATS, run=lambda p: cv2.bilateralFilter(p, size, colour, space)),
        Reference(
            name="kornia",
            form=Form.TENSOR,
            run=lambda p: filters.bilateral_blur(p, (size, size), colour, (space, space), color_distance_type="l1"),
        ),
    ]


def _median(values: Values) -> list[Reference]:
    size = int(values["kernel"])
    filters = _kornia().filters
    own = ImageFilter.MedianFilter(size)
    references = [
        Reference(name="OpenCV", form=Form.BYTES, run=lambda p: cv2.medianBlur(p, size)),
        Reference(name="Pillow", form=Form.PILLOW, run=lambda p: p.filter(own)),
        Reference(name="kornia", form=Form.TENSOR, run=lambda p: filters.median_blur(p, (size, size))),
    ]
    if size <= 5:  # OpenCV filters floats only up to this size
        references.insert(1, Reference(name="OpenCV", form=Form.FLOATS, run=lambda p: cv2.medianBlur(p, size)))
    return references


def _flip(values: Values) -> list[Reference]:
    axes = [axis for axis, name in ((2, "vertical"), (3, "horizontal")) if values[name]]
    code = {(2, 3): -1, (2,): 0, (3,): 1}[tuple(axes)]
    return [
        Reference(name="OpenCV", form=Form.BYTES, run=lambda p: cv2.flip(p, code)),
        Reference(name="OpenCV", form=Form.FLOATS, run=lambda p: cv2.flip(p, code)),
        Reference(name="torch", form=Form.TENSOR, run=lambda p: torch.flip(p, axes)),
    ]


def _jpeg(values: Values) -> list[Reference]:
    quality, subsampling = int(values["quality"]), {420: 2, 444: 0}[int(values["subsampling"])]
    enhance = _kornia().enhance

    def by_pillow(image: Any) -> Any:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, subsampling=subsampling)
        decoded = Image.open(file)
        decoded.load()
        return decoded

    def by_opencv(image: Any) -> Any:
        coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded: Any = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)

    level = torch.tensor([float(quality)])
    return [
        Reference(name="Pillow", form=Form.PILLOW, run=by_pillow),
        Reference(name="OpenCV", form=Form.BYTES, run=by_opencv),
        Reference(name="kornia", form=Form.TENSOR, run=lambda p: enhance.jpeg_codec_differentiable(p, level)),
    ]


def _resize(values: Values) -> list[Reference]:
    vision = _torchvision()
    return [
        Reference(
            name="Pillow", form=Form.PILLOW, run=lambda p: p.resize(_shrunk(p.size, values), Image.Resampling.BILINEAR)
        ),
        Reference(
            name="torchvision",
            form=Form.TENSOR,
            run=lambda p: vision.resize(p, list(_shrunk(p.shape[2:], values)), antialias=True),
        ),
    ]


def _upscale(values: Values) -> list[Reference]:
    vision = _torchvision()

    def by_pillow(image: Any) -> Any:
        small = image.resize(_shrunk(image.size, values), Image.Resampling.BILINEAR)
        return small.resize(image.size, Image.Resampling.BILINEAR)

    def by_torchvision(image: Any) -> Any:
        small = vision.resize(image, list(_shrunk(image.shape[2:], values)), antialias=True)
        return vision.resize(small, list(image.shape[2:]), antialias=False)

    return [
        Reference(name="Pillow", form=Form.PILLOW, run=by_pillow),
        Reference(name="torchvision", form=Form.TENSOR, run=by_torchvision),
    ]


def _shrunk(size: Any, values: Values) -> tuple[int, ...]:
    return tuple(max(1, int(length * values["scale"] + 0.5)) for length in size)


def _tv(values: Values) -> list[Reference]:
    # It counts the evaluation of the input as an iteration; `eps` 0 never stops early.
    denoise: Any = restoration.denoise_tv_chambolle
    options = {"weight": values["weight"], "eps": 0.0, "max_num_iter": int(values["iterations"]) + 1}
    return [
        Reference(
            name="scikit-image",
            form=Form.FLOATS,
            run=lambda p: denoise(p, channel_axis=2, **options),
        )
    ]


def _nlm(values: Values) -> list[Reference]:
    patch, search, strength = int(values["patch"]), int(values["search"]), values["strength"]
    options = {"patch_size": patch, "patch_distance": search // 2, "h": strength, "fast_mode": True}
    level = round(strength * LEVELS)
    return [
        Reference(
            name="OpenCV", form=Form.BYTES, run=lambda p: cv2.fastNlMeansDenoising(p, None, level, patch, search)
        ),
        Reference(
            name="scikit-image",
            form=Form.FLOATS,
            run=lambda p: restoration.denoise_nl_means(p, channel_axis=2, **options),
        ),
    ]


def _quantise(values: Values) -> list[Reference]:
    steps = np.float32(values["levels"] - 1)
    table = (np.round(np.arange(256) / LEVELS * steps) / steps * LEVELS).round().astype(np.uint8)
    return [
        Reference(name="NumPy", form=Form.PLANES, run=lambda p: np.round(p * steps) / steps),
        Reference(name="OpenCV", form=Form.BYTES, run=lambda p: cv2.LUT(p, table)),
        Reference(name="torch", form=Form.TENSOR, run=lambda p: torch.round(p * float(steps)) / float(steps)),
    ]


def _unsharp(values: Values) -> list[Reference]:
    size, sigma, amount = int(values["kernel"]), values["sigma"], values["amount"]
    kernel, vision = (size, size), _torchvision()

    def sharpened(image: Any) -> Any:
        start = cv2.GaussianBlur(image, kernel, sigma)
        mask = cv2.addWeighted(start, 1 + amount, cv2.GaussianBlur(start, kernel, sigma), -amount, 0)
        return mask if mask.dtype == np.uint8 else np.clip(mask, 0.0, 1.0, out=mask)

    def by_torchvision(image: Any) -> Any:
        start = vision.gaussian_blur(image, kernel, [sigma] * 2)
        return (start + amount * (start - vision.gaussian_blur(start, kernel, [sigma] * 2))).clamp(0.0, 1.0)

    return [
        Reference(name="OpenCV", form=Form.BYTES, run=sharpened),
        Reference(name="OpenCV", form=Form.FLOATS, run=sharpened),
        Reference(name="torchvision", form=Form.TENSOR, run=by_torchvision),
    ]


def _wavelet(values: Values) -> list[Reference]:
    options = {"wavelet": "haar", "method": "BayesShrink", "mode": "soft", "convert2ycbcr": False}
    levels, sigma = int(values["levels"]), values["sigma"]
    return [
        Reference(
            name="scikit-image",
            form=Form.FLOATS,
            run=lambda p: restoration.denoise_wavelet(p, sigma, wavelet_levels=levels, channel_axis=2, **options),
        )
    ]


def _crop(values: Values) -> list[Reference]:
    side = int(values["size"])

    def cut(image: Any) -> Any:
        rows, columns = (
            slice(int(draw * (length - side + 1)), int(draw * (length - side + 1)) + side)
            for draw, length in zip((values["vertical"], values["horizontal"]), image.shape[2:], strict=True)
        )
        return image[:, :, rows, columns].copy()

    return [Reference(name="NumPy", form=Form.PLANES, run=cut)]


def _rotate(values: Values) -> list[Reference]:
    angle, vision = (2 * values["turn"] - 1) * values["degrees"], _torchvision()

    def by_opencv(image: Any) -> Any:
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST)

    return [
        Reference(name="Pillow", form=Form.PILLOW, run=lambda p: p.rotate(angle)),
        Reference(name="OpenCV", form=Form.BYTES, run=by_opencv),
        Reference(name="OpenCV", form=Form.FLOATS, run=by_opencv),
        Reference(name="torchvision", form=Form.TENSOR, run=lambda p: vision.rotate(p, angle)),
    ]


REFERENCES: Final[Mapping[str, Callable[[Values], list[Reference]]]] = {
    "bilateral": _bilateral,
    "blur": _blur,
    "crop": _crop,
    "flip": _flip,
    "jpeg": _jpeg,
    "median": _median,
    "nlm": _nlm,
    "quantise": _quantise,
    "resize": _resize,
    "rotate": _rotate,
    "tv": _tv,
    "unsharp": _unsharp,
    "upscale": _upscale,
    "wavelet": _wavelet,
}
"""By defence, the most obvious choice first. `noise` has its own below; learned defences have none."""


def references(name: str, inputs: Mapping[str, Any], structural: Values) -> list[Reference]:
    """Return the references of a defence, set up for its inputs; empty if there are none.

    Args:
        name: Name of the defence.
        inputs: Inputs of its graph, by name: scalars, and random numbers, one per image or one per value.
        structural: Its structural parameters.
    """
    if name == "noise":
        return _noise(np.asarray(inputs["noise"]), float(inputs["sigma"]))
    if name not in REFERENCES:
        return []
    numbers = {key: float(np.ravel(value)[0]) for key, value in inputs.items() if key != "image"}
    return REFERENCES[name]({**numbers, **structural})


def _noise(drawn: Planes, sigma: float) -> list[Reference]:
    strength, tensor = np.float32(sigma), torch.from_numpy(drawn)
    return [
        Reference(name="NumPy", form=Form.PLANES, run=lambda p: np.clip(p + strength * drawn, 0.0, 1.0)),
        Reference(name="torch", form=Form.TENSOR, run=lambda p: (p + sigma * tensor).clamp(0.0, 1.0)),
    ]


def image(path: Path | None, height: int, width: int) -> Planes:
    """Return a photograph (1, 3, height, width) in [0, 1], mirrored at its borders if it is smaller."""
    shipped: Any = photographs.astronaut
    photo = np.asarray(Image.open(path).convert("RGB")) if path else np.asarray(shipped())
    missing = [(0, max(0, height - photo.shape[0])), (0, max(0, width - photo.shape[1])), (0, 0)]
    whole = np.pad(photo, missing, mode="symmetric")[:height, :width]
    return np.asarray(np.ascontiguousarray(whole.transpose(2, 0, 1)[None]) / LEVELS, np.float32)
