"""`scoreguard showcase` with the shipped metric and the real defences, behind the real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from live_servers import running_server
from photographs import pillow_jpeg
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError
from scoreguard_client.cli import command
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_handlers.config import ServeConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped metric with three defences: all of them would take minutes to build."""
    path = tmp_path_factory.mktemp("lite") / "model_store"
    build(BuildConfig(metrics=("lite",), defences=("jpeg", "resize", "crop"), model_store=path, default_variants=True))
    return path


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """The real gateway with the local backend."""
    with running_server(ServeConfig(model_store=store, backend="local", port=0, workers=1)) as server:
        yield server.gateway.address


def test_one_photo_through_real_defences(
    address: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The attack gains undefended; JPEG's fidelity is Pillow's; a crop larger than the photo fails alone."""
    image = np.ascontiguousarray(data.astronaut()[:160, 150:350])  # type: ignore[no-untyped-call]
    PIL.Image.fromarray(image).save(tmp_path / "photo.png")
    arguments = ["showcase", str(tmp_path / "photo.png"), "--target", address, "--surrogate", str(store)]
    arguments += ["--out", str(tmp_path / "page.html"), "--defences", "jpeg,resize,crop:size=256"]
    code = console.run(command, errors=(ScoreguardError, ContractError), argv=[*arguments, "--json"])
    answer = json.loads(capsys.readouterr().out)
    jpeg, resize, crop = answer["cards"]
    assert code == 1
    assert answer["undefended"]["gain"] > 1
    assert answer["l_infinity"] <= 8 / 255 + 1e-6
    coded = pillow_jpeg(image, 50, 420).astype(np.uint8)
    reference = peak_signal_noise_ratio(image, coded)  # type: ignore[no-untyped-call]
    assert jpeg["clean"]["psnr"] == pytest.approx(reference, abs=0.3)
    assert (resize["clean"]["width"], resize["clean"]["height"]) == (100, 80)
    assert "crop" in crop["error"]
    assert crop["clean"] is None
