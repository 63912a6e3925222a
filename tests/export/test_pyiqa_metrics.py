"""Metrics of pyiqa end to end on generated weights: their scores are pyiqa's own. Skipped where pyiqa is missing."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scoreguard.v1.archive import archives_in
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.archive.verify import verify_store
from scoreguard_export.errors import ExportError, WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.catalogue import load_metric, named
from scoreguard_export.metrics.pyiqa import adapter
from scoreguard_export.metrics.pyiqa.networks import network_of
from scoreguard_export.metrics.pyiqa.table import PREFIX, find
from scoreguard_export.testing import check_metric

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pyiqa") is None, reason="pyiqa is not installed")
FACTORS = {"metaiqa": 1.0, "unique": 300.0, "arniqa": 1.0}
"""Small ones, with a factor of the last layer so that scores of images differ."""
NAMES = ["metaiqa", "unique"]


class Sentinel:
    """Something of one's own, whose unpickling would run code."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        """Fail where it is run."""
        return exec, ("raise SystemExit('code of a weights file was run')",)


def drawn(name: str, seed: int = 0) -> nn.Module:
    """The network of pyiqa with other numbers than those that it is made with, its batch norms settled on images."""
    network = network_of(name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.0 + 0.05 * torch.randn(parameter.shape, generator=generator))
            parameter.add_(0.002 * torch.randn(parameter.shape, generator=generator))
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.data.mul_(FACTORS[name])
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        network(photographs(6, 230, 240, seed))
    return network.eval()


def saved(network: nn.Module, path: Path) -> Path:
    """Its tensors as a file that torch saved."""
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module", params=NAMES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, nn.Module, Path]:
    """The name of a metric, pyiqa's network, and its weights file."""
    name, network = request.param, drawn(request.param)
    return name, network, saved(network, tmp_path_factory.mktemp(name) / f"{name}.pth")


def varied(height: int, width: int) -> Tensor:
    """A photograph, a dark one and a noisy one."""
    images = photographs(3, height, width, 1)
    noise = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(0))
    return torch.stack([images[0], 0.3 * images[1], 0.5 * images[2] + 0.5 * noise])


def files_of(name: str, path: Path) -> Mapping[str, Path]:
    """The file under the name that `--weights` gives it."""
    entry = find(PREFIX + name)
    assert entry is not None
    return {entry.served_name: path}


def by_pyiqa(network: nn.Module, images: Tensor) -> Tensor:
    """What pyiqa's own code gives."""
    with torch.no_grad():
        scores: Tensor = network(images)
    return scores.reshape(-1)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (231, 307), (400, 256)])
def test_the_scores_are_those_of_pyiqa(made: tuple[str, nn.Module, Path], height: int, width: int) -> None:
    """On the same weights, through a file."""
    name, network, path = made
    metric = load_metric(PREFIX + name, files_of(name, path))
    images = varied(height, width)
    with torch.no_grad():
        scores = metric(images)
    torch.testing.assert_close(scores, by_pyiqa(network, images), rtol=1e-5, atol=1e-5)
    assert float(scores.std()) > 1e-3


def test_a_score_depends_on_the_other_images_as_the_table_says(made: tuple[str, nn.Module, Path]) -> None:
    """Alone, in a batch of three, in another order: the same bits, or a rounding that the table owns up to."""
    name, _, path = made
    metric = load_metric(PREFIX + name, files_of(name, path))
    images = varied(231, 307)
    with torch.no_grad():
        together, turned = metric(images), metric(images.flip(0)).flip(0)
        alone = torch.cat([metric(image[None]) for image in images])
    entry = find(PREFIX + name)
    assert entry is not None
    allowed = 1e-4 * float(alone.std()) if entry.batch_error else 0.0
    assert float((together - alone).abs().max()) <= allowed
    assert float((turned - alone).abs().max()) <= allowed


def test_it_obeys_every_rule_of_the_catalogue(tmp_path: Path) -> None:
    """Shape, range, gradient, graphs, golden image."""
    check_metric("pyiqa:metaiqa", files=files_of("metaiqa", saved(drawn("metaiqa"), tmp_path / "m.pth")))


