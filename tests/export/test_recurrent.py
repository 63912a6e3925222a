"""The gated recurrent unit against torch's, at any length, in every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from export_samples import metric_facts
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.metrics.base import Metric
from scoreguard_export.recurrent import gru


def _layer() -> nn.GRU:
    torch.manual_seed(2)
    return nn.GRU(7, 5, batch_first=True).eval().requires_grad_(False)


def _sequence(count: int, steps: int) -> Tensor:
    return torch.randn(count, steps, 7, generator=torch.Generator().manual_seed(steps))


class Rows(Metric):
    """Reads the rows of an image one after the other; their number is free, as the height is."""

    facts = metric_facts("rows")

    def __init__(self) -> None:
        super().__init__()
        self.layer = _layer()

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        spread = torch.arange(1, 8, dtype=image.dtype, device=image.device)
        return gru(image.mean(dim=(1, 3))[:, :, None] * spread, self.layer).mean(dim=(1, 2))


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (3, 1), (2, 9), (1, 40)])
def test_the_states_are_those_of_torch(count: int, steps: int) -> None:
    """All of them, from a state of zeros, with their gradient."""
    layer, sequence = _layer(), _sequence(count, steps).requires_grad_()
    expected, mine = layer(sequence)[0], gru(sequence, layer)
    assert torch.allclose(mine, expected, atol=1e-6)
    slopes = [torch.autograd.grad(states.square().sum(), sequence)[0] for states in (mine, expected)]
    assert torch.allclose(slopes[0], slopes[1], atol=1e-5)


def test_a_sequence_has_its_states_whatever_is_beside_it() -> None:
    """To the last bit."""
    layer, sequence = _layer(), _sequence(3, 20)
    together = gru(sequence, layer)
    assert torch.equal(torch.cat([gru(one[None], layer) for one in sequence]), together)
    assert torch.equal(gru(sequence.flip(0), layer), together.flip(0))


def test_a_traced_graph_takes_other_lengths() -> None:
    """The loop stays a loop, and so does its derivative."""
    layer = _layer()

    def states(sequence: Tensor) -> Tensor:
        return gru(sequence, layer)

    traced: Any = torch.jit.trace(states, _sequence(2, 6), check_trace=False)  # type: ignore[no-untyped-call]
    for count, steps in ((1, 1), (3, 25), (2, 4)):
        sequence = _sequence(count, steps).requires_grad_()
        assert torch.equal(traced(sequence), states(sequence))
        slopes = [torch.autograd.grad(way(sequence).square().sum(), sequence)[0] for way in (traced, states)]
        assert torch.allclose(slopes[0], slopes[1], atol=1e-5)


def test_both_graphs_take_other_lengths_and_batches(tmp_path: Path) -> None:
    """In ONNX it is one operator, and no step is written out."""
    metric = Rows().eval()
    export_torchscript(metric, tmp_path / "rows.pt")
    export_onnx(metric, tmp_path / "rows.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "rows.onnx").graph.node]
    assert kinds.count("GRU") == 1
    assert "Tanh" not in kinds
    for engine in (load_torchscript(tmp_path / "rows.pt"), load_onnx(tmp_path / "rows.onnx", ["image"])):
        for count, height in ((1, 16), (3, 45), (2, 120)):
            image = photographs(count, height, 20, 1)
            assert torch.allclose(engine((image,)).detach(), metric(image), atol=1e-6)


def test_the_files_depend_on_the_module_alone(tmp_path: Path) -> None:
    """Exported twice in one process, the bytes are the same."""
    for name in ("first", "second"):
        export_torchscript(Rows().eval(), tmp_path / f"{name}.pt")
        export_onnx(Rows().eval(), tmp_path / f"{name}.onnx")
    for kind in ("pt", "onnx"):
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()
