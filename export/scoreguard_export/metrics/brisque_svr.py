"""The support vector regression of BRISQUE, and the two formats in which it is published.

    score = Σᵢ cᵢ · exp(−γ |z − sᵢ|²) − ρ,   z = 2 (features − least) / (largest − least) − 1

sᵢ are 774 support vectors, cᵢ their coefficients. Both formats are text and are read as numbers alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.niqe_features import FEATURES
from scoreguard_export.weights.checkpoints import advice, fill, read_checkpoint
from scoreguard_export.weights.source import WeightsSource

SUPPORT_VECTORS: Final = 774
"""How many LIVE's model has, and OpenCV's."""
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


class SupportVectors(nn.Module):
    """Features (N, 36) → scores (N,), in double precision.

    Args:
        ranges: least and largest value of each feature, in the training set.

    Until a model is loaded, its numbers are drawn, around a score of 50.
    """

    vectors: Tensor
    coefficients: Tensor
    gamma: Tensor
    rho: Tensor
    least: Tensor
    largest: Tensor

    def __init__(self, ranges: Sequence[tuple[float, float]]) -> None:
        super().__init__()
        drawn = {
            "vectors": 2.0 * torch.rand(SUPPORT_VECTORS, FEATURES, dtype=torch.float64) - 1.0,
            "coefficients": torch.randn(SUPPORT_VECTORS, dtype=torch.float64),
            "gamma": torch.tensor(0.05, dtype=torch.float64),
            "rho": torch.tensor(-50.0, dtype=torch.float64),
        }
        for name, value in drawn.items():
            self.register_buffer(name, value)
        least, largest = torch.tensor(ranges, dtype=torch.float64).unbind(dim=1)
        self.register_buffer("least", least, persistent=False)
        self.register_buffer("largest", largest, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Score a batch of features; those outside the training set's range are scaled on."""
        scaled = 2.0 * (features - self.least) / (self.largest - self.least) - 1.0
        distance = (scaled[:, None, :] - self.vectors).square().sum(dim=2)
        return (self.coefficients * torch.exp(-self.gamma * distance)).sum(dim=1) - self.rho


@dataclass(frozen=True, kw_only=True)
class ModelFormat:
    """A text format of the model."""

    title: str
    """Name in errors."""
    start: bytes
    """The first bytes of every such file."""
    parse: Callable[[str], Mapping[str, Tensor]]
    """Reads the four tensors of `SupportVectors`; ValueError or KeyError if it is not such a model."""


def load_svr(metric: nn.Module, path: Path, name: str, source: WeightsSource, kind: ModelFormat) -> str:
    """Fill a metric's regression, `svr`, from a published model, or from its tensors in a file of ours.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        WeightsError: the file is missing, is of another format, or is no regression of 36 features.
    """
    try:
        content = path.read_bytes()
    except OSError:  # the loader of checkpoints says what is wrong
        content = b""
    if not content.startswith(kind.start):
        weights = read_checkpoint(path, name, source, kind=kind.title)
        fill(metric, weights.tensors, path, name, source)
        return weights.sha256
    try:
        tensors = kind.parse(content.decode("ascii"))
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged, or is not {kind.title} of {FEATURES} features by an RBF kernel: {advice(name, source)}"
        ) from error
    fill(metric, {f"svr.{key}": value for key, value in tensors.items()}, path, name, source)
    return hashlib.sha256(content).hexdigest()


def _of_libsvm(text: str) -> dict[str, Tensor]:
    """Lines of a name and a value up to `SV`, then of a coefficient and `feature:value` from feature 1."""
    head, _, body = text.partition("\nSV\n")
    facts = dict(line.split(maxsplit=1) for line in head.splitlines())
    if (facts["svm_type"], facts["kernel_type"]) != ("epsilon_svr", "rbf"):
        raise ValueError("another kind of machine")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    vectors = torch.zeros(len(rows), FEATURES, dtype=torch.float64)
    for row, (_, *entries) in zip(vectors, rows, strict=True):
        for entry in entries:
            index, value = entry.split(":")
            if not 1 <= int(index) <= FEATURES:
                raise ValueError(f"no feature {index}")
            row[int(index) - 1] = float(value)
    return {
        "vectors": vectors,
        "coefficients": torch.tensor([float(row[0]) for row in rows], dtype=torch.float64),
        **_scalars(gamma=facts["gamma"], rho=facts["rho"]),
    }


def _of_opencv(text: str) -> dict[str, Tensor]:
    """OpenCV's own YAML, which YAML libraries refuse: `support_vectors`, then one function with `rho` and `alpha`."""
    if _only(r"svmType: (\w+)", text) != "EPS_SVR" or _only(r"\n\s+type: (\w+)", text) != "RBF":
        raise ValueError("another kind of machine")
    listed, alpha = _only(r"support_vectors:(.*?)decision_functions:", text), _only(r"alpha: \[(.*?)\]", text)
    vectors, coefficients = (
        torch.tensor([float(number) for number in _NUMBER.findall(part)], dtype=torch.float64)
        for part in (listed, alpha)
    )
    if vectors.numel() % FEATURES:
        raise ValueError("support vectors of another length")
    return {
        "vectors": vectors.reshape(-1, FEATURES),
        "coefficients": coefficients,
        **_scalars(gamma=_only(r"gamma: (\S+)", text), rho=_only(r"rho: (\S+)", text)),
    }


def _scalars(**texts: str) -> dict[str, Tensor]:
    return {name: torch.tensor(float(text), dtype=torch.float64) for name, text in texts.items()}


def _only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{len(found)} times {pattern}")
    return str(found[0])


LIBSVM: Final = ModelFormat(title="a regression of libsvm", start=b"svm_type", parse=_of_libsvm)
OPENCV: Final = ModelFormat(title="a regression of OpenCV", start=b"%YAML", parse=_of_opencv)
