"""The engine of ONNX graphs: large models are loaded and run with less memory, and answer the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from scoreguard.v1.archive import Archive
from scoreguard_handlers.deadline import Deadline
from scoreguard_handlers.engines.onnx_graph import LARGE, OnnxGraph


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


@pytest.mark.parametrize("large", [LARGE, 1], ids=["small", "large"])
def test_a_model_that_is_none_leaves_no_file(large: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever ONNX Runtime says of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Exception, match=r"(?i)protobuf|parse|graph"):
        OnnxGraph(b"no model", threads=1, large=large)
    assert list(tmp_path.iterdir()) == []
