"""The network of guided diffusion (Dhariwal & Nichol, NeurIPS 2021), with the names of the authors' checkpoints.

A U-Net of residual blocks and, at the smaller sizes, attention among all positions. The step of the diffusion scales
and shifts each block's features after their second norm. Skips are concatenated; blocks that change the size do so
internally.

diffusers can express it, but importing its model loads some two thousand modules, including a model hub's client, and
its names differ; hence these layers. The checkpoint's queries, keys and values are in the order of the first version of
the authors' code: heads outermost.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_GROUPS = 32
_LONGEST = 10_000.0
"""Longest period of a step's embedding, in steps over 2π."""


class _Conv2d(nn.Conv2d):
    """A convolution whose weights may be narrower than the features."""

    def forward(self, features: Tensor) -> Tensor:
        weight = self.weight.to(features.dtype)
        return functional.conv2d(features, weight, self.bias, padding=self.kernel_size[0] // 2)


class _Conv1d(nn.Conv1d):
    """Like `_Conv2d`, 1 × 1 over the positions of an image."""

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv1d(features, self.weight.to(features.dtype), self.bias)


class _Entry(_Conv2d):
    """The first layer; like every layer of a block it receives the embedding."""

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        weight = self.weight.to(features.dtype)
        return functional.conv2d(features, weight, self.bias, padding=self.kernel_size[0] // 2)


class _Residual(nn.Module):
    """skip(resize(x)) + conv(silu(norm(conv(resize(silu(norm(x))))) · (1 + a) + b)), with a and b from the step."""

    def __init__(self, inputs: int, outputs: int, embedding: int, resize: nn.Module) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(_GROUPS, inputs), nn.SiLU(), _Conv2d(inputs, outputs, 3, padding=1))
        self.resize = resize
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * outputs))
        # The third is dropout in training.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, outputs), nn.SiLU(), nn.Identity(), _Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if inputs == outputs else _Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.in_layers[1](self.in_layers[0](features))
        hidden = self.out_layers[0](self.in_layers[2](self.resize(hidden)))
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.out_layers[3](self.out_layers[1](hidden * (1.0 + scale) + shift))
        result: Tensor = self.skip_connection(self.resize(features)) + hidden
        return result


class _Attention(nn.Module):
    """x + proj(softmax(qᵀk/√c)·v) among all positions, in several heads."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.heads = width // head
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.qkv = _Conv1d(width, 3 * width, 1)
        self.proj_out = _Conv1d(width, width, 1)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        batch, width, height, across = features.shape
        mixed = self.qkv(self.norm(features).reshape(batch, width, height * across))
        mixed = mixed.reshape(batch, self.heads, 3 * width // self.heads, height * across)
        query, key, value = mixed.transpose(2, 3).chunk(3, dim=3)
        found = functional.scaled_dot_product_attention(query, key, value)
        found = self.proj_out(found.transpose(2, 3).reshape(batch, width, height * across))
        result: Tensor = features + found.reshape(batch, width, height, across)
        return result


class _Block(nn.Sequential):
    """Layers that all take features and embedding."""

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            features = layer(features, embedding)
        return features


class GuidedNetwork(nn.Module):
    """Estimates the noise of a step, and the variance of the reverse step."""

    def __init__(
        self,
        width: int = 256,
        multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4),
        attended: tuple[int, ...] = (3, 4, 5),
        blocks: int = 2,
        head: int = 64,
    ) -> None:
        """Build the layers; the defaults are those of the unconditional 256 × 256 model.

        Args:
            width: Channels at full size; a multiple of 32.
            multipliers: Channels at each size, in widths; each size is half the one before.
            attended: Which of the sizes have attention.
            blocks: Residual blocks at each size on the way down; one more on the way up.
            head: Channels of one head of the attention.
        """
        super().__init__()
        self.decay = -math.log(_LONGEST) / (width // 2)
        self.waves, embedding = width // 2, 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

        def residual(inputs: int, outputs: int, resize: nn.Module | None = None) -> nn.Module:
            return _Residual(inputs, outputs, embedding, resize or nn.Identity())

        def attention(level: int) -> list[nn.Module]:
            return [_Attention(width * multipliers[level], head)] if level in attended else []

        down: list[nn.Module] = [_Block(_Entry(3, width, 3, padding=1))]
        skipped, channels = [width], width
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                down.append(_Block(residual(channels, width * multiplier), *attention(level)))
                channels = width * multiplier
                skipped.append(channels)
            if level + 1 < len(multipliers):
                down.append(_Block(residual(channels, channels, nn.AvgPool2d(2))))
                skipped.append(channels)
        self.input_blocks = nn.ModuleList(down)

        middle = _Attention(channels, head)
        self.middle_block = _Block(residual(channels, channels), middle, residual(channels, channels))

        up: list[nn.Module] = []
        for level in reversed(range(len(multipliers))):
            outputs = width * multipliers[level]
            for block in range(blocks + 1):
                layers = [residual(channels + skipped.pop(), outputs), *attention(level)]
                if level and block == blocks:
                    layers.append(residual(outputs, outputs, nn.Upsample(scale_factor=2.0, mode="nearest")))
                up.append(_Block(*layers))
                channels = outputs
        self.output_blocks = nn.ModuleList(up)
        self.out = nn.Sequential(nn.GroupNorm(_GROUPS, width), nn.SiLU(), _Conv2d(width, 6, 3, padding=1))

    def forward(self, state: Tensor, step: Tensor) -> Tensor:
        """Estimate noise and variance.

        Args:
            state: x_t, (N, 3, H, W); H and W are multiples of the total reduction, 32 by default.
            step: t from 0, 0-d; may be between two steps.

        Returns:
            (N, 6, H, W): the noise in units of its standard deviation, then the authors' encoding of the variance.
        """
        embedding = self.time_embed(self._embedded(step).to(state.dtype))
        features = state
        skipped: list[Tensor] = []
        for block in self.input_blocks:
            features = block(features, embedding)
            skipped.append(features)
        features = self.middle_block(features, embedding)
        for block in self.output_blocks:
            features = block(torch.cat([features, skipped.pop()], dim=1), embedding)
        result: Tensor = self.out(features)
        return result

    def _embedded(self, step: Tensor) -> Tensor:
        """Embed the step as (1, width): cosines, then sines, with periods in geometric progression."""
        places = torch.arange(self.waves, device=step.device, dtype=step.dtype)
        angles = step * torch.exp(places * self.decay)
        return torch.cat([torch.cos(angles), torch.sin(angles)])[None]

    @torch.jit.unused
    def narrow(self) -> None:
        """Keep the weights of the convolutions in half precision; computations stay as wide as the features.

        The authors' sampling rounds those between the first and the last layer in this way, and computes in that
        precision.
        """
        torso = (self.input_blocks, self.middle_block, self.output_blocks)
        for layer in (layer for part in torso for layer in part.modules()):
            if isinstance(layer, _Conv1d | _Conv2d):
                layer.weight.data = layer.weight.data.half()
