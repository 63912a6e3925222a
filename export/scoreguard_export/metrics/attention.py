"""Attention of the libraries' layers in plain products, which every engine and every batch computes alike.

PyTorch's own attention takes a path without derivatives if no gradient is asked for, which a captured graph then keeps,
and its fused kernels round an image's sums otherwise when it is alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def heads_of(tokens: Tensor, heads: int) -> Tensor:
    """(N, T, C) → (N, heads, T, C / heads)."""
    return tokens.reshape(tokens.shape[0], tokens.shape[1], heads, tokens.shape[2] // heads).transpose(1, 2)


def attended(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, heads, Q, D), (N, heads, T, D) twice → (N, Q, heads · D): scaled products, softmax over T, joined heads.

    Args:
        query: Q tokens.
        key: T tokens.
        value: As many.
        bias: Added to the scaled products, (Q, T) or with more dimensions in front.
    """
    products = torch.matmul(query * query.shape[3] ** -0.5, key.transpose(2, 3))
    weights = torch.softmax(products if bias is None else products + bias, dim=3)
    return torch.matmul(weights, value).transpose(1, 2).flatten(2)


def attended_by_one(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(N, heads, 1, D), (N, heads, T, D) twice → (N, heads · D): as `attended` for one query, in sums of each image.

    A product with one row is computed otherwise for one image than for three.
    """
    products = (key * (query * query.shape[3] ** -0.5)).sum(dim=3, keepdim=True)
    return (torch.softmax(products, dim=2) * value).sum(dim=2).flatten(1)


def joined_attention(joined: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """(N, T, 3 · C) queries, keys and values side by side → (N, T, C)."""
    query, key, value = (heads_of(part, heads) for part in joined.chunk(3, dim=2))
    return attended(query, key, value, bias)


def self_attention(layer: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    """(N, T, C) → (N, T, C): a layer of PyTorch on its own tokens, without a mask."""
    joined = functional.linear(tokens, layer.in_proj_weight, layer.in_proj_bias)
    return functional.linear(joined_attention(joined, layer.num_heads), layer.out_proj.weight, layer.out_proj.bias)
