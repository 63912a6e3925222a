"""Check an archive again after its build: its content, its facts, parity of every graph, and the golden vectors.

The archive determines what is checked, and contains everything needed: sizes, parameters, tolerances, golden images.
The weights may no longer be available, so the TorchScript form of a graph takes the place of its module: the ONNX form
must agree with it, and it must give the golden scores.

Checks are stricter for exports of this catalogue's own code: the facts must be the catalogue's, and a defence without
weights is rebuilt and compared with both its graphs. Exports of other code (another version, a plug-in that is not
installed) are listed, because their facts are not checked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from scoreguard.chain.devices import THE_CPU, Device
from scoreguard.v1.archive import Archive, archives_in, check_nothing_else
from scoreguard.v1.errors import ContractError, EngineError
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceVariant, GoldenVector, GraphFiles, MetricArtifact
from scoreguard_export.archive.device_parity import DeviceParity, check_on_device
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.archive.fingerprint import code_digest
from scoreguard_export.archive.golden import golden_image, golden_vectors, is_golden_image
from scoreguard_export.archive.half_precision import HalfMeasured, check_half
from scoreguard_export.archive.manifest_facts import (
    compare_defence,
    compare_metric,
    defence_facts,
    finish_facts,
    metric_facts,
)
from scoreguard_export.archive.parity import LOADING, check_parity
from scoreguard_export.archive.scripted import ScriptedDefence, ScriptedMetric, load_script, scripted_parts
from scoreguard_export.clip_graphs import FrameGraph, PoolGraph
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.errors import ArchiveError, ExportError, ParityError, one_line
from scoreguard_export.exporters.signature import describe
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import known


@dataclass(frozen=True, kw_only=True)
class Verified:
    """An archive that passed verification."""

    metric: str
    path: Path
    files: int
    """Number of files whose digest was confirmed."""
    graphs: int
    """Number of modules whose two graphs were compared."""
    largest_error: float
    """Largest difference found, in the units of its module."""
    not_compared: tuple[str, ...]
    """The metric and defences exported by other code than this catalogue's; their facts come from the manifest."""
    on_device: tuple[DeviceParity, ...] = ()
    """Comparisons of the graphs on the device with the CPU; none if the device is the CPU."""
    half: tuple[HalfMeasured, ...] = ()
    """The graphs that declare mixed half precision, measured again on the device."""


def verify_store(
    model_store: Path, progress: Callable[[str], None] = lambda label: None, device: Device = THE_CPU
) -> list[Verified]:
    """Check every archive of a model store, and that plain TorchServe would load nothing else.

    Args:
        model_store: The folder of the archives.
        progress: Called with the name of each module that passed.
        device: Where the graphs are compared with the CPU once more, and where half precision is measured.

    Raises:
        IntegrityError: a file was changed, is missing or was added.
        ParityError: a graph differs from its module, or on the device from the CPU.
        PrecisionError: half precision changes more than the manifest declares.
        EngineError: the device cannot run a graph.
        ArchiveError: a fact differs from the catalogue's, a file is not a graph, or a golden score is not reproduced.
    """
    archives = archives_in(model_store)
    check_nothing_else(model_store)
    return [verify_archive(archive, progress, device) for archive in archives]


def verify_archive(
    archive: Archive, progress: Callable[[str], None] = lambda label: None, device: Device = THE_CPU
) -> Verified:
    """Check one archive; raises as `verify_store` does."""
    archive.verify()
    archive.verify_torchserve_files()
    metric = _metric(archive)
    defences = [_eager(archive, artifact) for artifact in archive.manifest.defences]
    _check_golden(archive, metric, defences)
    _check_clip_of_one(archive, metric)
    errors: list[float] = []
    on_device: list[DeviceParity] = []
    half: list[HalfMeasured] = []
    for module, graphs in _modules(archive, metric, defences):
        errors.append(_parity(archive, module, graphs))
        script = archive.read(graphs.torchscript)
        if not device.is_cpu:
            on_device += check_on_device(module, script, archive.read(graphs.onnx), device)
        if graphs.HasField("half"):
            half.append(check_half(module, script, graphs.half, device))
        progress(describe(module))
    foreign = [archive.name] if _same_metric(archive.manifest.metric) is None else []
    foreign += [defence.name for defence in defences if _same_defence(defence.artifact) is None]
    return Verified(
        metric=archive.name,
        path=archive.path,
        files=len(archive.manifest.files),
        graphs=len(errors),
        largest_error=max(errors),
        not_compared=tuple(foreign),
        on_device=tuple(on_device),
        half=tuple(half),
    )


def _modules(
    archive: Archive, metric: Metric, defences: Sequence[EagerDefence]
) -> Iterator[tuple[GraphModule, GraphFiles]]:
    yield metric, archive.manifest.metric.graphs
    yield from _clip_parts(archive)
    seen: set[str] = set()
    for defence in defences:
        for graphs in _graphs(defence.artifact):
            if graphs.torchscript not in seen:
                yield defence.modules[graphs.torchscript], graphs
            seen.add(graphs.torchscript)


def _graphs(artifact: DefenceArtifact) -> Iterator[GraphFiles]:
    for variant in artifact.variants:
        yield variant.graphs
        if variant.HasField("finish"):
            yield variant.finish


def _metric(archive: Archive) -> Metric:
    artifact = archive.manifest.metric
    if (kind := _same_metric(artifact)) is not None:
        facts = kind.facts.of_variant(artifact.facts.variant) if artifact.facts.variant else kind.facts
        compare_metric(artifact.facts, facts, archive.path)
    else:
        facts = metric_facts(artifact, archive.path)
    return ScriptedMetric(load_script(archive, artifact.graphs.torchscript), facts).eval()


