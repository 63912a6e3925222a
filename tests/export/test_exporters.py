"""The two exporters: what they write, that nothing of the machine is in it, and that it is always the same."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Self

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_samples import Contrast, FrozenRows, Grainy, Uncapturable

from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.defences.resize import Resize
from scoreguard_export.errors import GraphError
from scoreguard_export.exporters.onnx_graph import OPSET, export_onnx
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import GraphModule

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import hashlib, sys, torch
from pathlib import Path
from export_samples import Contrast, Grainy
from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.resize import Resize
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript

torch.set_num_threads(1)
modules = [Contrast().eval(), Grainy().eval(), Blur(kernel=5.0).eval(), Resize().eval(), Resize(restore=1.0).eval()]
folder = Path(sys.argv[1])
for index in map(int, sys.argv[2].split(",")):
    script, graph = folder / f"{index}.pt", folder / f"{index}.onnx"
    export_torchscript(modules[index], script)
    export_onnx(modules[index], graph)
    for path in (script, graph):
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def in_a_process(folder: Path, order: str, hash_seed: str) -> list[str]:
    """Export in a process of its own; digests by file name, sorted."""
    folder.mkdir()
    sources = [ROOT / part for part in ("proto", "export", "tests/support")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "PYTHONHASHSEED": hash_seed,
        "PYTHONWARNINGS": "error,ignore::DeprecationWarning",
    }
    command = [sys.executable, "-c", PROGRAM, str(folder), order]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return sorted(done.stdout.splitlines())


@pytest.fixture(scope="module")
def two_exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """The same modules exported by two processes, in opposite order; the first one's folder, and both lists."""
    home = tmp_path_factory.mktemp("exports")
    first = in_a_process(home / "first", "0,1,2,3,4", "1")
    second = in_a_process(home / "second", "4,3,2,1,0", "2")
    return home / "first", first, second


def test_bytes_depend_on_the_module_alone(two_exports: tuple[Path, list[str], list[str]]) -> None:
    """Another process, another order of exports and another hash seed give the same files, and print nothing else."""
    _, first, second = two_exports
    assert len(first) == 10
    assert first == second


COMPILED = """
import hashlib, sys
from pathlib import Path
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.catalogue import load_metric

export_torchscript(load_metric("lite"), Path(sys.argv[1]))
print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_compiled_layer_is_written_alike_whatever_the_hash_seed(tmp_path: Path) -> None:
    """The compiler writes the constants of a convolution in the order of a set: of seven names."""
    roots = os.pathsep.join(str(ROOT / part) for part in ("proto", "export"))
    command = [sys.executable, "-W", "ignore", "-c", COMPILED, str(tmp_path / "graph.pt")]
    digests = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONPATH": roots, "PYTHONHASHSEED": seed}
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1


def contents(path: Path) -> list[bytes]:
    """The bytes of a file, or of each entry of a zip."""
    if not zipfile.is_zipfile(path):
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def test_no_path_of_the_machine_is_inside(two_exports: tuple[Path, list[str], list[str]]) -> None:
    """Neither the project's folder, nor the interpreter's, nor the home directory, nor any stack trace."""
    folder, _, _ = two_exports
    secrets = [str(ROOT), sys.prefix, str(Path.home()) + os.sep, "site-packages", "Traceback", '.py"', "stack_trace"]
    for path in folder.iterdir():
        for content in contents(path):
            found = [secret for secret in secrets if secret.encode() in content]
            assert not found, (path.name, found)


def test_a_torchscript_archive_has_fixed_times(two_exports: tuple[Path, list[str], list[str]]) -> None:
    """Every entry is stored, with the zip epoch, in order of name."""
    folder, _, _ = two_exports
    for path in folder.glob("*.pt"):
        entries = zipfile.ZipFile(path).infolist()
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
        assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)


@pytest.mark.parametrize("module", [Contrast(), Grainy(), Blur(), Resize(), CATALOGUE["flip"]()])
def test_an_onnx_graph_says_its_inputs_and_free_axes(module: GraphModule, tmp_path: Path) -> None:
    """Inputs in the order of the facts, named axes, one opset, no outside data."""
    path = tmp_path / "graph.onnx"
    export_onnx(module.eval(), path)
    model = onnx.load(path, load_external_data=False)
    assert [value.name for value in model.graph.input] == input_names(module)
    assert [value.name for value in model.graph.output] == [module.output_name]
    image = model.graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in image] == ["batch", 3, "height", "width"]
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET
    assert list(tmp_path.iterdir()) == [path]


def test_random_inputs_are_inputs_of_both_graphs(tmp_path: Path) -> None:
    """A defence with an image of noise and a number for each image takes both, at any size."""
    defence = Grainy().eval()
    export_torchscript(defence, tmp_path / "g.pt")
    export_onnx(defence, tmp_path / "g.onnx")
    generator = torch.Generator().manual_seed(0)
    image, noise = (torch.rand(3, 3, 41, 23, generator=generator) for _ in range(2))
    inputs = (image, torch.tensor(0.3), noise, torch.rand(3, generator=generator))
    expected = defence(*inputs)
    script = torch.jit.load(tmp_path / "g.pt")  # type: ignore[no-untyped-call]
    assert torch.allclose(script(*inputs), expected)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in zip(input_names(defence), inputs, strict=True)}
    assert np.allclose(session.run(None, feed)[0], expected.numpy(), atol=1e-6)


def test_exporting_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither exporter prints or warns (warnings are errors here)."""
    export_torchscript(Contrast().eval(), tmp_path / "c.pt")
    export_onnx(Contrast().eval(), tmp_path / "c.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_frozen_size_cannot_become_onnx(tmp_path: Path) -> None:
    """The capture refuses a module whose size is fixed, in one line that names it, and leaves no file."""
    with pytest.raises(GraphError, match="cannot export frozen rows to ONNX") as caught:
        export_onnx(FrozenRows().eval(), tmp_path / "f.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_module_that_runs_nowhere_is_refused(tmp_path: Path) -> None:
    """Where compiling and tracing both fail, the reason is given in one line."""
    with pytest.raises(GraphError, match=r"cannot export uncapturable to TorchScript: .*no images today") as caught:
        export_torchscript(Uncapturable().eval(), tmp_path / "u.pt")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_module_may_bring_its_own_torchscript(tmp_path: Path) -> None:
    """The hook's graph is the one that is written."""

    class Own(Contrast):
        def torchscript(self: Self) -> torch.jit.ScriptModule:
            inputs = torch.rand(2, 3, 50, 60)
            script = torch.jit.trace(Contrast().eval(), inputs)  # type: ignore[no-untyped-call]
            assert isinstance(script, torch.jit.ScriptModule)
            return script

    export_torchscript(Own().eval(), tmp_path / "own.pt")
    export_torchscript(Contrast().eval(), tmp_path / "plain.pt")
    assert (tmp_path / "own.pt").read_bytes() == (tmp_path / "plain.pt").read_bytes()
