"""Backbones of torchvision, untrained: a checkpoint of the metric brings their weights along."""

from __future__ import annotations

from torch import nn

from scoreguard_export.libraries import library

EXTRA = "backbones"
"""Extra of the package that installs torchvision."""


def backbone(name: str, metric: str) -> nn.Module:
    """Make a network of torchvision with its own names and shapes.

    Args:
        name: Name of the network, such as `resnet50`.
        metric: Name of the metric that needs it, for the message.

    Raises:
        MissingExtraError: torchvision is not installed.
    """
    network: nn.Module = getattr(library("torchvision.models", EXTRA, metric), name)(weights=None)
    return network


def stages(network: nn.Module) -> list[nn.Module]:
    """Return the parts of a ResNet before its pooling, in order: stem (4 of them), then four stages of blocks."""
    return list(network.children())[:8]
