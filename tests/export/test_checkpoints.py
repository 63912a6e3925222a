"""Official checkpoints: what is read, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from restorers import generated

from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.checkpoints import read_checkpoint
from scoreguard_export.weights.comparison import difference
from scoreguard_export.weights.source import WeightsSource

SOURCE = WeightsSource(licence="MIT", url="https://example.org/net.pth")


@pytest.mark.parametrize(
    "wrapper", ["params_ema", "params", "state_dict", "model_state_dict", "model", "network", "net"]
)
def test_training_frameworks_wrappings_are_taken_off(wrapper: str, tmp_path: Path) -> None:
    """The tensors of a training run's checkpoint, named for several devices, in half precision."""
    tensors = {"module.body.0.weight": torch.ones(2, 3, dtype=torch.float16)}
    torch.save({"epoch": 7, wrapper: tensors}, tmp_path / "net.pth")
    state = read_checkpoint(tmp_path / "net.pth", "net", SOURCE).tensors
    assert list(state) == ["body.0.weight"]
    assert state["body.0.weight"].dtype == torch.float32


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    """Where a file holds both, the moving average is what is published."""
    torch.save({"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}}, tmp_path / "net.pth")
    assert float(read_checkpoint(tmp_path / "net.pth", "net", SOURCE).tensors["a"]) == 1.0


def test_settings_under_a_wrappers_name_are_passed_over(tmp_path: Path) -> None:
    """A checkpoint whose `params` are options and whose `net` are the tensors."""
    torch.save({"params": {"width": 64}, "net": {"a": torch.ones(1)}, "model": "small"}, tmp_path / "net.pth")
    assert list(read_checkpoint(tmp_path / "net.pth", "net", SOURCE).tensors) == ["a"]


@pytest.mark.parametrize("kept", ["zip", "legacy"])
def test_a_pickled_module_is_refused_with_the_way_to_convert_it(kept: str, tmp_path: Path) -> None:
    """Nothing of it is run; the command that takes its tensors out is named."""
    torch.save(torch.nn.Linear(2, 1), tmp_path / "net.pt", _use_new_zipfile_serialization=kept == "zip")
    convert = re.escape(f"`scoreguard-export weights convert net {tmp_path / 'net.pt'}`")
    with pytest.raises(WeightsError, match=rf"a pickled or scripted module, which is never run here: {convert}"):
        read_checkpoint(tmp_path / "net.pt", "net", SOURCE)


def test_a_scripted_module_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    """TorchScript holds code too."""
    scripted = torch.jit.trace(torch.nn.Linear(2, 1), torch.zeros(1, 2))  # type: ignore[no-untyped-call]
    torch.jit.save(scripted, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"weights convert net .*takes its tensors out"):
        read_checkpoint(tmp_path / "net.pt", "net", SOURCE)


def test_each_kind_of_difference_names_the_first_five(tmp_path: Path) -> None:
    """Missing, too many and of another shape, in one line."""
    wanted = {f"a{index}": torch.zeros(1) for index in range(7)} | {"b": torch.zeros(2)}
    found = {f"c{index}": torch.zeros(1) for index in range(5)} | {"b": torch.zeros(3), "a0": torch.zeros(1)}
    assert difference(wanted, found) == (
        "6 tensors missing: a1, a2, a3, a4, a5, …; 5 tensors too many: c0, c1, c2, c3, c4; "
        "1 tensors of another shape: b is (3,), not (2,)"
    )


class Trap:
    """Runs a function when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Write a file of that name."""
        return Path.touch, (Path("sprung"),)  # type: ignore[return-value]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, an empty file, a folder, a list, and code, which is never run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("not a checkpoint")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    torch.save([torch.ones(1)], tmp_path / "list")
    torch.save({"a": "word"}, tmp_path / "words")
    torch.save(Trap(), tmp_path / "code")
    for name in ("text", "empty", "folder", "list", "words", "code"):
        with pytest.raises(WeightsError, match=r"tensors.*--weights net=PATH.*https://example\.org/net\.pth.*MIT"):
            read_checkpoint(tmp_path / name, "net", SOURCE)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model.0.bias": torch.zeros(95)}, r"1 tensors of another shape: model\.0\.bias is \(95,\), not \(96,\)"),
        ({"model.0.bias": torch.full((96,), torch.nan)}, r"model\.0\.bias holds numbers that are not finite"),
        ({"extra": torch.zeros(1)}, r"1 tensors too many: extra"),
        ({"model.0.bias": None}, r"1 tensors missing: model\.0\.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, torch.Tensor | None], problem: str, tmp_path: Path
) -> None:
    """One line says which tensor is wrong, and how."""
    files = generated(FfdNet, tmp_path)
    weights = {**torch.load(files["ffdnet"], weights_only=True), **change}
    torch.save({name: value for name, value in weights.items() if value is not None}, files["ffdnet"])
    with pytest.raises(WeightsError, match=rf"not the checkpoint of ffdnet \({problem}\): give the file by"):
        FfdNet.from_weights(files)


def test_a_built_defence_is_ready(tmp_path: Path) -> None:
    """It is in evaluation mode, keeps no gradients of its weights, and has one variant."""
    files = generated(FfdNet, tmp_path)
    defence = FfdNet.from_weights(files)
    assert not defence.training
    assert not any(weight.requires_grad for weight in defence.parameters())
    assert FfdNet.variants(files) == [{}]