def _clip_parts(archive: Archive) -> Iterator[tuple[FrameGraph | PoolGraph, GraphFiles]]:
    return scripted_parts(archive.manifest.metric, archive.path, lambda name: load_script(archive, name))


def _check_clip_of_one(archive: Archive, metric: Metric) -> None:
    """Reject graphs of frames and clips that do not give what the metric itself gives for an image."""
    parts = [part for part, _ in _clip_parts(archive)]
    if not parts:
        return
    frame, pool = parts
    image = golden_image(metric.facts.minimum_size).image
    with torch.no_grad():
        scores = [float(score) for score in (metric(image), pool(frame(image)[:, None]))]
    if not abs(scores[0] - scores[1]) <= 2 * metric.facts.parity_tolerance:
        raise ArchiveError(
            f"{archive.path}: the golden image scores {scores[0]:.6g}, as a clip of one {scores[1]:.6g}; build the "
            "archive again"
        )


def _same_metric(artifact: MetricArtifact) -> type[Metric] | None:
    """Return the catalogue's metric if its code exported this one."""
    kind = known(artifact.facts.name.removesuffix(f"-{artifact.facts.variant}"))
    return kind if kind is not None and code_digest(kind) == artifact.code_sha256 else None


def _same_defence(artifact: DefenceArtifact) -> type[Defence] | None:
    """Return the catalogue's defence if its code exported this one."""
    kind = DEFENCES.get(artifact.facts.name)
    return kind if kind is not None and code_digest(kind) == artifact.code_sha256 else None


def _eager(archive: Archive, artifact: DefenceArtifact) -> EagerDefence:
    """Return the modules of a defence: the catalogue's if it has no weights, else the archive's."""
    kind = _same_defence(artifact)
    if kind is not None:
        compare_defence(artifact, kind, archive.path)
    modules: dict[str, Defence] = {}
    for variant in artifact.variants:
        modules[variant.graphs.torchscript] = _graph(archive, artifact, variant, kind)
        if variant.HasField("finish"):
            modules[variant.finish.torchscript] = _finish(archive, artifact, variant, kind)
    return EagerDefence(artifact=artifact, modules=modules)


def _graph(archive: Archive, artifact: DefenceArtifact, variant: DefenceVariant, kind: type[Defence] | None) -> Defence:
    structural = dict(variant.structural)
    if kind is not None and not kind.sources:
        return kind(**structural).eval()
    facts = kind.graph_facts(structural) if kind else defence_facts(artifact, variant, archive.path)
    # The weights of a diffusion are its denoiser's, which has no variants.
    structural = {} if artifact.facts.HasField("diffusion") else structural
    return ScriptedDefence(load_script(archive, variant.graphs.torchscript), facts, structural).eval()


def _finish(
    archive: Archive, artifact: DefenceArtifact, variant: DefenceVariant, kind: type[Defence] | None
) -> Defence:
    if kind is not None and (finish := kind.finish()) is not None:
        return finish
    facts = finish_facts(artifact, variant, archive.path)
    return ScriptedDefence(load_script(archive, variant.finish.torchscript), facts, {}).eval()


def _parity(archive: Archive, module: GraphModule, graphs: GraphFiles) -> float:
    with tempfile.TemporaryDirectory() as folder:
        torchscript, onnx = Path(folder) / "module.pt", Path(folder) / "module.onnx"
        torchscript.write_bytes(archive.read(graphs.torchscript))
        onnx.write_bytes(archive.read(graphs.onnx))
        try:
            return max(case.max_abs_error for case in check_parity(module, torchscript, onnx))
        except ParityError as error:
            if error.case != LOADING:
                error.args = (f"{archive.path}: {error}",)
                raise
            name = graphs.onnx if error.engine == "onnx" else graphs.torchscript
            raise ArchiveError(
                f"{archive.path}: {name} is no graph that {error.engine} can load: {error.reason}"
            ) from error


def _check_golden(archive: Archive, metric: Metric, defences: Sequence[EagerDefence]) -> None:
    image, path = golden_image(metric.facts.minimum_size), archive.path
    try:
        expected = {vector.defences: vector for vector in golden_vectors(metric, defences, image)}
    except Exception as error:  # torch's errors have no common base class
        if isinstance(error, (ExportError, ContractError)) and not isinstance(error, EngineError):
            raise
        raise ArchiveError(f"{path}: the golden image cannot be scored: {one_line(str(error))}") from error
    found = {vector.defences: vector for vector in archive.manifest.golden_vectors}
    if missing := sorted(expected.keys() - found.keys()):
        raise ArchiveError(f"{path}: the golden score behind {_behind(missing[0])} is missing; build the archive again")
    for name, vector in found.items():
        if name not in expected or not is_golden_image(archive.read(vector.image), image):
            raise ArchiveError(f"{path}: the golden score behind {_behind(name)} is none of ours; build it again")
        _compare_golden(vector, expected[name], path)


def _compare_golden(found: GoldenVector, expected: GoldenVector, path: Path) -> None:
    what = f"{path}: the golden image behind {_behind(found.defences)}"
    if found.seed != expected.seed or found.tolerance > expected.tolerance * (1.0 + 1e-9):
        raise ArchiveError(
            f"{what} may be off by {found.tolerance:g} with seed {found.seed}, an export allows "
            f"{expected.tolerance:g} with {expected.seed}; build the archive again"
        )
    if not abs(expected.score - found.score) <= expected.tolerance:
        raise ArchiveError(f"{what} scores {expected.score:.6g}, not {found.score:.6g}; build the archive again")


def _behind(chain: str) -> str:
    return chain or "no defence"
