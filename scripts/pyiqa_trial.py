"""Try one metric of pyiqa on random weights, and print what was found as one line of JSON: see `pyiqa_survey.py`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from scoreguard_export.archive.parity import EAGER, case_inputs, eager, gradient
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import one_line
from scoreguard_export.exporters.engines import Engine, load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.exporters.signature import Case, input_names
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.pyiqa.adapter import PyiqaMetric, metric_class
from scoreguard_export.metrics.pyiqa.asked import LIBRARY, Asked, networks_in
from scoreguard_export.metrics.pyiqa.networks import configurations, network_of
from scoreguard_export.metrics.pyiqa.table import Entry, Status

_SIDES: Final = (16, 32, 64, 96, 128, 160, 192, 224, 225, 256, 320, 384, 448, 512)
"""Sides of the images that are tried until one can be scored, in pixels."""
_COUNTS: Final = frozenset({"test_sample", "num_crop"})
"""Attributes of networks that hold the number of crops of their grid."""
_FEW_CROPS: Final = 4
"""The number that is tried: what is in a graph of 4 crops is in one of 50, in a tenth of the time."""
_STARTS: Final = (225, 257, 385)
"""Smallest sides from which graphs are tried after the smallest that can be scored: crops of 224 or 384 pixels."""
_AGREES: Final = 1e-3
"""Largest difference of a score, as a share of the scores' standard deviation over images, that counts as equal."""
_ROUNDING: Final = 3e-6
"""The same as a share of the score, for networks whose scores hardly differ on random weights."""


_TELLING: Final = re.compile(
    r"inferred a static shape of \d+ for dimension [^.]*|.*(?:Error|Exception): .*", re.IGNORECASE
)
"""The lines of an exporter's or an interpreter's message that say what is wrong."""


_UNWRITTEN: Final = "cannot be written"
"""Begins what is said of a graph that the exporter refuses."""


