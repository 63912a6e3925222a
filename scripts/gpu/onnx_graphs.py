"""Section `onnx`: the same graphs on ONNX Runtime's provider for the device, if it is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from study_speeds import SIDE
from torch import Tensor

from gpu.part import SKIPPED
from gpu.speeds import BATCHES, QUICK_BATCHES
from gpu.subjects import (
    QUICK,
    DefenceSubject,
    MetricSubject,
    defence_names,
    defence_subject,
    made_images,
    metric_subjects,
    seeds_for,
)
from gpu.timing import measured
from gpu.work import Work
from scoreguard.chain.devices import CPU, CUDA
from scoreguard.chain.execution import INEXACT_OPTIMISERS, is_diffusion
from scoreguard.chain.onnx_devices import CPU_PROVIDER, CUDA_PROVIDER, cuda_providers
from scoreguard.chain.randomness import draw
from scoreguard.v1.archive import Archive

_PROVIDERS: Final = {CPU: CPU_PROVIDER, CUDA: CUDA_PROVIDER}
_FATAL: Final = 4
Inputs = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph in a session on one provider."""

    session: Any
    kind: str
    """Kind of device, by ONNX Runtime's name: "cpu", "cuda"."""
    index: int

    @classmethod
    def load(cls, model: bytes, provider: str, kind: str, index: int) -> Graph:
        """Load a graph; what the provider lacks runs on the CPU.

        Raises:
            RuntimeError: the provider does not start, so everything would run on the CPU.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        providers = cuda_providers(index) if kind == CUDA else [provider]
        session = onnxruntime.InferenceSession(
            model, options, providers=providers, disabled_optimizers=INEXACT_OPTIMISERS
        )
        if session.get_providers()[0] != provider:
            raise RuntimeError(f"{provider} did not start; its libraries of CUDA and cuDNN were not found")
        return cls(session=session, kind=kind, index=index)

    def bound(self, inputs: Inputs) -> Callable[[], Any]:
        """Return a run on inputs that already lie on the device; it returns the binding, whose output stays there."""
        binding = self.session.io_binding()
        for each in self.session.get_inputs():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(inputs[each.name], self.kind, self.index)
            binding.bind_ortvalue_input(each.name, value)
        binding.bind_output(self.session.get_outputs()[0].name, self.kind, self.index)

        def run() -> Any:
            self.session.run_with_iobinding(binding)
            return binding

        return run


def measure(work: Work) -> None:
    """Compare with TorchScript on the CPU, and time."""
    provider = _PROVIDERS.get(work.device.kind, "")
    if provider not in onnxruntime.get_available_providers():
        work.part.status = SKIPPED
        work.part.reason = f"onnxruntime {onnxruntime.__version__} has no provider for {work.device.kind}"
        work.save()
        return
    if work.device.kind == CUDA and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # the libraries of CUDA and cuDNN that torch's wheels brought
    cpu = torch.device(CPU)
    metrics = {subject.name: subject for subject in metric_subjects(work.store, cpu)}
    for name in work.each(metrics):
        with work.item(name):
            _measure_metric(work, provider, metrics[name])
    names = [name for name in defence_names(work.store) if not work.quick or name in QUICK]
    for name in work.each(names):
        with work.item(name):
            _measure_defence(work, provider, defence_subject(work.store, name, cpu))


def _measure_metric(work: Work, provider: str, subject: MetricSubject) -> None:
    path = subject.artifact.graphs.onnx
    _measure_graph(work, provider, subject, subject.archive, path, lambda images: {"image": images.numpy()})


def _measure_defence(work: Work, provider: str, subject: DefenceSubject) -> None:
    step = subject.step
    if is_diffusion(step):
        work.note(f"{subject.name} is a loop around its denoiser and was not run here")
        return

    def inputs(images: Tensor) -> Inputs:
        drawn = draw(step.facts.random_inputs, tuple(images.shape), seeds_for(images), 0)
        random = {spec.name: numbers for spec, numbers in zip(step.facts.random_inputs, drawn, strict=True)}
        values = {name: np.asarray(value, np.float32) for name, value in step.values}
        return {"image": images.numpy(), **values, **random}

    _measure_graph(work, provider, subject, subject.archive, step.variant.graphs.onnx, inputs)


def _measure_graph(
    work: Work,
    provider: str,
    subject: MetricSubject | DefenceSubject,
    archive: Archive,
    path: str,
    inputs: Callable[[Tensor], Inputs],
) -> None:
    graph = Graph.load(archive.read(path), provider, work.device.kind, work.device.index)
    batches = QUICK_BATCHES if work.quick else BATCHES
    images = made_images(batches[-1], SIDE, SIDE)
    with torch.no_grad():
        expected = subject.run(images).numpy()
    found = graph.bound(inputs(images))().copy_outputs_to_cpu()[0].reshape(expected.shape)
    largest = float(np.abs(found.astype(np.float64) - expected).max())
    for batch in batches:
        run = graph.bound(inputs(images[:batch]))
        speed = measured(run, batch, work.device.torch, seconds=max(work.left, 0) / 10, quick=work.quick)
        work.add(
            {
                "name": subject.name,
                "batch": batch,
                **asdict(speed),
                "provider": provider,
                "largest": largest,
                "tolerance": subject.tolerance,
            }
        )
