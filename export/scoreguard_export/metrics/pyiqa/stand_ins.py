"""Random contents for files that a network reads while it is made, so that it can be made without any.

Only what is read piece by piece needs one here; a state_dict is replaced by one that fills nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scoreguard_export.libraries import library

Matrix = npt.NDArray[Any]
EXTRA: Final = "pyiqa"
"""Extra of the package that installs pyiqa."""
_TEXT: Final = MappingProxyType({"context_length": 77, "vocab_size": 49408, "transformer_layers": 12})
_CLIPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "RN50.pt": {
        "embed_dim": 1024,
        "image_resolution": 224,
        "vision_layers": (3, 4, 6, 3),
        "vision_width": 64,
        "vision_patch_size": None,
        "transformer_width": 512,
        "transformer_heads": 8,
        **_TEXT,
    },
    "ViT-B-32.pt": {
        "embed_dim": 512,
        "image_resolution": 224,
        "vision_layers": 12,
        "vision_width": 768,
        "vision_patch_size": 32,
        "transformer_width": 512,
        "transformer_heads": 8,
        **_TEXT,
    },
    "ViT-L-14.pt": {
        "embed_dim": 768,
        "image_resolution": 224,
        "vision_layers": 24,
        "vision_width": 1024,
        "vision_patch_size": 14,
        "transformer_width": 768,
        "transformer_heads": 12,
        **_TEXT,
    },
}
"""Sizes of OpenAI's CLIP models, by the name of the file."""


_WRAPPERS: Final = ("params", "state_dict", "model")


class Absent(dict[str, Any]):
    """A state_dict of a file that is not there: it has every wrapper key, and fills nothing."""

    def __missing__(self, key: str) -> Absent:
        return self


class Given(dict[str, Any]):
    """A state_dict of a file that is there, with or without the wrapper key that its reader asks for."""

    @classmethod
    def of(cls, value: object) -> object:
        """Wrap what a file holds; anything but a dictionary of tensors stays as it is."""
        return cls(value) if isinstance(value, Mapping) else value

    def __missing__(self, key: str) -> Given:
        if key in _WRAPPERS:
            return self
        raise KeyError(key)


def stand_in(name: str) -> object:
    """Return random content for a file by its name; for a state_dict, one that fills nothing."""
    if name in _CLIPS:
        network: nn.Module = library("clip.model", EXTRA, "pyiqa").CLIP(**_CLIPS[name])
        return network.state_dict()
    return next((make() for start, make in _OTHERS.items() if name.startswith(start)), Absent())


def _prompts() -> Tensor:
    return 0.02 * torch.randn(2, 16, 512)


def _prompts_of_qualiclip() -> Absent:
    return Absent(prompts_features=nn.functional.normalize(torch.randn(10, 1024), dim=1))


def _svr() -> tuple[Tensor, Tensor]:
    return torch.randn(770, 1), 0.2 * torch.rand(770, 36)


_OTHERS: Final[Mapping[str, Callable[[], object]]] = {
    "CLIP-IQA+_learned_prompts": _prompts,
    "QualiCLIP.pth": _prompts_of_qualiclip,
    "brisque_svm_weights": _svr,
}


def statistics(name: str) -> dict[str, Any]:
    """Return random content for a MATLAB file: support vectors, Gaussian statistics of images, or small trees."""
    draw = np.random.default_rng(0)
    if name.startswith("brisque"):
        return {"sv": 0.2 * draw.random((770, 36)), "sv_coef": draw.standard_normal((770, 1))}
    if name.startswith("NRQM"):
        return {"model": _forests(draw)}
    if name.startswith("ILNIQE"):
        template = np.empty((1, 4), object)
        template[0] = [draw.random(430), _covariance(draw, 430), draw.random(468), draw.random((468, 430)) / 468]
        return {"templateModel": template}
    return {"mu_prisparam": draw.random((1, 36)), "cov_prisparam": _covariance(draw, 36)}


def _covariance(draw: np.random.Generator, size: int) -> Matrix:
    spread = draw.random((size, size))
    return spread @ spread.T / size + np.eye(size)


def _forests(draw: np.random.Generator) -> Matrix:
    """Three forests of two trees with one branch each, and the weights of their sum, as NRQM's file nests them."""
    forests = np.empty((1, 3), object)
    for index in range(3):
        left, right, first = (np.array([[child] * 2, [0] * 2, [0] * 2]) for child in (2, 3, 1))
        parts = (left, right, None, None, draw.random((3, 2)), draw.random((3, 2)), first)
        forests[0, index] = _nested(parts)
    return np.array([[(draw.random((4, 1)), forests)]], dtype=[("linear", object), ("rf", object)])


def _nested(value: object) -> Matrix:
    cell = np.empty((1, 1), object)
    cell[0, 0] = value
    return cell
