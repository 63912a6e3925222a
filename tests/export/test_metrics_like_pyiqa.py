"""Our metrics against pyiqa's modules on the same generated weights, where both read the same pixels.

Where the preprocessing differs, the images are chosen so that it does nothing, or the comparison is made below it.
Skipped where pyiqa, or a library of the metric, is missing, and for metrics that the catalogue does not have.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from official_states import drawn
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import MissingExtraError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE
from scoreguard_export.metrics.pyiqa.networks import network_of
from scoreguard_export.metrics.pyiqa.stand_ins import stand_in

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pyiqa") is None, reason="pyiqa is not installed")
Compare = Callable[[Any, Any, Tensor], tuple[Tensor, Tensor]]
"""Takes our module, pyiqa's and images; returns what both give."""


def scores(mine: Any, theirs: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Both from the image to the score."""
    return mine(images), theirs(images).reshape(-1)


def with_four_crops(mine: Any, theirs: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Both with a smaller grid of crops than the published one, which takes minutes."""
    mine.crops = theirs.num_crop = theirs.test_sample = 4
    return scores(mine, theirs, images)


def of_one_crop(mine: Any, theirs: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """MANIQA: pyiqa pools the cells of all crops together, we average the scores of crops; of one, both are the same.

    pyiqa cuts its crop out of images of more than 224 pixels alone; ours is given the same pixels.
    """
    theirs.test_sample = 1
    return mine(images[:, :, :224, :224]), theirs(images).reshape(-1)


def around_the_regions(mine: Any, theirs: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """PaQ-2-PiQ: pyiqa's body and head around our pooling of the region, whose operator not every torchvision has."""
    quarters = importlib.import_module(type(mine).__module__).quarters
    largest = quarters(theirs.body(images), images.shape[2], images.shape[3])
    return mine(images), theirs.head(largest.reshape(*largest.shape[:2], 2, 2)).reshape(-1)


def of_hyper_iqa(name: str) -> str:
    """From the authors' names to pyiqa's, which keeps the parts in lists."""
    rules = (
        (r"^res\.lda4_fc\.", "lda_modules.3.2."),
        (r"^res\.lda(\d)_(pool\.0|fc)\.", lambda m: f"lda_modules.{int(m[1]) - 1}.{3 if m[2] == 'fc' else 0}."),
        (r"^fc5w_fc\.", "fc_w_modules.4.2."),
        (r"^fc(\d)w_conv\.", lambda m: f"fc_w_modules.{int(m[1]) - 1}."),
        (r"^fc(\d)b_fc\.", lambda m: f"fc_b_modules.{int(m[1]) - 1}.2."),
        (r"^res\.", "base_model."),
    )
    for pattern, replacement in rules:
        name, found = re.subn(pattern, replacement, name)
        if found:
            return name
    return name


TOLERANCE = 1e-6
"""Of scores in double precision, relative and absolute: single-precision constants are among them."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A metric of ours and pyiqa's."""

    theirs: str
    """pyiqa's name."""
    variant: str = ""
    sizes: tuple[tuple[int, int], ...] = ((224, 224), (301, 258))
    rename: Callable[[str], str] = str
    compare: Compare = scores


PEERS: Mapping[str, Peer] = {
    "meta-iqa": Peer(
        theirs="metaiqa",
        sizes=((224, 224), (97, 131), (301, 258)),
        rename=lambda name: re.sub(r"^net\.", "head.", name),
    ),
    # We resize to 512×384 first, as the authors do, and pyiqa does not: images of that size stay as they are.
    "hyper-iqa": Peer(theirs="hyperiqa", sizes=((512, 384),), rename=of_hyper_iqa, compare=with_four_crops),
    "paq2piq": Peer(theirs="paq2piq", sizes=((64, 96), (201, 158)), compare=around_the_regions),
    "tres": Peer(theirs="tres", variant="as-benchmark", sizes=((230, 241),), compare=with_four_crops),
    "maniqa": Peer(theirs="maniqa", variant="as-benchmark", sizes=((225, 225),), compare=of_one_crop),
    "nima-inceptionresnetv2": Peer(theirs="nima", sizes=((299, 299), (330, 411))),
    "nima-vgg16": Peer(theirs="nima-vgg16-ava", sizes=((224, 224), (301, 258))),
}
"""By our names."""


def available(name: str, variant: str) -> Metric:
    """Our metric without weights; the test is skipped where the installation lacks its network."""
    try:
        return CATALOGUE[name].of_variant(variant) if variant else CATALOGUE[name]()
    except MissingExtraError as error:
        pytest.skip(str(error))


def varied(height: int, width: int) -> Tensor:
    """A photograph and a noisy one, 3 channels, values in [0, 1]."""
    images = photographs(2, height, width, 1)
    noise = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(0))
    return torch.stack([images[0], 0.4 * images[1] + 0.6 * noise])


def settle(metric: nn.Module, images: Tensor) -> None:
    """Set the statistics of batch norms to those of the images: random deep networks give nothing of use otherwise."""
    norms = [module for module in metric.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        metric(images)
    metric.eval()


@pytest.mark.parametrize("name", PEERS)
def test_our_metric_gives_the_scores_of_pyiqa_on_the_same_weights(name: str) -> None:
    """Every weight of pyiqa's network is filled from ours, and none of ours is left; in double precision."""
    peer = PEERS[name]
    mine, theirs = available(name, peer.variant), network_of(peer.theirs)
    kept = {key for key, _ in mine.named_buffers() if ".running_" not in key}  # tables and masks are no weights
    shapes = {key: tuple(value.shape) for key, value in mine.state_dict().items() if key not in kept}
    mine.load_state_dict(drawn(shapes), strict=False)
    if hasattr(mine, "crops"):
        vars(mine)["crops"] = 4
    settle(mine, torch.cat([photographs(6, *peer.sizes[0], 2), varied(*peer.sizes[0])]))
    ours = {peer.rename(key): value for key, value in mine.state_dict().items()}
    missing, left = theirs.load_state_dict(ours, strict=False)
    assert set(missing) <= {"mean", "std"}  # constants that pyiqa keeps beside the weights
    assert left == []
    for height, width in peer.sizes:
        with torch.no_grad():
            found, expected = peer.compare(mine.double(), theirs.double(), varied(height, width).double())
        assert float(expected.std()) > 100 * TOLERANCE * float(expected.abs().max()), "the scores hardly differ"
        torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_clip_iqa_of_five_pairs_gives_the_scores_of_pyiqa(tmp_path: Path) -> None:
    """CLIP passes through half precision in pyiqa: the weights are rounded to it beforehand."""
    try:
        library("open_clip", "clip", "clip-iqa")
    except MissingExtraError as error:
        pytest.skip(str(error))
    address = library("pyiqa.archs.clip_model", "pyiqa", "a test")._MODELS["RN50"]
    random = stand_in("RN50.pt")
    assert isinstance(random, Mapping)
    shapes = {key: tuple(value.shape) for key, value in random.items() if key != "logit_scale"}
    state = {key: value.half().float() for key, value in drawn(shapes).items()} | {"logit_scale": torch.tensor(3.0)}
    state = {key: value.long() if key.endswith("num_batches_tracked") else value for key, value in state.items()}
    torch.save(state, tmp_path / "clip.pth")
    mine = CATALOGUE["clip-iqa"].from_weights({"clip-iqa": tmp_path / "clip.pth"}, "as-five-pairs")
    theirs = network_of("clipiqa", {address: state})
    for height, width in ((224, 224), (97, 131)):
        images = varied(height, width)
        with torch.no_grad():
            found, expected = mine(images), theirs(images).reshape(-1)
        assert float(expected.std()) > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
