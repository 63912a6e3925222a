"""LAION's aesthetic predictor against open_clip's own tower on images of Pillow, and the official predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from PIL import Image
from thin_towers import ThinLaionAesthetic, tower_weights
from torch import Tensor

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.laion_aesthetic import CLIP, LaionAesthetic

HEAD = DATA / "weights" / "laion_aesthetic_v2_head.pth"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Generated weights of the small tower, and of the predictor."""
    return tower_weights(ThinLaionAesthetic, tmp_path_factory.mktemp("laion-aesthetic"))


def _embedding(kind: type[LaionAesthetic], files: dict[str, Path], image: Tensor) -> np.ndarray[Any, Any]:
    """(C,) embedding of length 1 by open_clip's `encode_image`, from Pillow's BICUBIC on planes of fractions."""
    network: Any = kind().untrained()
    state = torch.load(files[CLIP], weights_only=True)
    network.load_state_dict({key: value for key, value in state.items() if key in network.state_dict()})
    functional = library("torchvision.transforms.functional", "backbones", "a test")
    library_ = library("open_clip", "clip", "a test")
    planes = [
        functional.center_crop(functional.resize(Image.fromarray(plane.numpy()), 224, Image.Resampling.BICUBIC), 224)
        for plane in image
    ]
    centre = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))[None]
    normal = functional.normalize(centre, library_.OPENAI_DATASET_MEAN, library_.OPENAI_DATASET_STD)
    with torch.no_grad():
        features = network.eval().encode_image(normal)[0].double().numpy()
    return features / np.linalg.norm(features)  # type: ignore[no-any-return]


def _predicted(head: Path, embedding: np.ndarray[Any, Any]) -> float:
    """One matrix after the other, in double precision."""
    state = torch.load(head, weights_only=True, map_location="cpu")
    for place in (0, 2, 4, 6, 7):
        embedding = state[f"layers.{place}.weight"].double().numpy() @ embedding
        embedding = embedding + state[f"layers.{place}.bias"].double().numpy()
    return float(embedding[0])


def _muted(height: int, width: int) -> Tensor:
    """A photograph without black and white, so that nothing overshoots."""
    return 0.3 + 0.4 * photographs(1, height, width, 3)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 224), (225, 301), (500, 131)])
def test_the_score_equals_an_independent_implementation(files: dict[str, Path], height: int, width: int) -> None:
    """Enlarged and reduced, high and wide."""
    metric = ThinLaionAesthetic.from_weights(files)
    image = _muted(height, width)
    with torch.no_grad():
        score = float(metric(image))
    wanted = _predicted(files["laion-aesthetic"], _embedding(ThinLaionAesthetic, files, image[0]))
    assert score == pytest.approx(wanted, abs=1e-4)


@pytest.mark.skipif(not HEAD.exists(), reason=WHY_SKIPPED)
def test_the_official_predictor_loads_as_it_is_published(files: dict[str, Path]) -> None:
    """Its digest is the stated one, and its scores on the small tower are those of its five matrices."""
    metric = ThinLaionAesthetic.from_weights({**files, "laion-aesthetic": HEAD})
    assert metric.weights_digests["laion-aesthetic"] == LaionAesthetic.sources["laion-aesthetic"].sha256
    image = _muted(240, 320)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_predicted(HEAD, _embedding(ThinLaionAesthetic, files, image[0])), abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_published_network_is_open_clips(tmp_path: Path) -> None:
    """OpenAI's ViT-L/14."""
    files = tower_weights(LaionAesthetic, tmp_path)
    image = _muted(250, 320)
    with torch.no_grad():
        score = float(load_metric("laion-aesthetic", files)(image))
    wanted = _predicted(files["laion-aesthetic"], _embedding(LaionAesthetic, files, image[0]))
    assert score == pytest.approx(wanted, abs=1e-3)


def test_it_is_at_hand_only_with_both_files() -> None:
    """The predictor alone scores nothing."""
    assert not LaionAesthetic.at_hand({"laion-aesthetic": Path("head.pth")})
    assert not LaionAesthetic.at_hand({CLIP: Path("clip.pt")})
    assert LaionAesthetic.at_hand({"laion-aesthetic": Path("head.pth"), CLIP: Path("clip.pt")})
