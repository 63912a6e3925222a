"""The engine of ONNX graphs: large models are loaded and run with less memory, and answer the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper
from tiny_archives import share_graphs, write_tiny_archive

from scoreguard.chain import graph_cache
from scoreguard.chain.graph_cache import LARGE
from scoreguard.v1.archive import Archive
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.onnx_graph import OnnxGraph

ROOTS = os.pathsep.join(str(Path(__file__).resolve().parents[2] / folder) for folder in ("proto", "handlers"))


@pytest.fixture
def model(tiny_archive: Archive) -> bytes:
    """The metric of the tiny archive: 100 times the mean."""
    return tiny_archive.read(tiny_archive.manifest.metric.graphs.onnx)


def test_a_large_model_answers_as_a_small_one(model: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It goes through a file, which is gone when it is loaded."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    image = np.random.default_rng(0).random((2, 3, 9, 7), dtype=np.float32)
    small, large = (
        OnnxGraph(model, threads=1, large=limit).run({"image": image}, Deadline()) for limit in (LARGE, len(model))
    )
    np.testing.assert_array_equal(large, small)
    np.testing.assert_allclose(large, 100 * image.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert list(tmp_path.iterdir()) == []


def test_a_large_model_that_archives_share_is_read_from_its_place(
    model: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No copy of it is made: neither in memory nor in the temporary folder, which may not even be written."""
    path, image = tmp_path / "shared", np.random.default_rng(0).random((1, 3, 5, 5), dtype=np.float32)
    path.write_bytes(model)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    graph = OnnxGraph(path, threads=1, large=1)
    np.testing.assert_allclose(graph.run({"image": image}, Deadline()), 100 * image.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_the_cache_hands_large_shared_files_over_by_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones and those inside an archive as bytes, whose digest is that of what the engine gets."""
    archive = share_graphs(write_tiny_archive(tmp_path))
    name, golden = archive.manifest.metric.graphs.onnx, archive.manifest.golden_vectors[0].image
    given: list[bytes | Path] = []
    for limit in (1, 1 << 30):
        monkeypatch.setattr(graph_cache, "LARGE", limit)
        cache = graph_cache.GraphCache(archive, given.append, "is nothing")
        cache[name], cache[golden]
    large, inside, small, also_inside = given
    assert large == archive.blobs / archive.digest_of(name)
    assert small == archive.read(name)
    assert inside == also_inside == archive.read(golden)


@pytest.mark.parametrize("large", [LARGE, 1], ids=["small", "large"])
def test_a_model_that_is_none_leaves_no_file(large: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever ONNX Runtime says of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Exception, match=r"(?i)protobuf|parse|graph"):
        OnnxGraph(b"no model", threads=1, large=large)
    assert list(tmp_path.iterdir()) == []


MEMORY = """
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.onnx_graph import OnnxGraph

model, side, count = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3])
image = np.ones((1, 3, side, side), np.float32)

def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024

graphs = [OnnxGraph(model, threads=1) for _ in range(count)]
before = resident()
for graph in graphs:
    graph.run({"image": image}, Deadline())
print((resident() - before) / image.nbytes)
"""
STEPS = 6


def largest_of(nodes: list[NodeProto]) -> bytes:
    """A model from an image through nodes to the largest value of what the last one gives."""
    nodes = [*nodes, helper.make_node("ReduceMax", [nodes[-1].output[0]], ["purified"], keepdims=0)]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    largest = helper.make_tensor_value_info("purified", TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "largest", [image], [largest])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model.SerializeToString()


def shifting() -> bytes:
    """A graph whose steps each need an image's memory, and whose result is small."""
    nodes = [helper.make_node("Exp", ["image"], ["step0"])]
    nodes += [helper.make_node("Add", [f"step{n}", "image"], [f"step{n + 1}"]) for n in range(STEPS)]
    return largest_of(nodes)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("side", "kept"), [(2000, 4.0), (2500, 1.5)], ids=["shared", "given back"])
def test_graphs_do_not_add_up_their_memory(side: int, kept: float, tmp_path: Path) -> None:
    """After eight graphs have seen an image, one has kept what it took; where the image was large, less."""
    (tmp_path / "graph.onnx").write_bytes(shifting())
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "graph.onnx"), str(side), "8"]
    found = subprocess.run(command, env=os.environ | {"PYTHONPATH": ROOTS}, capture_output=True, text=True, check=True)
    assert float(found.stdout) < kept


PEAKS = """
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.onnx_graph import OnnxGraph

graph = OnnxGraph(Path(sys.argv[1]).read_bytes(), threads=1, arena=False)
image = np.ones((1, 3, 1000, 1000), np.float32)

def status(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) * 1024

for _ in range(3):
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    graph.run({"image": image}, Deadline())
    print((status("VmHWM") - before) / image.nbytes)
"""


def growing() -> bytes:
    """A graph whose steps take 1, 2, 4 and 8 images' memory; of two neighbours no more than 12 at once."""
    nodes = [helper.make_node("Exp", ["image"], ["step0"])]
    nodes += [helper.make_node("Concat", [f"step{n}"] * 2, [f"step{n + 1}"], axis=0) for n in range(3)]
    return largest_of(nodes)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_second_large_image_takes_no_more_than_the_first(tmp_path: Path) -> None:
    """What admission counts on was measured at the first; a plan of the runtime's would add its gaps later on."""
    (tmp_path / "graph.onnx").write_bytes(growing())
    command = [sys.executable, "-c", PEAKS, str(tmp_path / "graph.onnx")]
    found = subprocess.run(command, env=os.environ | {"PYTHONPATH": ROOTS}, capture_output=True, text=True, check=True)
    first, *later = map(float, found.stdout.split())
    assert 11 < first < 13
    assert max(later) < 1.05 * first


def test_the_cpu_stays_the_cpu_beside_onnx_runtime_for_gpus(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device is what was asked for, not the best that the build has."""
    asked: list[object] = []
    session = onnxruntime.InferenceSession

    def noted(*args: object, **kwargs: object) -> object:
        asked.append(kwargs["providers"])
        return session(*args, **kwargs)

    built = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built)
    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    OnnxGraph(model, threads=1)
    assert asked == [["CPUExecutionProvider"]]
