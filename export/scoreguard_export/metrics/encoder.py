"""A transformer's encoder whose result for one item does not depend on the items beside it, to the last bit.

The layers are those of DETR with the norm first: positions are added to queries and keys in every layer.

    x ← x + attention(n + p, n + p, n), n = norm₁(x);   x ← x + U · relu(W · norm₂(x));   at the end norm(x)

PyTorch's own attention projects all tokens of a batch in one matrix product, whose sums change with their number. Here
every projection is a convolution over the tokens of an item.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.attention import heads_of


def _projected(tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, T, inputs) → (N, T, outputs)."""
    maps = tokens.transpose(1, 2)[:, :, :, None]
    return functional.conv2d(maps, weight[:, :, None, None], bias)[:, :, :, 0].transpose(1, 2)


def sine_positions(width: int, places: int) -> Tensor:
    """(places², width): sines and cosines of row, then of column, in turn, at wavelengths up to 10,000 · 2π."""
    fractions = torch.arange(1, places + 1, dtype=torch.float64) / (places + 1e-6) * 2.0 * math.pi
    numbers = torch.arange(width // 4, dtype=torch.float64)
    angles = fractions[:, None] / 10000.0 ** (4.0 * numbers / width)
    line = torch.stack([angles.sin(), angles.cos()], dim=2).reshape(places, width // 2)
    rows = line[:, None, :].expand(places, places, width // 2)
    columns = line[None, :, :].expand(places, places, width // 2)
    return torch.cat([rows, columns], dim=2).reshape(places**2, width).float()


class _Layer(nn.Module):
    """Attention and two linear layers, under the official names."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def attention(self, placed: Tensor, tokens: Tensor) -> Tensor:
        """(N, T, C) with positions, and without → (N, T, C)."""
        layer = self.self_attn
        parts = zip((placed, placed, tokens), layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True)
        queries, keys, values = (heads_of(_projected(*part), self.heads) for part in parts)
        weights = torch.softmax(queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3]), dim=3)
        mixed = (weights @ values).transpose(1, 2).reshape(tokens.shape)
        return _projected(mixed, layer.out_proj.weight, layer.out_proj.bias)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(N, T, C) and (T, C) → (N, T, C)."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed + positions, normed)
        hidden = torch.relu(_projected(self.norm2(tokens), self.linear1.weight, self.linear1.bias))
        return tokens + _projected(hidden, self.linear2.weight, self.linear2.bias)


class Encoder(nn.Module):
    """Several layers and a norm, under the official names.

    Args:
        width: Numbers of a token.
        heads: Heads of the attention.
        hidden: Width between the two linear layers.
        layers: Number of layers.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(N, T, C) tokens and their (T, C) positions → (N, T, C)."""
        for layer in self.layers:
            tokens = layer(tokens, positions)
        encoded: Tensor = self.norm(tokens)
        return encoded
