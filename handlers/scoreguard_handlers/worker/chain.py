"""Run g, the defences, and then f, the metric, on a batch. Independent of TorchServe, gRPC and requests.

The engine decides where arrays live: each is handed to it once, stays there from stage to stage, and only what was
requested comes back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scoreguard.chain.execution import run_step
from scoreguard.v1.archive import Archive
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import ChainCall, ChainResult, Timings
from scoreguard_handlers.worker.engines.base import ChainEngine, EngineCall
from scoreguard_handlers.worker.size_check import METRIC_STAGE, check_metric, check_step

_NOTHING: Array = np.empty(0, np.float32)


class Chain:
    """The graphs of one archive as a chain; safe to run from several threads."""

    def __init__(self, archive: Archive, engine: ChainEngine) -> None:
        self._metric_graphs = archive.manifest.metric.graphs
        self._metric = archive.manifest.metric.facts
        self.engine = engine
        """Runs the graphs."""

    def purify(self, images: Array, call: ChainCall) -> ChainResult:
        """Return g(x) for a batch (N, 3, H, W).

        Raises:
            NotFiniteError: a step gave a value that is not finite.
            ServingError: a stage failed; the metadata names it.
        """
        timings = Timings()
        with self.engine.call(call.deadline, timings) as run:
            held = [run.take(images)]
            del images  # now only the chain holds them, and releases them after the first step
            purified = run.give(self._purify(run, held, call))
        return ChainResult(purified=purified, scores=_NOTHING, undefended=None, timings=timings)

    def score(self, images: Array, call: ChainCall) -> ChainResult:
        """Return f(g(x)), and f(x) if requested, for a batch (N, 3, H, W).

        Raises:
            NotFiniteError: a step or the metric gave a value that is not finite.
            ServingError: a stage failed; the metadata names it.
        """
        timings, undefended = Timings(), None
        with self.engine.call(call.deadline, timings) as run:
            held = [run.take(images)]
            del images
            if call.undefended and call.steps:
                undefended = run.give(self._score(run, held[0]))
            purified = self._purify(run, held, call)
            scores = run.give(self._score(run, purified))
            if call.undefended and not call.steps:
                undefended = scores
            image = run.give(purified) if call.purified else _NOTHING
        return ChainResult(purified=image, scores=scores, undefended=undefended, timings=timings)

    def _purify(self, run: EngineCall[Any], held: list[Any], call: ChainCall) -> Any:
        images = held.pop()
        for index, step in enumerate(call.steps):
            check_step(step, images.shape[2:], index)
            name = str(step.step)
            images = run_step(run.stage(name), images, step, call.seeds, index)
            run.check(images, name, "an image")
        return images

    def _score(self, run: EngineCall[Any], images: Any) -> Any:
        check_metric(self._metric, images.shape[2:])
        scores = run.stage(METRIC_STAGE).run(self._metric_graphs, {"image": images}).reshape(len(images))
        run.check(scores, METRIC_STAGE, "a score", who=f"metric {self._metric.name!r}")
        return scores