class FailedError(Exception):
    """A stage that ends the trial."""

    def __init__(self, status: Status, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {one_line(reason, 160)}")
        self.status = status


def trial(name: str) -> dict[str, Any]:
    """Try one metric; return what the table holds of it beside pyiqa's own facts."""
    found: dict[str, Any] = {}
    try:
        _run(name, found)
    except FailedError as failure:
        return {**found, "status": failure.status, "reason": str(failure)}
    return {**found, "status": Status.EXPORTS}


def made(name: str, found: dict[str, Any]) -> nn.Module:
    """Make a network; note the number of its parameters and the files that it needs."""
    asked = Asked()
    network = network_of(name, asked=asked)
    found["parameters"] = sum(p.numel() for part in networks_in(network) for p in part.parameters())
    found["files"] = asked.needed(network)
    return network


def _run(name: str, found: dict[str, Any]) -> None:
    network = _stage(Status.CANNOT, "load", lambda: made(name, found))
    if foreign := [address for address in found["files"] if address.startswith(LIBRARY)]:
        raise FailedError(Status.CANNOT, "load", f"its files leave {foreign[0].removeprefix(LIBRARY)} to the library")
    if _entry(name).bounds is None:
        _stage(Status.CANNOT, "score", partial(network, photographs(1, 256, 288, 0)))
        raise FailedError(Status.SCORES_ONLY, "range", f"pyiqa states an open one: {_entry(name).score_range}")
    del network
    metric: PyiqaMetric = _stage(Status.CANNOT, "load", metric_class(_entry(name))).eval()
    for count in _COUNTS & vars(metric.network).keys():
        setattr(metric.network, count, _FEW_CROPS)
    least = found["minimum_size"] = _smallest(metric)
    _settle(metric, least)
    print(json.dumps({**found, "status": Status.SCORES_ONLY}), flush=True)  # in case that time runs out later
    spread = _spread(metric, least)
    _repeatable(metric, least)
    found["batch_error"] = _batch_error(metric, least) / spread
    _gradient(metric, least)
    if found["batch_error"] > _AGREES:
        raise FailedError(
            Status.SCORES_ONLY, "batch", f"a score moves by {found['batch_error']:.1g} deviations by others"
        )
    first, scripted = "", 0
    for start in _starts(least):
        script, onnx = _exported(metric, start, spread)
        if not isinstance(script, str):
            scripted = scripted or start
            if not isinstance(onnx, str):
                found["minimum_size"], found["parity_error"] = start, max(script, onnx)
                return
        first = first or str(onnx if isinstance(script, float) else script)
        if start >= _STARTS[0] and first.startswith(_UNWRITTEN):
            break  # still larger images would not help
    if scripted:
        found["minimum_size"] = scripted
        raise FailedError(Status.TORCHSCRIPT_ONLY, "onnx", first)
    raise FailedError(Status.SCORES_ONLY, "torchscript", first)


def _said(error: BaseException) -> str:
    """Return what an error says, from its innermost cause: one line, without the path of what it went through."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    telling = [line.strip() for line in _TELLING.findall(text)] if len(text.splitlines()) > 1 else []
    line = telling[-1] if telling else text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {line.removeprefix(f'{type(error).__name__}: ')}"


def _stage(status: Status, stage: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        raise FailedError(status, stage, _said(error)) from error


def _entry(name: str) -> Entry:
    configuration = configurations("the survey")[name]
    return Entry(
        name=name,
        network=configuration["metric_opts"]["type"],
        score_range=configuration["score_range"],
        lower_better=configuration.get("lower_better", False),
        status=Status.EXPORTS,
        minimum_size=1,
    )


def _scores(metric: PyiqaMetric, images: Tensor) -> Tensor:
    with torch.no_grad():
        scores: Tensor = metric(images)
    if scores.shape != images.shape[:1] or not bool(scores.isfinite().all()):
        raise ValueError(
            f"scores {tuple(scores.shape)} of {tuple(images.shape)}, finite: {bool(scores.isfinite().all())}"
        )
    return scores.to(torch.float64)


def _smallest(metric: PyiqaMetric) -> int:
    error: Exception = ValueError("no size")
    for side in _SIDES:
        try:
            for height, width in ((side, side), (side, side + 1), (side + 3, side)):
                _scores(metric, photographs(1, height, width, 0))
        except Exception as found:
            error = found
        else:
            return side
    raise FailedError(Status.CANNOT, "score", _said(error))


def _settle(metric: PyiqaMetric, least: int) -> None:
    """Give batch norms the statistics of a few images: with those of a new network, deep ones give nothing of use."""
    norms = [m for m in metric.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for seed in (5, 6) if norms else ():
            metric(_varied(max(least, 160), seed))
    for norm in norms:
        norm.eval()


def _varied(side: int, seed: int) -> Tensor:
    images = photographs(4, side + 9, side + 30, seed)
    noise = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(seed))
    return torch.stack([images[0], images[1], 0.3 * images[2], 0.5 * images[3] + 0.5 * noise])


def _spread(metric: PyiqaMetric, least: int) -> float:
    scores = torch.cat([_scores(metric, image[None]) for image in _varied(least, 1)])
    deviation = float(scores.std())
    return max(deviation, _ROUNDING / _AGREES * float(scores.abs().max()), 1e-9)


def _repeatable(metric: PyiqaMetric, least: int) -> None:
    image = photographs(1, least + 30, least + 77, 2)
    first, again = _scores(metric, image), _scores(metric, image)
    if not torch.equal(first, again):
        raise FailedError(
            Status.CANNOT, "repeat", f"two runs differ by {float((first - again).abs().max()):.2g}: it draws at random"
        )


def _batch_error(metric: PyiqaMetric, least: int) -> float:
    images = _varied(least, 3)[:3]
    alone = torch.cat([_scores(metric, image[None]) for image in images])
    together, turned = _scores(metric, images), _scores(metric, images.flip(0)).flip(0)
    return float(torch.maximum((together - alone).abs(), (turned - alone).abs()).max())


def _gradient(metric: PyiqaMetric, least: int) -> None:
    image = photographs(1, least + 12, least + 5, 4).requires_grad_()
    scores = metric(image)
    if not scores.requires_grad:
        raise FailedError(Status.SCORES_ONLY, "gradient", "no gradient passes")
    (slope,) = _stage(Status.SCORES_ONLY, "gradient", lambda: torch.autograd.grad(scores.sum(), image))
    if not bool(slope.isfinite().all()) or not bool((slope != 0).any()):
        raise FailedError(Status.SCORES_ONLY, "gradient", "it is 0 everywhere, or not finite")


def _starts(least: int) -> list[int]:
    return [least, *(start for start in _STARTS if start > least)]


def _exported(metric: PyiqaMetric, start: int, spread: float) -> tuple[float | str, float | str]:
    """Return the largest error of either graph from a smallest size on, as a share of the spread, or what failed."""
    metric.facts = replace(metric.facts, minimum_size=start)
    with tempfile.TemporaryDirectory() as folder:
        script, onnx = Path(folder) / "m.pt", Path(folder) / "m.onnx"
        first = _error(
            metric, lambda: export_torchscript(metric, script), lambda: load_torchscript(script), spread, True
        )
        if isinstance(first, str):
            return first, first
        names = input_names(metric)
        return first, _error(metric, lambda: export_onnx(metric, onnx), lambda: load_onnx(onnx, names), spread, False)


def _error(
    metric: PyiqaMetric, write: Callable[[], None], load: Callable[[], Engine], spread: float, slopes: bool
) -> float | str:
    try:
        write()
    except Exception as error:
        return f"{_UNWRITTEN}: {_said(error)}"
    try:
        engine, worst = load(), 0.0
        for case in _cases(metric.facts.minimum_size):
            inputs = case_inputs(metric, case, 7)
            with torch.no_grad():
                expected, got = metric(*inputs), engine(inputs)
            if got.shape != expected.shape:
                return f"gives {tuple(got.shape)} at {case}"
            distance = float((expected.double() - got.double()).abs().max()) / spread
            if not distance <= _AGREES:
                return f"differs by {distance:.1g} deviations at {case}"
            worst = max(worst, distance)
        if slopes:
            case = _cases(metric.facts.minimum_size)[1]
            mine = gradient(eager(metric), metric, EAGER, case, 7)
            other = gradient(engine, metric, "torchscript", case, 7)
            if not float((mine - other).abs().max()) <= _AGREES * float(mine.abs().max()):
                return f"its gradient differs at {case}"
        return worst
    except Exception as error:
        return _said(error)


def _cases(least: int) -> list[Case]:
    sizes = (
        (1, least, least),
        (3, (least + 1) | 1, least + 47),
        (1, least + 101, least + 58),
        (2, least + 37, 2 * least + 5),
    )
    return [Case(batch=n, height=height, width=width) for n, height, width in sizes]


if __name__ == "__main__":
    result: dict[str, Any] = {}
    with quiet():
        if "--files" in sys.argv:
            made(sys.argv[1], result)
        else:
            result = trial(sys.argv[1])
    print(json.dumps(result))
