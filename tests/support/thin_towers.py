"""Metrics on networks of timm and open_clip with few or narrow blocks: their own code otherwise, quick to export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from official_states import drawn, measured
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import patterns, photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.clip import clip_of
from scoreguard_export.metrics.clip_iqa import ClipIqa
from scoreguard_export.metrics.koncept512 import Koncept512
from scoreguard_export.metrics.laion_aesthetic import CLIP, LaionAesthetic
from scoreguard_export.metrics.maniqa import Maniqa
from scoreguard_export.metrics.nima_ava import NimaInceptionResnetV2, NimaVgg16

REPEATED = ("repeat", "repeat_1", "repeat_2")
"""Parts of an InceptionResNet-v2 that are rows of equal blocks."""
TEXT: Mapping[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


class ThinKoncept512(Koncept512):
    """KonCept512 on patches of 36 pixels, of which 384×512 have 10×14 like the last map of the large network."""

    def untrained(self) -> list[nn.Module]:
        """Make the parts of the small network."""
        return [nn.Conv2d(3, 16, 36, stride=36), nn.ReLU(), nn.Conv2d(16, 1536, 1), nn.BatchNorm2d(1536), nn.ReLU()]


class ThinNimaInception(NimaInceptionResnetV2):
    """NIMA on a network with one block of each kind, and smaller images."""

    side = 139

    def untrained(self) -> nn.Module:
        """Make the short network."""
        with torch.device("meta"):
            network: Any = super().untrained()
        for name in REPEATED:
            network[name] = network[name][:1]
        return network.to_empty(device="cpu")  # type: ignore[no-any-return]


class ThinNimaVgg16(NimaVgg16):
    """NIMA on the VGG16, which is quick enough, and smaller images."""

    side = 64

    def untrained(self) -> nn.Module:
        """Make the network without drawing its weights, which a file replaces."""
        with torch.device("meta"):
            network = super().untrained()
        return network.to_empty(device="cpu")


class ThinManiqa(Maniqa):
    """MANIQA on a narrow transformer and crops of 64 pixels, whose map is of four windows."""

    side = 64

    def untrained(self) -> nn.Module:
        """Make the narrow transformer."""
        transformer = library("timm.models.vision_transformer", "timm", "a test").VisionTransformer
        network: nn.Module = transformer(img_size=64, patch_size=8, embed_dim=24, num_heads=2, num_classes=3)
        return network


class ThinClipIqa(ClipIqa):
    """CLIP-IQA on narrow towers with one block in each layer."""

    def untrained(self) -> nn.Module:
        """Make the towers."""
        image = {"image_size": 224, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
        return clip_of({"embed_dim": 48, "vision_cfg": image, "text_cfg": TEXT, "quick_gelu": True}, "a test")


class ThinLaionAesthetic(LaionAesthetic):
    """LAION's predictor on narrow towers with few blocks; embeddings have their official length."""

    def untrained(self) -> nn.Module:
        """Make the towers."""
        image = {"image_size": 224, "layers": 2, "width": 32, "head_width": 8, "patch_size": 14}
        return clip_of({"embed_dim": 768, "vision_cfg": image, "text_cfg": TEXT, "quick_gelu": True}, "a test")


THIN_TOWERS: Mapping[str, type[Metric]] = {
    "koncept512": ThinKoncept512,
    "nima-inceptionresnetv2": ThinNimaInception,
    "nima-vgg16": ThinNimaVgg16,
    "maniqa": ThinManiqa,
    "clip-iqa": ThinClipIqa,
    "laion-aesthetic": ThinLaionAesthetic,
}
"""The small metrics by the name of the large ones."""


def _drawn(module: nn.Module, seed: int, changes: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """Weights for a module, some of them replaced by a number."""
    state = drawn({key: tuple(value.shape) for key, value in module.state_dict().items()}, seed)
    for name, value in (changes or {}).items():
        state[name] = torch.full_like(state[name], value)
    return state


def _counted(metric: nn.Module, seed: int) -> None:
    """Give batch norms the statistics of some images, without dropout."""
    for module in metric.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    measured(metric, torch.cat([photographs(5, 64, 64, seed), patterns(64, 64, seed)[-3:]]))


def tower_weights(kind: type[Metric], folder: Path, seed: int = 0) -> dict[str, Path]:
    """The weights files of a metric with the official names, large or small, in the form that their authors saved."""
    metric: Any = kind()
    name, files = kind.facts.name, {}
    if name == "laion-aesthetic":
        head = _drawn(metric.predictor, seed, {"layers.7.bias": 5.5})
        # As in the official predictor, the first layer makes up for the embedding's length of 1.
        head["layers.0.weight"] *= head["layers.0.weight"].shape[1] ** 0.5
        files[name], files[CLIP] = folder / f"{name}.pth", folder / f"{CLIP}.pt"
        torch.save(head, files[name])
        torch.save(_openai(_drawn(metric.untrained(), seed, {"logit_scale": 4.6052})), files[CLIP])
        return files
    files[name] = folder / f"{name}.pth"
    if name == "clip-iqa":
        network = metric.untrained()
        network.load_state_dict(_drawn(network, seed, {"logit_scale": 4.6052}))
        metric.visual = network.visual
        _counted(metric, seed)
        torch.save(_openai(network.state_dict()), files[name])
        return files
    state = _drawn(metric, seed, {"fc.12.bias": 50.0} if name == "koncept512" else {})
    if name == "maniqa":
        tables = [key for key in state if key.endswith(("relative_position_index", "attn_mask"))]
        state |= {key: metric.state_dict()[key] for key in tables}
        # Nothing normalises what the attention over channels reads: large products would make it a choice of one.
        state |= {key: value * 0.1 for key, value in state.items() if key.endswith(("c_q.weight", "c_k.weight"))}
        state["fc_score.3.bias"] = torch.tensor([0.4])
        state["fc_score.3.weight"] *= 0.002
    if name == "koncept512":
        state["fc.12.weight"] *= 0.5
    metric.load_state_dict(state)
    if name != "maniqa":
        _counted(metric, seed)
    state = metric.state_dict()
    torch.save({"params": state} if name.startswith("nima") else state, files[name])
    return files


def _openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict of OpenAI's archive: three settings beside the tensors."""
    settings = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    return {**state, **{name: torch.tensor(value) for name, value in settings.items()}}
