"""Fixtures that several folders share: a tiny archive made by hand, and the data that lies beside the project."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from data_folder import DATA, WHY_SKIPPED
from google.protobuf import json_format
from onnx import TensorProto, helper
from PIL import Image

from scoreguard.v1 import manifest_pb2 as pb
from scoreguard.v1.archive import FORMAT, Archive
from scoreguard.v1.mar import torchserve_files

GOLDEN_LEVEL = 51
"""8-bit level of the golden image: brightness 20 of 100."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, weights and human scores; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(WHY_SKIPPED)
    return DATA


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """`brightness` (100 × mean) with the defences `gain` (factor), `noise` (sigma, random) and `halve` (any stride)."""
    path = tmp_path_factory.mktemp("tiny") / "brightness.mar"
    return write_tiny_archive(path)


@pytest.fixture(scope="session")
def lite_store(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """What `scoreguard-export build --default-variants` makes of the shipped metric and every defence in `SERVED`.

    Built in pytest's cache, where the next session and the other processes of this one find what did not change.
    """
    from filelock import FileLock  # the tests of the client run with the base installation
    from served import build_lite

    from scoreguard_export.archive.model_store import write_server_files
    from scoreguard_export.archive.prune import prune

    assert pytestconfig.cache is not None
    cached = Path(pytestconfig.cache.mkdir("stores")) / "lite"
    cached.mkdir(exist_ok=True)
    home = tmp_path_factory.mktemp("lite")
    with FileLock(cached.with_suffix(".lock")):
        build_lite(cached / "model_store")
        prune(cached / "model_store")
        shutil.copytree(cached, home, dirs_exist_ok=True)
    write_server_files(home / "model_store")
    return home / "model_store"


def write_tiny_archive(path: Path) -> Archive:
    """Write the tiny archive; its graphs are simple enough to check by hand."""
    files = {
        "metric.onnx": _graph("brightness", _METRIC, ["image"], "score"),
        "gain.onnx": _graph("gain", _GAIN, ["image", "factor"], "purified"),
        "noise.onnx": _graph("noise", _NOISE, ["image", "sigma", "noise"], "purified"),
        "halve.onnx": _graph("halve", _HALVE, ["image"], "purified"),
        "golden.png": _golden(),
    }
    manifest = pb.ArchiveManifest(
        format=FORMAT,
        metric=pb.MetricArtifact(
            facts=pb.MetricFacts(
                name="brightness", title="Brightness", range_high=100, higher_is_better=True, minimum_size=2
            ),
            graphs=pb.GraphFiles(onnx="metric.onnx"),
        ),
        defences=[
            _defence("gain", [pb.ParameterSpec(name="factor", default_value=0.5, maximum=1)]),
            _defence(
                "noise",
                [pb.ParameterSpec(name="sigma", default_value=0.1, maximum=1)],
                [
                    pb.RandomInput(
                        name="noise", distribution=pb.DISTRIBUTION_STANDARD_NORMAL, shape=pb.RANDOM_SHAPE_IMAGE
                    )
                ],
            ),
            _defence("halve", []),
        ],
        golden_vectors=[pb.GoldenVector(image="golden.png", score=100 * GOLDEN_LEVEL / 255, tolerance=1e-3)],
        files=[
            pb.FileEntry(path=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in files.items()
        ],
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name, data in torchserve_files("brightness").items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", json.dumps(json_format.MessageToDict(manifest)))
    return Archive(path)


def _defence(
    name: str, parameters: Sequence[pb.ParameterSpec], randoms: Sequence[pb.RandomInput] = ()
) -> pb.DefenceArtifact:
    facts = pb.DefenceFacts(name=name, parameters=parameters, random_inputs=randoms, minimum_size=2)
    return pb.DefenceArtifact(facts=facts, variants=[pb.DefenceVariant(graphs=pb.GraphFiles(onnx=f"{name}.onnx"))])


def _golden() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), GOLDEN_LEVEL, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


_METRIC = [
    helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
    helper.make_node("Mul", ["mean", "hundred"], ["score"]),
]
_GAIN = [helper.make_node("Mul", ["image", "factor"], ["purified"])]
_NOISE = [
    helper.make_node("Mul", ["noise", "sigma"], ["scaled"]),
    helper.make_node("Add", ["image", "scaled"], ["sum"]),
    helper.make_node("Clip", ["sum", "zero", "one"], ["purified"]),
]
_HALVE = [helper.make_node("Slice", ["image", "starts", "ends", "spatial", "steps"], ["purified"])]


def _graph(name: str, nodes: list[onnx.NodeProto], inputs: list[str], output: str) -> bytes:
    image: list[str | int | None] = ["n", 3, "h", "w"]
    kinds: dict[str, list[str | int | None]] = {"image": image, "noise": image, "factor": [], "sigma": []}
    constants = {
        "axes": np.array([1, 2, 3]),
        "hundred": np.float32(100),
        "zero": np.float32(0),
        "one": np.float32(1),
        "starts": np.array([0, 0]),
        "ends": np.array([1 << 30, 1 << 30]),
        "spatial": np.array([2, 3]),
        "steps": np.array([2, 2]),
    }
    used = {entry for node in nodes for entry in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(entry, TensorProto.FLOAT, kinds[entry]) for entry in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items() if key in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data
