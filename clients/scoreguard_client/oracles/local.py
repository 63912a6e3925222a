"""A local oracle: the TorchScript graphs of an archive, run and differentiated in this process.

It serves as the surrogate of gradient attacks. The graphs are those that the server runs for gradients, so an archive
of the deployed metric gives its exact gradient, and an archive of another metric a transfer attack.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scoreguard.chain.execution import graphs_of, is_random, run_step
from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.rounding import Rounding, pass_cubic, rounds
from scoreguard.chain.size_limits import check_fits, check_readable
from scoreguard.v1.archive import MANIFEST_NAME, Archive, archives_in, find_archive
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_BPDA_IDENTITY, ArchiveManifest, DefenceArtifact, GraphFiles
from scoreguard.v1.spec import Step
from scoreguard_client._extras import require_torch
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.drawing import Drawing
from scoreguard_client.oracles.errors import SurrogateError
from scoreguard_client.oracles.seeds import Questions, base_seeds, draw_seeds, draws_each

if TYPE_CHECKING:
    import torch


def find_surrogate(path: Path, metric: str) -> Archive:
    """The archive to attack with: a `.mar` file or unpacked archive itself, or the metric's archive in a model store.

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


@dataclass(frozen=True, kw_only=True)
class _Graphs:
    """The graphs of a chain as an engine, on tensors."""

    torch: Any
    loaded: dict[str, torch.jit.ScriptModule]
    checkpoint: bool

    def run(self, graphs: GraphFiles, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Run one graph; the inputs come in its order."""
        graph = self.loaded[graphs.torchscript]
        if not (self.checkpoint and self.torch.is_grad_enabled()):
            return _run(graph, *inputs.values())
        from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

        # Stopping early raises an exception through the graph, which TorchScript's interpreter turns into its own.
        with set_checkpoint_early_stop(enable=False):
            result: torch.Tensor = checkpoint(_run, graph, *inputs.values(), use_reentrant=False)
        return result

    def array(self, values: npt.NDArray[np.float32]) -> torch.Tensor:
        """A tensor of numpy's values."""
        tensor: torch.Tensor = self.torch.from_numpy(values)
        return tensor

    def join(self, parts: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
        """Concatenation."""
        joined: torch.Tensor = self.torch.cat(list(parts), dim=axis)
        return joined


class LocalOracle(Drawing):
    """f(g(x)) and its gradient, from an archive.

    Defences marked BPDA pass the gradient as if they were the identity (Athalye et al., ICML 2018). Random defences are
    drawn anew for each call; with `draws` above 1 scores and gradients are means over draws, the expectation over
    transformation of the same paper. All draws follow from `seed`.

    Images are run one at a time: torch's kernels round otherwise in a larger batch, and an answer must not depend
    on its batch. On CPU cores it costs nothing: a batch of four photographs is no faster.
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
    ) -> None:
        """Load and check the graphs.

        Args:
            archive: where the graphs are; every digest is confirmed.
            chain: the defences before the metric.
            seed: where the draws of random defences start, one for all pictures or one for each.
            draws: draws per call, at least 1; deterministic chains take one.
            threads: threads of torch in this process; None leaves them as they are.
            checkpoint: whether the backward pass runs each step of the chain again instead of keeping what is inside:
                the same gradient, in the memory of one step (for long or large purifiers), for one more forward pass.
            rounding: the derivative that the rounding of `jpeg` and `quantise` takes; scores do not depend on it.

        Raises:
            MissingExtraError: torch is not installed.
            IntegrityError: the archive cannot be read, or a file was changed.
            SurrogateError: the archive lacks a defence of the chain.
            ParameterError: a parameter of the chain is unknown or out of range.
        """
        self._torch = require_torch("a local surrogate")
        if threads is not None:
            self._torch.set_num_threads(threads)
        self._steps = tuple(
            resolve_step(step.to_message(), _defence(archive, step.name), index) for index, step in enumerate(chain)
        )
        self._metric, self._metric_facts = archive.manifest.metric.graphs, archive.manifest.metric.facts
        paths = [self._metric.torchscript, *(graphs.torchscript for step in self._steps for graphs in graphs_of(step))]
        self._engine = _Graphs(torch=self._torch, loaded=_load(self._torch, archive, paths), checkpoint=checkpoint)
        random = any(is_random(step) for step in self._steps)
        calls = draws if random else 1
        self._draws = calls
        self._seed, self._questions = seed, Questions()
        self._rounding = rounding
        self._last_calls = np.zeros(0, dtype=np.int64)
        steps = tuple(step.step for step in self._steps)
        facts = facts_of(archive.manifest)
        self._facts = replace(facts, chain=steps, calls_per_question=calls, random=random)

    def with_seed(self, seed: int | Sequence[int]) -> LocalOracle:
        """The same graphs with draws that start from another seed, or from one for each picture."""
        twin = copy.copy(self)
        twin._seed, twin._questions = seed, Questions()
        return twin

    def with_rounding(self, rounding: Rounding) -> LocalOracle:
        """The same graphs and draws with another derivative of rounding."""
        twin = copy.copy(self)
        twin._rounding = rounding
        return twin

    def score(self, images: Images) -> Scores:
        """Scores (N,) of pictures (N, 3, H, W); raises as `gradient` does."""
        with self._torch.no_grad(), self._steady():
            return np.array([self._score_one(*asked) for asked in self._drawn(images)], dtype=np.float64)

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Scores (N,) and d score / d picture (N, 3, H, W).

        Raises:
            TooSmallError: a stage reads no pictures as small as they are there.
            ParameterError: a length among the parameters of a step is larger than the pictures are there.
            SurrogateError: a graph fails, or no gradient can pass a step.
        """
        with self._steady():
            answers = [self._gradient_one(*asked) for asked in self._drawn(images)]
        scores = np.array([score for score, _ in answers], dtype=np.float64)
        return scores, np.concatenate([gradient for _, gradient in answers])

    def _score_one(self, image: torch.Tensor, seeds: Sequence[int]) -> float:
        scores = self._torch.cat([self._forward(image, [seed]) for seed in seeds])
        return float(scores.double().mean())

    def _gradient_one(self, image: torch.Tensor, seeds: Sequence[int]) -> tuple[float, Gradients]:
        picture = image.clone().requires_grad_()
        total, gradient = self._torch.zeros(1, dtype=self._torch.float64), self._torch.zeros_like(picture)
        for seed in seeds:
            score = self._forward(picture, [seed])
            # The gradients of the weights, which `backward` would compute too, are not asked for.
            mean = score.sum() / len(seeds)
            gradient += self._torch.autograd.grad(mean, picture, allow_unused=True, materialize_grads=True)[0]
            total += score.detach().double()
        return float(total / len(seeds)), gradient.detach().numpy()

    def _steady(self) -> AbstractContextManager[None]:
        # The optimising executor rewrites a graph after its first run, which changes the last bits: a resumed campaign
        # would differ from one that was never stopped. It gains nothing here: the time is in the convolutions.
        steady: AbstractContextManager[None] = self._torch.jit.optimized_execution(False)
        return steady

    def _drawn(self, images: Images) -> list[tuple[torch.Tensor, list[int]]]:
        """Each image, (1, 3, H, W), with the seeds of its draws."""
        question = self._questions.next()
        bases, draws = base_seeds(self._seed, len(images)), draws_each(self._draws, len(images))
        self._last_calls = np.array(draws, dtype=np.int64)
        seeds = [draw_seeds(base, question, number) for base, number in zip(bases, draws, strict=True)]
        return list(zip(self._torch.from_numpy(images).split(1), seeds, strict=True))

    def _forward(self, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        for index, step in enumerate(self._steps):
            check_fits(step, images.shape[-2:], index)
            images = self._purify(step, images, seeds, index)
        check_readable(self._metric_facts, images.shape[-2:])
        score: torch.Tensor = self._engine.run(self._metric, {"image": images})
        return score

    def _purify(self, step: ResolvedStep, images: torch.Tensor, seeds: Sequence[int], index: int) -> torch.Tensor:
        bpda = step.facts.differentiability == DIFFERENTIABILITY_BPDA_IDENTITY
        cubic = self._rounding is Rounding.CUBIC and rounds(step.step)
        with self._torch.set_grad_enabled(self._torch.is_grad_enabled() and not (bpda or cubic)):
            purified: torch.Tensor = run_step(self._engine, images, step, seeds, index)
        if cubic:
            soft: torch.Tensor = pass_cubic(self._torch, step.step, images, purified)
            return soft
        if not bpda:
            return purified
        if purified.shape != images.shape:
            name = step.facts.name
            raise SurrogateError(f"defence {name!r} changes the picture's size, so no gradient can pass it as identity")
        straight: torch.Tensor = _pass_straight(self._torch, images, purified)
        return straight


def _load(torch: Any, archive: Archive, paths: Iterable[str]) -> dict[str, torch.jit.ScriptModule]:
    loaded = {}
    for path in dict.fromkeys(paths):
        loaded[path] = torch.jit.load(io.BytesIO(archive.read(path)), map_location="cpu")
        loaded[path].eval()
    return loaded


def facts_of(manifest: ArchiveManifest) -> OracleFacts:
    """Range and direction of the metric in an archive."""
    facts = manifest.metric.facts
    return OracleFacts(
        metric=facts.name,
        range_low=facts.range_low,
        range_high=facts.range_high,
        higher_is_better=facts.higher_is_better,
    )


def _defence(archive: Archive, name: str) -> DefenceArtifact:
    for artifact in archive.manifest.defences:
        if artifact.facts.name == name:
            return artifact
    names = ", ".join(artifact.facts.name for artifact in archive.manifest.defences) or "none"
    raise SurrogateError(f"{archive.path}: no defence {name!r} in this archive; there are {names}")


def _run(graph: torch.jit.ScriptModule, *inputs: torch.Tensor) -> torch.Tensor:
    try:
        result: torch.Tensor = graph(*inputs)
    except RuntimeError as error:
        # torch wraps a whole stack of the graph's code around the cause, which comes last.
        cause = str(error).strip().splitlines()[-1]
        raise SurrogateError(
            f"the surrogate cannot read a picture of shape {tuple(inputs[0].shape)}: {cause}"
        ) from error
    return result


def _pass_straight(module: Any, images: torch.Tensor, purified: torch.Tensor) -> torch.Tensor:
    class Identity(module.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, images: torch.Tensor, purified: torch.Tensor) -> torch.Tensor:
            del ctx, images
            return purified.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            del ctx
            return gradient, None

    result: torch.Tensor = Identity.apply(images, purified)
    return result
