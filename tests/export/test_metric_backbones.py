"""What holds for every metric with a large network: official names, batches, gradients, exports, refusals."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from official_states import OFFICIAL
from thin_metrics import THIN, variant_of, weights_of
from torch import Tensor

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import MissingExtraError, WeightsError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_export.testing import check_metric

WAYS = [(name, variant) for name in OFFICIAL for variant in ("", *CATALOGUE[name].facts.variants)]
SIZES = {
    "spaq": [(1, 224, 224), (3, 225, 337), (2, 512, 512), (1, 513, 700), (2, 700, 530), (1, 511, 600)],
    "rank-iqa": [(1, 224, 224), (3, 225, 337), (1, 500, 301)],
    "fpr": [(1, 64, 64), (3, 65, 133), (1, 299, 200)],
    "paq2piq": [(1, 33, 33), (3, 47, 64), (2, 224, 223), (1, 500, 131)],
    "tres": [(1, 225, 225), (3, 230, 337), (1, 600, 401)],
    "other": [(1, 32, 32), (3, 33, 47), (2, 224, 223), (1, 500, 131)],
}
"""Batch, height and width: the smallest, odd ones, those at the limits of resizing."""
PARAMETERS = {
    "spaq": 25_557_032 - 2_049_000 + 2_049,
    "meta-iqa": 11_689_512 + 1_553_411,
    "linearity": 88_791_336 - 2_049_000 + 1_331_136 + 2_379_712 + 259,
    "wsp": 44_549_160 - 2_049_000 + 4_200_448 + 10_245,
    "rank-iqa": 138_357_544 - 4_097_000 + 4_097,
    "fpr": 7_636_578,
    "dbcnn": 14_714_688 + 531_120 + 65_537,
    "hyper-iqa": 25_557_032 - 2_049_000 + 86_016 + 389_344 + 2_680_432 + 686_120 + 25_425,
    "paq2piq": 11_689_512 - 513_000 + 528_385,
    "tres": 25_557_032 + 2 * 59_508_544 + 7_680 + 7_866_368 + 4_097,
}
"""Trainable numbers: those that torchvision states, without the classifier of 1000 except in MetaIQA and TReS, and the
heads."""
READ = {"fpr": (192, 320), "fpr as-benchmark": (192, 320), "hyper-iqa": (176, 256), "tres": (176, 320)}
"""Height and width of what the small metrics read of an image of 240×320, in whole blocks, where that is not all."""
WITHOUT_LIBRARY = ("rank-iqa", "fpr")
"""Metrics whose network no library keeps."""


def thin_metric(name: str, variant: str, folder: Path) -> Metric:
    """The metric on a small network with generated weights."""
    return THIN[name].from_weights(weights_of(THIN[name], folder), variant)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_names_and_shapes_are_the_modules(name: str) -> None:
    """A state_dict of the authors' network fits, tensor by tensor."""
    with torch.device("meta"):
        metric = CATALOGUE[name]()
    shapes = {key: tuple(value.shape) for key, value in metric.state_dict().items()}
    assert shapes == dict(OFFICIAL[name]())
    assert sum(value.numel() for value in metric.parameters()) == PARAMETERS[name]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_an_image_has_its_score_whatever_is_beside_it(
    name: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, in a batch of three, and in another order: equal to the last bit, on the published network.

    Of the crops of a grid the first four are read: fifty through a transformer take minutes.
    """
    monkeypatch.setattr(CATALOGUE[name], "crops", 4, raising=False)
    metric = load_metric(f"{name}@{variant}" if variant else name, weights_of(CATALOGUE[name], tmp_path))
    images = photographs(3, 230, 257, 5)
    with torch.no_grad():
        together = metric(images)
        assert torch.equal(torch.cat([metric(image[None]) for image in images]), together)
        assert torch.equal(metric(images.flip(0)), together.flip(0))
    assert len(set(together.tolist())) == 3


@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_the_gradient_reaches_every_part_of_the_image(name: str, variant: str, tmp_path: Path) -> None:
    """It is finite, and no block of 16×16 pixels is without one, at the borders neither; elsewhere it is zero."""
    metric = thin_metric(name, variant, tmp_path)
    image = photographs(1, 240, 320, 2).requires_grad_()
    metric(image).sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    blocks = image.grad[0].abs().sum(dim=0).reshape(15, 16, 20, 16).amax(dim=(1, 3))
    height, width = READ.get(f"{name} {variant}".strip(), (240, 320))
    assert float(blocks[: height // 16, : width // 16].min()) > 0.0
    assert int(blocks.count_nonzero()) == height // 16 * width // 16


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_both_graphs_give_the_scores_at_every_size(name: str, variant: str, tmp_path: Path) -> None:
    """Captured at one size; TorchScript and ONNX resize, cut and average at others as the module does."""
    metric = thin_metric(name, variant, tmp_path)
    export_torchscript(metric, tmp_path / "metric.pt")
    export_onnx(metric, tmp_path / "metric.onnx")
    engines = [load_torchscript(tmp_path / "metric.pt"), load_onnx(tmp_path / "metric.onnx", ["image"])]
    for batch, height, width in SIZES.get(name, SIZES["other"]):
        images = photographs(batch, height, width, 1)
        with torch.no_grad():
            expected = metric(images)
        for engine in engines:
            difference = (engine((images,)) - expected).detach().abs().max()
            assert float(difference) <= 1e-5 * metric.facts.score_range.width


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_every_rule_is_obeyed(name: str, variant: str, tmp_path: Path) -> None:
    """Facts, sizes, finite scores and gradients, batches, both graphs: on the small network."""
    check_metric(variant_of(THIN[name], variant), files=weights_of(THIN[name], tmp_path))


def changed(content: dict[str, object], change: Mapping[str, Tensor | None]) -> dict[str, object]:
    """A checkpoint with other tensors; None removes one."""
    wrapper = next((key for key in ("state_dict", "model") if key in content), "")
    state = content[wrapper] if wrapper else content
    assert isinstance(state, dict)
    state = {key: value for key, value in {**state, **change}.items() if value is not None}
    return {**content, wrapper: state} if wrapper else state


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize(
    ("change", "said"), [("missing", "1 tensors missing"), ("extra", "1 tensors too many"), ("shape", "is (1,), not (")]
)
def test_another_checkpoint_is_refused(name: str, change: str, said: str, tmp_path: Path) -> None:
    """One line with the tensor, the origin and the licence."""
    path = weights_of(THIN[name], tmp_path)[name]
    content = torch.load(path, weights_only=True)
    last = list(THIN[name]().state_dict())[-1]
    changes: dict[str, dict[str, Tensor | None]] = {
        "missing": {last: None},
        "extra": {"more": torch.ones(1)},
        "shape": {last.replace("bias", "weight"): torch.ones(1)},
    }
    torch.save(changed(content, changes[change]), path)
    with pytest.raises(WeightsError) as caught:
        THIN[name].from_weights({name: path})
    message = str(caught.value)
    source = CATALOGUE[name].sources[name]
    assert "\n" not in message
    for needed in (str(path), said, f"--weights {name}=PATH", source.origin, source.licence):
        assert needed in message


@pytest.mark.parametrize("name", OFFICIAL)
def test_without_weights_the_message_says_where_they_are_from(name: str) -> None:
    """Nobody's weights are shipped."""
    with pytest.raises(WeightsError, match=rf"the weights of {name} are not shipped: .*--weights {name}=PATH"):
        load_metric(name)


@pytest.mark.parametrize("name", [name for name in OFFICIAL if name not in WITHOUT_LIBRARY])
def test_a_missing_library_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchvision the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(MissingExtraError, match=rf"{name} needs pip install 'scoreguard\[backbones\]'") as caught:
        CATALOGUE[name]()
    assert "\n" not in str(caught.value)
