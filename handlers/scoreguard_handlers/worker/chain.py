"""Run g, the defences, and then f, the metric, on a batch. Independent of TorchServe, gRPC and requests.

The engine decides where arrays live: each is handed to it once, stays there from stage to stage, and only what was
requested comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scoreguard.chain.execution import run_step
from scoreguard.v1.archive import Archive
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import ChainCall, ChainResult, Timings
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.base import ChainEngine, EngineCall
from scoreguard_handlers.worker.size_check import METRIC_STAGE, check_metric, check_step

POOL_STAGE: Final = "pool"
_NOTHING: Array = np.empty(0, np.float32)


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What a metric gives for a batch."""

    scores: Array | None = None
    features: Array | None = None


class Chain:
    """The graphs of one archive as a chain; safe to run from several threads."""

    def __init__(self, archive: Archive, engine: ChainEngine) -> None:
        self._artifact = archive.manifest.metric
        self._metric = self._artifact.facts
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
        timings, undefended = Timings(), _Scored()
        with self.engine.call(call.deadline, timings) as run:
            held = [run.take(images)]
            del images
            if call.undefended and call.steps:
                undefended = self._score(run, held[0], call)
            purified = self._purify(run, held, call)
            scored = self._score(run, purified, call)
            if call.undefended and not call.steps:
                undefended = scored
            image = run.give(purified) if call.purified else _NOTHING
        return ChainResult(
            purified=image,
            scores=_NOTHING if scored.scores is None else scored.scores,
            undefended=undefended.scores,
            timings=timings,
            features=scored.features,
            undefended_features=undefended.features,
        )

    def pool(self, features: Array, deadline: Deadline) -> tuple[float, Timings]:
        """Return the score of a clip by the features of its frames (1, T, numbers); only a metric of videos has one.

        Raises:
            NotFiniteError: the score is not finite.
            ServingError: the graph failed.
        """
        timings = Timings()
        with self.engine.call(deadline, timings) as run:
            score = self._pooled(run, run.take(features))
            return float(run.give(score)[0]), timings

    def _purify(self, run: EngineCall[Any], held: list[Any], call: ChainCall) -> Any:
        images = held.pop()
        for index, step in enumerate(call.steps):
            check_step(step, images.shape[2:], index)
            name = str(step.step)
            images = run_step(run.stage(name), images, step, call.seeds, index)
            run.check(images, name, "an image")
        return images

    def _score(self, run: EngineCall[Any], images: Any, call: ChainCall) -> _Scored:
        check_metric(self._metric, images.shape[2:])
        stage, who = run.stage(METRIC_STAGE), f"metric {self._metric.name!r}"
        if call.frame and self._artifact.HasField("frame"):
            features = stage.run(self._artifact.frame, {"image": images})
            run.check(features, METRIC_STAGE, "features", who=who)
            # Each frame as a clip of one.
            alone = [self._pooled(run, features[index : index + 1, None]) for index in range(len(images))]
            scores = stage.join(alone, 0) if len(alone) > 1 else alone[0]
            return _Scored(scores=run.give(scores), features=run.give(features))
        scores = stage.run(self._artifact.graphs, {"image": images}).reshape(len(images))
        run.check(scores, METRIC_STAGE, "a score", who=who)
        return _Scored(scores=run.give(scores))

    def _pooled(self, run: EngineCall[Any], features: Any) -> Any:
        score = run.stage(POOL_STAGE).run(self._artifact.pool, {"features": features}).reshape(1)
        run.check(score, POOL_STAGE, "a score", who=f"metric {self._metric.name!r}")
        return score
