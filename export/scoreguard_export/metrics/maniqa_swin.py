"""The windowed transformer of MANIQA, under the names of its checkpoint (Liu et al., Swin Transformer, ICCV 2021).

Unlike Swin's own stages, each ends in a convolution and is added to its input with a weight of its own, the size of the
map never changes, and the tables of positions and masks are part of the checkpoint.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.attention import joined_attention

HEADS: Final = 4
WINDOW: Final = 4
"""Side of a window, in cells."""
SHARE: Final = 0.8
"""Weight of what a stage adds to its input, in the networks trained on KonIQ-10k and KADID-10k."""
_DEPTH: Final = 2
_HIDDEN: Final = -100.0
"""Added to the products of cells that are neighbours only because the map was rolled."""


def windows_of(cells: Tensor, side: int) -> Tensor:
    """(N, side · side, C) → (N · windows, 16, C)."""
    across = side // WINDOW
    apart = cells.reshape(-1, across, WINDOW, across, WINDOW, cells.shape[2])
    return apart.transpose(2, 3).reshape(-1, WINDOW * WINDOW, cells.shape[2])


def cells_of(windows: Tensor, side: int) -> Tensor:
    """(N · windows, 16, C) → (N, side · side, C), the inverse of `windows_of`."""
    across = side // WINDOW
    apart = windows.reshape(-1, across, across, WINDOW, WINDOW, windows.shape[2])
    return apart.transpose(2, 3).reshape(-1, side * side, windows.shape[2])


def positions() -> Tensor:
    """(16, 16) int64: the place in the table of 7×7 offsets for every two cells of a window."""
    cells = torch.arange(WINDOW * WINDOW)
    rows, columns = cells // WINDOW, cells % WINDOW
    reach = 2 * WINDOW - 1
    return (rows[:, None] - rows + WINDOW - 1) * reach + columns[:, None] - columns + WINDOW - 1


def hidden(side: int) -> Tensor:
    """(windows, 16, 16): −100 for cells of different regions of the rolled map, else 0."""
    places = torch.arange(side)
    region = (places >= side - WINDOW).long() + (places >= side - WINDOW // 2).long()
    regions = windows_of((3 * region[:, None] + region).reshape(1, -1, 1), side)[:, :, 0]
    return (regions[:, :, None] != regions[:, None]).float() * _HIDDEN


class _Attention(nn.Module):
    """Attention inside windows, with a learned bias for each offset."""

    relative_position_index: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        self.register_buffer("relative_position_index", positions())
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """(N · windows, 16, C) → the same shape; `mask` is (windows, 16, 16)."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if mask is not None:
            images = windows.shape[0] // mask.shape[0]
            bias = (bias + mask[:, None]).expand(images, -1, -1, -1, -1).flatten(0, 1)
        joined = joined_attention(self.qkv(windows), HEADS, bias)
        projected: Tensor = self.proj(joined)
        return projected


class _Mlp(nn.Module):
    """Two layers on each cell."""

    def __init__(self, width: int, between: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, between), nn.GELU(), nn.Linear(between, width)

    def forward(self, cells: Tensor) -> Tensor:
        """(N, T, C) → the same shape."""
        result: Tensor = self.fc2(self.act(self.fc1(cells)))
        return result


class _Block(nn.Module):
    """One block; in every second the windows are shifted by half of one."""

    attn_mask: Tensor | None

    def __init__(self, width: int, between: int, side: int, *, shifted: bool) -> None:
        super().__init__()
        self.side, self.shift = side, WINDOW // 2 if shifted else 0
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), _Attention(width), nn.LayerNorm(width)
        self.mlp = _Mlp(width, between)
        self.register_buffer("attn_mask", hidden(side) if shifted else None)

    def forward(self, cells: Tensor) -> Tensor:
        """(N, side · side, C) → the same shape."""
        read = self._rolled(self.norm1(cells), -self.shift)
        answer = cells_of(self.attn(windows_of(read, self.side), self.attn_mask), self.side)
        cells = cells + self._rolled(answer, self.shift)
        result: Tensor = cells + self.mlp(self.norm2(cells))
        return result

    def _rolled(self, cells: Tensor, shift: int) -> Tensor:
        if not shift:
            return cells
        grid = cells.reshape(-1, self.side, self.side, cells.shape[2])
        return torch.roll(grid, (shift, shift), (1, 2)).reshape(-1, self.side * self.side, cells.shape[2])


class _Stage(nn.Module):
    """Two blocks and a convolution."""

    def __init__(self, width: int, between: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.blocks = nn.ModuleList(_Block(width, between, side, shifted=bool(place % 2)) for place in range(_DEPTH))
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, cells: Tensor) -> Tensor:
        """(N, side · side, C) → the same shape."""
        for block in self.blocks:
            cells = block(cells)
        # In one order in memory: a turned view of one crop is taken for another layout than that of three.
        grid = cells.transpose(1, 2).contiguous().reshape(-1, cells.shape[2], self.side, self.side)
        return torch.relu(self.conv(grid)).flatten(2).transpose(1, 2)


class Windowed(nn.Module):
    """Two stages.

    Args:
        width: Channels, C.
        between: Width of the hidden layer of each block.
        side: Side of the map, in cells; a multiple of 4.
    """

    def __init__(self, width: int, between: int, side: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Stage(width, between, side) for _ in range(2))
        self.downsample: Any = nn.Conv2d(width, width, 3, stride=2, padding=1)  # in the checkpoint, and never used

    def forward(self, cells: Tensor) -> Tensor:
        """(N, side · side, C) → the same shape."""
        for layer in self.layers:
            cells = SHARE * layer(cells) + cells
        return cells
