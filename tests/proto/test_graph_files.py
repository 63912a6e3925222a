"""A file that can be no graph is told from one that can by its outermost layer."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from scoreguard.v1.graph_files import can_be_onnx, can_be_torchscript, is_pickled

MODEL = helper.make_model(
    helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [], []),
    opset_imports=[helper.make_opsetid("", 20)],
).SerializeToString()


def test_a_model_can_be_onnx() -> None:
    """One that the library writes; cut off anywhere it cannot be."""
    assert can_be_onnx(MODEL)
    assert not any(can_be_onnx(MODEL[:length]) for length in range(len(MODEL)))


@pytest.mark.parametrize(
    "data", [b"", b"garbage" * 100, b"\x08\x0a", b"PK\x03\x04", b"\xff" * 40, b"\x08" + b"\xff" * 20]
)
def test_something_else_is_no_onnx(data: bytes) -> None:
    """Text, a zip file, half a model, numbers without end."""
    assert not can_be_onnx(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    """The answer is yes or no, and never an exception."""
    assert can_be_onnx(data) in (True, False)


def test_torchscript_begins_as_a_zip_file() -> None:
    """As torch writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code", b"")
    assert can_be_torchscript(buffer.getvalue())
    assert not can_be_torchscript(b"garbage")
    assert not can_be_torchscript(b"")


@pytest.mark.parametrize("modern", [True, False])
def test_a_pickled_module_is_no_torchscript(modern: bool) -> None:
    """As torch.save writes it now, and before version 1.6; a scripted module is none."""
    pickled, scripted = io.BytesIO(), io.BytesIO()
    torch.save(torch.nn.Linear(2, 1), pickled, _use_new_zipfile_serialization=modern)
    graph: Any = torch.jit.script(torch.nn.Linear(2, 1))
    torch.jit.save(graph, scripted)
    assert is_pickled(pickled.getvalue()) and not can_be_torchscript(pickled.getvalue())
    assert can_be_torchscript(scripted.getvalue()) and not is_pickled(scripted.getvalue())
    assert not is_pickled(b"") and not is_pickled(MODEL)
