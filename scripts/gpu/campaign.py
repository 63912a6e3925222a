"""Section `campaign`: a whole campaign against the service, from image files to records."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from study_speeds import SIDE

from gpu.service import service_for
from gpu.work import Work
from scoreguard_client import ScoringClient
from scoreguard_client.bench import synthetic_images
from scoreguard_client.campaign import CampaignOptions, Progress, launch
from scoreguard_client.oracles.computing import Computing

_IMAGES: Final = 100
_QUICK_IMAGES: Final = 2
_ATTACKS: Final = "fgsm,ifgsm"
_DEFENCES: Final = "none,jpeg"
_BATCH: Final = 16


def measure(work: Work) -> None:
    """Attack the images alone and through each chain, with local gradients on the device."""
    count = _QUICK_IMAGES if work.quick else _IMAGES
    attacks = "fgsm" if work.quick else _ATTACKS
    with tempfile.TemporaryDirectory() as home, work.item("campaign"), service_for(work) as (address, metric):
        folder = Path(home) / "images"
        folder.mkdir()
        for number, data in enumerate(synthetic_images(SIDE, SIDE, count)):
            (folder / f"{number:03}.jpg").write_bytes(data)
        options = CampaignOptions(
            metric=metric,
            attacks=attacks,
            defences=_DEFENCES,
            images=folder,
            out=Path(home) / "run",
            adaptive=True,
            surrogate=work.store,
            batch=_BATCH,
            computing=Computing(device=work.device.name),
        )
        row = {
            "name": f"{metric}: {attacks} × {_DEFENCES}, adaptive as well",
            "images": count,
            "records": None,
            "failed": None,
            "first_error": "",
            "done": 0,
            "steps": 0,
            "seconds": 0.0,
            "seconds_per_image": None,
        }
        work.add(row)
        started = time.perf_counter()
        with ScoringClient(address) as client:
            summary = launch(options, client, lambda runner: _recording(work, row, runner.steps, started))
        seconds = time.perf_counter() - started
        row |= {"records": summary.records, "failed": summary.failed, "first_error": summary.first_error}
        row |= {"seconds": seconds, "seconds_per_image": seconds / count, "peak_bytes": work.item_memory()}
        work.save()


def _recording(work: Work, row: dict[str, Any], steps: int, started: float) -> Progress:
    """Return a progress callback that keeps the row up to date, and ends the campaign when the time is over."""
    row["steps"] = steps

    def progress(count: int, label: str) -> None:
        del label
        row["done"] += count
        row["seconds"] = time.perf_counter() - started
        work.save()
        if work.left <= 0:
            raise TimeoutError("the time of the section was over")

    return progress
