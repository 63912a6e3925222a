"""`weights convert`: tensors out of pickled and scripted modules; none of a file's code runs."""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from scoreguard.support.digests import sha256_of_file
from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard_export.archive.requested import requested
from scoreguard_export.cli import main
from scoreguard_export.errors import WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.cnniqa import CnnIqa
from scoreguard_export.weights.conversion import convert
from scoreguard_export.weights.state_reader import REFUSED, RefusedError, extract, read

LEGACY = {"_use_new_zipfile_serialization": False}
"""How torch.save wrote before version 1.6."""


class Net(nn.Module):
    """A module as authors pickle them: a ResNet of torchvision inside, a recurrent layer, buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        resnet = library("torchvision.models.resnet", "backbones", "a test")
        self.resnet_layer = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)
        self.head = nn.Sequential(nn.Linear(10, 4), nn.PReLU(), nn.Dropout(0.5), nn.Linear(4, 1, bias=False))
        self.swl = nn.GRU(4, 2)
        self.halves = nn.Parameter(torch.randn(3).half())
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.pick = nn.functional.relu

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        scores: Tensor = self.head(self.resnet_layer(image))[:, 0]
        return scores


@pytest.fixture
def authors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], nn.Module]]:
    """Makes the module with its class in a module of that name, which does not exist when the file is read."""
    torch.manual_seed(0)
    net = Net()

    def of(module: str) -> nn.Module:
        monkeypatch.setattr(Net, "__module__", module)
        for name in dict.fromkeys([module.partition(".")[0], module]):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setattr(sys.modules[module], "Net", Net, raising=False)
        return net

    yield of


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Whether tensors have these names, types and numbers, and there are no others."""
    return set(found) == set(expected) and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in expected.items()
    )


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("form", [{}, LEGACY], ids=["zip", "legacy"])
def test_a_pickled_module_gives_its_state_dict(
    form: dict[str, bool], authors: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    """Names, types and numbers, in the form of today and in that of PyTorch 0.4."""
    net = authors("__main__")
    torch.save(net, tmp_path / "net.pt", **form)
    assert same(read(tmp_path / "net.pt"), net.state_dict())


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_another_process_writes_safetensors(authors: Callable[[str], nn.Module], tmp_path: Path) -> None:
    """The whole way: the same tensors, and the digest of the original beside them."""
    net = authors("__main__")
    torch.save(net, tmp_path / "net.pt")
    assert convert(tmp_path / "net.pt", tmp_path / "net.safetensors") == len(net.state_dict())
    assert same(load_file(tmp_path / "net.safetensors"), net.state_dict())
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert file.metadata() == {"source_sha256": sha256_of_file(tmp_path / "net.pt")}


def test_a_scripted_module_gives_its_state_dict(tmp_path: Path) -> None:
    """Tensors of the archive, under the names that torch.jit.load gives them; its code is not read."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(2, 2))).half()
    scripted: Any = torch.jit.script(net)
    scripted.save(str(tmp_path / "net.pt"))
    loaded: Any = torch.jit.load(tmp_path / "net.pt")  # type: ignore[no-untyped-call]
    assert same(read(tmp_path / "net.pt"), loaded.state_dict())


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_training_checkpoint_with_a_module_is_unwrapped(authors: Callable[[str], nn.Module], tmp_path: Path) -> None:
    """The module under `model`, beside numbers."""
    net = authors("__main__")
    torch.save({"epoch": 3, "model": net}, tmp_path / "net.pt")
    assert same(read(tmp_path / "net.pt"), net.state_dict())


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_classes_of_the_authors_are_named_by_the_user(authors: Callable[[str], nn.Module], tmp_path: Path) -> None:
    """A class of an unknown package is refused by name, with the option that replaces it."""
    net = authors("models.net")
    torch.save(net, tmp_path / "net.pt")
    with pytest.raises(RefusedError, match=r"needs the global models\.net\.Net, .*--own models replaces it"):
        read(tmp_path / "net.pt")
    assert same(read(tmp_path / "net.pt", ["models"]), net.state_dict())


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


TRAPS: dict[str, Callable[[Path], object]] = {
    "posix.mkdir": lambda mark: Call(os.mkdir, str(mark)),
    "builtins.exec": lambda mark: Call(exec, f"open({str(mark)!r}, 'w')"),
    "builtins.eval": lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"),
    "builtins.getattr": lambda mark: Call(getattr, "text", "upper"),
    "torch.serialization.load": lambda mark: Call(torch.load, str(mark)),
    "builtins.print": lambda mark: {"model": nn.Identity(), "hook": Call(print, "run")},
}
"""What makes a file dangerous, by the global that it needs."""


@pytest.mark.parametrize("named", TRAPS)
@pytest.mark.parametrize("form", [{}, LEGACY], ids=["zip", "legacy"])
def test_any_other_global_is_refused_by_name(named: str, form: dict[str, bool], tmp_path: Path) -> None:
    """It is named, and nothing ran."""
    torch.save(TRAPS[named](tmp_path / "mark"), tmp_path / "net.pt", **form)
    with pytest.raises(RefusedError, match=f"it needs the global {named}"):
        read(tmp_path / "net.pt")
    assert not (tmp_path / "mark").exists()


def test_a_class_that_is_replaced_runs_nothing(tmp_path: Path) -> None:
    """Even a function given as the authors' own is a holder of state: `--own builtins` calls nothing."""
    torch.save([TRAPS["builtins.exec"](tmp_path / "mark")], tmp_path / "net.pt")
    with pytest.raises(RefusedError, match="holds no module and no dictionary of tensors"):
        read(tmp_path / "net.pt", ["builtins"])
    assert not (tmp_path / "mark").exists()


class Huge:
    """A view of one number as 64 TB of them."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        make: Any = torch.storage.TypedStorage
        storage = make(wrap_storage=torch.zeros(1).untyped_storage(), dtype=torch.float32, _internal=True)
        return torch._utils._rebuild_tensor_v2, (storage, 0, (1 << 22, 1 << 22), (0, 0), False, {})


def test_a_file_that_grows_without_end_is_stopped(tmp_path: Path) -> None:
    """The limit of memory ends the process; one line is what is seen of it."""
    torch.save({"net": {"a": Huge()}}, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"net\.pt is refused: ") as caught:
        convert(tmp_path / "net.pt", tmp_path / "net.safetensors")
    assert "allocate" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "net.safetensors").exists()


def test_a_view_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    """Numbers from behind the storage are nobody's: torch refuses the view."""
    torch.save({"net": {"a": torch.zeros(4)}}, tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "net.pt") as whole, zipfile.ZipFile(tmp_path / "cut.pt", "w") as cut:
        for name in whole.namelist():
            content = whole.read(name)
            cut.writestr(name, content[:8] if name.endswith("data/0") else content)
    with pytest.raises(RuntimeError, match="out of bounds"):
        read(tmp_path / "cut.pt")


def test_what_is_no_module_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text, an empty file, a plain pickle, half a file and numbers alone, as the process would say it."""
    torch.save(nn.Linear(50, 50), tmp_path / "whole")
    torch.save(nn.Linear(50, 50), tmp_path / "old", **LEGACY)
    torch.save([torch.ones(1)], tmp_path / "list")
    whole, old = (tmp_path / "whole").read_bytes(), (tmp_path / "old").read_bytes()
    contents = {
        "text": (b"hello", "damaged or was not written by torch"),
        "empty": (b"", "damaged"),
        "pickle": (pickle.dumps({"a": 1.0}), "not written by torch.save"),
        "half": (whole[: len(whole) // 2], "damaged"),
        "half of an old one": (old[: len(old) - 999], "cut off"),
        "list": ((tmp_path / "list").read_bytes(), "holds no module"),
    }
    for name, (content, said) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert extract(str(tmp_path / name), str(tmp_path / "result")) == REFUSED
        told = capsys.readouterr().err
        assert said in told and "\n" not in told, name
    with pytest.raises(WeightsError, match=r"no file .*absent"):
        convert(tmp_path / "absent", tmp_path / "net.safetensors")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["weights", *arguments])
    output = capsys.readouterr()
    return int(str(ended.value.code)), output.out, output.err


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def as_published(module: nn.Module) -> nn.Module:
    """The module with layers of torch alone, as its authors pickle it."""
    for name, layer in module.named_children():
        if isinstance(layer, nn.Linear):
            plain = nn.Linear(layer.in_features, layer.out_features)
            plain.load_state_dict(layer.state_dict())
            setattr(module, name, plain)
    return module


def test_the_command_puts_it_where_builds_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checked as by `add` and found by a build, or written to a file of the user's."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "folder"))
    monkeypatch.setattr(CnnIqa, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "CnnIqa", CnnIqa, raising=False)
    torch.save(as_published(CnnIqa()), tmp_path / "cnniqa.pt")
    monkeypatch.undo()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "folder"))
    code, output, _ = run(capsys, "convert", "cnniqa", str(tmp_path / "cnniqa.pt"))
    place = tmp_path / "folder/cnniqa.safetensors"
    assert (code, output.splitlines()[0]) == (0, str(place))
    assert requested("cnniqa", "flip", (), print).weights == {"cnniqa": place}
    out = tmp_path / "out.safetensors"
    code, output, _ = run(capsys, "convert", "cnniqa", str(tmp_path / "cnniqa.pt"), "--out", str(out), "--json")
    assert code == 0
    assert json.loads(output)["option"] == f"--weights cnniqa={out}"
    assert out.read_bytes() == place.read_bytes()