def test_it_is_built_served_under_its_own_name_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest names the licence and the digest; the licence is also said on standard error."""
    files = files_of("metaiqa", saved(drawn("metaiqa"), tmp_path / "m.pth"))
    adapter.say_licence.cache_clear()
    store = tmp_path / "store"
    built = build(BuildConfig(metrics=("pyiqa:metaiqa",), defences=("flip",), model_store=store, weights=files))
    assert "no commercial use" in capsys.readouterr().err
    assert [archive.metric for archive in built.archives] == ["pyiqa-metaiqa"]
    artifact = archives_in(store)[0].manifest.metric
    assert "PolyForm Noncommercial" in artifact.facts.weights_licence
    assert [file.name for file in artifact.weights] == ["pyiqa-metaiqa"]
    (verified,) = verify_store(store)
    assert verified.not_compared == ()


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    """It would run in pyiqa, which unpickles."""
    path = tmp_path / "m.pth"
    path.write_bytes(pickle.dumps({"params": Sentinel()}))
    with pytest.raises(WeightsError, match="not a checkpoint of tensors alone"):
        load_metric("pyiqa:metaiqa", files_of("metaiqa", path))


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    """MetaIQA in pyiqa takes whatever names fit, and leaves the others as they were drawn: here that is an error."""
    state = network_of("metaiqa").state_dict()
    trained = {key: value + 0.01 for key, value in state.items() if key.startswith("resnet_layer.")}
    torch.save(trained, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"parameters of pyiqa-metaiqa stay untrained, such as head\."):
        load_metric("pyiqa:metaiqa", files_of("metaiqa", tmp_path / "half.pth"))
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="pyiqa-unique cannot be made from"):
        load_metric("pyiqa:unique", files_of("unique", tmp_path / "other.pth"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its module leaves a file open
def test_a_metric_of_two_files_takes_a_regression_as_its_tensors(tmp_path: Path) -> None:
    """ARNIQA's is published as a program, which is not run: its two tensors are enough."""
    network = drawn("arniqa")
    encoder = {f"model.{key}": value for key, value in network.get_submodule("encoder").state_dict().items()}
    layer = network.get_submodule("regressor").state_dict()
    torch.save(encoder, tmp_path / "encoder.pth")
    torch.save({"weights": layer["weight"], "biases": layer["bias"]}, tmp_path / "regressor.pth")
    files = {"pyiqa-arniqa": tmp_path / "regressor.pth", "pyiqa-arniqa-2": tmp_path / "encoder.pth"}
    metric, images = load_metric("pyiqa:arniqa", files), varied(96, 131)
    with torch.no_grad():
        torch.testing.assert_close(metric(images), by_pyiqa(network, images), rtol=1e-5, atol=1e-6)
    assert "TorchScript archive" in metric.sources["pyiqa-arniqa"].url
    with pytest.raises(WeightsError, match="of pyiqa-arniqa-2 are not shipped"):
        load_metric("pyiqa:arniqa", {"pyiqa-arniqa": tmp_path / "regressor.pth"})


def test_everything_that_is_replaced_is_put_back(tmp_path: Path) -> None:
    """After a network is made, and after one that cannot be."""
    downloads = library("pyiqa.utils.download_util", "pyiqa", "a test")
    models = library("timm", "pyiqa", "a test")
    before = torch.load, torch.jit.load, torch.hub.load, nn.Module.load_state_dict, models.create_model
    places = downloads.DEFAULT_CACHE_DIR, downloads.download_url_to_file
    network_of("metaiqa")
    with pytest.raises(Exception, match="2"):
        network_of("unique", {find_address("unique"): {"weight": torch.ones(2)}})
    after = torch.load, torch.jit.load, torch.hub.load, nn.Module.load_state_dict, models.create_model
    assert after == before
    assert (downloads.DEFAULT_CACHE_DIR, downloads.download_url_to_file) == places


def find_address(name: str) -> str:
    """Where the file of a metric is from."""
    entry = find(PREFIX + name)
    assert entry is not None
    return entry.files[-1]


def test_a_pyiqa_that_says_otherwise_than_the_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another version, perhaps: the range and the direction would be wrong."""
    known = library("pyiqa.default_model_configs", "pyiqa", "a test").DEFAULT_CONFIGS
    monkeypatch.setitem(known["metaiqa"], "score_range", "0, 100")
    with pytest.raises(ExportError, match="says of metaiqa other than the table"):
        named("pyiqa:metaiqa")()
