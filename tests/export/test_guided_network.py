"""The network of guided diffusion: the official names and shapes, and its formula in numpy, on generated weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from restorers import convolved
from torch import Tensor

from scoreguard_export.defences.guided_network import GuidedNetwork

Array = NDArray[np.float64]
Resize = Callable[[Array], Array]

OFFICIAL_NAMES = "b9c90be1570d1541c91bede05b270bfb6bd51a7d5432e7b06f3a4c4cb257b1b6"
"""SHA-256 of the sorted lines `name shape` of the state dictionary that the authors' code makes for this model."""
OFFICIAL_NUMBERS = 552_814_086


def weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the names and shapes given, drawn so that every layer shows in the result."""
    generator = torch.Generator().manual_seed(3)

    def drawn(name: str, like: Tensor) -> Tensor:
        value = torch.randn(like.shape, generator=generator, dtype=torch.float64)
        if like.dim() > 1:
            return value * 1.5 / math.sqrt(like[0].numel())
        return 0.3 * value + float(name.endswith("weight"))

    return {name: drawn(name, like) for name, like in state.items()}


def small() -> GuidedNetwork:
    """Three sizes, the lower two with attention in two and four heads, in double precision."""
    network = GuidedNetwork(width=32, multipliers=(1, 1, 2), attended=(1, 2), blocks=1, head=16).double()
    network.load_state_dict(weights(network.state_dict()))
    return network.eval().requires_grad_(False)


class Formula:
    """The same network by numpy, told the layers by the names of the weights alone."""

    def __init__(self, state: dict[str, Tensor], head: int) -> None:
        self.state, self.head = state, head

    def __call__(self, image: Array, step: float, width: int) -> Array:
        """Noise and variance of states (N, 3, H, W)."""
        frequencies = 10_000.0 ** (-np.arange(width // 2) / (width // 2))
        angles = np.concatenate([np.cos(step * frequencies), np.sin(step * frequencies)])
        embedding = self.linear("time_embed.2", silu(self.linear("time_embed.0", angles)))
        skipped = [self.convolution("input_blocks.0.0", image)]
        for index in range(1, 6):  # one block at each size, and one that halves, by turns
            resize = halved if index % 2 == 0 else unchanged
            hidden = self.residual(f"input_blocks.{index}.0", skipped[-1], embedding, resize)
            skipped.append(self.attention(f"input_blocks.{index}.1", hidden))
        hidden = self.residual("middle_block.0", skipped[-1], embedding, unchanged)
        hidden = self.residual("middle_block.2", self.attention("middle_block.1", hidden), embedding, unchanged)
        for index in range(6):  # two blocks at each size; the second doubles, but for the last
            hidden = np.concatenate([hidden, skipped.pop()], axis=1)
            hidden = self.residual(f"output_blocks.{index}.0", hidden, embedding, unchanged)
            hidden = self.attention(f"output_blocks.{index}.1", hidden)
            if index in (1, 3):
                hidden = self.residual(f"output_blocks.{index}.2", hidden, embedding, doubled)
        return self.convolution("out.2", silu(self.norm("out.0", hidden)))

    def array(self, name: str) -> Array:
        """A tensor of the weights."""
        return self.state[name].double().numpy()

    def linear(self, name: str, vector: Array) -> Array:
        """A matrix and a bias."""
        result: Array = self.array(f"{name}.weight") @ vector + self.array(f"{name}.bias")
        return result

    def convolution(self, name: str, features: Array) -> Array:
        """3 × 3 or 1 × 1, with a bias."""
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        if weight.shape[-1] == 3:
            return convolved(features, weight, bias)
        mixed: Array = np.einsum("oc,nchw->nohw", weight.double().numpy()[:, :, 0, 0], features)
        shifted: Array = mixed + bias.double().numpy()[:, None, None]
        return shifted

    def norm(self, name: str, features: Array) -> Array:
        """Mean 0 and variance 1 in each of 32 groups, then scale and shift."""
        groups = features.reshape(features.shape[0], 32, -1)
        mean, variance = groups.mean(axis=2, keepdims=True), groups.var(axis=2, keepdims=True)
        scaled = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(features.shape)
        result: Array = scaled * self.array(f"{name}.weight")[:, None, None] + self.array(f"{name}.bias")[:, None, None]
        return result

    def residual(self, name: str, features: Array, embedding: Array, resize: Resize) -> Array:
        """A residual block of the step."""
        hidden = resize(silu(self.norm(f"{name}.in_layers.0", features)))
        hidden = self.norm(f"{name}.out_layers.0", self.convolution(f"{name}.in_layers.2", hidden))
        scale, shift = np.split(self.linear(f"{name}.emb_layers.1", silu(embedding)), 2)
        hidden = hidden * (1.0 + scale[:, None, None]) + shift[:, None, None]
        beside = resize(features)
        if f"{name}.skip_connection.weight" in self.state:
            beside = self.convolution(f"{name}.skip_connection", beside)
        return beside + self.convolution(f"{name}.out_layers.3", silu(hidden))

    def attention(self, name: str, features: Array) -> Array:
        """Attention where the weights have it."""
        if f"{name}.qkv.weight" not in self.state:
            return features
        batch, width, height, across = features.shape
        places = self.norm(f"{name}.norm", features).reshape(batch, width, height * across)
        mixed = self.array(f"{name}.qkv.weight")[:, :, 0] @ places + self.array(f"{name}.qkv.bias")[:, None]
        found = np.empty_like(places)
        for first in range(0, width, self.head):  # of each head its queries, its keys, its values
            query, key, value = np.split(mixed[:, 3 * first : 3 * (first + self.head)], 3, axis=1)
            likeness = np.exp(np.einsum("ncq,nck->nqk", query, key) / math.sqrt(self.head))
            likeness /= likeness.sum(axis=2, keepdims=True)
            found[:, first : first + self.head] = np.einsum("nqk,nck->ncq", likeness, value)
        shown = self.array(f"{name}.proj_out.weight")[:, :, 0] @ found + self.array(f"{name}.proj_out.bias")[:, None]
        return features + shown.reshape(features.shape)


def silu(values: Array) -> Array:
    """Each value times its sigmoid."""
    return values / (1.0 + np.exp(-values))


def unchanged(features: Array) -> Array:
    """The same size."""
    return features


def halved(features: Array) -> Array:
    """The mean of each 2 × 2 square."""
    batch, width, height, across = features.shape
    result: Array = features.reshape(batch, width, height // 2, 2, across // 2, 2).mean(axis=(3, 5))
    return result


def doubled(features: Array) -> Array:
    """Each pixel four times."""
    return features.repeat(2, axis=2).repeat(2, axis=3)


def test_the_official_checkpoint_fits() -> None:
    """Names, shapes and their number of numbers are those of the authors' code for the 256 × 256 model."""
    with torch.device("meta"):
        state = GuidedNetwork().state_dict()
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in state.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == OFFICIAL_NAMES
    assert sum(value.numel() for value in state.values()) == OFFICIAL_NUMBERS


