"""A local oracle: the TorchScript graphs of an archive, run and differentiated in this process.

It serves as the surrogate of gradient attacks. The graphs are those that the server runs for gradients, so an archive
of the deployed metric gives its exact gradient, and an archive of another metric a transfer attack.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
import numpy.typing as npt

from scoreguard.chain.devices import CPU, Device, find_device
from scoreguard.chain.execution import graphs_of
from scoreguard.chain.numerics import DEFAULT, FP32, Numerics, unrepeatable
from scoreguard.chain.randomness import is_random
from scoreguard.chain.resolve import resolve_step
from scoreguard.chain.rounding import Rounding
from scoreguard.score_range import ScoreRange
from scoreguard.v1.archive import MANIFEST_NAME, Archive, archives_in, find_archive
from scoreguard.v1.errors import EngineError
from scoreguard.v1.manifest_pb2 import ArchiveManifest, DefenceArtifact
from scoreguard.v1.spec import Step
from scoreguard_client._extras import require_torch
from scoreguard_client.oracles.arrays import is_host, on_host
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.drawing import Drawing
from scoreguard_client.oracles.errors import SurrogateError
from scoreguard_client.oracles.seeds import Questions, base_seeds, draw_seeds, draws_each

if TYPE_CHECKING:
    import torch

MOST_ROWS: Final = 16
"""Rows of a batch on a device, unless the caller gives another number."""


def find_surrogate(path: Path, metric: str) -> Archive:
    """Find the archive to attack with: a `.mar` file, an unpacked archive, or the metric's archive in a model store.

    Raises:
        SurrogateError: the model store has no archive of the metric.
        IntegrityError: there is no archive.
    """
    if path.is_file() or (path / MANIFEST_NAME).is_file():
        return Archive(path)
    archives = archives_in(path)
    archive = find_archive(archives, metric)
    if archive is None:
        names = ", ".join(found.name for found in archives)
        raise SurrogateError(f"{path}: no archive of metric {metric!r}; there are {names}")
    return archive


class LocalOracle(Drawing):
    """f(g(x)) and its gradient, from an archive.

    Defences marked BPDA pass the gradient as if they were the identity (Athalye et al., ICML 2018). Random defences are
    drawn anew for each call; with `draws` above 1 scores and gradients are means over draws, the expectation over
    transformation of the same paper. All draws follow from `seed`.

    On the CPU images run one at a time, because torch's kernels round differently in a larger batch and an answer must
    not depend on its batch. On CPU cores this costs nothing: a batch of four photographs is no faster. On another
    device every draw of every image is a row of a batch, and the last bits of an answer may depend on it.

    A query may be a NumPy array, or a torch tensor on the oracle's device. A tensor's answers are tensors there
    (scores float64, gradients float32), and nothing comes back to the host in between.
    """

    def __init__(
        self,
        archive: Archive,
        chain: Sequence[Step] = (),
        *,
        seed: int | Sequence[int] = 0,
        draws: int = 1,
        threads: int | None = None,
        checkpoint: bool = False,
        rounding: Rounding = Rounding.STRAIGHT_THROUGH,
        device: str = CPU,
        numerics: Numerics | None = None,
        batch: int | None = None,
        half_gradients: bool = False,
    ) -> None:
        """Load and check the graphs.

        Args:
            archive: source of the graphs; every digest is verified.
            chain: the defences before the metric.
            seed: of random defences, one for all images or one for each.
            draws: draws per call, at least 1; deterministic chains take one.
            threads: threads of torch in this process; None = unchanged.
            checkpoint: whether the backward pass reruns each step of the chain instead of keeping its activations: the
                same gradient in the memory of one step (for long or large purifiers), at the cost of one forward pass.
            rounding: the derivative to use for the rounding in `jpeg` and `quantise`; scores do not depend on it.
            device: the device for the graphs: auto, cpu, cuda, cuda:N, or another name of torch.
            numerics: how the device computes; None = repeatably, in full single precision.
            batch: rows (draws of images) that run at once; None = 1 on the CPU, at most 16 on another device. It is
                halved when the device's memory does not suffice.
            half_gradients: whether gradients may be computed in half precision, which rounds small ones to zero.

        Raises:
            MissingExtraError: torch is not installed.
            IntegrityError: the archive cannot be read, or a file was changed.
            EngineError: a file is not a graph, or the device cannot be used.
            SurrogateError: the archive lacks a defence of the chain.
            ParameterError: a parameter of the chain is unknown or out of range.
        """
        self._torch = require_torch("a local surrogate")
        from scoreguard.chain.torchscript import DifferentiableChain, TorchEngine, archive_graphs
        from scoreguard_client.oracles.batches import Batches

        if threads is not None:
            self._torch.set_num_threads(threads)
        steps = tuple(
            resolve_step(step.to_message(), _defence(archive, step.name), index) for index, step in enumerate(chain)
        )
        found, metric = find_device(device), archive.manifest.metric
        graphs = archive_graphs(archive, found.torch)
        for files in (metric.graphs, *(files for step in steps for files in graphs_of(step))):
            graphs[files.torchscript]  # loaded now, so that a changed file is found before any query
        numerics = numerics or DEFAULT
        engine = TorchEngine(modules=graphs, device=found.torch, checkpoint=checkpoint, numerics=numerics)
        self._chain = DifferentiableChain(engine=engine, metric=metric, steps=steps, rounding=rounding)
        self._device = found
        self._refuses_gradients = numerics.precision != FP32 and not half_gradients
        most = batch or (1 if found.is_cpu else MOST_ROWS)
        self._batches = None if found.is_cpu and most == 1 else Batches(most)
        self._watch = Watch(useful=numerics.deterministic and not found.is_cpu)
        random = any(is_random(step.facts) for step in steps)
        calls = draws if random else 1
        self._draws = calls
        self._seed, self._questions = seed, Questions()
        self._last_calls = np.zeros(0, dtype=np.int64)
        facts = facts_of(archive.manifest)
        self._facts = replace(facts, chain=tuple(step.step for step in steps), calls_per_question=calls, random=random)

    @property
    def device(self) -> Device:
        """The device of the graphs."""
        return self._device

    @property
    def unrepeatable(self) -> tuple[str, ...]:
        """Operations that ran without a deterministic kernel, in the first gradient and in attacks; none on the CPU."""
        return self._watch.names

    def with_seed(self, seed: int | Sequence[int]) -> LocalOracle:
        """Return the same graphs with draws from another seed, or from one for each image."""
        twin = copy.copy(self)
        twin._seed, twin._questions = seed, Questions()
        return twin

    def with_rounding(self, rounding: Rounding) -> LocalOracle:
        """Return the same graphs and draws with another derivative of rounding."""
        twin = copy.copy(self)
        twin._chain = replace(self._chain, rounding=rounding)
        return twin

    def to_device(self, values: npt.NDArray[Any]) -> Any:
        """Copy an array to the oracle's device; on the CPU the array itself, since NumPy arrays are there."""
        return values if self._device.is_cpu else self._chain.engine.array(values)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Compute within the block as the graphs do, in full single precision, and name what does not repeat.

        Another thread that wants other settings of torch waits meanwhile.

        Raises:
            SurrogateError: the block's own arrays do not fit into the device's memory.
        """
        if self._device.is_cpu:
            yield
            return
        engine = self._chain.engine
        try:
            with replace(engine.numerics, precision=FP32).applied(engine.device), self._watch.all():
                yield
        except self._torch.OutOfMemoryError as error:
            advice = "attack fewer or smaller images at once (--batch)"
            raise SurrogateError(
                f"{self._device.name} has no memory left for the attack's own arrays: {advice}"
            ) from error

    @overload
    def score(self, images: Images) -> Scores: ...
    @overload
    def score(self, images: torch.Tensor) -> torch.Tensor: ...
    def score(self, images: Any) -> Any:
        """Compute scores (N,) of images (N, 3, H, W); raises as `gradient` does."""
        with self._torch.no_grad(), _as_surrogate_errors():
            if self._batches is not None:
                scores = self._batches.score(self._chain, self._tensor(images), self._seeds(images))
                return self._like(images, scores)
            answers = [self._score_one(*asked) for asked in self._drawn(on_host(images))]
            return self._like(images, self._torch.tensor(answers, dtype=self._torch.float64))

    @overload
    def gradient(self, images: Images) -> tuple[Scores, Gradients]: ...
    @overload
    def gradient(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...
    def gradient(self, images: Any) -> Any:
        """Compute scores (N,) and d score / d image (N, 3, H, W).

        Raises:
            TooSmallError: a stage does not accept images as small as it receives.
            ParameterError: a length among the parameters of a step is larger than the images that it receives.
            SurrogateError: a graph fails, no gradient can pass a step, one image does not fit into the device's memory,
                or gradients in half precision are not allowed.
        """
        if self._refuses_gradients:
            raise SurrogateError(
                "half precision rounds small gradients to zero: compute them in fp32, or allow it by "
                "half_gradients=True (--half-gradients)"
            )
        with _as_surrogate_errors(), self._watch.first():
            scores, gradients = self._gradients(images)
        return self._like(images, scores), self._like(images, gradients)

    def _gradients(self, images: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if self._batches is not None:
            return self._batches.gradient(self._chain, self._tensor(images), self._seeds(images))
        answers = [self._gradient_one(*asked) for asked in self._drawn(on_host(images))]
        scores, gradients = zip(*answers, strict=True)
        return self._torch.tensor(scores, dtype=self._torch.float64), self._torch.cat(gradients)

    def _score_one(self, image: torch.Tensor, seeds: Sequence[int]) -> float:
        scores = self._torch.cat([self._chain.score(image, [seed]) for seed in seeds])
        return float(scores.double().mean())

    def _gradient_one(self, image: torch.Tensor, seeds: Sequence[int]) -> tuple[float, torch.Tensor]:
        total, gradient = self._torch.zeros(1, dtype=self._torch.float64), self._torch.zeros_like(image)
        for seed in seeds:
            score, term = self._chain.gradient(image, [seed], draws=len(seeds))
            gradient += term
            total += score.double()
        return float(total / len(seeds)), gradient

    def _drawn(self, images: Images) -> Iterator[tuple[torch.Tensor, list[int]]]:
        """Yield each image, (1, 3, H, W), with the seeds of its draws."""
        for index, seeds in enumerate(self._seeds(images)):
            # A copy has the memory layout that the image would have alone.
            yield self._chain.engine.array(images[index : index + 1].copy()), seeds

    def _seeds(self, images: Any) -> list[list[int]]:
        """Return the seeds of every image's draws, and count the calls."""
        question = self._questions.next()
        bases, draws = base_seeds(self._seed, len(images)), draws_each(self._draws, len(images))
        self._last_calls = np.array(draws, dtype=np.int64)
        return [draw_seeds(base, question, number) for base, number in zip(bases, draws, strict=True)]

    def _tensor(self, images: Any) -> torch.Tensor:
        tensor: torch.Tensor = self._chain.engine.array(images) if is_host(images) else images
        return tensor

    def _like(self, images: Any, answer: torch.Tensor) -> Any:
        """Return an answer as an array of the question's kind."""
        return answer.cpu().numpy() if is_host(images) else answer


