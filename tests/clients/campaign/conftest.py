"""Images and options for campaigns against the small real server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from scoreguard_client import ScoringClient
from scoreguard_client.campaign import CampaignOptions, Gradients, Runner, Summary, launch
from scoreguard_client.progress import Progress

Launch = Callable[..., Summary]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images of two sizes, one in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    sizes = {"a.png": (12, 16), "b.png": (12, 16), "c.png": (9, 20), "d.png": (12, 16), "more/e.png": (9, 20)}
    for name, (height, width) in sizes.items():
        PIL.Image.fromarray(rng.integers(40, 200, (height, width, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def options(photos: Path, tmp_path: Path) -> CampaignOptions:
    """A small campaign with gradients from the server."""
    return CampaignOptions(
        metric="bright",
        attacks="fgsm,square:queries=5",
        defences="none,dim,shift",
        images=photos,
        out=tmp_path / "run",
        gradients=Gradients.LIVE,
        batch=2,
    )


def quiet(runner: Runner) -> Progress:
    """Progress that nobody sees."""
    del runner
    return lambda steps, what: None


@pytest.fixture
def run_campaign(running: Any, options: CampaignOptions) -> Launch:
    """A function that runs the campaign, with changes."""

    def run(start: Callable[[Runner], Progress] = quiet, **changes: Any) -> Summary:
        with ScoringClient(running.target) as client:
            return launch(replace(options, **changes), client, start)

    return run
