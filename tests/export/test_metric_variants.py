"""A metric that published code computes in several ways: each way is built, named, served and verified by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoreguard.catalogue import UnknownNameError
from scoreguard.score_range import ScoreRange
from scoreguard.v1.archive import Archive
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.archive.verify import verify_archive
from scoreguard_export.cli import main
from scoreguard_export.metrics.base import Metric, MetricFacts
from scoreguard_export.metrics.catalogue import CATALOGUE, load_metric
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.worker import Worker


class Level(Metric):
    """Mean brightness; the authors' code forgets the last channel."""

    facts = MetricFacts(
        name="level",
        title="Level",
        paper="none: a sample",
        year=2026,
        score_range=ScoreRange(low=0.0, high=1.0),
        input_rule="RGB at native size",
        minimum_size=32,
        parity_tolerance=1e-5,
        variants=("as-official",),
    )

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.channels = 2 if variant == "as-official" else 3

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return image[:, : self.channels].mean(dim=(1, 2, 3))


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue of metrics with one more."""
    places = {
        **CATALOGUE._places,
        "level": type(CATALOGUE._places["lite"])(package="sample", target=f"{__name__}:Level"),
    }
    monkeypatch.setattr(CATALOGUE, "_places", places, raising=False)
    monkeypatch.setitem(CATALOGUE._loaded, "level", Level)


@pytest.mark.usefixtures("catalogue")
def test_a_variant_has_an_archive_of_its_own(tmp_path: Path) -> None:
    """Its name ends in the variant; the usual way keeps the plain one; both score by their own code and verify."""
    config = BuildConfig(metrics=("level", "level@as-official"), defences=(), model_store=tmp_path)
    assert [archive.metric for archive in build(config).archives] == ["level", "level-as-official"]
    usual, official = (Archive(tmp_path / f"{name}.mar") for name in ("level", "level-as-official"))
    assert (usual.manifest.metric.facts.variant, official.manifest.metric.facts.variant) == ("", "as-official")
    assert official.manifest.metric.facts.title == "Level, as-official"
    scores = [archive.manifest.golden_vectors[0].score for archive in (usual, official)]
    assert scores[0] != scores[1]
    for archive in (usual, official):
        assert verify_archive(archive).not_compared == ()
        Worker.load(archive, WorkerConfig()).canary()
    assert build(config).exported == ()


@pytest.mark.usefixtures("catalogue")
def test_a_variant_differs_from_the_usual_way_as_its_code_does() -> None:
    """The constructor is told; the facts say which it is."""
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    official = load_metric("level@as-official")
    assert torch.equal(official(image), image[:, :2].mean(dim=(1, 2, 3)))
    assert (official.facts.name, load_metric("level").facts.name) == ("level-as-official", "level")


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [("lite@as-official", "unknown variant of lite 'as-official'"), ("nothing@x", "unknown metric 'nothing'")],
)
def test_an_unknown_variant_is_one_line(
    metrics: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is written."""
    with pytest.raises(SystemExit) as done:
        main(["build", "--metrics", metrics, "--model-store", str(tmp_path / "store")])
    error = capsys.readouterr().err
    assert done.value.code == 2
    assert problem in error
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("catalogue")
def test_the_near_variant_is_named() -> None:
    """A slip of the pen gets the name that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean as-official"):
        load_metric("level@as-oficial")
