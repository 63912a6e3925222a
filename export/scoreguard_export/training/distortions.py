"""Synthetic distortions of photographs, graded from barely visible (severity 0) to severe (severity 1).

Each is a function (pixels, severity, random generator) → pixels on float32 arrays (H, W, 3) in [0, 1]. Strengths grow
geometrically with the severity, as visibility does.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

ImageArray = NDArray[np.float32]
Distortion = Callable[[ImageArray, float, np.random.Generator], ImageArray]


def geometric(low: float, high: float, severity: float) -> float:
    """Interpolate from low to high in equal ratios: low · (high / low)^severity."""
    return float(low * (high / low) ** severity)


def to_image(pixels: ImageArray) -> Image.Image:
    """Round to 8 bits."""
    return Image.fromarray(np.round(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8))


def to_array(image: Image.Image) -> ImageArray:
    """Convert 8 bits to [0, 1]."""
    levels: ImageArray = np.asarray(image.convert("RGB"), np.float32)
    return levels / np.float32(255.0)


def _clipped(values: NDArray[np.floating]) -> ImageArray:
    pixels: ImageArray = np.clip(values, 0.0, 1.0).astype(np.float32)
    return pixels


def _grey(pixels: ImageArray) -> ImageArray:
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)[..., None]


def _through_codec(pixels: ImageArray, name: str, **options: object) -> ImageArray:
    buffer = io.BytesIO()
    to_image(pixels).save(buffer, name, **options)
    buffer.seek(0)
    with Image.open(buffer) as image:
        return to_array(image)


def _convolved(pixels: ImageArray, kernel: NDArray[np.floating]) -> ImageArray:
    return _clipped(ndimage.convolve(pixels, kernel[..., None] / kernel.sum(), mode="reflect"))


def gaussian_blur(pixels: ImageArray, severity: float, _: np.random.Generator) -> ImageArray:
    """Gaussian blur, sigma 0.35 to 7 pixels."""
    sigma = geometric(0.35, 7.0, severity)
    return _clipped(ndimage.gaussian_filter(pixels, (sigma, sigma, 0.0)))


def lens_blur(pixels: ImageArray, severity: float, _: np.random.Generator) -> ImageArray:
    """Blur by a disc, radius 0.7 to 7 pixels."""
    radius = geometric(0.7, 7.0, severity)
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _convolved(pixels, np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0))


def motion_blur(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """Blur along a line, length 2 to 19 pixels, any angle."""
    length, angle, scale = geometric(2.0, 19.0, severity), rng.uniform(0.0, np.pi), 4
    side = 2 * int(np.ceil(length / 2)) + 1
    canvas = Image.new("L", (side * scale, side * scale))
    middle, reach = side * scale / 2, length * scale / 2
    dx, dy = reach * np.cos(angle), reach * np.sin(angle)
    ends = [(middle - dx, middle - dy), (middle + dx, middle + dy)]
    ImageDraw.Draw(canvas).line(ends, fill=255, width=scale)
    kernel = np.asarray(canvas.resize((side, side), Image.Resampling.BOX), np.float32)
    return _convolved(pixels, kernel)


def white_noise(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """Gaussian noise, independent per channel, sigma 0.008 to 0.7."""
    sigma = geometric(0.008, 0.7, severity)
    return _clipped(pixels + sigma * rng.standard_normal(pixels.shape))


def chroma_noise(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """Gaussian noise that leaves the luma nearly alone, sigma 0.015 to 0.7."""
    noise = geometric(0.015, 0.7, severity) * rng.standard_normal(pixels.shape).astype(np.float32)
    return _clipped(pixels + noise - _grey(noise))


def jpeg(pixels: ImageArray, severity: float, _: np.random.Generator) -> ImageArray:
    """JPEG, quality 92 down to 2."""
    return _through_codec(pixels, "JPEG", quality=round(geometric(92.0, 2.0, severity)))


def webp(pixels: ImageArray, severity: float, _: np.random.Generator) -> ImageArray:
    """Lossy WebP, quality 88 down to 0."""
    return _through_codec(pixels, "WEBP", quality=round(89.0 * (1.0 - severity) - 1.0 + severity), method=2)


def jpeg2000(pixels: ImageArray, severity: float, _: np.random.Generator) -> ImageArray:
    """JPEG 2000, compression ratio 6 to 250."""
    rate = geometric(6.0, 250.0, severity)
    return _through_codec(pixels, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True)


def rescale(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """Downscale and upscale again by 1.3 to 9, with one of three filters."""
    image, factor = to_image(pixels), geometric(1.3, 9.0, severity)
    back = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST][rng.integers(3)]
    small = (max(2, round(image.width / factor)), max(2, round(image.height / factor)))
    return to_array(image.resize(small, Image.Resampling.BOX).resize(image.size, back))


def _tone(low: float, high: float, severity: float, rng: np.random.Generator) -> float:
    """Return a factor that weakens or, half as much in the logarithm, strengthens."""
    strength = geometric(low, high, severity)
    return strength if rng.random() < 0.6 else float(strength**-0.5)


def contrast(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """Contrast about the mean, by 0.9 down to 0.12, or raised."""
    mean = pixels.mean()
    return _clipped(mean + (pixels - mean) * _tone(0.9, 0.12, severity, rng))


def saturation(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """Colour saturation, by 0.85 down to 0.05, or raised."""
    grey = _grey(pixels)
    return _clipped(grey + (pixels - grey) * _tone(0.85, 0.05, severity, rng))


def brightness(pixels: ImageArray, severity: float, rng: np.random.Generator) -> ImageArray:
    """A shift of all channels by ±0.03 to ±0.35."""
    return _clipped(pixels + geometric(0.03, 0.35, severity) * rng.choice([-1.0, 1.0]))


FAMILIES: dict[str, dict[str, Distortion]] = {
    "optics": {"gaussian_blur": gaussian_blur, "lens_blur": lens_blur, "motion_blur": motion_blur, "rescale": rescale},
    "noise": {"white_noise": white_noise, "chroma_noise": chroma_noise},
    "tone": {"contrast": contrast, "saturation": saturation, "brightness": brightness},
    "codec": {"jpeg": jpeg, "webp": webp, "jpeg2000": jpeg2000},
}
"""In the order in which a camera applies them; a double distortion takes one from each of two families."""

DISTORTIONS: dict[str, Distortion] = {name: run for family in FAMILIES.values() for name, run in family.items()}
"""Every distortion by name."""

WEIGHTS: dict[str, float] = {
    "gaussian_blur": 3.0,
    "lens_blur": 1.0,
    "motion_blur": 1.0,
    "rescale": 1.5,
    "white_noise": 3.0,
    "chroma_noise": 1.0,
    "contrast": 0.5,
    "saturation": 0.3,
    "brightness": 0.3,
    "jpeg": 3.5,
    "webp": 1.5,
    "jpeg2000": 1.5,
}
"""Relative frequency of each: those common in the field's data sets are drawn three times as often."""
