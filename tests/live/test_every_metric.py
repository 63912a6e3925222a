"""The main job through the live endpoint, for every metric of the studies on small networks with generated weights.

Weights drawn at random give scores without meaning; what is shown is that each metric is exported, served,
differentiated and attacked like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from live_servers import running_server
from PIL import Image
from served import photo_like
from tests.live.test_every_attack import campaign
from thin_metrics import THIN, weights_of
from thin_towers import THIN_TOWERS, tower_weights
from video_metrics import THIN_VIDEO, video_weights

from scoreguard_client import ScoringClient
from scoreguard_client.campaign import CampaignOptions, Gradients
from scoreguard_client.report import TableOptions, make_report
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE
from scoreguard_handlers.config import ServeConfig

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]
EPS = 4 / 255
ATTACKS = "fgsm:eps=4/255,ifgsm:eps=4/255:iterations=2,square:eps=4/255:queries=4"
DEFENCES = ("jpeg", "blur", "flip")
STEP = 1e-5
"""Largest change of a value in a finite difference: networks of random weights bend sharply."""


OTHERS = {"dbcnn", "laion-aesthetic", "nima-vgg16"}
"""Those that are not of the fifteen."""
METRICS: Mapping[str, type[Metric]] = {
    name: kind for name, kind in {**THIN, **THIN_TOWERS, **THIN_VIDEO}.items() if name not in OTHERS
}


def generated(name: str, folder: Path) -> dict[str, Path]:
    """The weights files of a metric, under the names of their publishers."""
    if name in THIN_VIDEO:
        return video_weights(name, folder)
    return weights_of(THIN[name], folder) if name in THIN else tower_weights(THIN_TOWERS[name], folder)


@dataclass(frozen=True)
class Served:
    """One metric of the service."""

    metric: str
    side: int
    target: str


@pytest.fixture(scope="module", params=list(METRICS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Each metric by turns, on its small network, built as usual and served with gradients."""
    name, home = str(request.param), tmp_path_factory.mktemp("every")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CATALOGUE._loaded, name, METRICS[name])
        weights = generated(name, home)
        build(BuildConfig(metrics=(name,), defences=DEFENCES, model_store=home / "store", weights=weights))
    config = ServeConfig(model_store=home / "store", port=0, workers=1, gradients=True, backend="local")
    with running_server(config) as server:
        side = METRICS[name].facts.minimum_size + 8
        yield Served(metric=name, side=side, target=server.gateway.address)


def test_these_are_the_fifteen() -> None:
    """Nobody is left out."""
    assert len(METRICS) == 15


def test_the_gradient_is_the_slope_of_the_served_score(served: Served) -> None:
    """Along the gradient itself, the served score changes as fast as the gradient is long."""
    image = 0.25 + 0.5 * photo_like(served.side, served.side + 5)
    with ScoringClient(served.target) as client:
        gradient = client.gradient(image, metric=served.metric).gradient
        direction = gradient / np.abs(gradient).max()
        ahead, behind = (
            client.score((image + sign * STEP * direction).astype(np.float32), metric=served.metric).score
            for sign in (1, -1)
        )
    slope = float((gradient * direction).sum())
    assert slope > 0
    assert (ahead - behind) / (2 * STEP) == pytest.approx(slope, rel=0.1)


def test_a_campaign_holds_its_budgets_and_ends_in_a_report(served: Served, tmp_path: Path) -> None:
    """Three attacks behind three defences and none: every record is there, within eps, and the page is written."""
    photos = tmp_path / "photos"
    photos.mkdir()
    levels = (255 * photo_like(served.side, served.side, seed=2)).astype(np.uint8)
    Image.fromarray(levels).save(photos / "image.png")
    options = CampaignOptions(
        metric=served.metric,
        attacks=ATTACKS,
        defences=",".join(("none", *DEFENCES)),
        images=photos,
        out=tmp_path / "run",
        adaptive=True,
        gradients=Gradients.LIVE,
    )
    summary, records = campaign(served.target, options)
    assert summary.failed == 0, summary.first_error
    assert len(records) == 3 * (4 + 3)
    assert all(record.l_inf is not None and record.l_inf <= EPS + 1e-6 for record in records)
    assert all(record.attacked_defended is not None and np.isfinite(record.attacked_defended) for record in records)
    report = make_report(options.out, TableOptions(resamples=20))
    assert len(report.rows) == 3 * (4 + 3)
    assert (report.folder / "index.html").is_file()
