"""A service of two metrics in this process, and campaigns against it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from tests.clients.campaign.conftest import quiet

from scoreguard_client.campaign import CampaignOptions, Gradients, Ledger, Record, Summary, launch
from scoreguard_client.testing import FakeService
from scoreguard_client.testing.messages import Floats
from scoreguard_client.testing.service import brightness, brightness_gradient


def redness(image: Floats) -> float:
    """100 times the mean of the red channel."""
    return 100 * float(image[..., 0].mean(dtype=np.float64))


def redness_gradient(image: Floats) -> Floats:
    """Its derivative, which is 0 for green and blue."""
    slope = np.zeros(image.shape, np.float32)
    slope[..., 0] = 100 / image[..., 0].size
    return slope


def service_of_two(**changes: Any) -> FakeService:
    """`bright` and `red`, both behind `halve`."""
    described: dict[str, Any] = {
        "metrics": {"bright": brightness, "red": redness},
        "gradients": {"bright": brightness_gradient, "red": redness_gradient},
        "defences": {"halve": lambda image: image / 2},
    }
    return FakeService(**described | changes)


def write_photos(folder: Path, *names: str) -> Path:
    """Small images that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        values = np.random.default_rng(list(name.encode())).integers(40, 200, (8, 12, 3), dtype=np.uint8)
        PIL.Image.fromarray(values).save(folder / name)
    return folder


def options_of(tmp_path: Path, **changes: Any) -> CampaignOptions:
    """A campaign on two images."""
    options = CampaignOptions(
        metric="bright,red",
        attacks="ifgsm:iterations=3,square:queries=5",
        defences="none,halve",
        images=write_photos(tmp_path / "photos", "a.png", "b.png"),
        out=tmp_path / "run",
        gradients=Gradients.LIVE,
        adaptive=True,
    )
    return replace(options, **changes)


def run(options: CampaignOptions, service: FakeService | None = None) -> Summary:
    """Run a campaign."""
    with (service or service_of_two()).client() as client:
        return launch(options, client, quiet)


def records_of(out: Path) -> list[Record]:
    """The records but for their times."""
    with Ledger.open(out) as ledger:
        return [replace(record, crafting_seconds=0, scoring_seconds=0) for record in ledger.records()]
