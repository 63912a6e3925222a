"""Temporal pooling by human memory: bad moments are remembered, and bad ones ahead weigh more (Li, Jiang & Jiang 2019).

    l_t = min of q over the last 12 frames up to t
    m_t = Σ q_k e^(−q_k) / Σ e^(−q_k) over the next 12 frames from t on
    Q = mean over t of (m_t + l_t) / 2

The windows end with the clip and contain the frame t itself, as in the authors' code, which the published weights were
trained with. One frame has the score q.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

WINDOW: Final = 12
"""Frames of a window, τ."""
AHEAD: Final = 0.5
"""Weight of what comes, β; the rest is the memory's."""


def temporally_pooled(quality: Tensor) -> Tensor:
    """Quality of each frame (N, T) → of the clip (N,); T is at least 1."""
    # Copies of the first and of the last frame: each window that reaches beyond it contains it anyway.
    before, behind = (end.expand(-1, WINDOW - 1) for end in (quality[:, :1], quality[:, -1:]))
    memory = _windows(torch.cat([before, quality], dim=1)).amin(dim=0)
    ahead = _windows(torch.cat([quality, behind], dim=1))
    inside = _windows(functional.pad(torch.ones_like(quality), (0, WINDOW - 1)))
    # Relative to the lowest quality of the window: the ratio is the same, and some weight is always 1.
    weight = torch.exp(ahead.amin(dim=0) - ahead) * inside
    current = (weight * ahead).sum(dim=0) / weight.sum(dim=0)
    return (AHEAD * current + (1.0 - AHEAD) * memory).mean(dim=1)


def _windows(values: Tensor) -> Tensor:
    """(N, T + 11) → (12, N, T): the frames of each window."""
    frames = values.shape[1] - WINDOW + 1
    return torch.stack([values[:, offset : offset + frames] for offset in range(WINDOW)])
