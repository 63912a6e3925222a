"""ONNX Runtime on GPUs: one distribution, and options that compute as the CPU does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scoreguard.chain.onnx_devices import check_one_onnxruntime, cuda_providers
from scoreguard.v1.errors import ContractError


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, names: Sequence[str]) -> None:
    """Put distributions of these names, and no others, where Python looks for them."""
    for name in names:
        info = folder / f"{name.replace('-', '_')}-1.31.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.0\n")
    monkeypatch.setattr(sys, "path", [str(folder)])


@pytest.mark.parametrize("names", [(), ("onnxruntime",), ("onnxruntime-gpu",)])
def test_one_onnxruntime_or_none_is_right(
    names: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either provides the module; without any, its import says what is missing."""
    install(monkeypatch, tmp_path, names)
    check_one_onnxruntime()


def test_two_onnxruntimes_are_refused_with_the_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They overwrite each other's files, which pip does not notice."""
    install(monkeypatch, tmp_path, ("onnxruntime", "onnxruntime-gpu"))
    with pytest.raises(ContractError) as caught:
        check_one_onnxruntime()
    assert str(caught.value) == (
        "onnxruntime 1.31.0 and onnxruntime-gpu 1.31.0 are both installed and overwrite each other's files; pip "
        "uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu (without an NVIDIA GPU: "
        "onnxruntime)"
    )


def test_a_session_on_a_gpu_rounds_nothing_to_tf32() -> None:
    """And falls back to the CPU for operations that the GPU lacks."""
    (provider, options), other = cuda_providers(1)
    assert (provider, other) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (options["device_id"], options["use_tf32"]) == ("1", "0")