class Watch:
    """Names the operations that ran without a deterministic kernel; the copies of an oracle share it."""

    def __init__(self, *, useful: bool) -> None:
        self.names: tuple[str, ...] = ()
        """The names so far, in alphabetical order."""
        self._useful, self._first = useful, True

    @contextmanager
    def first(self) -> Iterator[None]:
        """Collect the names within the block, if it is the first such block."""
        if not self._first:
            yield
            return
        with self.all():
            yield
        self._first = False

    @contextmanager
    def all(self) -> Iterator[None]:
        """Collect the names within the block."""
        if not self._useful:
            yield
            return
        with unrepeatable() as names:
            yield
        self.names = tuple(sorted({*self.names, *names}))


@contextmanager
def _as_surrogate_errors() -> Iterator[None]:
    """Report a graph that fails, or that no gradient can pass, as a SurrogateError."""
    try:
        yield
    except EngineError as error:
        raise SurrogateError(f"the surrogate cannot answer: {error}") from error


def facts_of(manifest: ArchiveManifest) -> OracleFacts:
    """Return range and direction of the metric in an archive."""
    facts = manifest.metric.facts
    return OracleFacts(
        metric=facts.name,
        score_range=ScoreRange.of(facts),
    )


def _defence(archive: Archive, name: str) -> DefenceArtifact:
    for artifact in archive.manifest.defences:
        if artifact.facts.name == name:
            return artifact
    names = ", ".join(artifact.facts.name for artifact in archive.manifest.defences) or "none"
    raise SurrogateError(f"{archive.path}: no defence {name!r} in this archive; there are {names}")
