"""CLIP-IQA against open_clip's own towers, with the positional embedding of its pooling set to zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from thin_towers import ThinClipIqa, tower_weights
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.clip_iqa import ClipIqa

PAIRS = {
    "": [["Good photo.", "Bad photo."]],
    "as-five-pairs": [
        ["Good image", "bad image"],
        ["Sharp image", "blurry image"],
        ["sharp edges", "blurry edges"],
        ["High resolution image", "low resolution image"],
        ["Noise-free image", "noisy image"],
    ],
}
"""The texts of the authors' configuration, and of pyiqa."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Generated weights of the small towers."""
    return tower_weights(ThinClipIqa, tmp_path_factory.mktemp("clip-iqa"))


def _towers(kind: type[ClipIqa], files: dict[str, Path]) -> Any:
    """open_clip's module with the tensors of the file."""
    network: Any = kind().untrained()
    state = torch.load(files["clip-iqa"], weights_only=True)
    network.load_state_dict({key: value for key, value in state.items() if value.ndim or key in network.state_dict()})
    return network.eval()


def _reference(network: Any, image: Tensor, pairs: list[list[str]]) -> float:
    """The mean over the pairs of the first of two softmaxed similarities."""
    library_ = library("open_clip", "clip", "a test")
    mean, deviation = library_.OPENAI_DATASET_MEAN, library_.OPENAI_DATASET_STD
    normal = (image - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
    pool = network.visual.attnpool
    with torch.no_grad():
        cells = network.visual.layer4(
            network.visual.layer3(network.visual.layer2(network.visual.layer1(network.visual.stem(normal))))
        )[0, 0].numel()
        pool.positional_embedding = nn.Parameter(torch.zeros(cells + 1, pool.positional_embedding.shape[1]))
        shares = [network.get_logits(normal, library_.tokenize(pair))[0].softmax(dim=1)[0, 0] for pair in pairs]
    return float(torch.stack(shares).mean())


@pytest.mark.parametrize("variant", PAIRS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (224, 224), (299, 301), (500, 131)])
def test_the_score_equals_an_independent_implementation(
    files: dict[str, Path], variant: str, height: int, width: int
) -> None:
    """At native size, from one cell to many."""
    metric = ThinClipIqa.from_weights(files, variant)
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(_towers(ThinClipIqa, files), image, PAIRS[variant]), abs=2e-5)


@pytest.mark.slow
def test_the_published_network_is_open_clips(tmp_path: Path) -> None:
    """OpenAI's RN50."""
    files = tower_weights(ClipIqa, tmp_path)
    image = photographs(1, 250, 320, 4)
    with torch.no_grad():
        score = float(ClipIqa.from_weights(files)(image))
    assert score == pytest.approx(_reference(_towers(ClipIqa, files), image, PAIRS[""]), abs=1e-4)


def test_half_precision_weights_are_widened(files: dict[str, Path], tmp_path: Path) -> None:
    """OpenAI's are: the score is that of the same numbers in single precision."""
    state = torch.load(files["clip-iqa"], weights_only=True)
    halves = {
        key: value.half() if value.is_floating_point() and value.ndim > 1 else value for key, value in state.items()
    }
    torch.save(halves, tmp_path / "half.pt")
    torch.save({key: value.float() for key, value in halves.items()}, tmp_path / "single.pt")
    image = photographs(2, 64, 80, 5)
    with torch.no_grad():
        scores = [ThinClipIqa.from_weights({"clip-iqa": tmp_path / f"{name}.pt"})(image) for name in ("half", "single")]
    assert torch.equal(*scores)


def test_more_pairs_are_another_score(files: dict[str, Path]) -> None:
    """On one image."""
    image = photographs(1, 64, 64, 3)
    with torch.no_grad():
        scores = [float(ThinClipIqa.from_weights(files, variant)(image)) for variant in PAIRS]
    assert abs(scores[0] - scores[1]) > 1e-3
