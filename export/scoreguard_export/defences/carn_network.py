"""The network of CARN-M (Ahn, Kang & Sohn, ECCV 2018), with the names of the authors' checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDTH = 64
_GROUPS = 4


class _Body(nn.Module):
    """Layers under their name in the checkpoint."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.body(features)
        return result


class _Shift(nn.Module):
    """Adds or subtracts the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.shifter = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        shifted: Tensor = self.shifter(image)
        return shifted


def _grouped(outputs: int) -> nn.Conv2d:
    return nn.Conv2d(_WIDTH, outputs, 3, padding=1, groups=_GROUPS)


def _fusion(parts: int) -> _Body:
    return _Body(nn.Conv2d(_WIDTH * parts, _WIDTH, 1), nn.ReLU())


def _enlargement(*scales: int) -> _Body:
    layers: list[nn.Module] = []
    for scale in scales:
        layers += [_grouped(_WIDTH * scale**2), nn.ReLU(), nn.PixelShuffle(scale)]
    return _Body(*layers)


class _Residual(_Body):
    """Two grouped convolutions and a mixing one, with a skip connection."""

    def __init__(self) -> None:
        super().__init__(_grouped(_WIDTH), nn.ReLU(), _grouped(_WIDTH), nn.ReLU(), nn.Conv2d(_WIDTH, _WIDTH, 1))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + features)


class _Block(nn.Module):
    """One residual unit, applied three times; each result is fused with all earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.b1 = _Residual()
        self.c1, self.c2, self.c3 = _fusion(2), _fusion(3), _fusion(4)

    def forward(self, features: Tensor) -> Tensor:
        joined = torch.cat([features, self.b1(features)], dim=1)
        fused = self.c1(joined)
        joined = torch.cat([joined, self.b1(fused)], dim=1)
        fused = self.c2(joined)
        result: Tensor = self.c3(torch.cat([joined, self.b1(fused)], dim=1))
        return result


class CarnM(nn.Module):
    """Doubles an image; the layers for factors 3 and 4 are kept because the checkpoint has them."""

    def __init__(self) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = _Shift(), _Shift()
        self.entry = nn.Conv2d(3, _WIDTH, 3, padding=1)
        self.b1, self.b2, self.b3 = _Block(), _Block(), _Block()
        self.c1, self.c2, self.c3 = _fusion(2), _fusion(3), _fusion(4)
        enlargements = {"up2": _enlargement(2), "up3": _enlargement(3), "up4": _enlargement(2, 2)}
        self.upsample = nn.ModuleDict(enlargements)
        self.exit = nn.Conv2d(_WIDTH, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 3, 2H, 2W)."""
        features = self.entry(self.sub_mean(image))
        joined = torch.cat([features, self.b1(features)], dim=1)
        fused = self.c1(joined)
        joined = torch.cat([joined, self.b2(fused)], dim=1)
        fused = self.c2(joined)
        fused = self.c3(torch.cat([joined, self.b3(fused)], dim=1))
        result: Tensor = self.add_mean(self.exit(self.upsample["up2"](fused)))
        return result
