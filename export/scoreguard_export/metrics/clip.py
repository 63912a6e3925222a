"""Networks of CLIP (Radford et al. 2021), kept by open_clip, under the names of OpenAI's checkpoints.

A checkpoint holds an image tower (`visual.…`) and a text tower. OpenAI publishes each as a TorchScript archive; what is
read here is a dictionary of its tensors.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from scoreguard_export.libraries import library
from scoreguard_export.metrics.attention import self_attention
from scoreguard_export.metrics.linear import row_products
from scoreguard_export.weights.checkpoints import fill, read_checkpoint
from scoreguard_export.weights.source import WeightsSource

EXTRA: Final = "clip"
"""Extra of the package that installs open_clip."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_SETTINGS: Final = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Numbers that OpenAI's archives keep beside the tensors of the network."""


@dataclass(frozen=True, kw_only=True)
class LoadedClip:
    """A network, and the digest of the file that it was filled from."""

    network: nn.Module
    sha256: str
    """Hexadecimal."""


def clip_network(name: str, metric: str) -> nn.Module:
    """Make both towers of a network, untrained.

    Args:
        name: Name in open_clip, such as `RN50`; OpenAI's networks have another GELU than open_clip's of that name.
        metric: Name of the metric that needs it, for the message.

    Raises:
        MissingExtraError: open_clip is not installed.
    """
    config = library("open_clip", EXTRA, metric).get_model_config(name)
    return clip_of({**config, "quick_gelu": True}, metric)


def clip_of(config: Mapping[str, Any], metric: str) -> nn.Module:
    """Make both towers of a network of open_clip from its description.

    Raises:
        MissingExtraError: open_clip is not installed.
    """
    network: nn.Module = library("open_clip", EXTRA, metric).CLIP(**config)
    return network


def load_clip(network: nn.Module, path: Path, name: str, source: WeightsSource) -> LoadedClip:
    """Fill both towers from a file of tensors under OpenAI's names; half precision is widened.

    Raises:
        WeightsError: the file is missing, is an archive of TorchScript, or holds other names or shapes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an archive before it refuses to load it
        weights = read_checkpoint(path, name, source, kind="a dictionary of the network's tensors")
    tensors = {key: value for key, value in weights.tensors.items() if key not in _SETTINGS}
    fill(network, tensors, path, name, source)
    return LoadedClip(network=network.eval(), sha256=weights.sha256)


def text_features(network: Any, texts: Sequence[str], metric: str) -> Tensor:
    """(T, C) embeddings of texts, of length 1.

    Args:
        network: Both towers, filled.
        texts: As a person writes them.
        metric: Name of the metric that needs them, for the message.
    """
    tokens = library("open_clip", EXTRA, metric).tokenize(list(texts), context_length=network.context_length)
    # With gradients, because attention takes a path of its own without, whose sums are rounded otherwise.
    with torch.enable_grad():
        features: Tensor = network.encode_text(tokens, normalize=True)
    return features.detach()


def embedded(tower: Any, image: Tensor) -> Tensor:
    """(N, 3, side, side) normalised → (N, C): the embedding of images by a vision transformer of open_clip."""
    patches = tower.conv1(image).flatten(2).transpose(1, 2)
    first = tower.class_embedding.expand(patches.shape[0], 1, -1)
    tokens = tower.ln_pre(torch.cat([first, patches], dim=1) + tower.positional_embedding)
    for block in tower.transformer.resblocks:
        tokens = tokens + self_attention(block.attn, block.ln_1(tokens))
        tokens = tokens + block.mlp(block.ln_2(tokens))
    return row_products(tower.ln_post(tokens[:, 0]), tower.proj.t())
