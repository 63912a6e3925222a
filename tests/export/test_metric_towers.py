"""What holds for every metric on timm's and open_clip's networks: names, batches, gradients, exports, refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from official_towers import OFFICIAL_TOWERS
from thin_metrics import variant_of
from thin_towers import THIN_TOWERS, tower_weights
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import MissingExtraError, WeightsError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_export.metrics.laion_aesthetic import CLIP
from scoreguard_export.testing import check_metric

Files = Callable[[str], dict[str, Path]]
"""The weights files of the small metric of a name."""
WAYS = [(name, variant) for name in THIN_TOWERS for variant in ("", *CATALOGUE[name].facts.variants)]
LIBRARIES = {
    "timm": ("timm", ["koncept512", "nima-inceptionresnetv2", "nima-vgg16", "maniqa"]),
    "open_clip": ("clip", ["clip-iqa", "laion-aesthetic"]),
}
"""Module and extra of each library, and metrics that need it."""
SIZES = [(1, 32, 32), (3, 33, 47), (2, 299, 300), (1, 500, 131)]
"""Batch, height and width."""
PARAMETERS = {
    "koncept512": 54_306_464 + 5_515_265,
    "nima-inceptionresnetv2": 54_306_464 + 15_370,
    "nima-vgg16": 14_714_688 + 5_130,
    "maniqa": 86_576_872 + 49_170_658,
    "clip-iqa": 102_007_137,
    "clip-vit-l-14": 427_616_513,
    "laion-aesthetic": 787_456 + 131_200 + 8_256 + 1_040 + 17,
}
"""Trainable numbers: those that timm, Keras and open_clip state for the networks, and the layers behind them."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Generated weights, made once a metric."""

    @cache
    def made(name: str) -> dict[str, Path]:
        return tower_weights(THIN_TOWERS[name], tmp_path_factory.mktemp(name))

    return made


def network_of(name: str) -> nn.Module:
    """The module whose tensors a weights file holds, without numbers."""
    with torch.device("meta"):
        metric: Any = CATALOGUE["laion-aesthetic" if name == CLIP else name]()
        if name == "laion-aesthetic":
            return metric.predictor  # type: ignore[no-any-return]
        return metric.untrained() if name in (CLIP, "clip-iqa") else metric  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", OFFICIAL_TOWERS)
def test_the_official_names_and_shapes_are_the_modules(name: str) -> None:
    """A state_dict of the authors' network fits, tensor by tensor."""
    network = network_of(name)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == dict(OFFICIAL_TOWERS[name]())
    assert sum(value.numel() for value in network.parameters()) == PARAMETERS[name]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "variant"), [way for way in WAYS if way != ("maniqa", "")])
def test_an_image_has_its_score_whatever_is_beside_it(name: str, variant: str, tmp_path: Path) -> None:
    """Alone, in a batch of three, and in another order: equal to the last bit, on the published network.

    MANIQA's twenty crops would take most of an hour; its test is on the small network.
    """
    metric = load_metric(f"{name}@{variant}" if variant else name, tower_weights(CATALOGUE[name], tmp_path))
    images = photographs(3, 230, 257, 5)
    with torch.no_grad():
        together = metric(images)
        assert torch.equal(torch.cat([metric(image[None]) for image in images]), together)
        assert torch.equal(metric(images.flip(0)), together.flip(0))
    assert len(set(together.tolist())) == 3


@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_a_score_is_the_same_with_and_without_gradients(name: str, variant: str, files: Files) -> None:
    """To the last bit: no layer takes another path. The gradient is finite, and reaches the image's centre."""
    metric = THIN_TOWERS[name].from_weights(files(name), variant)
    image = photographs(1, 240, 320, 2).requires_grad_()
    score = metric(image)
    score.sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert float(image.grad[:, :, 104:136, 144:176].abs().max()) > 0.0
    with torch.no_grad():
        assert torch.equal(metric(image), score)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_both_graphs_give_the_scores_at_every_size(name: str, variant: str, files: Files, tmp_path: Path) -> None:
    """Captured at one size; TorchScript and ONNX resize, cut and average at others as the module does."""
    metric = THIN_TOWERS[name].from_weights(files(name), variant)
    export_torchscript(metric, tmp_path / "metric.pt")
    export_onnx(metric, tmp_path / "metric.onnx")
    engines = [load_torchscript(tmp_path / "metric.pt"), load_onnx(tmp_path / "metric.onnx", ["image"])]
    for batch, height, width in SIZES:
        images = photographs(batch, max(height, metric.facts.minimum_size), max(width, metric.facts.minimum_size), 1)
        with torch.no_grad():
            expected = metric(images)
        for engine in engines:
            difference = (engine((images,)) - expected).detach().abs().max()
            assert float(difference) <= 1e-5 * metric.facts.score_range.width


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "variant"), WAYS)
def test_every_rule_is_obeyed(name: str, variant: str, files: Files) -> None:
    """Facts, sizes, finite scores and gradients, batches, both graphs: on the small network."""
    check_metric(variant_of(THIN_TOWERS[name], variant), files=files(name))


