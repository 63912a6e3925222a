"""Section `campaign`: a whole campaign against the service, from image files to records."""

from __future__ import annotations

import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from study_speeds import SIDE

from gpu.service import service_for
from gpu.work import Work
from scoreguard_client import ScoringClient
from scoreguard_client.bench import synthetic_images
from scoreguard_client.campaign import CampaignOptions, Progress, launch

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
            **_device_of(work),
        )
        started = time.perf_counter()
        with ScoringClient(address) as client:
            summary = launch(options, client, lambda runner: _stopping(work, runner.steps, started))
        seconds = time.perf_counter() - started
        work.add(
            name=f"{options.metric}: {attacks} × {_DEFENCES}, adaptive as well",
            images=count,
            records=summary.records,
            failed=summary.failed,
            first_error=summary.first_error,
            seconds=seconds,
            seconds_per_image=seconds / count,
            records_per_second=summary.records / seconds,
            peak_bytes=work.item_memory(),
        )


def _stopping(work: Work, steps: int, started: float) -> Progress:
    """Return a progress callback that ends the campaign when the section's time is over."""
    done = 0

    def progress(count: int, label: str) -> None:
        nonlocal done
        del label
        done += count
        if work.left <= 0:
            seconds = time.perf_counter() - started
            raise TimeoutError(f"{done} of {steps} scores and records after {seconds:.0f} s, when the time was over")

    return progress


def _device_of(work: Work) -> dict[str, Any]:
    """Return the option that puts the gradients on the device."""
    if "device" in {field.name for field in fields(CampaignOptions)}:
        return {"device": work.device.name}
    if not work.device.is_cpu:
        work.note("gradients of a campaign run on the CPU: the client has no option for another device")
    return {}
