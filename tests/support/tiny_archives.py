"""Small archives with known answers, built in milliseconds: the server's tests need no trained metric and no torch.

`bright` scores 100 times the mean of the image, `dark` 100 minus that, so every score has a reference that is one
line of numpy; `root` scores the root of the mean above a tenth: NaN for an image that is darker. `log` gives infinity
where an image is black. `gain` multiplies and clips; `slow` leaves the image nearly as it is and takes long.
`motion` is a metric of videos: half of a clip's score is the brightness of its last frame, half that of all frames.
`piece` keeps the top left square of `size` pixels, `filter` has a graph for each kernel of 3, 5 and 9 and leaves the
image as it is.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scoreguard.v1.archive import FORMAT, Archive
from scoreguard.v1.blobs import FOLDER
from scoreguard.v1.manifest_pb2 import (
    DIFFERENTIABILITY_EXACT,
    ArchiveManifest,
    DefenceArtifact,
    DefenceFacts,
    DefenceVariant,
    GoldenVector,
    GraphFiles,
    MetricArtifact,
    MetricFacts,
    ParameterSpec,
)
from scoreguard_export.archive.mar import write_mar

OPSET: Final = 20
SLOW_NODES: Final = 40
WINDOWS: Final = (3.0, 5.0, 9.0)
GOLDEN_IMAGE: Final = "golden/grey.png"
GREY: Final = 51
"""Value of the golden image: brightness 20, darkness 80."""
DARKEST: Final = 0.1
"""Brightness of 1 below which `root` is not a number."""
HANDLER_FILE: Final = "defended_score.py"
_IMAGE: Final = (None, 3, None, None)


def share_graphs(path: Path) -> Archive:
    """Move the graphs of an archive into the folder that the archives of its model store share."""
    whole = Archive(path)
    graphs = [entry for entry in whole.manifest.files if entry.path.endswith(".onnx")]
    files = {entry.path: whole.read(entry.path) for entry in whole.manifest.files if entry not in graphs}
    folder = path.parent / FOLDER
    folder.mkdir(exist_ok=True)
    for entry in graphs:
        (folder / entry.sha256).write_bytes(whole.read(entry.path))
        entry.shared = True
    write_mar(path, whole.manifest, files)
    return Archive(path)


def png(value: int, size: int = 32) -> bytes:
    """A square image of one grey value, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def padded_png(value: int, padding: int) -> bytes:
    """A PNG file that carries some bytes which no decoder looks at."""
    extra, buffer = PngInfo(), io.BytesIO()
    extra.add(b"paDd", bytes(padding))
    Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(buffer, "PNG", pnginfo=extra)
    return buffer.getvalue()


