"""Networks of timm, untrained: a checkpoint of the metric brings their weights along."""

from __future__ import annotations

from torch import nn

from scoreguard_export.libraries import library

EXTRA = "timm"
"""Extra of the package that installs timm."""


def timm_model(name: str, metric: str, *, features_only: bool = False) -> nn.Module:
    """Make a network of timm with its own names and shapes.

    Args:
        name: Name of the network, such as `inception_resnet_v2`.
        metric: Name of the metric that needs it, for the message.
        features_only: Whether to leave out the classifier and return the maps at each scale, the smallest last.

    Raises:
        MissingExtraError: timm is not installed.
    """
    options = {"features_only": True} if features_only else {}
    network: nn.Module = library("timm", EXTRA, metric).create_model(name, pretrained=False, **options)
    return network
