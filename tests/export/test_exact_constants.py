"""Constants of a module reach its ONNX graph to the last bit, however near they are to 0 or 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_samples import Faint
from onnx import numpy_helper
from onnxscript.rewriter import _matcher

from scoreguard_export.errors import GraphError
from scoreguard_export.exporters import onnx_graph
from scoreguard_export.exporters.engines import load_onnx
from scoreguard_export.exporters.exact import exact_patterns
from scoreguard_export.exporters.onnx_graph import export_onnx

DOUBLE = ((1e-6, 1.1e-8, 1e-8, 1e-9, 1e-20, 1e-50, 1e-300, -1e-9, 0.1), (1.00002, 1.000009, 1 + 1e-9, 1 - 2e-16, 0.3))
SINGLE = ((1e-6, 1e-8, 1e-20, 1e-40, -1e-9, 0.1), (1.00002, 1.000009, 1 + 2e-7, 0.3))
"""Terms near 0 and factors near 1, and others, that each type tells from 0 and 1."""


def constants(path: Path) -> set[tuple[str, float]]:
    """Every number of one element in a graph, with its type."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return {(str(array.dtype), array.item()) for array in arrays if array.size == 1 and array.dtype.kind == "f"}


@pytest.mark.parametrize(("dtype", "numbers"), [(torch.float64, DOUBLE), (torch.float32, SINGLE)])
def test_a_term_near_zero_and_a_factor_near_one_stay(
    dtype: torch.dtype, numbers: tuple[tuple[float, ...], tuple[float, ...]], tmp_path: Path
) -> None:
    """Each is in the graph to the last bit."""
    terms, factors = numbers
    export_onnx(Faint(terms, factors, dtype).eval(), tmp_path / "faint.onnx")
    name = str(dtype).removeprefix("torch.")
    expected = {(name, float(np.asarray(value, name))) for value in (*terms, *factors)}
    assert expected <= constants(tmp_path / "faint.onnx")
    operations = [node.op_type for node in onnx.load(tmp_path / "faint.onnx").graph.node]
    assert (operations.count("Add"), operations.count("Mul")) == (len(terms), len(factors))


def test_a_term_of_zero_and_a_factor_of_one_may_go(tmp_path: Path) -> None:
    """They change no value, and are not looked for; in single precision 1e-50 is 0, and 1 + 1e-9 is 1."""
    export_onnx(Faint((0.0, 1e-50), (1.0, 1.0 + 1e-9), torch.float32).eval(), tmp_path / "faint.onnx")
    assert not {"Add", "Mul"} & {node.op_type for node in onnx.load(tmp_path / "faint.onnx").graph.node}


@pytest.mark.parametrize(("dtype", "term"), [(torch.float64, 1e-50), (torch.float64, 1e-9), (torch.float32, 1e-30)])
def test_a_term_near_zero_counts_in_the_engine(dtype: torch.dtype, term: float, tmp_path: Path) -> None:
    """On a black image the term is all there is: ONNX Runtime gives its logarithm as the module does."""
    module, image = Faint((term,), (), dtype).eval(), torch.zeros(1, 3, 40, 56)
    export_onnx(module, tmp_path / "faint.onnx")
    given = load_onnx(tmp_path / "faint.onnx", ["image"])((image,))
    assert float(module(image)) == pytest.approx(np.log10(term), abs=1e-5)
    assert float(given) == pytest.approx(np.log10(term), abs=1e-5)


def test_a_graph_that_lost_a_constant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the optimiser's tolerance as it comes, the export fails and names what was lost, in one line."""

    class Tolerant:
        def __enter__(self) -> None:
            """Leave the patterns as they are."""

        def __exit__(self, *_: Any) -> None:
            """Nothing to put back."""

    monkeypatch.setattr(onnx_graph, "exact_patterns", Tolerant)
    with pytest.raises(GraphError, match=r"faint to ONNX: .*lost the constants 1e-09, 1.000001") as caught:
        export_onnx(Faint((1e-9,), (1.000001,), torch.float64).eval(), tmp_path / "faint.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_number_that_was_rounded_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own translation, 0.1 in double precision becomes 0.10000000149: that is another constant."""
    monkeypatch.setattr(onnx_graph, "TRANSLATIONS", {})
    with pytest.raises(GraphError, match=r"lost the constants 0.1"):
        export_onnx(Faint((0.1,), (), torch.float64).eval(), tmp_path / "faint.onnx")


def test_the_patterns_are_as_before_after_an_export() -> None:
    """Other users of the optimiser in this process do not notice."""
    matcher: Any = _matcher.SimplePatternMatcher
    before = matcher._match_constant
    with pytest.raises(ZeroDivisionError), exact_patterns():
        assert matcher._match_constant is not before
        raise ZeroDivisionError
    assert matcher._match_constant is before
