"""A universal perturbation as a file: the values with their recipe; the same training gives the same bytes.

Our own files are safetensors: one float32 tensor `perturbation` (3, H, W), and the recipe as JSON in the metadata. The
digest is that of the whole file. Published perturbations without a training record can also be read: `.npy` arrays,
(3, H, W) or (H, W, 3) in units of [0, 1], and 8-bit `.png` images drawn around level 127.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import PIL.Image

from scoreguard.support.digests import sha256_of
from scoreguard.support.whole_files import whole_file, write_whole
from scoreguard.v1.codec import TOP
from scoreguard_client._exceptions import MissingExtraError
from scoreguard_client.perturbations.errors import PerturbationError, RecipeError
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation

SUFFIX: Final = ".safetensors"
FORMAT: Final = 1
"""The layout that this version writes and reads."""
_TENSOR: Final = "perturbation"
# A single key: safetensors writes several in no fixed order, and then the digest would vary.
_METADATA: Final = "scoreguard"
_MIDDLE: Final = 127
_MOST_LEVELS: Final = 51


@dataclass(frozen=True, kw_only=True)
class UniversalPerturbation:
    """A perturbation and its origin."""

    values: Perturbation
    """The values to add to an image, (3, H, W) in units of [0, 1]."""
    recipe: Recipe | None
    """How it was trained; None if the file does not say."""
    sha256: str
    """Digest of the file, hexadecimal."""
    computation: Mapping[str, Any] = field(default_factory=dict)
    """Device, libraries and settings of its training; empty if that was on the CPU, or is not known."""

    @property
    def largest(self) -> float:
        """Largest absolute value: the L-infinity norm."""
        return float(np.abs(self.values).max())

    def facts(self) -> dict[str, Any]:
        """Describe the perturbation, ready for JSON."""
        low, high = float(self.values.min()), float(self.values.max())
        known = {} if self.recipe is None else self.recipe.as_dict() | {"steps": self.recipe.steps}
        size = {"height": self.values.shape[1], "width": self.values.shape[2]}
        computation = {"computation": dict(self.computation)} if self.computation else {}
        return {"sha256": self.sha256, **size, "low": low, "high": high, **computation, "recipe": known}


def save_perturbation(
    path: Path, values: Perturbation, recipe: Recipe, computation: Mapping[str, Any] | None = None
) -> UniversalPerturbation:
    """Write a perturbation, whole or not at all.

    Args:
        path: the file.
        values: the perturbation.
        recipe: how it was trained.
        computation: device, libraries and settings, if not those of every version: the CPU's.

    Raises:
        PerturbationError: the values are not finite, or the file cannot be written.
        MissingExtraError: safetensors is not installed.
    """
    _check(values, path)
    facts = {"format": FORMAT, "recipe": recipe.as_dict(), "steps": recipe.steps}
    if computation:
        facts["computation"] = dict(computation)
    span = {"low": float(values.min()), "high": float(values.max())}
    text = json.dumps(facts | span, sort_keys=True)
    data: bytes = require_safetensors().numpy.save({_TENSOR: np.ascontiguousarray(values)}, {_METADATA: text})
    try:
        write_whole(path, data)
    except OSError as error:
        raise PerturbationError(f"cannot write {path}: {error.strerror or error}") from error
    return UniversalPerturbation(
        values=values, recipe=recipe, sha256=sha256_of(data), computation=dict(computation or {})
    )


def load_perturbation(path: Path, sha256: str = "") -> UniversalPerturbation:
    """Read a perturbation; the suffix determines the file format.

    Args:
        path: the file.
        sha256: the expected digest, hexadecimal; empty = any.

    Raises:
        PerturbationError: the file is missing or damaged, has another digest, or holds no perturbation.
        MissingExtraError: safetensors is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PerturbationError(
            f"cannot read {path}: {error.strerror or error}; make it with scoreguard uap train --out {path}"
        ) from error
    digest = sha256_of(data)
    if sha256 and digest != sha256:
        raise PerturbationError(f"{path} is not the perturbation that was asked for: sha256 {digest}, not {sha256}")
    values, recipe, computation = _read(data, path)
    _check(values, path)
    return UniversalPerturbation(values=values, recipe=recipe, sha256=digest, computation=computation)


def require_safetensors() -> Any:
    """Import and return safetensors.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError("a universal perturbation", "attacks", "safetensors") from error
    return safetensors


def read_safetensors(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read the tensors and our metadata from a file that `save_perturbation` or a training wrote.

    Raises:
        ValueError: it is not a safetensors file, or has other metadata.
    """
    safetensors = require_safetensors()
    try:
        tensors: dict[str, npt.NDArray[Any]] = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        facts: dict[str, Any] = dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_METADATA]))
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"it is no safetensors file of ours ({error})") from error
    return tensors, facts


def write_safetensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write tensors and metadata, whole or not at all."""
    text = json.dumps(facts, sort_keys=True)
    with whole_file(path) as unfinished:
        require_safetensors().numpy.save_file(dict(tensors), unfinished, {_METADATA: text})


def _read(data: bytes, path: Path) -> tuple[Perturbation, Recipe | None, Mapping[str, Any]]:
    reader = {".npy": _read_npy, ".png": _read_png}.get(path.suffix.lower())
    try:
        return _read_own(data) if reader is None else (reader(data), None, {})
    except (OSError, ValueError, EOFError, SyntaxError, RecipeError) as error:
        raise PerturbationError(f"{path} holds no perturbation: {error}") from error


def _read_own(data: bytes) -> tuple[Perturbation, Recipe, Mapping[str, Any]]:
    tensors, facts = read_safetensors(data)
    if facts.get("format") != FORMAT or _TENSOR not in tensors:
        raise ValueError(f"it is not of format {FORMAT}; train it again")
    return tensors[_TENSOR], Recipe.from_dict(facts.get("recipe", {})), facts.get("computation", {})


def _read_npy(data: bytes) -> Perturbation:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind != "f":
        raise ValueError(f"an array of floats is needed, not {array.dtype}")
    return _channels_first(array.astype(np.float32))


def _read_png(data: bytes) -> Perturbation:
    with PIL.Image.open(io.BytesIO(data)) as image:
        levels = np.asarray(image.convert("RGB"), dtype=np.int16) - _MIDDLE
    if np.abs(levels).max() > _MOST_LEVELS:
        raise ValueError(f"a perturbation is drawn within {_MOST_LEVELS} levels of {_MIDDLE}, and this image is not")
    return _channels_first((levels / TOP).astype(np.float32))


def _channels_first(array: Perturbation) -> Perturbation:
    last = array.ndim == 3 and array.shape[2] == 3 != array.shape[0]
    return np.ascontiguousarray(array.transpose(2, 0, 1)) if last else array


def _check(values: npt.NDArray[Any], path: Path) -> None:
    if values.ndim != 3 or values.shape[0] != 3 or values.size == 0 or values.dtype != np.float32:
        raise PerturbationError(f"{path}: a perturbation is float32 (3, H, W), not {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise PerturbationError(f"{path}: the perturbation has values that are not finite")
    if np.abs(values).max() > 1:
        raise PerturbationError(
            f"{path}: a perturbation is in units of [0, 1], and this one reaches {abs(values).max()}"
        )
