"""Weights that are missing or wrong, for every learned defence: one line with the file, its origin and its licence."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from scoreguard_export.archive.digest_check import unofficial
from scoreguard_export.cli import main
from scoreguard_export.defences.bfcnn import BfCnn
from scoreguard_export.defences.carn import Carn
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.fbcnn import FbCnn
from scoreguard_export.defences.fcn_filter import FcnFilter
from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.defences.mprnet import MprNet
from scoreguard_export.defences.realesrgan import RealEsrgan
from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.source import WeightsSource

LEARNED: list[type[LearnedDefence]] = [BfCnn, Carn, Denoiser, FbCnn, FcnFilter, FfdNet, MprNet, RealEsrgan]
State = dict[str, torch.Tensor]


class Sentinel:
    """Something of one's own, whose unpickling would run code."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        """Fail where it is run."""
        return exec, ("raise SystemExit('code of a weights file was run')",)


def write_truncated(path: Path) -> None:
    """Two thirds of a checkpoint."""
    torch.save({"weight": torch.ones(500)}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "greeting": lambda path: path.write_text("hello, I am a text"),
    "page": lambda path: path.write_text("<!DOCTYPE html><title>Not found</title>"),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "truncated": write_truncated,
    "pickle": lambda path: path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]})),
    "code": lambda path: path.write_bytes(pickle.dumps(Sentinel())),
    "saved code": lambda path: torch.save({"model": Sentinel()}, path),
    "a list": lambda path: torch.save([torch.ones(1)], path),
    "words": lambda path: torch.save({"weight": "one"}, path),
    "other tensors": lambda path: torch.save({"weight": torch.ones(1)}, path),
}


def source_of(kind: type[LearnedDefence]) -> tuple[str, WeightsSource]:
    """Name and origin of the first file of a defence."""
    return next(iter(kind.sources.items()))


def refusal(kind: type[LearnedDefence], path: Path) -> str:
    """What a build from a file is refused with; it is one line that says what would do."""
    name, source = source_of(kind)
    with pytest.raises(WeightsError) as caught:
        kind.from_weights(dict.fromkeys(kind.sources, path))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for needed in (f"--weights {name}=PATH", source.origin, source.licence):
        assert needed in message
    return message


def small() -> nn.Module:
    """A network in the place of a large one: what is wrong with a file is the same, and known sooner."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))


@pytest.fixture(params=LEARNED, ids=lambda kind: kind.facts.name)
def learned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[LearnedDefence]:
    """Each learned defence, with a small network."""
    kind: type[LearnedDefence] = request.param
    monkeypatch.setattr(kind, "untrained", lambda self: small())
    return kind


def test_a_file_of_anything_else_is_refused(learned: type[LearnedDefence], tmp_path: Path) -> None:
    """No file, no tensors, half a file, other tensors, and code, which is never run."""
    for fault, write in UNREADABLE.items():
        path = tmp_path / f"{fault}.pth"
        write(path)
        refusal(learned, path)


@pytest.mark.parametrize("fault", ["empty", "page", "truncated", "code"])
def test_no_safetensors_by_name_alone(fault: str, tmp_path: Path) -> None:
    """Shipped defences read safetensors too: a file that is only called so is refused."""
    path = tmp_path / "weights.safetensors"
    UNREADABLE[fault](path)
    refusal(FcnFilter, path)


def longer(tensor: torch.Tensor) -> torch.Tensor:
    """Twice the length."""
    return torch.cat([tensor, tensor])


def with_last(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], State]:
    """The last tensor changed."""
    return lambda state: {**state, "1.bias": change(state["1.bias"])}


WRONG: dict[str, tuple[Callable[[State], State], str]] = {
    "shape": (with_last(longer), "1 tensors of another shape: 1.bias is (6,), not (3,)"),
    "not a number": (with_last(lambda tensor: tensor * torch.nan), "1.bias holds numbers that are not finite"),
    "infinite": (with_last(lambda tensor: tensor + torch.inf), "1.bias holds numbers that are not finite"),
    "too few": (lambda state: {"0.weight": state["0.weight"]}, "3 tensors missing: 0.bias, 1.bias, 1.weight"),
    "too many": (lambda state: {**state, "zzz": torch.ones(1)}, "1 tensors too many: zzz"),
}


def test_tensors_that_do_not_fit_are_named(learned: type[LearnedDefence], tmp_path: Path) -> None:
    """Wrong shape, numbers that are none, tensors too few or too many; the right ones are taken."""
    state = small().state_dict()
    for fault, (change, problem) in WRONG.items():
        torch.save(change(state), tmp_path / f"{fault}.pth")
        assert f"({problem})" in refusal(learned, tmp_path / f"{fault}.pth")
    torch.save(state, tmp_path / "right.pth")
    assert not learned.from_weights(dict.fromkeys(learned.sources, tmp_path / "right.pth")).training


def test_another_file_than_the_official_one_is_allowed_and_said(tmp_path: Path) -> None:
    """Weights of one's own are legitimate: a notice with both digests, and none where no digest is known."""
    own = tmp_path / "own.pth"
    own.write_bytes(b"own")
    (notice,) = unofficial({"carn": own, "denoiser": own, "bfcnn": tmp_path / "missing.pth"})
    assert f"{own} is not the official file of carn" in notice
    assert hashlib.sha256(b"own").hexdigest() in notice
    assert Carn.sources["carn"].sha256 in notice


def test_the_official_file_is_not_remarked_on(shared_data: Path) -> None:
    """Its digest is the one that the catalogue knows."""
    assert unofficial({"carn": shared_data / "weights/carn_m.pth"}) == []


@pytest.mark.parametrize("kind", [Carn, FcnFilter])
def test_a_build_from_a_bad_file_is_one_line_and_code_2(
    kind: type[LearnedDefence], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says which file, from where and under which licence, and leaves nothing in the store."""
    name, source = source_of(kind)
    bad = tmp_path / "bad.pth"
    torch.save({"weight": torch.ones(1)}, bad)
    store = tmp_path / "store"
    with pytest.raises(SystemExit) as ended:
        main(["build", "--defences", name, "--weights", f"{name}={bad}", "--model-store", str(store)])
    *notices, error = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert str(bad) in error and source.origin in error and source.licence in error
    assert "Traceback" not in "".join([*notices, error])
    assert not list(tmp_path.glob("store/*.mar"))