def changed(content: Mapping[str, Any], change: Mapping[str, Tensor | None]) -> dict[str, Any]:
    """A checkpoint with other tensors; None removes one."""
    state = content.get("params", content)
    state = {key: value for key, value in {**state, **change}.items() if value is not None}
    return {"params": state} if "params" in content else state


@pytest.mark.parametrize("name", OFFICIAL_TOWERS)
@pytest.mark.parametrize(
    ("change", "said"),
    [("missing", "1 tensors missing"), ("extra", "1 tensors too many"), ("shape", "is (1, 1), not (")],
)
def test_another_checkpoint_is_refused(name: str, change: str, said: str, files: Files, tmp_path: Path) -> None:
    """One line with the tensor, the origin and the licence."""
    metric = "laion-aesthetic" if name == CLIP else name
    content = torch.load(files(metric)[name], weights_only=True)
    key = next(key for key, value in content.get("params", content).items() if value.ndim > 1)
    changes = {"missing": {key: None}, "extra": {"more": torch.ones(1)}, "shape": {key: torch.ones(1, 1)}}
    path = tmp_path / "changed.pth"
    torch.save(changed(content, changes[change]), path)  # type: ignore[arg-type]
    with pytest.raises(WeightsError) as caught:
        THIN_TOWERS[metric].from_weights({**files(metric), name: path})
    message = str(caught.value)
    source = CATALOGUE[metric].sources[name]
    assert "\n" not in message
    for needed in (str(path), said, f"--weights {name}=PATH", source.origin, source.licence):
        assert needed in message


@pytest.mark.parametrize("name", THIN_TOWERS)
def test_without_weights_the_message_says_where_they_are_from(name: str) -> None:
    """Nobody's weights are shipped."""
    with pytest.raises(WeightsError, match=rf"the weights of {name} are not shipped: .*--weights {name}=PATH"):
        THIN_TOWERS[name].from_weights()


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_missing_library_says_what_to_install(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the extra that brings it."""
    extra, names = LIBRARIES[module]
    monkeypatch.setitem(sys.modules, module, None)
    for name in names:
        with pytest.raises(MissingExtraError, match=rf"{name} needs pip install 'scoreguard\[{extra}\]'") as caught:
            CATALOGUE[name]()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["clip-iqa", CLIP])
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_archive_of_torchscript_is_refused(name: str, files: Files, tmp_path: Path) -> None:
    """OpenAI's own form could run code; one line says that a dictionary of its tensors is what is needed."""
    metric = "laion-aesthetic" if name == CLIP else name
    archive: Any = torch.jit.script(nn.Linear(2, 2))
    torch.jit.save(archive, tmp_path / "RN50.pt")
    with pytest.raises(WeightsError, match=r"a pickled or scripted module.*weights convert.*a state_dict of") as caught:
        THIN_TOWERS[metric].from_weights({**files(metric), name: tmp_path / "RN50.pt"})
    assert "\n" not in str(caught.value)


def _metric(name: str, files: Files) -> Metric:
    return THIN_TOWERS[name].from_weights(files(name))


@pytest.mark.parametrize("name", ["clip-iqa", "laion-aesthetic"])
def test_the_text_tower_is_no_part_of_what_is_exported(name: str, files: Files) -> None:
    """Only the image tower is kept, and two vectors a pair of texts at most."""
    names = _metric(name, files).state_dict()
    assert not [key for key in names if not key.startswith(("visual.", "direction", "predictor."))]
