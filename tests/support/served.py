"""An archive as it is served, in this process, and the eager modules that its graphs were made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from restorers import generated
from torch import Tensor

from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import from_tensor, to_tensor
from scoreguard.v1.manifest_pb2 import DefenceArtifact
from scoreguard.v1.scoring_pb2 import (
    DefenceStep,
    Image,
    PurifyRequest,
    PurifyResponse,
    ScoreGradientRequest,
    ScoreGradientResponse,
)
from scoreguard.v1.spec import Step, format_chain, parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem, WorkResult
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.archive.defence_export import eager_defence
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.defences.catalogue import CATALOGUE, buildable, defence_named
from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.worker import Worker

Floats = npt.NDArray[np.float32]
GENERATED = ("ffdnet",)
"""Defences without shipped weights that are built with generated ones: one stands for all, since most take minutes."""
SERVED = tuple(name for name in CATALOGUE if name in (*buildable({}), *GENERATED))
"""What the archive holds, in the order of the catalogue."""
RANDOM = tuple(name for name in SERVED if CATALOGUE[name].facts.random_inputs or CATALOGUE[name].schedule({}))
"""Those whose answer depends on the seed."""
SEED = 5


def build_lite(store: Path) -> None:
    """Write the shipped metric and every defence in `SERVED` as a model store, and generated weights beside it."""
    weights = generated(FfdNet, store.parent)
    build(BuildConfig(metrics=("lite",), defences=SERVED, model_store=store, weights=weights, default_variants=True))


def weights_beside(store: Path) -> dict[str, Path]:
    """The weights that `build_lite` generated."""
    return {name: store.parent / f"{name}.pt" for name in GENERATED}


def step_of(name: str, side: int, **parameters: float) -> str:
    """A defence as a chain, with lengths that fit an image of a shorter side of `side` pixels."""
    known = (p for p in CATALOGUE[name].facts.graph_parameters if p.at_most_side and p.default > side)
    lengths = {p.name: float(side // 2 + 1) for p in known}
    return format_chain([Step(name=name, parameters=tuple({**lengths, **parameters}.items()))])


def smallest(name: str) -> int:
    """Side of the smallest image that the default variant purifies: one that holds its window."""
    facts = CATALOGUE[name].facts
    return int(max(facts.minimum_size, *(p.default for p in facts.structural if p.at_most_side), 1))


def wire(chain: str) -> list[DefenceStep]:
    """A chain's text as messages."""
    return [step.to_message() for step in parse_chain(chain)]


def photo_like(height: int, width: int, seed: int = 0) -> Floats:
    """An image (H, W, 3) of smooth shapes, an edge and fine texture, well inside (0, 1), no two values alike."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    base = 0.45 + 0.15 * np.sin(9 * rows + 5 * columns) + 0.2 * (rows + 0.4 * columns > 0.5)
    colours = base[..., None] * np.array([1.0, 0.8, 0.9]) + 0.05 * generator.standard_normal((height, width, 3))
    values: Floats = np.clip(colours, 0.02, 0.98).astype(np.float32)
    return values


def planes(image: Floats) -> Floats:
    """(H, W, 3) as (1, 3, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


@dataclass(frozen=True, kw_only=True)
class Served:
    """One archive at work."""

    worker: Worker
    weights: Mapping[str, Path]
    """Those that are not shipped."""

    @classmethod
    def load(cls, archive: Archive, weights: Mapping[str, Path], **config: Any) -> Served:
        """Serve an archive, gradients too."""
        return cls(worker=Worker.load(archive, WorkerConfig(gradients=True, **config)), weights=weights)

    @property
    def archive(self) -> Archive:
        """What is served."""
        return self.worker.archive

    def artifact(self, name: str) -> DefenceArtifact:
        """A defence's part of the manifest."""
        return next(found for found in self.archive.manifest.defences if found.facts.name == name)

    def answers(self, *items: WorkItem) -> list[WorkResult]:
        """The worker's answers."""
        return list(self.worker.run(WorkerRequest(items=items)).results)

    def purified(self, image: Floats, chain: str, seed: int | None = SEED) -> PurifyResponse:
        """The answer to one image."""
        (result,) = self.answers(purify_item(image, chain, seed))
        assert result.WhichOneof("result") == "purify", result.status.message
        return result.purify

    def purify(self, image: Floats, chain: str, seed: int | None = SEED) -> Floats:
        """g(x), (H', W', 3)."""
        return purified_values(self.purified(image, chain, seed))

    def gradient(self, image: Floats, chain: str, seed: int = SEED) -> ScoreGradientResponse:
        """The answer of ScoreGradient."""
        (result,) = self.answers(gradient_item(image, chain, seed))
        assert result.WhichOneof("result") == "gradient", result.status.message
        return result.gradient

    def eager(self, name: str) -> EagerDefence:
        """The modules of a defence, from the weights again."""
        return eager_defence(defence_named(name), self.artifact(name), self.weights)


def purify_item(image: Floats, chain: str, seed: int | None) -> WorkItem:
    """A request to purify."""
    return WorkItem(purify=PurifyRequest(image=Image(tensor=to_tensor(image)), defences=wire(chain), seed=seed))


def gradient_item(values: Floats, chain: str, seed: int) -> WorkItem:
    """A request to differentiate."""
    image = Image(tensor=to_tensor(values))
    return WorkItem(gradient=ScoreGradientRequest(image=image, metric="lite", defences=wire(chain), seed=seed))


def purified_values(response: Any) -> Floats:
    """The purified image of an answer."""
    return np.asarray(from_tensor(response.purified_image.tensor), np.float32)


def eagerly(defence: EagerDefence, image: Floats, chain: str, seed: int = SEED) -> Floats:
    """g(x) by the modules, (H', W', 3)."""
    (step,) = parse_chain(chain)
    with torch.no_grad():
        purified: Tensor = defence.purify(torch.from_numpy(planes(image)), seed, **dict(step.parameters))
    values: Floats = purified[0].permute(1, 2, 0).numpy()
    return values
