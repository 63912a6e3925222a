"""Sections `defences`, `metrics` and `tf32`: images per second on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Final

import torch
from study_speeds import FPS, LEARNED, SIDE, STUDY, aim_of
from torch import Tensor

from gpu.subjects import QUICK, defence_subject, made_images, metric_subjects
from gpu.timing import measured
from gpu.work import Work
from scoreguard.chain.numerics import DEFAULT, Numerics

BATCHES: Final = (1, 16)
QUICK_BATCHES: Final = (1, 2)
FAST: Final = Numerics(deterministic=False, tf32=True)


def defences(work: Work) -> None:
    """Time the study's 16 defences at the study's size, next to the study's speeds."""
    names = QUICK if work.quick else STUDY
    _defences(work, names, DEFAULT)


def metrics(work: Work) -> None:
    """Time every metric of the store."""
    _metrics(work, DEFAULT)


def tf32(work: Work) -> None:
    """Time the learned defences and the metrics again with TF32 and any kernel: other scores, perhaps faster."""
    _metrics(work, FAST)
    _defences(work, ("blur",) if work.quick else LEARNED, FAST)


def _defences(work: Work, names: Sequence[str], numerics: Numerics) -> None:
    for count, name in enumerate(work.each(names)):
        with work.item(name):
            subject = defence_subject(work.store, name, work.device.torch, numerics)
            seconds = work.left / (len(names) - count)
            study = FPS.get(name)
            _time(work, name, subject.run, numerics, seconds, study=study, aim=aim_of(name))


def _metrics(work: Work, numerics: Numerics) -> None:
    subjects = {subject.name: subject for subject in metric_subjects(work.store, work.device.torch, numerics)}
    for count, name in enumerate(work.each(subjects)):
        with work.item(name):
            _time(work, name, subjects[name].run, numerics, work.left / (len(subjects) - count))


def _time(
    work: Work,
    name: str,
    run: Callable[[Tensor], Tensor],
    numerics: Numerics,
    seconds: float,
    *,
    study: float | None = None,
    aim: float | None = None,
) -> None:
    target = work.device.torch
    batches = QUICK_BATCHES if work.quick else BATCHES
    for batch in batches:
        images = made_images(batch, SIDE, SIDE).to(target)
        with torch.no_grad():
            speed = measured(partial(run, images), batch, target, seconds=seconds / len(batches), quick=work.quick)
        work.add(
            {
                "name": name,
                "batch": batch,
                **asdict(speed),
                "study": study,
                "ratio": speed.per_second / study if study else None,
                "aim": aim,
                "numerics": str(numerics),
                "peak_bytes": work.item_memory(),
            }
        )