def write_tiny_archive(folder: Path, metric: str = "bright") -> Path:
    """Write the archive of a metric into a model store; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    dark = metric == "dark"
    golden = {"dark": 100 - GREY / 2.55, "root": 100 * math.sqrt(GREY / 255 - DARKEST)}.get(metric, GREY / 2.55)
    files = {
        "metric.onnx": _model(_root_nodes() if metric == "root" else _metric_nodes(dark), "score", (None,)),
        "defences/gain.onnx": _model(_gain_nodes(), "purified", _IMAGE, scalar="factor"),
        "defences/piece.onnx": _model(_piece_nodes(), "purified", _IMAGE, scalar="size"),
        "defences/filter.onnx": _model(_filter_nodes(), "purified", _IMAGE),
        "defences/slow.onnx": _model(_slow_nodes(), "purified", _IMAGE),
        "defences/broken.onnx": _model(_broken_nodes(), "purified", _IMAGE),
        "defences/huge.onnx": _model(_huge_nodes(), "purified", _IMAGE),
        "defences/log.onnx": _model([helper.make_node("Log", ["image"], ["purified"])], "purified", _IMAGE),
        GOLDEN_IMAGE: png(GREY),
    }
    artifact = MetricArtifact(facts=_metric_facts(metric, dark), graphs=_graphs("metric"))
    if metric == "motion":
        files |= {
            "frame.onnx": _model(_frame_nodes(), "features", (None, 3)),
            "pool.onnx": _model(_pool_nodes(), "score", (1,), name="features", shape_in=(1, None, 3)),
        }
        artifact.frame.CopyFrom(_graphs("frame"))
        artifact.pool.CopyFrom(_graphs("pool"))
        artifact.frame_numbers = 3
    manifest = ArchiveManifest(
        format=FORMAT,
        metric=artifact,
        defences=[
            _defence("gain", [ParameterSpec(name="factor", description="Factor.", default_value=1, maximum=2)]),
            _defence("piece", [_length("size", 16, 64)]),
            _filter(),
            *(_defence(name, []) for name in ("slow", "broken", "huge", "log")),
        ],
        golden_vectors=[GoldenVector(image=GOLDEN_IMAGE, seed=1, score=golden, tolerance=1e-3)],
    )
    path = folder / f"{metric}.mar"
    write_mar(path, manifest, files)
    return path


def replace_entry(archive: Path, name: str, data: bytes) -> None:
    """Change one file of an archive and leave the manifest as it is."""
    with zipfile.ZipFile(archive) as source:
        entries = {entry: source.read(entry) for entry in source.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for entry, content in (entries | {name: data}).items():
            target.writestr(entry, content)


def _metric_nodes(dark: bool) -> list[Any]:
    nodes = [
        helper.make_node("Constant", [], ["axes"], value_ints=[1, 2, 3]),
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Constant", [], ["scale"], value_float=-100.0 if dark else 100.0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("Constant", [], ["offset"], value_float=100.0 if dark else 0.0),
    ]
    return [*nodes, helper.make_node("Add", ["scaled", "offset"], ["score"])]


def _frame_nodes() -> list[Any]:
    """The mean of each channel."""
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[2, 3])
    return [axes, helper.make_node("ReduceMean", ["image", "axes"], ["features"], keepdims=0)]


def _pool_nodes() -> list[Any]:
    return [
        helper.make_node("Constant", [], ["start"], value_ints=[-1]),
        helper.make_node("Constant", [], ["end"], value_ints=[1 << 30]),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Constant", [], ["axes"], value_ints=[1, 2]),
        helper.make_node("Slice", ["features", "start", "end", "axis"], ["last"]),
        helper.make_node("ReduceMean", ["last", "axes"], ["now"], keepdims=0),
        helper.make_node("ReduceMean", ["features", "axes"], ["ever"], keepdims=0),
        helper.make_node("Add", ["now", "ever"], ["both"]),
        helper.make_node("Constant", [], ["half"], value_float=50.0),
        helper.make_node("Mul", ["both", "half"], ["score"]),
    ]


def _root_nodes() -> list[Any]:
    return [
        helper.make_node("Constant", [], ["axes"], value_ints=[1, 2, 3]),
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Constant", [], ["darkest"], value_float=DARKEST),
        helper.make_node("Sub", ["mean", "darkest"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["root"]),
        helper.make_node("Constant", [], ["scale"], value_float=100.0),
        helper.make_node("Mul", ["root", "scale"], ["score"]),
    ]


def _gain_nodes() -> list[Any]:
    return [
        helper.make_node("Mul", ["image", "factor"], ["raw"]),
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Constant", [], ["high"], value_float=1.0),
        helper.make_node("Clip", ["raw", "low", "high"], ["purified"]),
    ]


def _piece_nodes() -> list[Any]:
    return [
        helper.make_node("Cast", ["size"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Constant", [], ["both"], value_ints=[2]),
        helper.make_node("Expand", ["whole", "both"], ["ends"]),
        helper.make_node("Constant", [], ["starts"], value_ints=[0, 0]),
        helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
        helper.make_node("Slice", ["image", "starts", "ends", "axes"], ["purified"]),
    ]


def _filter_nodes() -> list[Any]:
    return [helper.make_node("Identity", ["image"], ["purified"])]


def _slow_nodes() -> list[Any]:
    """Sine and arcsine by turns: the identity on [0, 1], up to rounding."""
    names = ["image", *(f"x{index}" for index in range(SLOW_NODES - 1)), "purified"]
    return [helper.make_node(("Sin", "Asin")[i % 2], [a], [b]) for i, (a, b) in enumerate(pairwise(names))]


def _broken_nodes() -> list[Any]:
    """No image of a sensible size has this many values."""
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[1, 3, 7, 11])
    return [shape, helper.make_node("Reshape", ["image", "shape"], ["purified"])]


def _huge_nodes() -> list[Any]:
    """Twelve terabytes."""
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[1, 3, 1 << 20, 1 << 20])
    mean = helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1)
    return [shape, mean, helper.make_node("Expand", ["mean", "shape"], ["purified"])]


def _model(
    nodes: Sequence[Any],
    output: str,
    shape: Sequence[int | None],
    scalar: str = "",
    *,
    name: str = "image",
    shape_in: Sequence[int | None] = _IMAGE,
) -> bytes:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape_in)]
    if scalar:
        inputs.append(helper.make_tensor_value_info(scalar, TensorProto.FLOAT, ()))
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(list(nodes), output, inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _metric_facts(name: str, dark: bool) -> MetricFacts:
    return MetricFacts(
        name=name,
        title=name.title(),
        range_high=100,
        higher_is_better=not dark,
        input_rule="native size",
        minimum_size=8,
    )


def _defence(name: str, parameters: Sequence[ParameterSpec]) -> DefenceArtifact:
    facts = DefenceFacts(
        name=name,
        title=name.title(),
        parameters=parameters,
        differentiability=DIFFERENTIABILITY_EXACT,
        size_preserving=True,
        minimum_size=1,
    )
    return DefenceArtifact(facts=facts, variants=[DefenceVariant(graphs=_graphs(f"defences/{name}"))])


def _length(name: str, default: float, maximum: float, choices: Sequence[float] = ()) -> ParameterSpec:
    """A whole number of pixels that the image bounds."""
    return ParameterSpec(
        name=name,
        default_value=default,
        minimum=1,
        maximum=maximum,
        integer=True,
        structural_choices=choices,
        at_most_side=True,
    )


def _filter() -> DefenceArtifact:
    artifact = _defence("filter", [_length("kernel", 3, 9, WINDOWS)])
    graphs = artifact.variants.pop().graphs
    artifact.variants.extend(DefenceVariant(structural={"kernel": kernel}, graphs=graphs) for kernel in WINDOWS)
    return artifact


def _graphs(stem: str) -> GraphFiles:
    # The tests of the server never ask for gradients of these, so there is no second form.
    return GraphFiles(onnx=f"{stem}.onnx", onnx_opset=OPSET)
