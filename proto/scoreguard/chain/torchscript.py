"""A chain of TorchScript graphs, and its gradient: the same on the server, in the client and at build time.

torch is imported here and in `bpda`, nowhere else in this package, so code that needs no gradient never loads it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from scoreguard.chain.bpda import pass_cubic, pass_identity
from scoreguard.chain.devices import CUDA
from scoreguard.chain.execution import run_step
from scoreguard.chain.graph_cache import GraphCache
from scoreguard.chain.graph_devices import move_graph
from scoreguard.chain.numerics import DEFAULT, FP32, Numerics
from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.rounding import Rounding, rounds
from scoreguard.chain.size_limits import check_fits, check_readable
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import DeviceMemoryError, EngineError, NoGradientError
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_BPDA_IDENTITY, GraphFiles, MetricArtifact

CPU: Final = torch.device("cpu")
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
Floats = npt.NDArray[np.float32]


class Modules(Protocol):
    """Modules by the path of the TorchScript file: the file's graph, or a module that takes the same inputs."""

    def __getitem__(self, path: str, /) -> Callable[..., Tensor]:
        """Return the module that a file contains, or that was exported to it."""
        ...


@dataclass(frozen=True, kw_only=True)
class TorchEngine:
    """Runs graphs on tensors, which stay on the engine's device; an `execution.Engine`."""

    modules: Modules
    """The graphs, on the same device."""
    device: torch.device = CPU
    """The device on which tensors are created."""
    checkpoint: bool = False
    """Whether a backward pass runs each graph again instead of keeping its activations: the same gradient, in the
    memory of one graph, for one more forward pass."""
    numerics: Numerics = DEFAULT
    """How the device computes; half precision only in graphs whose manifest declares it."""

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor]) -> Tensor:
        """Run one graph; the inputs are in its order.

        Raises:
            IntegrityError: its file does not match the manifest.
            EngineError: it cannot be loaded, or fails on these inputs.
            DeviceMemoryError: the device's memory does not suffice.
        """
        call = partial(_run, graphs.torchscript, self.modules[graphs.torchscript], self._numerics(graphs))
        if not (self.checkpoint and torch.is_grad_enabled()):
            return call(*inputs.values())
        # Stopping early raises an exception through the graph, which TorchScript's interpreter turns into its own.
        with set_checkpoint_early_stop(enable=False):
            result: Tensor = checkpoint(call, *inputs.values(), use_reentrant=False)
        return result

    def _numerics(self, graphs: GraphFiles) -> Numerics:
        return self.numerics if graphs.HasField("half") else replace(self.numerics, precision=FP32)

    def array(self, values: Floats) -> Tensor:
        """Return a tensor with the values of a NumPy array; on the CPU they share memory."""
        return upload(values, self.device)

    def join(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenate tensors."""
        return torch.cat(list(parts), dim=axis)


@dataclass(frozen=True, kw_only=True)
class DifferentiableChain:
    """f(g(x)) and its gradient: defences, then the metric."""

    engine: TorchEngine
    """Runs the graphs."""
    metric: MetricArtifact
    """f."""
    steps: Sequence[ResolvedStep] = ()
    """The defences, in order."""
    rounding: Rounding = Rounding.STRAIGHT_THROUGH
    """The derivative to use for the rounding of `jpeg` and `quantise`; scores do not depend on it."""

    def score(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return scores (N,), through which autograd can backpropagate unless it is switched off.

        Args:
            images: (N, 3, H, W) in [0, 1], on the engine's device.
            seeds: one for each image.

        Raises:
            TooSmallError: the images are too small for a stage when they reach it.
            ParameterError: a length among a step's parameters is larger than the images at that step.
            NoGradientError: a gradient is requested and cannot pass a step.
            EngineError: a graph fails.
        """
        with steady():
            for index, step in enumerate(self.steps):
                self.before_step(step, images.shape[2:], index)
                images = self._purify(images, step, seeds, index)
            self.before_metric(images.shape[2:])
            return self.engine.run(self.metric.graphs, {"image": images}).reshape(len(images))

    def gradient(self, images: Tensor, seeds: Sequence[int], *, draws: int = 1) -> tuple[Tensor, Tensor]:
        """Return scores (N,), and d score / d image (N, 3, H, W) divided by `draws`: one term of a mean over draws.

        Raises:
            ContractError: as `score` does.
        """
        leaf = images.detach().requires_grad_()
        # The backward pass needs the same executor settings: checkpointed graphs run again in it.
        with torch.enable_grad(), steady(), self._backward(leaf):
            scores = self.score(leaf, seeds)
            if not scores.requires_grad:  # every graph returned a constant
                return scores, torch.zeros_like(leaf)
            # The images of a batch are independent, so the sum has every image's own derivative. That of the
            # weights, which `backward` would compute too, is not requested.
            mean = scores.sum() / draws
            (gradient,) = torch.autograd.grad(mean, leaf, allow_unused=True, materialize_grads=True)
        return scores.detach(), gradient

    @contextmanager
    def _backward(self, images: Tensor) -> Iterator[None]:
        """Compute as the engine's graphs do, and report memory that does not suffice."""
        numerics = replace(self.engine.numerics, precision=FP32)
        with numerics.applied(images.device), _memory_errors("the gradient", images):
            yield

    def before_step(self, step: ResolvedStep, size: Sequence[int], index: int) -> None:
        """Refuse images of a height and width that a step cannot purify; raises as `check_fits` does."""
        check_fits(step, size, index)

    def before_metric(self, size: Sequence[int]) -> None:
        """Refuse images of a height and width that the metric cannot score; raises as `check_readable` does."""
        check_readable(self.metric.facts, size)

    def _purify(self, images: Tensor, step: ResolvedStep, seeds: Sequence[int], index: int) -> Tensor:
        cubic = self.rounding is Rounding.CUBIC and rounds(step.step)
        bpda = step.facts.differentiability == DIFFERENTIABILITY_BPDA_IDENTITY
        if not (torch.is_grad_enabled() and (cubic or bpda)):
            return run_step(self.engine, images, step, seeds, index)
        with torch.no_grad():
            purified = run_step(self.engine, images, step, seeds, index)
        if cubic:
            return pass_cubic(step.step, images, purified)
        if purified.shape != images.shape:
            raise NoGradientError(str(step.step), step.facts.name)
        return pass_identity(images, purified)


def upload(values: Floats, device: torch.device) -> Tensor:
    """Return a tensor on a device with the values of a NumPy array; on the CPU they share memory.

    A GPU is not waited for: a single number goes along with the command that creates it, and everything else is copied
    from memory that the GPU reads by itself.
    """
    if values.ndim == 0 and device.type != "cpu":
        return torch.full((), float(values), dtype=torch.float32, device=device)
    tensor = torch.from_numpy(values if values.flags.writeable else values.copy())
    if device.type == CUDA:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def steady() -> AbstractContextManager[None]:
    """Switch the optimising executor off: it rewrites a graph after its first run, which changes the last bits.

    Otherwise repeating a call would change its result, and a resumed campaign would differ from an uninterrupted one.
    Speed does not suffer: the time is spent in the convolutions.
    """
    off: AbstractContextManager[None] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return off


def archive_graphs(archive: Archive, device: torch.device = CPU) -> GraphCache[torch.jit.ScriptModule]:
    """The TorchScript graphs of an archive by their paths, loaded to a device on first use."""
    refusal = f"is not TorchScript that torch {torch.__version__} can load"
    return GraphCache(archive, partial(load_graph, device=device), refusal)


def load_graph(source: bytes | Path, device: torch.device = CPU) -> torch.jit.ScriptModule:
    """Load one graph from a file or its bytes, ready to run; torch raises several kinds of errors for anything else."""
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    graph: torch.jit.ScriptModule = torch.jit.load(file, map_location=CPU)  # type: ignore[no-untyped-call]
    return move_graph(graph.eval(), device)


def cause_of(error: Exception) -> str:
    """Return torch's error message as one line, without the graph's stack and the advice that torch adds."""
    text = str(error).strip()
    if "in the TorchScript interpreter" in text:
        text = text.rpartition("Error: ")[2] if "Error: " in text else text.splitlines()[-1]
    return next(iter(text.splitlines()), type(error).__name__)


def _run(path: str, module: Callable[..., Tensor], numerics: Numerics, *inputs: Tensor) -> Tensor:
    image = inputs[0]
    try:
        with numerics.applied(image.device), _memory_errors(path, image):
            return module(*inputs).to(image.dtype)
    except RuntimeError as error:
        shape = tuple(image.shape)
        raise EngineError(path, f"cannot run on an image of shape {shape}: {cause_of(error)}") from error


@contextmanager
def _memory_errors(subject: str, images: Tensor) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # TorchScript turns torch's own class into a general one
        if not (isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY)):
            raise
        raise DeviceMemoryError(str(images.device), subject, tuple(images.shape)) from error
