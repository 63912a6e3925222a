"""Photographs → pairs of distorted and pristine crops → labelled crops, cached in a folder."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from scoreguard.support.whole_files import whole_file
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.distortions import DISTORTIONS, FAMILIES, WEIGHTS, ImageArray, to_array, to_image
from scoreguard_export.training.labels import quality_labels
from scoreguard_export.training.photos import Bytes, load_photos

MARGIN = 24
"""Pixels around a crop that are distorted with it and cut off: avoids border effects, varies a codec's block phase."""

CHUNK = 50
"""Crops that a worker labels at once."""

_PRISTINE, _DOUBLE = 0.06, 0.2

_SEVERITY_POWER = 0.8
"""Below 1, severe distortions are slightly more frequent: with even severities, labels crowd at the good end."""

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class LabelledCrops:
    """Distorted crops, their labels, and what was done to each."""

    images: NDArray[np.uint8]
    """(N, H, W, 3)."""
    labels: NDArray[np.float32]
    """(N,) in [0, 100]."""
    kinds: NDArray[np.str_]
    """(N,) names of distortions, joined by `+`; `pristine` if none."""


def pristine_region(photo: Bytes, side: int, rng: np.random.Generator) -> ImageArray:
    """Return a random square of the photograph at a random scale of 0.5 to 1; shrinking keeps it sharp."""
    height, width = photo.shape[:2]
    smallest = max(0.5, side / min(height, width))
    if smallest > 1.0:
        raise TrainingError(f"a photograph of {width}x{height} is too small: at least {side} pixels a side are needed")
    reach = min(side / rng.uniform(smallest, 1.0), height, width) if rng.random() < 0.65 else side
    left, top = rng.uniform(0, width - reach), rng.uniform(0, height - reach)
    if reach == side:
        return to_array(Image.fromarray(photo[int(top) : int(top) + side, int(left) : int(left) + side]))
    box = (left, top, left + reach, top + reach)
    return to_array(Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS, box=box))


def draw_recipe(rng: np.random.Generator) -> list[tuple[str, float]]:
    """Draw the distortions of a crop: names with severities, none for a pristine crop."""
    share = rng.random()
    if share < _PRISTINE:
        return []
    if share > 1.0 - _DOUBLE:
        first, second = sorted(rng.choice(len(FAMILIES), 2, replace=False))
        families = list(FAMILIES.values())
        return [(_draw(list(families[i]), rng), 0.75 * _severity(rng)) for i in (first, second)]
    return [(_draw(list(DISTORTIONS), rng), _severity(rng))]


def _severity(rng: np.random.Generator) -> float:
    return float(rng.random() ** _SEVERITY_POWER)


def _draw(names: list[str], rng: np.random.Generator) -> str:
    weights = np.array([WEIGHTS[name] for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def distorted_pair(photos: list[Bytes], side: int, rng: np.random.Generator) -> tuple[Bytes, Bytes, str]:
    """Draw a distorted crop, its pristine one and the distortions' names; large photographs are drawn more often."""
    weights = np.sqrt([photo.shape[0] * photo.shape[1] for photo in photos])
    photo = photos[rng.choice(len(photos), p=weights / weights.sum())]
    pristine = pristine_region(photo, side + MARGIN, rng)
    recipe, distorted = draw_recipe(rng), pristine
    for name, severity in recipe:
        distorted = DISTORTIONS[name](distorted, severity, rng)
    y, x = rng.integers(0, MARGIN + 1, 2)
    cut = (slice(y, y + side), slice(x, x + side))
    kind = "+".join(name for name, _ in recipe) or "pristine"
    return np.asarray(to_image(distorted))[cut], np.asarray(to_image(pristine))[cut], kind


def make_chunk(photos: list[Bytes], side: int, seeds: list[list[int]]) -> LabelledCrops:
    """Make one labelled crop per seed; the same seeds always give the same crops."""
    pairs = [distorted_pair(photos, side, np.random.default_rng(seed)) for seed in seeds]
    distorted, pristine = (np.stack([pair[i] for pair in pairs]) for i in (0, 1))
    labels = quality_labels(_tensor(distorted), _tensor(pristine))
    return LabelledCrops(images=distorted, labels=labels.numpy(), kinds=np.array([pair[2] for pair in pairs]))


def _tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0


def _one_thread() -> None:
    torch.set_num_threads(1)


def make_crops(
    photos: list[Bytes], config: TrainingConfig, count: int, stream: int, progress: Progress
) -> LabelledCrops:
    """Make `count` labelled crops in the configured number of processes."""
    seeds = [[config.seed, stream, index] for index in range(count)]
    jobs = [seeds[start : start + CHUNK] for start in range(0, count, CHUNK)]
    chunks: list[LabelledCrops] = []
    for chunk in _chunks(photos, config, jobs):
        chunks.append(chunk)
        progress(len(chunk.labels))
    return LabelledCrops(
        images=np.concatenate([c.images for c in chunks]),
        labels=np.concatenate([c.labels for c in chunks]),
        kinds=np.concatenate([c.kinds for c in chunks]),
    )


def _chunks(photos: list[Bytes], config: TrainingConfig, jobs: list[list[list[int]]]) -> Iterator[LabelledCrops]:
    if config.workers == 1:
        yield from (make_chunk(photos, config.crop_size, job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(config.workers, mp_context=context, initializer=_one_thread) as pool:
        futures = [pool.submit(make_chunk, photos, config.crop_size, job) for job in jobs]
        yield from (future.result() for future in futures)


def load_or_make_crops(config: TrainingConfig, progress: Progress) -> tuple[LabelledCrops, LabelledCrops]:
    """Return crops for training and validation, from the work folder's cache if it has this configuration."""
    training_photos, validation_photos = load_photos(config)
    sets = (
        ("training", list(training_photos.values()), config.crops, 0),
        ("validation", list(validation_photos.values()), config.validation_crops, 1),
    )
    made = [_cached(config, name, photos, count, stream, progress) for name, photos, count, stream in sets]
    return made[0], made[1]


def _cached(
    config: TrainingConfig, name: str, photos: list[Bytes], count: int, stream: int, progress: Progress
) -> LabelledCrops:
    path = config.work / f"{name}-{config.data_digest()[:16]}.npz"
    if not path.exists():
        _store(make_crops(photos, config, count, stream, progress), path)
    else:
        progress(count)
    with np.load(path, allow_pickle=False) as stored:
        return LabelledCrops(images=stored["images"], labels=stored["labels"], kinds=stored["kinds"])


def _store(crops: LabelledCrops, path: Path) -> None:
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, images=crops.images, labels=crops.labels, kinds=crops.kinds)