@pytest.mark.parametrize("step", [0.0, 3.5, 999.0])
def test_it_is_its_formula(step: float) -> None:
    """The numbers equal those of the formula in numpy, at a size that is not square, also between two steps."""
    network = small()
    state = torch.randn((2, 3, 8, 12), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = Formula(network.state_dict(), head=16)(state.numpy(), step, width=32)
    result = network(state, torch.tensor(step, dtype=torch.float64)).numpy()
    assert result.shape == (2, 6, 8, 12)
    assert np.abs(expected).max() > 1.0
    assert np.abs(result - expected).max() < 1e-9


def test_narrow_weights_change_little_and_halve_the_file() -> None:
    """Of the torso, the convolutions' weights take half the space; the result moves by their rounding alone."""
    network = small().float()
    state = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    wide = network(state, torch.tensor(5.0))
    network.narrow()
    narrow = network(state, torch.tensor(5.0))
    kept = {name: value.dtype for name, value in network.state_dict().items()}
    assert kept["input_blocks.0.0.weight"] == kept["output_blocks.0.1.qkv.weight"] == torch.float16
    assert kept["out.2.weight"] == kept["time_embed.0.weight"] == kept["middle_block.0.in_layers.0.weight"]
    assert kept["out.2.weight"] == narrow.dtype == torch.float32
    assert 0.0 < float((narrow - wide).abs().max()) < 0.05 * float(wide.abs().max())
